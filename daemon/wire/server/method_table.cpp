#include "daemon/wire/server/method_table.h"

#include <google/protobuf/stubs/logging.h>

namespace canopy::wire {

// Protobuf would write a line to stderr for each malformed message that a client sends; we answer it instead.
// It has one handler for the process, so it is set here, before the loops run.
MethodTable::MethodTable() { google::protobuf::SetLogHandler(nullptr); }

void MethodTable::insert(Method method) {
  method.roles = roles_for(method.service, method.name);
  const Method& kept = methods_.emplace_back(std::move(method));
  const bool fresh = index_.emplace(Key{kept.service, kept.name}, &kept).second;
  CANOPY_CHECK(fresh);
}

const MethodTable::Method* MethodTable::find(std::string_view service, std::string_view name) const {
  auto found = index_.find(Key{service, name});
  return found == index_.end() ? nullptr : found->second;
}

bool MethodTable::has_service(std::string_view service) const {
  return std::ranges::any_of(methods_, [&](const Method& method) { return method.service == service; });
}

}  // namespace canopy::wire
