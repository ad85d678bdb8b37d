canopy_fuzz(checkpoint_fuzz SOURCES ${CMAKE_CURRENT_SOURCE_DIR}/checkpoint_fuzz.cpp DEPS canopy_account)
