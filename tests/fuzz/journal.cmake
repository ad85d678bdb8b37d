canopy_fuzz(journal_fuzz SOURCES ${CMAKE_CURRENT_SOURCE_DIR}/journal_fuzz.cpp DEPS canopy_store canopy_runtime)
