// canopyctl store drain, and how a command waits until accounts have moved.
#pragma once

#include "tools/canopyctl/command.h"

namespace canopy::ctl {

// In the group `store`.
void add_drain_command(CLI::App& group, Commands& commands);

// Until nothing is on its way to another store, or it is paused; progress on stderr. Answers how it ended.
Result<v1::RelocationInfo> wait_for_stores(Context& context);

}  // namespace canopy::ctl
