// Every bound of the system that is not a setting, in one place, with its unit in its name.
#pragma once

#include <cstdint>

namespace canopy {

// Names (docs/formats/tree.md)
inline constexpr uint32_t kNameBytesMax = 128;  // account or domain name
inline constexpr uint32_t kMailboxNameBytesMax = 1024;
inline constexpr uint32_t kMailboxLevelsMax = 32;
inline constexpr uint32_t kMailboxesPerAccountMax = 100'000;

// Dictionaries (docs/formats/dictionary.md)
inline constexpr uint32_t kDictBytesMax = 4u << 20;
inline constexpr uint32_t kDictDepthMax = 32;

// Account log (docs/formats/account-log.md)
inline constexpr uint32_t kInlineContentBytesMax =
    1u << 20;  // a larger message is written in parts of this size
inline constexpr uint64_t kMessageBytesMax = 512ull << 20;
inline constexpr uint32_t kKeywordsPerAccountMax = 4096;
inline constexpr uint32_t kKeywordBytesMax = 128;

// Wire (docs/protocol)
inline constexpr uint32_t kWireMessageBytesMax = 4u << 20;  // ttrpc's own bound on a message
inline constexpr uint32_t kWireChunkBytesMax = 1u << 20;
inline constexpr uint32_t kWireStreamsPerConnectionMax = 16'384;
inline constexpr uint32_t kWireRequestBytesInFlightMax =
    32u << 20;  // of one connection; beyond it nothing is read
// Requests that wait for something slow, as a store that does not answer, count here instead, so that they do
// not hold up those behind them: all connections of a loop together.
inline constexpr uint64_t kWireSlowRequestBytesMax = 256u << 20;
inline constexpr uint32_t kWireAnswerBytesQueuedMax = 8u << 20;  // likewise
inline constexpr uint32_t kWireConnectionsPerLoopMax = 65'536;
inline constexpr uint32_t kRequestIdBytes = 16;
inline constexpr int64_t kRequestIdRememberedSeconds = 3600;
inline constexpr uint32_t kRequestsRememberedPerFileMax = 256;  // of a settings or alias file
// A phone's registrations are changed every minute: with more, an info is no page any more, but several.
inline constexpr uint32_t kRequestsRememberedPerInfoMax = 32;

// Ownership
inline constexpr uint32_t kSlots = 4096;

}  // namespace canopy
