// Summaries: message summaries of an account, from the catalog or, the first time, from the messages. A row's
// key names the stored bytes themselves (Account::content_id), and its value repeats the message's size and
// date, so that whatever happens to the account a row is found only for the content that it was derived from.
// A new place (after compaction) is a new row. Any loop; stateless but for the catalog, which outlives it.
#pragma once

#include "daemon/account/account.h"
#include "daemon/catalog/catalog.h"
#include "daemon/catalog/message_summary.h"

namespace canopy {

inline constexpr size_t kSummariesDerivedAtOnce = 64;  // messages that are held to be summarised together,
inline constexpr uint64_t kSummaryBatchBytesMax =
    1u << 20;  // and their bytes; a larger one goes in pieces of that size

struct UidSummary {
  uint32_t uid = 0;
  Result<MessageSummary> summary;
};

// On the account's loop, which is `loop`: the summaries of these messages in their order, up to about
// `bytes_max` in all but at least one. Those that are not there are left out; a message that cannot be read
// has its error. `done` becomes the number of uids dealt with.
Task<std::vector<UidSummary>> summarize(Catalog* catalog, Loop& loop, std::shared_ptr<Account> account,
                                        uint32_t mailbox_id, std::vector<uint32_t> uids, uint64_t bytes_max,
                                        size_t& done);

// Drops the rows of the account that are no message's any more (expunged, or moved by compaction) and those
// that say something else than the message does. Reads every message that has a row.
struct DroppedSummaries {
  uint64_t left_behind = 0, wrong = 0;
};
Task<Result<DroppedSummaries>> check_summaries(Catalog* catalog, Loop& loop,
                                               std::shared_ptr<Account> account);

}  // namespace canopy
