if(TARGET canopy_lmtp)
  canopy_fuzz(lmtp_fuzz SOURCES ${CMAKE_CURRENT_SOURCE_DIR}/lmtp_fuzz.cpp DEPS canopy_lmtp)
endif()
