// What the files of Load share.
#pragma once

#include "tests/crash/load.h"

namespace canopy::crash {

inline constexpr Nanos kPatience = 120 * kSecond;  // a request that is not answered by then is a failure
inline constexpr size_t kAnsweredMax = 64;
inline constexpr size_t kMessagesWanted = 120;  // in a mailbox; beyond it more are expunged than come

// Sends until there is an answer, or an error that sending again cannot help.
template <class Stub, class Req, class Resp>
Task<Result<Resp>> Load::insist(wire::Client& client,
                                Task<Result<Resp>> (Stub::*method)(const Req&, wire::CallOptions) const,
                                const Req& request) {
  Stub stub(client);
  wire::CallOptions options;
  options.deadline = loop_.now() + kPatience;
  for (;;) {
    auto answer = co_await (stub.*method)(request, options);
    if (answer || !answer.error().retryable() || loop_.now() >= options.deadline) co_return answer;
    ++counts_.sent_again;
    co_await loop_.sleep(20 * kMillisecond);
  }
}

inline std::string hex(std::string_view bytes) {
  std::string text;
  for (char c : bytes) text += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return text;
}

template <class Stub, class Req, class Resp>
struct Answered {
  Task<Result<Resp>> (Stub::*method)(const Req&, wire::CallOptions) const;
  Req request;
  std::string answer;

  static Task<std::string> send(std::shared_ptr<const Answered> self, wire::Client& client) {
    Stub stub(client);
    auto again = co_await (stub.*self->method)(self->request, {});
    if (!again)
      co_return fmt::format("{} that was answered, sent again: {}", Req().GetTypeName(),
                            again.error().to_string());
    if (again->SerializeAsString() == self->answer) co_return std::string();
    co_return fmt::format("{} that was answered, sent again, is answered differently: {}, not {}",
                          Req().GetTypeName(), hex(again->SerializeAsString()), hex(self->answer));
  }
};

template <class Stub, class Req, class Resp>
std::function<Task<std::string>(wire::Client&)> again(Task<Result<Resp>> (Stub::*method)(const Req&,
                                                                                         wire::CallOptions)
                                                          const,
                                                      const Req& request, const Resp& answer) {
  using Row = Answered<Stub, Req, Resp>;
  auto row = std::make_shared<const Row>(Row{method, request, answer.SerializeAsString()});
  return [row](wire::Client& client) { return Row::send(row, client); };
}

}  // namespace canopy::crash
