// SimClient::ask(), for the files that implement SimClient.
#pragma once

#include "tests/sim/client.h"

namespace canopy::sim {

#define CANOPY_SIM_METHOD(Service, Method) \
  wire::MethodInfo { "canopy.v1." #Service, #Method, wire::Repeat::kWithRequestId }

// What may have happened or not, or what another process may do.
inline bool leaves_it_open(Code code) {
  switch (code) {
    case Code::kBusy:
    case Code::kStoreUnavailable:
    case Code::kStoreFull:
    case Code::kFenced:
    case Code::kDeadlineExceeded:
    case Code::kCancelled:
    case Code::kConnectionLost:
    case Code::kTryAgain:
    case Code::kConflict:
    case Code::kIo: return true;
    default: return false;
  }
}

// The failure in an answer that is none by itself: of the only recipient.
inline std::optional<Error> error_in(const v1::DeliverResponse& response) {
  if (!response.results(0).has_error()) return std::nullopt;
  const v1::Error& error = response.results(0).error();
  return Error(static_cast<Code>(error.code()), error.object(), error.message());
}
inline std::optional<Error> error_in(const v1::CreateAccountsResponse& response) {
  if (!response.results(0).has_error()) return std::nullopt;
  const v1::Error& error = response.results(0).error();
  return Error(static_cast<Code>(error.code()), error.object(), error.message());
}
template <class Resp>
std::optional<Error> error_in(const Resp&) {
  return std::nullopt;
}

template <class Req, class Resp>
Task<Answer<Resp>> SimClient::ask(size_t on, wire::MethodInfo method, Req request, std::string what,
                                  bool may_give_up) {
  Answer<Resp> answer;
  uint64_t refused_by = 0;
  for (int attempt = 1; site_.trace.violation().empty(); ++attempt) {
    answer.attempts = attempt;
    auto client = client_;
    const uint64_t began_with = connected_epoch();
    site_.trace.event("{} asks ({}): {}", name(), attempt, what);
    auto got = co_await client->template call<Req, Resp>(
        method, request, {.deadline = loop_.now() + random_.between(300 * kMillisecond, 6 * kSecond)});
    std::optional<Error> error = got ? error_in(*got) : std::optional<Error>(got.error());
    answer.epoch = client == client_ ? connected_epoch() : 0;
    if (began_with != 0 && began_with != answer.epoch) answer.epoch = 0;  // it may have been either
    if (!error) {
      site_.trace.event("{} has done (by {:x}): {}", name(), answer.epoch, what);
      answer.is = Answer<Resp>::Is::kDone;
      answer.response = std::move(*got);
      co_return answer;
    }
    site_.trace.event("{} failed (by {:x}): {}: {}", name(), answer.epoch, what, error->to_string());
    if (!leaves_it_open(error->code())) {
      // A process that does not own the account yet, or no more, may not know all of it.
      const bool rightful = answer.epoch != 0 && answer.epoch == site_.highest_epoch;
      if (rightful && refused_by == answer.epoch) {
        answer.is = Answer<Resp>::Is::kRefused;
        answer.error = error;
        co_return answer;
      }
      refused_by = may_give_up ? co_await barrier(on) : 0;
      if (!may_give_up) co_await loop_.sleep(10 * kMillisecond);  // it may be wrong for ever
      continue;
    }
    refused_by = 0;
    if (may_give_up && !site_.calm && random_.one_in(site_.plan.abandon_one_in)) {
      site_.trace.event("{} gives up: {}", name(), what);
      co_return answer;
    }
    if (error->code() == Code::kFenced || error->code() == Code::kDeadlineExceeded || random_.one_in(4))
      reconnect();
    co_await loop_.sleep(random_.between(5 * kMillisecond, 400 * kMillisecond));
  }
  co_return answer;
}

template <class Resp>
bool SimClient::expect_done(const Answer<Resp>& answer, const std::string& what) {
  if (answer.is == Answer<Resp>::Is::kRefused) {
    site_.trace.violation("{} was refused for {}: {}", name(), what, answer.error->to_string());
  }
  return answer.done();
}

}  // namespace canopy::sim
