// CRC-32C (Castagnoli, reflected polynomial 0x82F63B78, RFC 3720 appendix B.4), by the CPU's own instruction.
#pragma once

#include <cstdint>
#include <string_view>

namespace canopy {

// Extends `crc` (0 for a new computation) over `bytes`. crc32c(crc32c(0, a), b) == crc32c(0, a + b).
uint32_t crc32c(uint32_t crc, std::string_view bytes);

}  // namespace canopy
