canopy_fuzz(ttrpc_fuzz SOURCES ttrpc_fuzz.cpp DEPS canopy_wire_framing)
