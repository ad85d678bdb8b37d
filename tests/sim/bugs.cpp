#include "tests/sim/bugs.h"

#include "daemon/account/settings_files.h"
#include "daemon/log/format.h"
#include "daemon/wire/client/methods.h"
#include "daemon/wire/services/directory_service.h"
#include "daemon/wire/services/mailboxes_service.h"

namespace canopy::sim {
namespace {

struct Named {
  Bug bug;
  std::string_view name;
};
constexpr Named kNames[] = {{Bug::kSyncLeftOut, "sync-left-out"},
                            {Bug::kDirectorySyncLeftOut, "directory-sync-left-out"},
                            {Bug::kSealLeftOut, "seal-left-out"},
                            {Bug::kListingLeftOut, "listing-left-out"},
                            {Bug::kRequestForgotten, "request-forgotten"},
                            {Bug::kAccountRequestForgotten, "account-request-forgotten"},
                            {Bug::kStageKept, "stage-kept"},
                            {Bug::kCopySyncLeftOut, "copy-sync-left-out"}};

constexpr uint32_t kSealedMode = 0400;

bool is_slice(std::string_view path) { return path.ends_with(".slice"); }

class BuggyFile final : public File {
 public:
  BuggyFile(Bug bug, std::unique_ptr<File> inner, std::string path)
      : bug_(bug), inner_(std::move(inner)), path_(std::move(path)) {}

  Task<Result<size_t>> read(uint64_t offset, std::span<char> into) override {
    return inner_->read(offset, into);
  }
  Task<Result<WriteOutcome>> write(uint64_t offset, std::span<const std::string_view> pieces,
                                   Durable durable) override {
    if (bug_ == Bug::kSyncLeftOut && is_slice(path_)) durable = Durable::kNo;
    return inner_->write(offset, pieces, durable);
  }
  Task<Result<Attributes>> attributes() override { return inner_->attributes(); }
  Task<Result<void>> set_attributes(SetAttributes change, Durable durable) override {
    return inner_->set_attributes(change, durable);
  }
  Task<Result<void>> sync() override {
    if (bug_ == Bug::kCopySyncLeftOut && path_.starts_with(kStageRoot)) co_return Result<void>();
    co_return co_await inner_->sync();
  }
  Task<Result<void>> allocate(AllocateMode mode, uint64_t offset, uint64_t size) override {
    return inner_->allocate(mode, offset, size);
  }
  Task<Result<uint64_t>> seek_data(uint64_t offset) override { return inner_->seek_data(offset); }
  Task<Result<uint64_t>> seek_hole(uint64_t offset) override { return inner_->seek_hole(offset); }

 private:
  const Bug bug_;
  const std::unique_ptr<File> inner_;
  const std::string path_;
};

class BuggyStore final : public Store {
 public:
  BuggyStore(Bug bug, std::unique_ptr<Store> inner, uint64_t own_epoch)
      : bug_(bug), inner_(std::move(inner)), own_epoch_(own_epoch) {}

  std::string_view name() const override { return inner_->name(); }
  bool shared() const override { return inner_->shared(); }

  Task<Result<std::unique_ptr<File>>> open(std::string path, OpenOptions options) override {
    CANOPY_CO_ASSIGN(std::unique_ptr<File> file, co_await inner_->open(path, options));
    if (options.exclusive && is_slice(path)) blind_for_.insert(path.substr(0, path.rfind('/')));
    file = std::make_unique<BuggyFile>(bug_, std::move(file), std::move(path));
    co_return file;
  }
  Task<Result<Attributes>> attributes(std::string path) override {
    return inner_->attributes(std::move(path));
  }
  Task<Result<void>> set_attributes(std::string path, SetAttributes change, Durable durable) override {
    if (bug_ == Bug::kSealLeftOut && change.mode == kSealedMode) co_return Result<void>();
    co_return co_await inner_->set_attributes(std::move(path), change, durable);
  }
  Task<Result<void>> make_directory(std::string path, uint32_t mode, Durable durable) override {
    return inner_->make_directory(std::move(path), mode, durable);
  }
  Task<Result<void>> remove_directory(std::string path, Durable durable) override {
    return inner_->remove_directory(std::move(path), durable);
  }
  Task<Result<void>> remove(std::string path, Durable durable) override {
    return inner_->remove(std::move(path), durable);
  }
  Task<Result<void>> rename(std::string from, std::string to, RenameMode mode, Durable durable) override {
    return inner_->rename(std::move(from), std::move(to), mode, durable);
  }
  Task<Result<void>> link(std::string from, std::string to, Durable durable) override {
    return inner_->link(std::move(from), std::move(to), durable);
  }
  Task<Result<void>> make_symlink(std::string target, std::string path, Durable durable) override {
    return inner_->make_symlink(std::move(target), std::move(path), durable);
  }
  Task<Result<std::string>> read_symlink(std::string path) override {
    return inner_->read_symlink(std::move(path));
  }
  Task<Result<DirectoryPage>> list(std::string path, uint64_t cookie, Listing) override {
    const bool blind = bug_ == Bug::kListingLeftOut && blind_for_.erase(path) > 0;
    CANOPY_CO_ASSIGN(DirectoryPage page, co_await inner_->list(path, cookie, Listing::kNames));
    std::erase_if(page.entries, [&](const DirectoryEntry& entry) {
      auto slice = parse_slice_file_name(entry.name);
      if (blind && slice && slice->epoch > own_epoch_) return true;
      return bug_ == Bug::kStageKept && path == kStageRoot;
    });
    co_return page;
  }
  Task<Result<void>> sync_directory(std::string path) override {
    if (bug_ == Bug::kDirectorySyncLeftOut) co_return Result<void>();
    co_return co_await inner_->sync_directory(std::move(path));
  }
  Task<Result<StoreSpace>> space() override { return inner_->space(); }

