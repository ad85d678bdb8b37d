#include "tests/sim/own_accounts.h"

namespace canopy::sim {
namespace {

void check_messages(const OwnAccount& account, const std::string& name,
                    const std::multiset<std::string>& seen, Trace& trace) {
  for (const std::string& token : account.tokens)
    if (!seen.contains(token)) trace.violation("{}: {} is lost", name, token);
  for (const std::string& token : seen) {
    if (!account.tokens.contains(token) && !account.maybe_tokens.contains(token))
      trace.violation("{}: nobody sent {}", name, token);
    if (seen.count(token) > 1) trace.violation("{}: {} is there {} times", name, token, seen.count(token));
  }
}

void check_account(const OwnAccount& account, const SeenAccounts& seen, bool at_end, Trace& trace) {
  using Is = RowFact::Is;
  auto at = seen.find(account.name);
  auto other = account.or_name.empty() ? seen.end() : seen.find(account.or_name);
  for (const std::string& name : account.had_names)
    if (seen.contains(name)) trace.violation("account {} was renamed and is there", name);
  if (account.is == Is::kGone && at != seen.end())
    trace.violation("account {} was deleted and is there", account.name);
  if (account.is != Is::kThere) return;
  if (!account.or_name.empty()) {
    const bool both = at != seen.end() && other != seen.end();
    const bool neither = at == seen.end() && other == seen.end();
    if (at_end && (both || neither)) {
      trace.violation("account {} was renamed to {} and is {}", account.name, account.or_name,
                      both ? "both" : "neither");
    }
  } else if (at == seen.end()) {
    trace.violation("account {} is lost", account.name);
  }
  for (auto found : {at, other})
    if (found != seen.end()) check_messages(account, found->first, found->second, trace);
}

}  // namespace

void check_own_accounts(const std::list<OwnAccount>& accounts, const SeenAccounts& seen, bool at_end,
                        Trace& trace) {
  std::set<std::string> asked_for;
  for (const OwnAccount& account : accounts) {
    check_account(account, seen, at_end, trace);
    asked_for.insert({account.name, account.or_name});
  }
  for (const auto& [name, tokens] : seen)
    if (at_end && !asked_for.contains(name)) trace.violation("nobody asked for account {}", name);
}

}  // namespace canopy::sim
