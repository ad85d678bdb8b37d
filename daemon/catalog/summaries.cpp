#include "daemon/catalog/summaries.h"

#include "daemon/base/bytes.h"

namespace canopy {
namespace {

constexpr auto kTable = CatalogTable::kSummaries;
constexpr size_t kRowsCheckedAtOnce = 256;

struct Wanted {
  uint32_t uid = 0;
  uint32_t mailbox_id = 0;
  MessageRow row;
  std::string key;      // empty: its content has no name that a row could count for
  std::string stamp;    // the row's value begins with it
  std::string content;  // while it is summarised
  std::optional<Result<MessageSummary>> summary = {};
};

std::string stamp_of(const MailboxState& box, const MessageRow& row) {
  std::string out;
  put_le(out, box.id);
  put_le(out, box.uidvalidity);
  put_le(out, row.uid);
  put_le(out, row.size);
  put_le(out, row.date_seconds);
  return out;
}

// kNotFound: the message has gone.
std::optional<Wanted> look_up(const Account& account, uint32_t mailbox_id, uint32_t uid) {
  const MailboxState* box = account.state().mailbox(mailbox_id);
  const MessageRow* row = box == nullptr ? nullptr : box->find(uid);
  if (row == nullptr) return std::nullopt;
  return Wanted{uid, mailbox_id, *row, account.content_id(*row), stamp_of(*box, *row), {}};
}

// On a worker where there is one.
template <class F>
Task<Result<void>> compute(Catalog* catalog, Loop& loop, F work) {
  if (catalog == nullptr) {
    work();
    co_return Result<void>();
  }
  auto done = co_await catalog->compute(loop, [&work] {
    work();
    return true;
  });
  if (!done) co_return fail(std::move(done).error());
  co_return Result<void>();
}

Task<void> find_rows(Catalog* catalog, Loop& loop, std::vector<Wanted>& wanted) {
  if (catalog == nullptr) co_return;
  auto found = co_await catalog->run(loop, [&](CatalogRows& rows) -> Result<void> {
    std::vector<std::string> keys;
    keys.reserve(wanted.size());
    for (const Wanted& each : wanted) keys.push_back(each.key);
    CANOPY_ASSIGN(auto values, rows.get_many(kTable, keys));
    for (size_t i = 0; i < wanted.size(); ++i) {
      if (wanted[i].key.empty() || !values[i] || !values[i]->starts_with(wanted[i].stamp)) continue;
      auto summary = MessageSummary::decode(std::string_view(*values[i]).substr(wanted[i].stamp.size()));
      if (summary) wanted[i].summary = std::move(summary);
    }
    return {};
  });
  if (!found) co_return;  // without rows everything is derived
  uint64_t hits = static_cast<uint64_t>(
      std::ranges::count_if(wanted, [](const Wanted& w) { return w.summary.has_value(); }));
  catalog->counters().summaries_cached.fetch_add(hits, std::memory_order_relaxed);
}

// Of a message of any size, with one piece of it in memory.
Task<void> derive_in_pieces(Catalog* catalog, Loop& loop, Account& account, uint32_t mailbox_id,
                            Wanted& wanted) {
  Summarizer summarizer;
  for (uint64_t offset = 0; offset < wanted.row.size;) {
    auto piece = co_await account.fetch(mailbox_id, wanted.uid, offset, kSummaryBatchBytesMax);
    if (piece && piece->empty())
      piece = fail(Code::kDamaged, account.name(), "a message ends before its size");
    Result<void> fed;
    if (piece) fed = co_await compute(catalog, loop, [&] { summarizer.feed(*piece); });
    if (!piece || !fed) {
      wanted.summary = fail(piece ? std::move(fed).error() : std::move(piece).error());
      co_return;
    }
    offset += piece->size();
  }
  auto done = co_await compute(catalog, loop, [&] { wanted.summary = summarizer.finish(); });
  if (!done) wanted.summary = fail(std::move(done).error());
}

Task<void> derive_together(Catalog* catalog, Loop& loop, std::vector<Wanted*> batch) {
  auto done = co_await compute(catalog, loop, [&] {
    for (Wanted* each : batch) {
      Summarizer summarizer;
      summarizer.feed(each->content);
      each->summary = summarizer.finish();
      each->content = {};
    }
  });
  if (done) co_return;
  for (Wanted* each : batch) each->summary = fail(Error(done.error()));
}

// Reads and summarises those that have no summary yet.
Task<void> derive(Catalog* catalog, Loop& loop, Account& account, uint32_t mailbox_id,
                  std::vector<Wanted>& wanted) {
  std::vector<Wanted*> batch;
  uint64_t held = 0;
  for (Wanted& each : wanted) {
    if (each.summary) continue;
    if (each.row.size > kSummaryBatchBytesMax) {
      co_await derive_in_pieces(catalog, loop, account, mailbox_id, each);
      continue;
    }
    if (!batch.empty() && held + each.row.size > kSummaryBatchBytesMax) {
      co_await derive_together(catalog, loop, std::exchange(batch, {}));
      held = 0;
    }
    auto content = co_await account.fetch(mailbox_id, each.uid, 0, each.row.size);
    if (!content) {
      each.summary = fail(std::move(content).error());
      continue;
    }
    each.content = std::move(*content);
    held += each.content.size();
    batch.push_back(&each);
  }
  if (!batch.empty()) co_await derive_together(catalog, loop, std::move(batch));
}

Task<void> keep_rows(Catalog* catalog, Loop& loop, const std::vector<Wanted*>& derived) {
  if (catalog == nullptr || derived.empty()) co_return;
  catalog->counters().summaries_derived.fetch_add(derived.size(), std::memory_order_relaxed);
  CatalogChanges changes;
  for (const Wanted* each : derived) {
    if (!each->key.empty() && *each->summary)
      changes.put(kTable, each->key, each->stamp + (*each->summary)->encode());
  }
  // A row that is not kept is derived again.
  (void)co_await catalog->run(loop, [&](CatalogRows& rows) { return rows.write(changes); });
}

uint64_t bytes_of(const MessageSummary& summary) {
  uint64_t bytes = 64 + summary.structure.size() + summary.subject.size();
  for (const auto* list :
       {&summary.from, &summary.sender, &summary.reply_to, &summary.to, &summary.cc, &summary.bcc}) {
    for (const MailAddress& each : *list)
      bytes += 16 + each.name.size() + each.mailbox.size() + each.host.size();
  }
  return bytes;
}

// Messages by where their records lie.
struct Placed {
  Place place;
  uint32_t mailbox_id = 0, uid = 0;
};

std::vector<Placed> messages_by_place(const Account& account) {
  std::vector<Placed> out;
  out.reserve(account.state().messages());
  for (const auto& [id, box] : account.state().mailboxes()) {
    for (const MessageRow& row : box.rows) out.push_back({row.place(), id, row.uid});
  }
  std::ranges::sort(out, {},
                    [](const Placed& each) { return std::pair(each.place.slice, each.place.offset); });
  return out;
}

// The message that the key of a row names, if it is there.
std::optional<Wanted> find_by_key(const Account& account, const std::vector<Placed>& placed,
                                  const std::string& key) {
  auto place = AccountLog::place_of_content_name(key);
  if (!place) return std::nullopt;
  auto at = std::ranges::lower_bound(
      placed, std::pair(place->slice, place->offset), {},
      [](const Placed& each) { return std::pair(each.place.slice, each.place.offset); });
  if (at == placed.end() || at->place.slice != place->slice || at->place.offset != place->offset)
    return std::nullopt;
  auto found = look_up(account, at->mailbox_id, at->uid);
  if (!found || found->key != key) return std::nullopt;
  found->mailbox_id = at->mailbox_id;
  return found;
}

}  // namespace

Task<std::vector<UidSummary>> summarize(Catalog* catalog, Loop& loop, std::shared_ptr<Account> account,
                                        uint32_t mailbox_id, std::vector<uint32_t> uids, uint64_t bytes_max,
                                        size_t& done) {
  std::vector<UidSummary> out;
  uint64_t bytes = 0;
  for (done = 0; done < uids.size() && bytes < bytes_max;) {
    size_t count = std::min(kSummariesDerivedAtOnce, uids.size() - done);
    std::vector<Wanted> wanted;
    for (size_t i = done; i < done + count; ++i) {
      if (auto found = look_up(*account, mailbox_id, uids[i])) wanted.push_back(std::move(*found));
    }
    co_await find_rows(catalog, loop, wanted);
    std::vector<Wanted*> missing;
    for (Wanted& each : wanted) {
      if (!each.summary) missing.push_back(&each);
    }
    co_await derive(catalog, loop, *account, mailbox_id, wanted);
    co_await keep_rows(catalog, loop, missing);
    auto next = wanted.begin();
    for (size_t end = done + count; done < end; ++done) {
      if (next == wanted.end() || next->uid != uids[done]) continue;  // it was not there
      Result<MessageSummary>& summary = *next->summary;
      uint64_t more = summary ? bytes_of(*summary) : 64;
      if (!out.empty() && bytes + more > bytes_max) co_return out;
      bytes += more;
      bool gone = !summary && summary.error().code() == Code::kNotFound;
      if (!gone) out.push_back({next->uid, std::move(summary)});
      ++next;
    }
  }
  co_return out;
}

Task<Result<DroppedSummaries>> check_summaries(Catalog* catalog, Loop& loop,
                                               std::shared_ptr<Account> account) {
  DroppedSummaries dropped;
  std::string prefix = account->content_id_prefix();
  if (catalog == nullptr || catalog->instance() == 0 || prefix.empty()) co_return dropped;
  std::vector<Placed> placed = messages_by_place(*account);
  std::string from = prefix;
  for (bool end = false; !end;) {
    auto rows = co_await catalog->run(
        loop, [&](CatalogRows& tables) -> Result<std::vector<std::pair<std::string, std::string>>> {
          std::vector<std::pair<std::string, std::string>> page;
          auto at = tables.seek(kTable, from, "");
          for (; at->valid() && at->key().starts_with(prefix) && page.size() < kRowsCheckedAtOnce;
               at->next()) {
            page.emplace_back(at->key(), at->value());
          }
          CANOPY_TRY(at->state());
          return page;
        });
    if (!rows) co_return fail(std::move(rows).error());
    end = rows->size() < kRowsCheckedAtOnce;
    if (!end) from = rows->back().first + '\0';
    CatalogChanges changes;
    for (const auto& [key, value] : *rows) {
      auto found = find_by_key(*account, placed, key);
      if (found) {
        std::vector<Wanted> one;
        one.push_back(std::move(*found));
        co_await derive(catalog, loop, *account, one.front().mailbox_id, one);
        const Result<MessageSummary>& now = *one.front().summary;
        if (!now || value == one.front().stamp + now->encode())
          continue;  // what cannot be read, the log's check names
      }
      changes.erase(kTable, key);
      ++(found ? dropped.wrong : dropped.left_behind);
    }
    if (changes.empty()) continue;
    auto written = co_await catalog->run(loop, [&](CatalogRows& tables) { return tables.write(changes); });
    if (!written) co_return fail(std::move(written).error());
  }
  catalog->counters().rows_dropped.fetch_add(dropped.wrong + dropped.left_behind, std::memory_order_relaxed);
  co_return dropped;
}

}  // namespace canopy
