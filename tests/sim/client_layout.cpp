// SimClient as an administrator who cannot make up his mind: how accounts are laid out changes while they are
// used, whatever is still moving.
#include "tests/sim/client_ask.h"

namespace canopy::sim {
namespace {

constexpr Nanos kSettleMax = 300 * kSecond;

}  // namespace

Task<void> SimClient::change_layout() {
  const uint64_t dice = random_.below(10);
  if (dice < 6) co_return co_await set_layout();
  const std::string domain(kSimDomain);
  if (dice < 8) {
    v1::DomainRequest request;
    request.set_name(domain);
    // Refused when nothing moves.
    (void)co_await ask<v1::DomainRequest, v1::RelocationInfo>(0, CANOPY_SIM_METHOD(Relocation, Cancel),
                                                              request, "cancel the relocation");
    co_return;
  }
  v1::SetRelocationRequest request;
  request.set_domain(domain);
  request.set_which(1);
  request.set_paused(random_.one_in(2));
  (void)co_await ask<v1::SetRelocationRequest, v1::RelocationInfo>(
      0, CANOPY_SIM_METHOD(Relocation, Set), request,
      request.paused() ? "pause" : "go on with what is paused");
}

Task<void> SimClient::set_layout() {
  constexpr std::string_view kMethods[] = {"flat", "1", "2-1", "1-1", "hash-1"};
  v1::SetInfoRequest request;
  request.mutable_account()->set_name("@" + std::string(kSimDomain));
  request.set_kind(v1::SETTINGS);
  request.set_text(fmt::format("{{Foldering={};FastIndex=#{};}}",
                               kMethods[random_.below(std::size(kMethods))], random_.below(3)));
  request.set_request_id(new_id());
  // Refused when too many layouts are superseded.
  (void)co_await ask<v1::SetInfoRequest, v1::InfoResponse>(0, CANOPY_SIM_METHOD(Info, Set), request,
                                                           "layout " + request.text());
}

Task<std::optional<TreeLayout>> SimClient::settle_layout() {
  v1::SetRelocationRequest go_on;
  go_on.set_domain(std::string(kSimDomain));
  go_on.set_which(1);
  (void)co_await ask<v1::SetRelocationRequest, v1::RelocationInfo>(0, CANOPY_SIM_METHOD(Relocation, Set),
                                                                   go_on, "go on with what is paused");
  v1::DomainRequest which;
  which.set_name(std::string(kSimDomain));
  const Nanos until = loop_.now() + kSettleMax;
  while (loop_.now() < until && site_.trace.violation().empty()) {
    auto now = co_await ask<v1::DomainRequest, v1::RelocationInfo>(0, CANOPY_SIM_METHOD(Relocation, Get),
                                                                   which, "look at the relocation");
    if (now.done() && (now.response.state() == "none" || now.response.state() == "finished")) {
      auto layout = TreeLayout::parse("flat", now.response.to().account_foldering(),
                                      std::to_string(now.response.to().fast_index()));
      if (layout) co_return *layout;
    }
    co_await loop_.sleep(kSecond);
  }
  co_return std::nullopt;
}

}  // namespace canopy::sim
