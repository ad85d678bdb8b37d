#include "daemon/wire/services/account_check.h"

#include "daemon/wire/services/catalog_check.h"

namespace canopy::wire {

void add_broken(v1::CheckResponse& out, const Error& error) {
  v1::Damage* damage = out.add_damages();
  damage->set_file(error.object());
  damage->set_what(error.message());
}

namespace {

v1::Damage* add_damage(v1::CheckResponse& out, const AccountAddress& address, std::string file,
                       uint64_t offset, uint64_t length, std::string what) {
  v1::Damage* damage = out.add_damages();
  damage->set_file(std::move(file));
  damage->set_offset(offset);
  damage->set_length(length);
  damage->set_what(std::move(what));
  damage->set_account(address.to_string());
  return damage;
}

void add_lost(v1::CheckResponse& out, const AccountAddress& address, std::string file,
              const LostMessage& lost) {
  add_damage(out, address, std::move(file), 0, 0,
             fmt::format("message UID {} of mailbox {} lay in it and is lost", lost.uid, lost.mailbox_id))
      ->set_repaired(true);
}

}  // namespace

void add_unchecked(v1::CheckResponse& out, const AccountAddress& address, const Error& error) {
  add_damage(out, address, error.object(), 0, 0, "the account cannot be checked: " + error.message());
}

static Task<Result<void>> check_log(Node& node, Shard& shard, AccountAddress address, bool repair,
                                    v1::CheckResponse& out) {
  auto settings = co_await shard.accounts.settings(address);
  if (!settings) co_return fail(std::move(settings).error());
  auto account = co_await shard.accounts.open(address, Accounts::For::kRecord);
  if (!account) {
    if (account.error().code() != Code::kDamaged) co_return fail(std::move(account).error());
    v1::Damage* damage = add_damage(out, address, account.error().object(), 0, 0, account.error().message());
    if (!repair || (*settings)->use == AccountUse::kSuspended) co_return Result<void>();
    auto repaired = co_await shard.accounts.repair_manifest(address);
    if (!repaired) {
      if (repaired.error().code() != Code::kDamaged) co_return fail(std::move(repaired).error());
      damage->set_what(repaired.error().message());
      co_return Result<void>();
    }
    damage->set_repaired(true);
    for (const LostMessage& lost : repaired->lost) add_lost(out, address, account.error().object(), lost);
    co_return Result<void>();
  }
  auto report = co_await (*account)->check();
  if (!report) co_return fail(std::move(report).error());
  const std::string directory = (*account)->directory();
  std::vector<v1::Damage*> found;
  for (const Damage& damage : report->damages) {
    found.push_back(
        add_damage(out, address, directory + "/" + damage.file, damage.offset, damage.length, damage.what));
  }
  CANOPY_CO_TRY(co_await check_catalog_summaries(node, shard, *account, out));
  out.set_files(out.files() + (*account)->slices().size() + 1);
  out.set_bytes(out.bytes() + report->bytes_verified);
  // The files of a suspended account are in other hands.
  const bool mend = repair && (*settings)->use != AccountUse::kSuspended;
  if (!mend || (found.empty() && report->orphans.empty())) co_return Result<void>();
  auto repaired = co_await (*account)->repair();
  if (!repaired) {
    if (repaired.error().code() == Code::kBusy)
      co_return Result<void>();  // not repaired this time: the answer says so
    co_return fail(std::move(repaired).error());
  }
  for (v1::Damage* damage : found) damage->set_repaired(true);
  for (const LostMessage& lost : repaired->lost) add_lost(out, address, directory, lost);
  co_return Result<void>();
}

Task<Result<void>> check_account(Node& node, AccountAddress address, bool repair, v1::CheckResponse& out) {
  Shard& shard = node.shard_of(address);
  co_await shard.loop.switch_to();
  auto found = shard.accounts.domains().get(address.domain);
  if (!found) {
    if (found.error().code() != Code::kNotFound) add_broken(out, found.error());
    co_return Result<void>();
  }
  out.set_accounts(out.accounts() + 1);
  AccountPlace place = place_under((*found)->layout, address);
  if (auto is = co_await shard.accounts.place(address)) place = std::move(*is);
  auto settings = co_await shard.accounts.settings(address);
  // Of a suspended account, what was read earlier says nothing of what other hands have left there.
  if (settings && (*settings)->use == AccountUse::kSuspended) {
    auto again = co_await shard.accounts.read_again(address);
    if (!again) settings = fail(std::move(again).error());
  }
  if (!settings) {
    const Code code = settings.error().code();
    if (code == Code::kNotFound) co_return Result<void>();  // removed meanwhile
    if (code != Code::kDamaged) co_return fail(std::move(settings).error());
    v1::Damage* damage = add_damage(out, address, place.settings_file, 0, 0, settings.error().message());
    if (!repair) co_return Result<void>();
    auto left_out = co_await shard.accounts.replace_damaged_settings(address);
    // Left as it is when the rule is broken by the defaults of the domain or the cluster.
    if (!left_out && left_out.error().code() == Code::kInvalidArgument) co_return Result<void>();
    if (!left_out) co_return fail(std::move(left_out).error());
    damage->set_repaired(true);
    for (const std::string& key : *left_out) {
      add_damage(out, address, place.settings_file, 0, 0, "left out, kept in damaged/: " + key)
          ->set_repaired(true);
    }
  }
  auto info = co_await shard.accounts.info(address);
  if (!info) {
    if (info.error().code() != Code::kDamaged) co_return fail(std::move(info).error());
    v1::Damage* damage = add_damage(out, address, place.info_file, 0, 0, info.error().message());
    if (repair) {
      CANOPY_CO_TRY(co_await shard.accounts.replace_damaged_info(address));
      damage->set_repaired(true);
    }
  }
  co_return co_await check_log(node, shard, address, repair, out);
}

}  // namespace canopy::wire
