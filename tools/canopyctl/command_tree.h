// The whole tree of commands, for main() and for what is generated from it (completion, man page, tests).
#pragma once

#include "tools/canopyctl/command.h"

namespace canopy::ctl {

void add_all_commands(CLI::App& app, GlobalOptions& globals, Commands& commands);

}  // namespace canopy::ctl
