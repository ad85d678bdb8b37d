// AccountsView: accounts/DOMAIN/NAME/ with settings, info and location as text and a folder of UID.eml for
// each mailbox.
#pragma once

#include <unordered_map>
#include <unordered_set>

#include "fuse/backend.h"
#include "fuse/draft.h"
#include "fuse/place.h"
#include "fuse/view.h"

namespace canopy::mount {

class AccountsView final : public View {
 public:
  struct Owner {
    uid_t uid = 0;
    gid_t gid = 0;
  };
  AccountsView(Backend& backend, UringLoop& loop, Owner owner);

  Found top() const;  // the node of accounts/

  Task<Result<Found>> lookup(NodeRef directory, std::string name) override;
  Task<Result<Found>> attributes(NodeRef node, OpenFileRef file) override;
  Task<Result<Page>> list(NodeRef directory, std::string from, Listed listed, size_t wanted) override;
  Task<Result<OpenFileRef>> open(NodeRef node, int flags) override;
  Task<Result<std::string>> read(OpenFileRef file, uint64_t offset, size_t bytes) override;
  Task<Result<std::string>> get_xattr(NodeRef node, std::string name) override;
  Task<Result<std::vector<std::string>>> list_xattr(NodeRef node) override;

  // What changes something (accounts_write.cpp: files; accounts_names.cpp: names; accounts_mail.cpp).
  Task<Result<Created>> create(NodeRef directory, std::string name, mode_t mode, int flags,
                               Caller caller) override;
  Task<Result<Written>> write(OpenFileRef file, uint64_t offset, std::string bytes, bool append) override;
  Task<Result<void>> flush(OpenFileRef file, Closer closer) override;
  Task<Result<void>> sync(OpenFileRef file) override;
  Task<Result<Found>> set_attributes(NodeRef node, OpenFileRef file, AttributeChange change) override;
  Task<Result<Found>> make_directory(NodeRef directory, std::string name, mode_t mode,
                                     Caller caller) override;
  Task<Result<void>> remove(NodeRef directory, std::string name, bool is_directory) override;
  Task<Result<void>> rename(NodeRef from, std::string name, NodeRef to, std::string new_name,
                            unsigned flags) override;
  Task<Result<void>> set_xattr(NodeRef node, std::string name, std::string value, int flags) override;
  Task<Result<void>> remove_xattr(NodeRef node, std::string name) override;

 private:
  // An open one: a message, a text that is read or gathered, or a draft.
  struct File final : OpenFile {
    ~File() override;
    Place place;
    std::string text;      // of a text file, as it was when it was opened and as it is being written
    bool writes = false;   // a text that may be written
    bool changed = false;  // and has been, since it was last applied
    DraftRef draft;
    Drafts* drafts = nullptr;
  };

  Found found(const Place& place, uint64_t size = 0) const;
  Found found_message(const Place& mailbox, uint32_t uid_validity, const v1::Message& row) const;
  Entry entry(std::string name, const Place& place) const;
  void add_mailbox(Page& page, const Place& folder, std::string_view level, const v1::Mailbox& mailbox);
  Task<Result<Found>> lookup_in_account(Place account, std::string name);
  Task<Result<Found>> lookup_in_mailbox(Place mailbox, std::string name);
  Task<Result<Found>> found_mailbox(Place account, std::string name);
  Task<Result<v1::ListMessagesResponse>> rows(const Place& mailbox, uint32_t after_uid, uint32_t limit);
  Task<Result<v1::Message>> row_of(Place message);
  Task<Result<std::string>> name_of_mailbox(const Place& mailbox);
  Task<Result<Page>> list_account(Place account);
  Task<Result<Page>> list_mailbox(Place mailbox, std::string from);
  Task<Result<std::string>> text_of(Place file);
  Task<Result<std::string>> location_of(Place file);
  Task<Result<Found>> found_text(Place file, size_t size);

  // What it is now: a message may have moved, or have come from a draft.
  Place place_of(const Node& node) const { return resolve(Place::of_key(node.key)); }
  Place resolve(Place place) const;
  Found found_draft(const Draft& draft) const;
  Task<Result<std::shared_ptr<File>>> open_draft(DraftRef draft, bool truncate);
  Task<Result<Found>> lookup_draft(DraftRef draft);
  Task<Result<void>> deliver(DraftRef draft);
  Task<Result<v1::AppendResponse>> append(DraftRef draft);
  Task<Result<v1::AppendResponse>> append_once(DraftRef draft, v1::AppendRequest& request);
  Task<Result<Found>> pass_over(NodeRef node, OpenFileRef file, AttributeChange change);
  Task<Result<void>> apply(Place file, std::string text);
  Task<Result<std::string>> name_below(Place folder, std::string element);
  Task<Result<void>> rename_draft(DraftRef draft, Place to, std::string name, std::optional<Place> target);
  Task<Result<void>> move_message(Place message, Place to, std::string name, bool taken);
  Task<Result<void>> rename_mailbox(Place mailbox, Place to, std::string name);
  Task<Result<void>> store_flags(Place message, v1::Flags flags);

  Backend& backend_;
  Drafts drafts_;
  std::map<std::string, std::string> last_errors_;  // by account
  std::unordered_map<std::string, Place> moved_;    // by the key of the place where it was
  std::unordered_set<std::string> left_out_;        // keys of mailboxes that the log has been told of
  const Owner owner_;
  const timespec started_;
};

}  // namespace canopy::mount
