// What one client knows of the accounts that it alone creates, renames and removes, and what it saw of them.
// Pure.
#pragma once

#include <list>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/sim/facts.h"

namespace canopy::sim {

struct OwnAccount {
  std::string name;
  std::string or_name;                 // a rename that nobody knows of
  std::vector<std::string> had_names;  // it was called so: nothing is there any more
  RowFact::Is is = RowFact::Is::kMaybe;
  bool busy = false;             // used by an operation, or one was given up or repeated: not to be touched
  std::set<std::string> tokens;  // of messages that were delivered
  std::set<std::string> maybe_tokens;
};

// The tokens of all messages of each account of the client, by the account's name.
using SeenAccounts = std::map<std::string, std::multiset<std::string>>;

// `at_end`: nothing is under way any more, so that also what was given up has happened whole or not at all,
// and nothing is there that nobody asked for.
void check_own_accounts(const std::list<OwnAccount>& accounts, const SeenAccounts& seen, bool at_end,
                        Trace& trace);

}  // namespace canopy::sim
