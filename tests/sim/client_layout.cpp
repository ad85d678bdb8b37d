// SimClient as an administrator who cannot make up his mind: how accounts are laid out changes while they are
// used, whatever is still moving.
#include "tests/sim/client_ask.h"

namespace canopy::sim {
namespace {

constexpr Nanos kSettleMax = 300 * kSecond;

}  // namespace

Task<void> SimClient::change_layout() {
  if (random_.below(10) < 6) co_return co_await set_layout();
  co_await turn_or_pause(std::string(kSimDomain));
}

Task<void> SimClient::turn_or_pause(std::string relocation) {
  if (random_.one_in(2)) {
    v1::DomainRequest request;
    request.set_name(relocation);
    // Refused when nothing moves.
    (void)co_await ask<v1::DomainRequest, v1::RelocationInfo>(0, CANOPY_SIM_METHOD(Relocation, Cancel),
                                                              request, "cancel the relocation " + relocation);
    co_return;
  }
  v1::SetRelocationRequest request;
  request.set_domain(relocation);
  request.set_which(1);
  request.set_paused(random_.one_in(2));
  (void)co_await ask<v1::SetRelocationRequest, v1::RelocationInfo>(
      0, CANOPY_SIM_METHOD(Relocation, Set), request,
      (request.paused() ? "pause " : "go on with what is paused: ") + relocation);
}

Task<void> SimClient::change_domain_foldering() {
  constexpr std::string_view kMethods[] = {"flat", "1", "2-1", "hash-1"};
  if (random_.below(10) >= 6) co_return co_await turn_or_pause(std::string(wire::kAllDomains));
  v1::SetInfoRequest request;
  request.set_kind(v1::SETTINGS);
  request.set_text(fmt::format("{{DomainFoldering=\"{}\";}}", kMethods[random_.below(std::size(kMethods))]));
  request.set_request_id(new_id());
  // Refused when domains lie under too many folderings, or have no place under this one.
  (void)co_await ask<v1::SetInfoRequest, v1::InfoResponse>(0, CANOPY_SIM_METHOD(Info, Set), request,
                                                           "domain foldering " + request.text());
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

Task<void> SimClient::go_on(std::string relocation) {
  v1::SetRelocationRequest request;
  request.set_domain(relocation);
  request.set_which(1);
  (void)co_await ask<v1::SetRelocationRequest, v1::RelocationInfo>(
      0, CANOPY_SIM_METHOD(Relocation, Set), request, "go on with what is paused: " + relocation);
}

Task<std::optional<v1::RelocationInfo>> SimClient::settle(std::string relocation) {
  v1::DomainRequest which;
  which.set_name(relocation);
  const Nanos until = loop_.now() + kSettleMax;
  while (loop_.now() < until && site_.trace.violation().empty()) {
    auto now = co_await ask<v1::DomainRequest, v1::RelocationInfo>(
        0, CANOPY_SIM_METHOD(Relocation, Get), which, "look at the relocation " + relocation);
    if (now.done() && (now.response.state() == "none" || now.response.state() == "finished"))
      co_return std::move(now.response);
    co_await loop_.sleep(kSecond);
  }
  co_return std::nullopt;
}

// Domains wait for accounts on their way to other stores. Then the domain: its accounts' settings may follow
// it; it may have to wait for them, too, when they lie under too many layouts.
Task<std::optional<SimClient::Settled>> SimClient::settle_layout() {
  if (!site_.plan.others.empty()) co_await go_on(std::string(kAllMounts));
  co_await go_on(std::string(wire::kAllDomains));
  co_await go_on(std::string(kSimDomain));
  auto mounts = co_await settle_mounts();
  if (!mounts) co_return std::nullopt;
  const auto domains = co_await settle(std::string(wire::kAllDomains));
  if (!domains) co_return std::nullopt;
  const auto accounts = co_await settle(std::string(kSimDomain));
  if (!accounts) co_return std::nullopt;
  auto layout = TreeLayout::parse(domains->to().account_foldering(), accounts->to().account_foldering(),
                                  std::to_string(accounts->to().fast_index()));
  if (!layout) co_return std::nullopt;
  co_return Settled{std::move(*layout), std::move(*mounts)};
}

}  // namespace canopy::sim
