// The methods that a server offers. Filled before the server starts, then only read, from any number of
// loops.
#pragma once

#include <cstring>
#include <deque>
#include <unordered_map>

#include "daemon/wire/server/connection.h"

namespace canopy::wire {

class MethodTable {
 public:
  MethodTable();
  MethodTable(const MethodTable&) = delete;
  MethodTable& operator=(const MethodTable&) = delete;

  // A method that waits: Task<Result<Resp>> Class::name(CallContext&, const Req&). Context and request live
  // until it ends. It starts after the batch of requests that it came with was read. `object` must outlive
  // the server. Who may call it: roles_for(service, name).
  template <class Req, class Resp, class Object, class Class>
  void add(std::string_view service, std::string_view name, Object* object,
           Task<Result<Resp>> (Class::*function)(CallContext&, const Req&)) {
    put(service, name, static_cast<Class*>(object), function, start_task<Req, Resp, Class>);
  }
  // A method that answers at once, without a coroutine: Result<Resp> Class::name(CallContext&, const Req&).
  template <class Req, class Resp, class Object, class Class>
  void add(std::string_view service, std::string_view name, Object* object,
           Result<Resp> (Class::*function)(CallContext&, const Req&)) {
    put(service, name, static_cast<Class*>(object), function, start_now<Req, Resp, Class>);
  }

  struct Method {
    std::string service, name;
    RoleSet roles = 0;
    void* object = nullptr;
    alignas(void*) char function[2 * sizeof(void*)] = {};  // a pointer to member
    void (*start)(const Method&, ServerConnection&, uint32_t stream_id, Nanos deadline,
                  std::string_view payload) = nullptr;

    template <class Class, class Function>
    std::pair<Class*, Function> target() const {
      Function pointer;
      std::memcpy(&pointer, function, sizeof pointer);
      return {static_cast<Class*>(object), pointer};
    }
  };

  const Method* find(std::string_view service, std::string_view name) const;
  bool has_service(std::string_view service) const;
  const std::deque<Method>& methods() const { return methods_; }

 private:
  struct Key {
    std::string_view service, name;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    size_t operator()(const Key& key) const {
      return std::hash<std::string_view>()(key.name) * 31 + key.service.size();
    }
  };

  template <class Class, class Function>
  void put(std::string_view service, std::string_view name, Class* object, Function function,
           decltype(Method::start) start) {
    static_assert(sizeof function <= sizeof Method::function);
    Method method;
    method.service = service;
    method.name = name;
    method.object = object;
    method.start = start;
    std::memcpy(method.function, &function, sizeof function);
    insert(std::move(method));
  }
  void insert(Method method);

  static Error malformed(const Method& method) {
    return Error(Code::kInvalidArgument, method.name,
                 "the payload is no valid message of the request's type");
  }

  template <class Req, class Resp, class Class>
  static void start_now(const Method& method, ServerConnection& connection, uint32_t stream_id,
                        Nanos deadline, std::string_view payload) {
    CallContext call(connection, stream_id, deadline);
    Req request;
    if (!request.ParseFromArray(payload.data(), static_cast<int>(payload.size())))
      return connection.refuse(call, malformed(method));
    auto [object, function] = method.target<Class, Result<Resp> (Class::*)(CallContext&, const Req&)>();
    Result<Resp> result = (object->*function)(call, request);
    if (result)
      connection.answer_if_leased(call, method.service, *result);
    else
      connection.refuse(call, result.error());
  }

  template <class Req>
  struct Call {
    CallContext context;
    Req request;
    size_t request_bytes;
    Call(ServerConnection& connection, uint32_t stream_id, Nanos deadline, size_t bytes)
        : context(connection, stream_id, deadline), request_bytes(bytes) {}
  };

  template <class Req, class Resp, class Class>
  static void start_task(const Method& method, ServerConnection& connection, uint32_t stream_id,
                         Nanos deadline, std::string_view payload) {
    auto call = std::make_unique<Call<Req>>(connection, stream_id, deadline, payload.size());
    if (!call->request.ParseFromArray(payload.data(), static_cast<int>(payload.size())))
      return connection.refuse(call->context, malformed(method));
    connection.begin(call->context, call->request_bytes);
    connection.loop().spawn(run<Req, Resp, Class>(method, connection.shared_from_this(), std::move(call)));
  }

  template <class Req, class Resp, class Class>
  static Task<void> run(const Method& method, std::shared_ptr<ServerConnection> connection,
                        std::unique_ptr<Call<Req>> call) {
    auto [object, function] = method.target<Class, Task<Result<Resp>> (Class::*)(CallContext&, const Req&)>();
    Task<Result<Resp>> task = (object->*function)(call->context, call->request);
    Result<Resp> result = co_await std::move(task);
    co_await connection->loop().switch_to();
    if (result)
      connection->answer_if_leased(call->context, method.service, *result);
    else
      connection->refuse(call->context, result.error());
    connection->end(call->context);
  }

  std::deque<Method> methods_;  // stays in place: the index points into it
  std::unordered_map<Key, const Method*, KeyHash> index_;
};

}  // namespace canopy::wire
