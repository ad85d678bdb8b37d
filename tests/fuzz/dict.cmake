canopy_fuzz(dict_fuzz SOURCES dict_fuzz.cpp DEPS canopy_dict)
