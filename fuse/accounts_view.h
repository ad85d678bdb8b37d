// AccountsView: accounts/DOMAIN/NAME/ with settings, info and location as text and a folder of UID.eml for
// each mailbox.
#pragma once

#include "fuse/backend.h"
#include "fuse/place.h"
#include "fuse/view.h"

namespace canopy::mount {

class AccountsView final : public View {
 public:
  struct Owner {
    uid_t uid = 0;
    gid_t gid = 0;
  };
  AccountsView(Backend& backend, Owner owner);

  Found top() const;  // the node of accounts/

  Task<Result<Found>> lookup(NodeRef directory, std::string name) override;
  Task<Result<Found>> attributes(NodeRef node, OpenFileRef file) override;
  Task<Result<Page>> list(NodeRef directory, std::string from) override;
  Task<Result<OpenFileRef>> open(NodeRef node, int flags) override;
  Task<Result<std::string>> read(OpenFileRef file, uint64_t offset, size_t bytes) override;
  Task<Result<std::string>> get_xattr(NodeRef node, std::string name) override;
  Task<Result<std::vector<std::string>>> list_xattr(NodeRef node) override;

 private:
  struct TextFile;

  Found found(const Place& place, uint64_t size = 0) const;
  Found found_message(const Place& mailbox, uint32_t uid_validity, const v1::Message& row) const;
  Entry entry(std::string name, const Place& place) const;
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

  Backend& backend_;
  const Owner owner_;
  const timespec started_;
};

}  // namespace canopy::mount
