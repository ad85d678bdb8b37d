// What a method learns about its call and its caller. Everything is for the connection's loop, except what
// says otherwise: a method that moved to another loop comes back (co_await context.loop().switch_to()) before
// it touches the connection.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "daemon/runtime/loop.h"
#include "daemon/wire/canopy.pb.h"
#include "daemon/wire/server/roles.h"

namespace canopy::wire {

// The connection, as methods see it: identity, and what belongs to it and ends with it (uploads, maildrop
// locks).
class ConnectionContext {
 public:
  virtual ~ConnectionContext() = default;

  uint64_t id() const { return id_; }  // unique in this process; any thread
  const PeerIdentity& peer() const { return peer_; }
  Loop& loop() const { return loop_; }  // any thread
  bool closed() const { return closed_; }

  // Takes a lesser role than the peer's own: an admin may become anything, once (Hello.role).
  Result<void> lower_role(Role role);

  // The connection's own T, made on first use, gone with the connection (after its on_close hooks).
  template <class T>
  T& attachment() {
    static constexpr char kTag = 0;  // its address names the type
    for (auto& held : attachments_)
      if (held.tag == &kTag) return *static_cast<T*>(held.object.get());
    auto made = std::make_shared<T>();
    T& object = *made;
    attachments_.push_back({&kTag, std::move(made)});
    return object;
  }
  // Runs once, on this loop, when the connection has ended; at once when it already has.
  void on_close(std::move_only_function<void()> hook);

  // Asks the call with that stream id to give up. False: there is none under way.
  virtual bool cancel(uint32_t stream_id) = 0;

 protected:
  ConnectionContext(Loop& loop, uint64_t id) : loop_(loop), id_(id) {}
  void run_close_hooks();

  Loop& loop_;
  const uint64_t id_;
  PeerIdentity peer_;
  bool closed_ = false;

 private:
  struct Attachment {
    const void* tag;
    std::shared_ptr<void> object;
  };
  std::vector<Attachment> attachments_;
  std::vector<std::move_only_function<void()>> close_hooks_;
};

class CallContext {
 public:
  CallContext(ConnectionContext& connection, uint32_t stream_id, Nanos deadline)
      : connection_(connection), stream_id_(stream_id), deadline_(deadline) {}
  CallContext(const CallContext&) = delete;
  CallContext& operator=(const CallContext&) = delete;

  Loop& loop() const { return connection_.loop(); }  // any thread
  Nanos deadline() const { return deadline_; }       // as Loop::now(); kNever: none; any thread
  uint32_t stream_id() const { return stream_id_; }  // any thread
  Role role() const { return connection_.peer().role; }
  const std::string& peer_name() const { return connection_.peer().name; }
  ConnectionContext& connection() const { return connection_; }

  // The client has cancelled, or its connection has ended: nobody waits for the answer. Any thread.
  bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }
  // Runs once, on the connection's loop, when the call is cancelled while it is under way; for calls that
  // wait (Watch).
  void on_cancel(std::move_only_function<void()> hook);

  // Goes with a kWrongBackend failure.
  void set_owner(v1::Owner owner) { owner_ = std::make_unique<v1::Owner>(std::move(owner)); }
  const v1::Owner* owner() const { return owner_.get(); }

  void cancel();  // by the server

 private:
  friend class ServerConnection;
  ConnectionContext& connection_;
  const uint32_t stream_id_;
  const Nanos deadline_;
  std::atomic<bool> cancelled_{false};
  std::unique_ptr<v1::Owner> owner_;
  std::move_only_function<void()> cancel_hook_;
  CallContext* before_ = nullptr;  // in the connection's list of calls under way
  CallContext* after_ = nullptr;
  Nanos begun_ = 0;
  bool slow_ = false;  // its request's bytes are counted with those of the loop's slow calls
  size_t request_bytes_ = 0;
};

}  // namespace canopy::wire
