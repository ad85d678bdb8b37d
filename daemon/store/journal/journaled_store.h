// JournaledStore: a store whose infos are replaced through a ReplaceJournal. Everything else is the inner
// store's; what is done to a path that may be in the journal, or to a directory above one, holds it
// meanwhile.
//
// For the thread of its loop, which may be another than the journal's.
#pragma once

#include <functional>
#include <memory>

#include "daemon/store/journal/replace_journal.h"
#include "daemon/store/store.h"

namespace canopy {

class JournaledStore final : public Store {
 public:
  // `journal`: of the same place, given back on whatever thread this goes.
  JournaledStore(Loop& loop, std::shared_ptr<Store> inner, std::shared_ptr<ReplaceJournal> journal)
      : loop_(loop), inner_(std::move(inner)), journal_(std::move(journal)) {}

  Store& inner() { return *inner_; }
  // As ReplaceJournal::begin().
  Task<Result<void>> begin();

  std::string_view name() const override { return inner_->name(); }
  bool shared() const override { return inner_->shared(); }
  bool shared_at(std::string_view path) const override { return inner_->shared_at(path); }
  Task<Result<StoreSite>> site_of(std::string path) override { return inner_->site_of(std::move(path)); }
  std::vector<StoreSite> parts_of(std::string path) override { return inner_->parts_of(std::move(path)); }
  Task<Result<std::unique_ptr<File>>> open(std::string path, OpenOptions options) override;
  Task<Result<Attributes>> attributes(std::string path) override {
    return inner_->attributes(std::move(path));
  }
  Task<Result<void>> set_attributes(std::string path, SetAttributes change, Durable durable) override;
  Task<Result<void>> make_directory(std::string path, uint32_t mode, Durable durable) override;
  Task<Result<void>> remove_directory(std::string path, Durable durable) override {
    return inner_->remove_directory(std::move(path), durable);
  }
  Task<Result<void>> remove(std::string path, Durable durable) override;
  Task<Result<void>> rename(std::string from, std::string to, RenameMode mode, Durable durable) override;
  Task<Result<void>> replace(Replacement what) override;
  Task<Result<void>> link(std::string from, std::string to, Durable durable) override;
  Task<Result<void>> make_symlink(std::string target, std::string path, Durable durable) override {
    return inner_->make_symlink(std::move(target), std::move(path), durable);
  }
  Task<Result<std::string>> read_symlink(std::string path) override {
    return inner_->read_symlink(std::move(path));
  }
  Task<Result<DirectoryPage>> list(std::string path, uint64_t cookie, Listing listing) override {
    return inner_->list(std::move(path), cookie, listing);
  }
  Task<Result<DirectoryPage>> list_few(std::string path, uint64_t cookie, size_t most) override {
    return inner_->list_few(std::move(path), cookie, most);
  }
  Task<Result<void>> sync_directory(std::string path) override {
    return inner_->sync_directory(std::move(path));
  }
  Task<Result<void>> sync_all() override { return inner_->sync_all(); }
  Task<Result<StoreSpace>> space() override { return inner_->space(); }
  Task<Result<StoreSpace>> space_at(std::string path) override { return inner_->space_at(std::move(path)); }
  void forget_names(std::string_view path) override { inner_->forget_names(path); }
  Task<Result<std::string>> read_whole(std::string path, uint64_t bytes_max) override {
    return inner_->read_whole(std::move(path), bytes_max);
  }
  Task<Result<std::string>> xattr(std::string path, std::string name) override {
    return inner_->xattr(std::move(path), std::move(name));
  }
  Task<Result<std::vector<std::string>>> list_xattrs(std::string path) override {
    return inner_->list_xattrs(std::move(path));
  }
  Task<Result<void>> set_xattr(std::string path, std::string name, std::string value, XattrMode mode,
                               Durable durable) override;
  Task<Result<void>> remove_xattr(std::string path, std::string name, Durable durable) override;

 private:
  bool holds(std::string_view path) const { return journal_->is_on() && ReplaceJournal::takes(path); }
  // Does `ask` while the paths are held.
  template <class T>
  Task<Result<T>> held(std::vector<std::string> paths, std::move_only_function<Task<Result<T>>()> ask);
  Task<Result<void>> rename_held(std::vector<std::string> paths, std::string from, std::string to,
                                 RenameMode mode, Durable durable);
  Task<Result<void>> make_directory_noted(std::string path, uint32_t mode);
  Task<Result<void>> replace_in_journal(Replacement what);
  Task<Result<void>> note_undurable(std::string from, std::string to);

  Loop& loop_;
  const std::shared_ptr<Store> inner_;
  const std::shared_ptr<ReplaceJournal> journal_;
};

}  // namespace canopy
