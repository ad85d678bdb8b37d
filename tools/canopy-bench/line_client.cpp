#include "tools/canopy-bench/line_client.h"

#include <openssl/err.h>

namespace canopy::bench {
namespace {

constexpr size_t kCipherBytes = 32 << 10;

std::unexpected<Error> tls_failure(std::string_view what) {
  std::array<char, 160> words{};
  ERR_error_string_n(ERR_get_error(), words.data(), words.size());
  return fail(Code::kConnectionLost, "TLS", fmt::format("{}: {}", what, words.data()));
}

}  // namespace

Result<std::unique_ptr<TlsSettings>> TlsSettings::create() {
  SSL_CTX* context = SSL_CTX_new(TLS_client_method());
  if (context == nullptr) return tls_failure("no context");
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE);
  SSL_CTX_set_verify(context, SSL_VERIFY_NONE, nullptr);
  return std::unique_ptr<TlsSettings>(new TlsSettings(context));
}

TlsSettings::~TlsSettings() { SSL_CTX_free(context_); }

LineClient::~LineClient() { SSL_free(tls_); }

Task<Result<std::unique_ptr<LineClient>>> LineClient::connect(UringLoop& loop, Address to) {
  CANOPY_CO_ASSIGN(auto stream, co_await loop.connect(to, loop.now() + 30 * kSecond));
  co_return std::make_unique<LineClient>(loop, std::move(stream));
}

Task<Result<void>> LineClient::start_tls(const TlsSettings& settings) {
  CANOPY_CHECK(begin_ == end_ && tls_ == nullptr);
  tls_ = SSL_new(settings.context());
  CANOPY_CHECK(tls_ != nullptr);
  SSL_set_bio(tls_, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
  for (;;) {
    int done = SSL_connect(tls_);
    CANOPY_CO_TRY(co_await flush_tls());
    if (done == 1) co_return Result<void>{};
    if (SSL_get_error(tls_, done) != SSL_ERROR_WANT_READ) co_return tls_failure("handshake");
    CANOPY_CO_TRY(co_await feed_tls());
  }
}

// What OpenSSL wants to have sent.
Task<Result<void>> LineClient::flush_tls() {
  char* bytes = nullptr;
  long length = BIO_get_mem_data(SSL_get_wbio(tls_), &bytes);
  if (length <= 0) co_return Result<void>{};
  std::string out(bytes, static_cast<size_t>(length));
  (void)BIO_reset(SSL_get_wbio(tls_));
  co_return co_await stream_->write_all(out, deadline());
}

Task<Result<void>> LineClient::feed_tls() {
  // No buffer is held while an idle connection waits.
  CANOPY_CO_TRY(co_await stream_->readable(deadline()));
  auto cipher = std::make_unique<char[]>(kCipherBytes);
  CANOPY_CO_ASSIGN(size_t got, co_await stream_->read({cipher.get(), kCipherBytes}, deadline()));
  if (got == 0) co_return fail(Code::kConnectionLost, "TLS", "the server closed the connection");
  BIO_write(SSL_get_rbio(tls_), cipher.get(), static_cast<int>(got));
  co_return Result<void>{};
}

Task<Result<void>> LineClient::send(std::string_view bytes) {
  if (tls_ == nullptr) co_return co_await stream_->write_all(bytes, deadline());
  while (!bytes.empty()) {
    int wrote = SSL_write(tls_, bytes.data(), static_cast<int>(std::min<size_t>(bytes.size(), 1 << 20)));
    if (wrote <= 0) co_return tls_failure("write");
    bytes.remove_prefix(static_cast<size_t>(wrote));
  }
  co_return co_await flush_tls();
}

Task<Result<size_t>> LineClient::read_some(std::span<char> into) {
  if (tls_ == nullptr) co_return co_await stream_->read(into, deadline());
  for (;;) {
    int got = SSL_read(tls_, into.data(), static_cast<int>(into.size()));
    if (got > 0) co_return static_cast<size_t>(got);
    int why = SSL_get_error(tls_, got);
    if (why == SSL_ERROR_ZERO_RETURN) co_return size_t{0};
    if (why != SSL_ERROR_WANT_READ) co_return tls_failure("read");
    CANOPY_CO_TRY(co_await flush_tls());
    CANOPY_CO_TRY(co_await feed_tls());
  }
}

Task<Result<void>> LineClient::read_more() {
  if (!buffer_) buffer_ = std::make_unique_for_overwrite<char[]>(kBufferBytes);
  if (begin_ > 0) {
    std::memmove(buffer_.get(), buffer_.get() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  if (end_ == kBufferBytes) co_return fail(Code::kTooLarge, "the server", "sends a line without an end");
  CANOPY_CO_ASSIGN(size_t got, co_await read_some({buffer_.get() + end_, kBufferBytes - end_}));
  if (got == 0) co_return fail(Code::kConnectionLost, "the server", "closed the connection");
  end_ += got;
  co_return Result<void>{};
}

Task<Result<std::string_view>> LineClient::line() {
  size_t looked = 0;
  for (;;) {
    std::string_view waiting(buffer_.get() + begin_, end_ - begin_);
    size_t newline = waiting.find('\n', looked);
    if (newline != std::string_view::npos) {
      begin_ += newline + 1;
      waiting = waiting.substr(0, newline);
      if (waiting.ends_with('\r')) waiting.remove_suffix(1);
      co_return waiting;
    }
    looked = waiting.size();
    CANOPY_CO_TRY(co_await read_more());
  }
}

Task<Result<uint64_t>> LineClient::body(std::string* text) {
  constexpr std::string_view kEnd = "\r\n.\r\n";
  uint64_t bytes = 0;
  bool at_start = true;  // an empty body is the dot alone
  for (;;) {
    std::string_view waiting(buffer_.get() + begin_, end_ - begin_);
    if (at_start && waiting.starts_with(kEnd.substr(2))) {
      begin_ += 3;
      co_return bytes;
    }
    size_t end = waiting.find(kEnd);
    // Without an end, all but what may be the beginning of one can go.
    size_t take = end != std::string_view::npos ? end + 2 : (waiting.size() > 4 ? waiting.size() - 4 : 0);
    if (text != nullptr) text->append(waiting.substr(0, take));
    bytes += take;
    begin_ += take;
    if (end != std::string_view::npos) {
      begin_ += 3;
      co_return bytes;
    }
    at_start = at_start && take == 0;
    CANOPY_CO_TRY(co_await read_more());
  }
}

void LineClient::release() {
  if (begin_ != end_) return;
  begin_ = end_ = 0;
  buffer_.reset();
}

}  // namespace canopy::bench
