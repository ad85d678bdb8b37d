canopy_fuzz(names_fuzz SOURCES names_fuzz.cpp DEPS canopy_tree)
