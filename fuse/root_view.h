// RootView: the mount's own directory: SharedDomains, Settings and accounts.
#pragma once

#include "fuse/accounts_view.h"
#include "fuse/raw_view.h"

namespace canopy::mount {

class RootView final : public View {
 public:
  RootView(RawView& raw, AccountsView& accounts) : raw_(raw), accounts_(accounts) {}

  Task<Result<Found>> lookup(NodeRef directory, std::string name) override;
  Task<Result<Found>> attributes(NodeRef node, OpenFileRef file) override;
  Task<Result<Page>> list(NodeRef directory, std::string from, Listed listed, size_t wanted) override;
  Task<Result<OpenFileRef>> open(NodeRef node, int flags) override;
  Task<Result<std::string>> read(OpenFileRef file, uint64_t offset, size_t bytes) override;

 private:
  RawView& raw_;
  AccountsView& accounts_;
};

}  // namespace canopy::mount
