// canopyctl account move: one account goes to another store.
#pragma once

#include "tools/canopyctl/command.h"

namespace canopy::ctl {

void add_account_move_command(CLI::App& group, Commands& commands);

}  // namespace canopy::ctl
