canopy_fuzz(summary_fuzz SOURCES summary_fuzz.cpp DEPS canopy_catalog)
