// Every bound of an NFS store that is not an option.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "daemon/runtime/loop.h"

namespace canopy::nfs {

inline constexpr uint32_t kConnectionsMax = 16;          // to one server, of one loop
inline constexpr size_t kExportPathBytesMax = 1024;      // MNTPATHLEN, RFC 1813
inline constexpr size_t kHandleBytesMax = 128;           // NFS4_FHSIZE; NFSv3 has 64
inline constexpr uint32_t kTransferBytesMax = 1u << 20;  // libnfs 4.0.0 takes no larger answer
inline constexpr size_t kCallsInFlightMax = 1024;        // to one server, of one loop; more wait
inline constexpr size_t kPiecesInFlightMax = 8;          // READs or WRITEs of one read() or write(),
inline constexpr size_t kSmallPiecesInFlightMax = 64;    // or so many, where
inline constexpr size_t kBytesInFlightMin = 256u << 10;  // these are less than this
inline constexpr uint64_t kBytesASecondMin = 1u << 20;   // what a slow server is given time for
inline constexpr unsigned kRewritesMax = 8;              // of one write(), each after a restart of the server
inline constexpr size_t kListedNamesLearntMax = 256;     // a larger page of a directory is not remembered
inline constexpr size_t kFirstReadBytes = 64u << 10;     // of a file whose size is not known
inline constexpr uint32_t kListingBytes = 512u << 10;    // of a READDIRPLUS answer
inline constexpr size_t kCookieVerifiersMax = 1024;      // directories that are being listed

inline constexpr Nanos kTick = 100 * kMillisecond;  // how often deadlines are looked at
inline constexpr Nanos kReconnectFirst = 50 * kMillisecond;
inline constexpr Nanos kReconnectMax = kSecond;
inline constexpr Nanos kDelayFirst = 20 * kMillisecond;  // after JUKEBOX or DELAY, doubling
inline constexpr Nanos kDelayMax = kSecond;
inline constexpr Nanos kSlowAfter = kSecond;  // an answer that takes longer makes the store "slow"

// What an operation has more time for that carries so many bytes.
constexpr Nanos time_for(uint64_t bytes) { return static_cast<Nanos>(bytes / kBytesASecondMin) * kSecond; }
// Of calls that carry `bytes` each.
constexpr size_t pieces_in_flight(size_t bytes) {
  return std::clamp(kBytesInFlightMin / std::max<size_t>(bytes, 1), kPiecesInFlightMax,
                    kSmallPiecesInFlightMax);
}

}  // namespace canopy::nfs
