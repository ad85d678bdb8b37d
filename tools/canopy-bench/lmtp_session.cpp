#include "tools/canopy-bench/lmtp_session.h"

namespace canopy::bench {

Task<Result<void>> LmtpSession::expect(char first_digit, std::string_view what) {
  for (;;) {
    CANOPY_CO_ASSIGN(std::string_view line, co_await client_->line());
    if (line.size() < 3 || line[0] != first_digit)
      co_return fail(Code::kTryAgain, std::string(what), fmt::format("answered with: {}", line));
    if (line.size() == 3 || line[3] != '-') co_return Result<void>{};
  }
}

Task<Result<std::unique_ptr<LmtpSession>>> LmtpSession::connect(UringLoop& loop, Address to) {
  auto session = std::make_unique<LmtpSession>();
  CANOPY_CO_ASSIGN(session->client_, co_await LineClient::connect(loop, to));
  CANOPY_CO_TRY(co_await session->expect('2', "greeting"));
  CANOPY_CO_TRY(co_await session->client_->send("LHLO bench.example.com\r\n"));
  CANOPY_CO_TRY(co_await session->expect('2', "LHLO"));
  co_return session;
}

Task<Result<void>> LmtpSession::deliver(std::string_view recipient, std::string_view content,
                                        bool pipelining) {
  constexpr std::string_view kMail = "MAIL FROM:<sender@example.com>\r\n";
  std::string rcpt = fmt::format("RCPT TO:<{}>\r\n", recipient);
  if (pipelining) {
    out_.assign(kMail).append(rcpt).append("DATA\r\n");
    CANOPY_CO_TRY(co_await client_->send(out_));
    CANOPY_CO_TRY(co_await expect('2', "MAIL"));
    CANOPY_CO_TRY(co_await expect('2', "RCPT"));
    CANOPY_CO_TRY(co_await expect('3', "DATA"));
  } else {
    CANOPY_CO_TRY(co_await client_->send(kMail));
    CANOPY_CO_TRY(co_await expect('2', "MAIL"));
    CANOPY_CO_TRY(co_await client_->send(rcpt));
    CANOPY_CO_TRY(co_await expect('2', "RCPT"));
    CANOPY_CO_TRY(co_await client_->send("DATA\r\n"));
    CANOPY_CO_TRY(co_await expect('3', "DATA"));
  }
  out_.assign(content).append(".\r\n");
  CANOPY_CO_TRY(co_await client_->send(out_));
  co_return co_await expect('2', "message");
}

Task<void> LmtpSession::quit() {
  if (co_await client_->send("QUIT\r\n")) (void)co_await expect('2', "QUIT");
}

}  // namespace canopy::bench
