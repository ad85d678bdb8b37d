#include "daemon/store/journal/replace_journal.h"

#include "daemon/base/check.h"
#include "daemon/store/store_path.h"

namespace canopy {

ReplaceJournal::ReplaceJournal(Loop& loop, std::shared_ptr<Store> store, JournalOptions options)
    : loop_(loop),
      store_(std::move(store)),
      options_(std::move(options)),
      beginning_(loop),
      syncing_names_(loop),
      ended_(loop),
      progress_(loop) {}

Task<Result<void>> ReplaceJournal::replace(Replacement what) {
  for (;;) {
    if (paths_.is_held(what.path)) {
      co_await progress_.wait();
      paths_.waited();
      continue;
    }
    if (trouble_ && paths_.is_pending(what.path)) {
      CANOPY_CO_TRY(co_await wait_recovered());
      continue;
    }
    if (begun_ && !has_files_ && !making_files_ && !off_ && !trouble_ && loop_.now() >= no_files_before_) {
      making_files_ = true;
      loop_.spawn(make_files());
    }
    const bool small = what.text.size() <= journal::kContentBytesMax;
    if (!has_files_ || off_ || trouble_ || !small) co_return co_await replace_durably(std::move(what));
    const JournalPaths::Claim claim = paths_.claim(what.path);
    if (claim == JournalPaths::Claim::kClaimed) break;
    if (claim == JournalPaths::Claim::kHeld) {
      co_await progress_.wait();
      paths_.waited();
    } else if (!co_await sync_names_above(what.path)) {
      co_return co_await replace_durably(std::move(what));
    }
  }
  co_return co_await enqueue(std::make_shared<Item>(loop_, std::move(what), journal::Kind::kReplaced));
}

// As on a store without a journal.
Task<Result<void>> ReplaceJournal::replace_durably(Replacement what) {
  auto held = co_await hold({what.path});
  if (!held) co_return fail(std::move(held).error());
  co_return co_await store_->replace(std::move(what));
}

Task<Result<void>> ReplaceJournal::enqueue(ItemRef item) {
  waiting_.push_back(item);
  if (!std::exchange(running_, true)) loop_.spawn(run());
  co_await item->answered.wait();
  co_return std::move(item->result);
}

void ReplaceJournal::answer(Item& item) {
  if (item.kind == journal::Kind::kReplaced) paths_.unclaim(item.what.path);
  item.answered.set();
}

Task<void> ReplaceJournal::run() {
  std::vector<JournalOptions::Step> steps;
  std::string batch;
  while (!waiting_.empty()) {
    Turn* turn = co_await room();
    if (turn == nullptr) {
      const auto recovered = co_await wait_recovered();
      answer_without(std::exchange(waiting_, {}), recovered);
      continue;
    }
    batch.clear();
    const uint64_t offset = turn->end;
    const std::vector<ItemRef> group = take_group(*turn, batch);
    steps.clear();
    for (const ItemRef& item : group)
      if (item->kind == journal::Kind::kReplaced) steps.push_back({&item->what, {}});
    in_round_ = true;
    auto done = co_await do_round(*turn->file, offset, batch, steps);
    in_round_ = false;
    ++rounds_;
    progress_.wake_all();
    if (done) {
      round_ended(group, steps);
    } else {
      // Whether their records are there is decided before anybody is answered.
      in_trouble(done.error());
      const auto recovered = co_await wait_recovered();
      answer_without({group.begin(), group.end()}, recovered);
    }
  }
  running_ = false;
  progress_.wake_all();
}

// The file with room for what comes next; null when there is trouble.
Task<ReplaceJournal::Turn*> ReplaceJournal::room() {
  for (;;) {
    if (trouble_ || !has_files_) co_return nullptr;
    Turn& turn = turns_[active_];
    if (fits(turn, 0, *waiting_.front())) co_return &turn;
    if (!in_checkpoint_)
      begin_checkpoint(turn);
    else
      co_await progress_.wait();
  }
}

bool ReplaceJournal::fits(const Turn& turn, size_t batch_bytes, const Item& item) const {
  const size_t bytes = batch_bytes + journal::record_bytes(item.what.path, item.what.text);
  return turn.records < options_.records_max &&
         turn.end + bytes + journal::kBlockBytes <= options_.file_bytes;
}

std::vector<ReplaceJournal::ItemRef> ReplaceJournal::take_group(Turn& turn, std::string& batch) {
  std::vector<ItemRef> group;
  const uint64_t first = next_sequence_;
  if (turn.is_empty()) turn.since = loop_.now();
  while (!waiting_.empty() && group.size() < kBatchRecordsMax && batch.size() < kBatchBytesMax &&
         fits(turn, batch.size(), *waiting_.front())) {
    ItemRef item = std::move(waiting_.front());
    waiting_.pop_front();
    journal::append_record(batch, turn.header.secret,
                           {next_sequence_++, first, item->kind, item->what.path, item->what.text});
    if (item->kind == journal::Kind::kReplaced) paths_.recorded(number_of(turn), item->what.path);
    ++turn.records;
    ++records_;
    group.push_back(std::move(item));
  }
  CANOPY_CHECK(!group.empty());
  journal::end_batch(batch);
  turn.end += batch.size();
  if (!std::exchange(checkpoint_planned_, true)) loop_.spawn(checkpoint_later());
  return group;
}

void ReplaceJournal::round_ended(std::span<const ItemRef> group, std::span<JournalOptions::Step> steps) {
  size_t step = 0;
  for (const ItemRef& item : group) {
    if (item->kind == journal::Kind::kSettled) {
      paths_.settled(item->what.path);
      answer(*item);
      continue;
    }
    item->result = std::move(steps[step++].result);
    if (item->result)
      answer(*item);
    else
      loop_.spawn(finish_refused(item));
  }
  progress_.wake_all();
}

// Of those whose records are not, or may not be, in the journal. Once that is in order again, nothing else is
// in it either.
void ReplaceJournal::answer_without(std::deque<ItemRef> items, const Result<void>& recovered) {
  for (ItemRef& item : items) {
    item->result = recovered;
    if (recovered && item->kind == journal::Kind::kReplaced)
      loop_.spawn(finish_durably(std::move(item)));
    else
      answer(*item);
  }
  progress_.wake_all();
}

Task<void> ReplaceJournal::finish_durably(ItemRef item) {
  item->result = co_await store_->replace(item->what);
  answer(*item);
  progress_.wake_all();
}

// Its record is durable, and the file could not be put into its place: the record must count no more before
// anybody is told.
Task<void> ReplaceJournal::finish_refused(ItemRef item) {
  auto settled = co_await settle(item->what.path);
  if (settled && item->result.error().code() == Code::kNotFound) {
    // Whoever makes the directories then renames what was staged, which is to be durable.
    (void)co_await store_->remove(item->what.staged, Durable::kNo);
    item->result = co_await store_->replace(item->what);
  }
  answer(*item);
  progress_.wake_all();
}

Task<Result<void>> ReplaceJournal::do_round(File& file, uint64_t offset, std::string_view batch,
                                            std::span<JournalOptions::Step> steps) {
  if (options_.round) return options_.round(file, offset, batch, steps);
  return journal_round_over(*store_, file, offset, batch, steps);
}

// What has the length of the old content, and no other name, is overwritten (docs/decisions/info-groups.md).
// False: it is to be replaced.
static Task<bool> overwrite(Store& store, const Replacement& what) {
  if (!what.in_place || what.text.size() > journal::kInPlaceBytesMax) co_return false;
  OpenOptions options;
  options.write = true;
  auto file = co_await store.open(what.path, options);
  if (!file) co_return false;
  auto there = co_await (*file)->attributes();
  if (!there || there->type != FileType::kRegular || there->links != 1 || there->size != what.text.size())
    co_return false;
  std::string_view text = what.text;
  auto written = co_await (*file)->write(0, std::span(&text, 1), Durable::kNo);
  co_return written.has_value();
}

static Task<Result<void>> put_into_place(Store& store, const Replacement& what) {
  if (co_await overwrite(store, what)) co_return Result<void>();
  OpenOptions options;
  options.write = options.create = options.exclusive = true;
  CANOPY_CO_ASSIGN(std::unique_ptr<File> file, co_await store.open(what.staged, options));
  std::string_view text = what.text;
  auto written = co_await file->write(0, std::span(&text, 1), Durable::kNo);
  if (!written) co_return fail(std::move(written).error());
  auto there = co_await store.attributes(what.path);
  if (there && there->type == FileType::kDirectory)
    co_return fail(Code::kIsDirectory, what.path, "is a directory");
  if (!there) {
    if (there.error().code() != Code::kNotFound) co_return fail(std::move(there).error());
    co_return co_await store.rename(what.staged, what.path, RenameMode::kReplace, Durable::kNo);
  }
  CANOPY_CO_TRY(co_await store.rename(what.staged, what.path, RenameMode::kExchange, Durable::kNo));
  (void)co_await store.remove(what.staged,
                              Durable::kNo);  // the old one; it goes with the stage at the latest
  co_return Result<void>();
}

Task<Result<void>> journal_round_over(Store& store, File& file, uint64_t offset, std::string_view batch,
                                      std::span<JournalOptions::Step> steps) {
  auto written = co_await file.write(offset, std::span(&batch, 1), Durable::kYes);
  if (!written) co_return fail(std::move(written).error());
  for (JournalOptions::Step& step : steps) step.result = co_await put_into_place(store, *step.what);
  co_return Result<void>();
}

}  // namespace canopy
