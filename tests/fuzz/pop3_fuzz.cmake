if(TARGET canopy_pop3)
  canopy_fuzz(pop3_fuzz SOURCES ${CMAKE_CURRENT_SOURCE_DIR}/pop3_fuzz.cpp DEPS canopy_pop3)
endif()
