if(TARGET canopy_frontend_common)
  canopy_fuzz(proxy_fuzz SOURCES ${CMAKE_CURRENT_SOURCE_DIR}/proxy_fuzz.cpp DEPS canopy_frontend_common)
endif()
