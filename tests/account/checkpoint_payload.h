// A checkpoint's payload loaded as the log does it, without a file.
#pragma once

#include <algorithm>

#include "daemon/account/account_state.h"

namespace canopy {

inline Result<void> load_checkpoint(AccountState& state, const CheckpointPayload& payload) {
  CANOPY_ASSIGN(const auto places, state.begin_checkpoint(payload.head, payload.body.size()));
  size_t at = 0;
  for (std::span<char> place : places) {
    if (place.empty()) continue;
    std::copy_n(payload.body.begin() + static_cast<std::ptrdiff_t>(at), place.size(), place.begin());
    at += place.size();
  }
  if (at != payload.body.size())
    return fail(Code::kInternal, "checkpoint", "the sink wants another length than the body's");
  return state.finish_checkpoint();
}

}  // namespace canopy