 private:
  const Bug bug_;
  const std::unique_ptr<Store> inner_;
  const uint64_t own_epoch_;
  std::set<std::string> blind_for_;  // directories whose next listing is the one after a create
};

// One method without its request ids.
template <class Service, class Req, class Resp>
struct Forgetful {
  const wire::MethodTable::Method* method;

  Task<Result<Resp>> call(wire::CallContext& context, const Req& request) {
    Req stripped = request;
    if constexpr (requires { stripped.clear_request_id(); }) stripped.clear_request_id();
    if constexpr (requires { stripped.mutable_recipients(0)->clear_request_id(); }) {
      for (auto& recipient : *stripped.mutable_recipients()) recipient.clear_request_id();
    }
    using Function = Task<Result<Resp>> (Service::*)(wire::CallContext&, const Req&);
    auto [object, function] = method->template target<Service, Function>();
    co_return co_await (object->*function)(context, stripped);
  }
};

template <class Service, class Req, class Resp>
void forget_in(const wire::MethodTable& inner, wire::MethodTable& outer, std::string_view service,
               std::string_view name, std::vector<std::shared_ptr<void>>& kept) {
  const wire::MethodTable::Method* method = inner.find(service, name);
  if (method == nullptr) return;
  auto wrapper = std::make_shared<Forgetful<Service, Req, Resp>>(method);
  outer.add(service, name, wrapper.get(), &Forgetful<Service, Req, Resp>::call);
  kept.push_back(std::move(wrapper));
}

}  // namespace

std::string_view bug_name(Bug bug) {
  for (const Named& named : kNames)
    if (named.bug == bug) return named.name;
  return "none";
}

std::optional<Bug> parse_bug(std::string_view name) {
  for (const Named& named : kNames)
    if (named.name == name) return named.bug;
  return std::nullopt;
}

std::unique_ptr<Store> with_bug(Bug bug, std::unique_ptr<Store> inner, uint64_t own_epoch) {
  if (bug == Bug::kNone || bug == Bug::kRequestForgotten || bug == Bug::kAccountRequestForgotten)
    return inner;
  return std::make_unique<BuggyStore>(bug, std::move(inner), own_epoch);
}

std::shared_ptr<void> forget_request_ids(Bug bug, const wire::MethodTable& inner, wire::MethodTable& outer) {
  auto kept = std::make_shared<std::vector<std::shared_ptr<void>>>();
#define CANOPY_FORGET(function, Method, Request, Response, repeat)                                           \
  forget_in<wire::MailboxesService, v1::Request, v1::Response>(inner, outer, "canopy.v1.Mailboxes", #Method, \
                                                               *kept);
  if (bug == Bug::kRequestForgotten) {
    CANOPY_MAILBOXES_METHODS(CANOPY_FORGET)
  }
#undef CANOPY_FORGET
#define CANOPY_FORGET(function, Method, Request, Response, repeat)                                           \
  forget_in<wire::DirectoryService, v1::Request, v1::Response>(inner, outer, "canopy.v1.Directory", #Method, \
                                                               *kept);
  if (bug == Bug::kAccountRequestForgotten) {
    CANOPY_DIRECTORY_METHODS(CANOPY_FORGET)
  }
#undef CANOPY_FORGET
  return kept;
}

}  // namespace canopy::sim
