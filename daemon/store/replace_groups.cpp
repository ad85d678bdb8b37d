#include "daemon/store/replace_groups.h"

#include <iterator>

namespace canopy {

namespace {

// Counts one up for as long as it lives.
class Counted {
 public:
  explicit Counted(uint32_t& count) : count_(count) { ++count_; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;
  ~Counted() { --count_; }

 private:
  uint32_t& count_;
};

Task<Result<void>> write_new(Store& store, std::string path, std::string_view text, Durable durable) {
  OpenOptions options;
  options.write = options.create = options.exclusive = true;
  CANOPY_CO_ASSIGN(std::unique_ptr<File> file, co_await store.open(std::move(path), options));
  auto written = co_await file->write(0, std::span(&text, 1), durable);
  if (!written) co_return fail(std::move(written).error());
  co_return Result<void>();
}

}  // namespace

Task<Result<void>> Store::sync_all() {
  co_return fail(Code::kUnsupported, std::string(name()), "the store has no sync of everything");
}

Task<Result<void>> Store::replace(Replacement what) {
  CANOPY_CO_TRY(co_await write_new(*this, what.staged, what.text, Durable::kYes));
  co_return co_await rename(std::move(what.staged), std::move(what.path), RenameMode::kReplace,
                            Durable::kYes);
}

Task<Result<void>> ReplaceGroups::replace(Replacement what) {
  const bool few = !going_round_ && on_their_own_ + 1 < from_;
  if (few || loop_.now() < alone_until_) co_return co_await replace_on_its_own(std::move(what));
  auto item = std::make_shared<Item>(loop_, std::move(what));
  waiting_.push_back(item);
  if (!std::exchange(going_round_, true)) loop_.spawn(go_round());
  co_await item->answered.wait();
  co_return item->result;
}

Task<Result<void>> ReplaceGroups::replace_on_its_own(Replacement what) {
  Counted counted(on_their_own_);
  co_return co_await store_.Store::replace(std::move(what));
}

ReplaceGroups::Group ReplaceGroups::take_waiting() {
  if (waiting_.size() <= kReplaceGroupMax) return std::exchange(waiting_, {});
  const auto end = waiting_.begin() + kReplaceGroupMax;
  Group taken(std::make_move_iterator(waiting_.begin()), std::make_move_iterator(end));
  waiting_.erase(waiting_.begin(), end);
  return taken;
}

Task<void> ReplaceGroups::go_round() {
  Group durable;  // their content is, under the staged names
  while (!durable.empty() || !waiting_.empty()) {
    Group renames = std::exchange(durable, {}), writes = take_waiting();
    const Nanos begun = loop_.now();
    const Result<void> synced = co_await round_(renames, writes);
    ++rounds_;
    const Nanos took = loop_.now() - begun;
    if (took > kReplaceRoundLong) alone_until_ = loop_.now() + kReplaceAloneAfterLong * took;
    for (const auto& item : renames) {
      if (item->result) item->result = synced;
      item->answered.set();
    }
    for (auto& item : writes) {
      if (item->result) item->result = synced;
      if (item->result)
        durable.push_back(std::move(item));
      else
        item->answered.set();
    }
  }
  going_round_ = false;
}

Task<Result<void>> replace_round_over(Store& store, ReplaceGroups::Group renames,
                                      ReplaceGroups::Group writes) {
  for (const auto& item : renames)
    item->result =
        co_await store.rename(item->what.staged, item->what.path, RenameMode::kReplace, Durable::kNo);
  for (const auto& item : writes)
    item->result = co_await write_new(store, item->what.staged, item->what.text, Durable::kNo);
  co_return co_await store.sync_all();
}

}  // namespace canopy
