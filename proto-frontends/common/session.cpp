#include "proto-frontends/common/session.h"

#include "daemon/base/bytes.h"
#include "daemon/base/limits.h"

namespace canopy::frontend {

std::string new_request_id(Loop& loop) {
  std::string id;
  while (id.size() < kRequestIdBytes) put_le(id, loop.random());
  return id;
}

}  // namespace canopy::frontend
