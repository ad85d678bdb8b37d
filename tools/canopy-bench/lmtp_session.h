// One LMTP connection that delivers messages (RFC 2033).
#pragma once

#include "tools/canopy-bench/line_client.h"

namespace canopy::bench {

class LmtpSession {
 public:
  static Task<Result<std::unique_ptr<LmtpSession>>> connect(UringLoop& loop, Address to);
  // Answers once the server has taken the message. `pipelining`: MAIL, RCPT and DATA in one write (RFC 2920).
  // `content`: as in Mail, not to be changed on the way.
  Task<Result<void>> deliver(std::string_view recipient, std::string_view content, bool pipelining);
  Task<void> quit();

 private:
  Task<Result<void>> expect(char first_digit, std::string_view what);

  std::unique_ptr<LineClient> client_;
  std::string out_;
};

}  // namespace canopy::bench
