#include "daemon/wire/server/call_context.h"

namespace canopy::wire {

Result<void> ConnectionContext::lower_role(Role role) {
  if (role == peer_.role) return {};
  if (peer_.role != Role::kAdmin || role == Role::kNone)
    return fail(
        Code::kPermissionDenied, "role",
        fmt::format("{} has role {} and cannot take {}", peer_.name, role_name(peer_.role), role_name(role)));
  peer_.role = role;
  return {};
}

void ConnectionContext::on_close(std::move_only_function<void()> hook) {
  if (closed_)
    hook();
  else
    close_hooks_.push_back(std::move(hook));
}

void ConnectionContext::run_close_hooks() {
  // A hook may look at the attachments; the youngest goes first, as it may refer to what older ones hold.
  while (!close_hooks_.empty()) {
    auto hook = std::move(close_hooks_.back());
    close_hooks_.pop_back();
    hook();
  }
}

void CallContext::on_cancel(std::move_only_function<void()> hook) {
  if (cancelled())
    hook();
  else
    cancel_hook_ = std::move(hook);
}

void CallContext::cancel() {
  if (cancelled_.exchange(true, std::memory_order_relaxed)) return;
  if (cancel_hook_) std::exchange(cancel_hook_, {})();
}

}  // namespace canopy::wire
