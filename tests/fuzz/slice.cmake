canopy_fuzz(slice_fuzz SOURCES ${CMAKE_CURRENT_SOURCE_DIR}/slice_fuzz.cpp DEPS canopy_account)
