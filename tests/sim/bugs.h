// Deliberate bugs, put in from outside, so that the product's code knows nothing of them: decorators of the
// store between the daemon and the faulty store, and of the wire methods. The simulator must find each.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string_view>

#include "daemon/store/store.h"
#include "daemon/wire/server/method_table.h"

namespace canopy::sim {

enum class Bug {
  kNone,
  kSyncLeftOut,              // writes of slices are answered before they are durable
  kDirectorySyncLeftOut,     // names are not made durable
  kSealLeftOut,              // a successor does not set the older slices' modes
  kListingLeftOut,           // after creating a slice nobody looks for a higher epoch
  kRequestForgotten,         // the server does not know request ids of changes of mailboxes
  kAccountRequestForgotten,  // nor of accounts and domains
  kStageKept,                // a successor leaves older stages where they are
  kCopySyncLeftOut,          // what is copied to another store is not made durable before it is renamed
};
inline constexpr Bug kBugs[] = {
    Bug::kSyncLeftOut,      Bug::kDirectorySyncLeftOut,    Bug::kSealLeftOut, Bug::kListingLeftOut,
    Bug::kRequestForgotten, Bug::kAccountRequestForgotten, Bug::kStageKept,   Bug::kCopySyncLeftOut};
std::string_view bug_name(Bug bug);
std::optional<Bug> parse_bug(std::string_view name);

// `own_epoch` of the process that uses the store. Answers `inner` itself for kNone.
std::unique_ptr<Store> with_bug(Bug bug, std::unique_ptr<Store> inner, uint64_t own_epoch);

// Adds to `outer` the methods of the services in `inner` that `bug` is about, under the same names, with
// every request id taken out of the request. `inner` must outlive `outer`. Answers what holds the wrappers.
std::shared_ptr<void> forget_request_ids(Bug bug, const wire::MethodTable& inner, wire::MethodTable& outer);

}  // namespace canopy::sim
