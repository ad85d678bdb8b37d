#include "tools/canopy-bench/pop3_session.h"

#include <charconv>

#include "daemon/base/base64.h"

namespace canopy::bench {

Task<Result<std::unique_ptr<Pop3Session>>> Pop3Session::connect(UringLoop& loop, Address to, TlsMode mode,
                                                                const TlsSettings* tls) {
  CANOPY_CO_ASSIGN(auto stream, co_await loop.connect(to, loop.now() + 30 * kSecond));
  co_return co_await begin(loop, std::move(stream), mode, tls);
}

Task<Result<std::unique_ptr<Pop3Session>>> Pop3Session::begin(UringLoop& loop, std::unique_ptr<Stream> stream,
                                                              TlsMode mode, const TlsSettings* tls) {
  auto session = std::make_unique<Pop3Session>();
  session->client_ = std::make_unique<LineClient>(loop, std::move(stream));
  if (mode == TlsMode::kPop3s) CANOPY_CO_TRY(co_await session->client_->start_tls(*tls));
  CANOPY_CO_ASSIGN(std::string_view greeting, co_await session->client_->line());
  if (!greeting.starts_with("+OK")) co_return fail(Code::kTryAgain, "greeting", std::string(greeting));
  if (mode == TlsMode::kStls) {
    CANOPY_CO_TRY(co_await session->command("STLS"));
    CANOPY_CO_TRY(co_await session->client_->start_tls(*tls));
  }
  co_return session;
}

Task<Result<std::string_view>> Pop3Session::command(std::string_view words) {
  out_.assign(words).append("\r\n");
  CANOPY_CO_TRY(co_await client_->send(out_));
  CANOPY_CO_ASSIGN(std::string_view line, co_await client_->line());
  if (!line.starts_with("+OK"))
    co_return fail(Code::kTryAgain, std::string(words.substr(0, words.find(' '))),
                   fmt::format("answered with: {}", line));
  co_return line.substr(std::min<size_t>(line.size(), 4));
}

Task<Result<uint64_t>> Pop3Session::long_command(std::string_view words, std::string* text) {
  CANOPY_CO_TRY(co_await command(words));
  co_return co_await client_->body(text);
}

Task<Result<void>> Pop3Session::log_in(std::string_view account, std::string_view password, Pop3Auth auth) {
  std::string words;
  if (auth == Pop3Auth::kPlain) {
    std::string response;
    response.append(1, '\0').append(account).append(1, '\0').append(password);
    words = "AUTH PLAIN " + base64_encode(response);
  } else {
    words = fmt::format("USER {}", account);
    CANOPY_CO_TRY(co_await command(words));
    words = fmt::format("PASS {}", password);
  }
  CANOPY_CO_TRY(co_await command(words));
  co_return Result<void>{};
}

Task<Result<uint32_t>> Pop3Session::message_count() {
  CANOPY_CO_ASSIGN(std::string_view answer, co_await command("STAT"));
  uint32_t count = 0;
  if (std::from_chars(answer.data(), answer.data() + answer.size(), count).ec != std::errc{})
    co_return fail(Code::kTryAgain, "STAT", fmt::format("answered with: {}", answer));
  co_return count;
}

Task<Result<void>> Pop3Session::probe(std::string_view words) {
  out_.assign(words).append("\r\n");
  CANOPY_CO_TRY(co_await client_->send(out_));
  CANOPY_CO_ASSIGN(std::string_view line, co_await client_->line());
  bool goes_on = words == "CAPA" && line.starts_with("+OK");
  if (goes_on) CANOPY_CO_TRY(co_await client_->body());
  client_->release();
  co_return Result<void>{};
}

}  // namespace canopy::bench
