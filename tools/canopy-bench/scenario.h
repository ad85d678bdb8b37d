// The scenarios: each file adds one command to the command line. What the user chose is run once parsing is
// done.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

#include "daemon/base/error.h"
#include "tools/canopy-bench/report.h"

namespace canopy::bench {

using Chosen = std::function<Result<Report>()>;

void add_lmtp(CLI::App& app, Chosen& chosen);
void add_pop3(CLI::App& app, Chosen& chosen);
void add_wire(CLI::App& app, Chosen& chosen);
void add_raw(CLI::App& app, Chosen& chosen);
void add_idle(CLI::App& app, Chosen& chosen);
void add_accounts(CLI::App& app, Chosen& chosen);
void add_info(CLI::App& app, Chosen& chosen);
void add_open(CLI::App& app, Chosen& chosen);
void add_chunks(CLI::App& app, Chosen& chosen);
void add_files(CLI::App& app, Chosen& chosen);
void add_staleness(CLI::App& app, Chosen& chosen);
void add_refold(CLI::App& app, Chosen& chosen);
void add_moves(CLI::App& app, Chosen& chosen);
void add_compare(CLI::App& app, Chosen& chosen);

// For a scenario with options O and Result<Report> run(const O&).
template <class O>
void choose(CLI::App* command, Chosen& chosen, const std::shared_ptr<O>& options,
            Result<Report> (*run)(const O&)) {
  command->callback([&chosen, options, run] { chosen = [options, run] { return run(*options); }; });
}

}  // namespace canopy::bench
