// Uploads of one connection: large messages on their way into accounts, a piece at a time (OpenUpload,
// Upload). For the connection's loop; what belongs to an account is touched on the account's loop only.
#pragma once

#include <memory>

#include "daemon/wire/services/node.h"

namespace canopy::wire {

inline constexpr size_t kUploadsPerConnectionMax = 256;

struct UploadTarget {
  Shard* shard = nullptr;
  AccountAddress address;
  std::shared_ptr<Account> account;
  std::vector<ContentPart> parts;
  std::optional<Error> error;
  ~UploadTarget();  // any loop: says on the account's loop that the upload is over
};

struct Upload {
  std::vector<std::unique_ptr<UploadTarget>> targets;
  uint64_t bytes = 0;  // received
  bool busy = false;   // a chunk is on its way
};

struct Uploads {
  std::map<uint64_t, std::shared_ptr<Upload>> by_id;
};

}  // namespace canopy::wire
