#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "daemon/runtime/tls_context.h"

namespace canopy {
namespace {

constexpr size_t kReceiveBytes = 16 * 1024 + 512;  // one record of full size
constexpr size_t kPlainBytes = 16 * 1024;          // one record's worth of small pieces
constexpr size_t kFlushBytes = 64 * 1024;

bool numeric_address(const std::string& name) {
  unsigned char raw[16];
  return inet_pton(AF_INET, name.c_str(), raw) == 1 || inet_pton(AF_INET6, name.c_str(), raw) == 1;
}

}  // namespace

// A BIO without memory of its own.
struct TlsStream::Bio {
  static int read(BIO* bio, char* into, size_t size, size_t* got) {
    auto& stream = *static_cast<TlsStream*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    size_t left = stream.incoming_.size() - stream.incoming_taken_;
    if (left == 0) {
      if (!stream.inner_ended_) BIO_set_retry_read(bio);
      *got = 0;
      return 0;
    }
    *got = std::min(left, size);
    std::memcpy(into, stream.incoming_.data() + stream.incoming_taken_, *got);
    stream.incoming_taken_ += *got;
    if (stream.incoming_taken_ == stream.incoming_.size()) {
      std::string().swap(stream.incoming_);
      stream.incoming_taken_ = 0;
    }
    return 1;
  }

  static int write(BIO* bio, const char* bytes, size_t size, size_t* taken) {
    static_cast<TlsStream*>(BIO_get_data(bio))->outgoing_.append(bytes, size);
    BIO_clear_retry_flags(bio);
    *taken = size;
    return 1;
  }

  static long control(BIO* bio, int command, long, void*) {
    if (command == BIO_CTRL_FLUSH) return 1;
    if (command == BIO_CTRL_EOF) return static_cast<TlsStream*>(BIO_get_data(bio))->inner_ended_ ? 1 : 0;
    return 0;
  }

  // Immutable once made; OpenSSL keeps a pointer to it in every BIO.
  static const BIO_METHOD* method() {
    static const BIO_METHOD* const kMethod = [] {
      BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "canopy stream");
      BIO_meth_set_read_ex(made, read);
      BIO_meth_set_write_ex(made, write);
      BIO_meth_set_ctrl(made, control);
      return made;
    }();
    return kMethod;
  }
};

TlsStream::TlsStream(Loop& loop, const TlsContext& context, std::unique_ptr<Stream> inner)
    : inner_(std::move(inner)), loaded_(context.loaded()), flushing_(loop) {
  ssl_ = SSL_new(loaded_->contexts[0].get());
  BIO* bio = ssl_ == nullptr ? nullptr : BIO_new(Bio::method());
  if (bio == nullptr) {
    failed_ = true;
    failure_ = "out of memory";
    return;
  }
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_, bio, bio);
}

TlsStream::~TlsStream() {
  shutdown_write();
  SSL_free(ssl_);
}

Task<Result<std::unique_ptr<TlsStream>>> TlsStream::accept(Loop& loop, const TlsContext& context,
                                                           std::unique_ptr<Stream> inner, Nanos deadline) {
  std::unique_ptr<TlsStream> stream(new TlsStream(loop, context, std::move(inner)));
  if (!stream->failed_) SSL_set_accept_state(stream->ssl_);
  CANOPY_CO_TRY(co_await stream->handshake(deadline));
  co_return stream;
}

Task<Result<std::unique_ptr<TlsStream>>> TlsStream::connect(Loop& loop, const TlsContext& context,
                                                            std::unique_ptr<Stream> inner,
                                                            std::string server_name, Nanos deadline) {
  std::unique_ptr<TlsStream> stream(new TlsStream(loop, context, std::move(inner)));
  if (!stream->failed_) {
    SSL* ssl = stream->ssl_;
    SSL_set_connect_state(ssl);
    if (numeric_address(server_name)) {
      X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), server_name.c_str());
    } else if (!server_name.empty()) {
      SSL_set_tlsext_host_name(ssl, server_name.c_str());
      SSL_set1_host(ssl, server_name.c_str());
    }
  }
  CANOPY_CO_TRY(co_await stream->handshake(deadline));
  co_return stream;
}

std::unexpected<Error> TlsStream::engine_error(std::string_view operation) const {
  return fail(Code::kConnectionLost, peer().to_string(), fmt::format("TLS {}: {}", operation, failure_));
}

// What an engine call that did not answer 1 means. OpenSSL's error queue belongs to the thread: it is empty
// before every call and is emptied here.
TlsStream::Step TlsStream::judge(int answer) {
  if (answer == 1) return Step::kDone;
  int reason = SSL_get_error(ssl_, answer);
  if (reason == SSL_ERROR_WANT_READ) return Step::kWantRead;
  if (reason == SSL_ERROR_ZERO_RETURN) return Step::kEnd;
  failed_ = true;
  long verified = SSL_get_verify_result(ssl_);
  unsigned long code = ERR_peek_error();
  if (verified != X509_V_OK && !established_)
    failure_ = fmt::format("the peer's certificate is refused: {}", X509_verify_cert_error_string(verified));
  else if (inner_ended_ && (code == 0 || ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING))
    failure_ = "the peer closed the connection without close_notify";
  else
    failure_ =
        code != 0 && ERR_reason_error_string(code) != nullptr ? ERR_reason_error_string(code) : "broken";
  ERR_clear_error();
  return Step::kFailed;
}

// Waits for ciphertext with no buffer, then takes what is there.
Task<Result<void>> TlsStream::receive(Nanos deadline) {
  CANOPY_CO_TRY(co_await inner_->readable(deadline));
  auto buffer = std::make_unique_for_overwrite<char[]>(kReceiveBytes);
  CANOPY_CO_ASSIGN(size_t got, co_await inner_->read(std::span(buffer.get(), kReceiveBytes), deadline));
  if (got == 0) inner_ended_ = true;
  incoming_.append(buffer.get(), got);
  co_return Result<void>{};
}

// Readers flush as well (alerts, key updates): whoever comes second waits, and finds nothing left to send or
// new bytes.
Task<Result<void>> TlsStream::flush(Nanos deadline) {
  while (!outgoing_.empty()) {
    Mutex::Guard guard = co_await flushing_.lock();
    if (outgoing_.empty()) break;
    std::string sending = std::exchange(outgoing_, {});
    Result<void> sent = co_await inner_->write_all(sending, deadline);
    if (!sent) {
      failed_ = true;  // part of a record may be gone
      if (failure_.empty()) failure_ = sent.error().message();
      co_return sent;
    }
  }
  co_return Result<void>{};
}

Task<Result<void>> TlsStream::handshake(Nanos deadline) {
  while (!failed_) {
    ERR_clear_error();
    Step step = judge(SSL_do_handshake(ssl_));
    Result<void> flushed = co_await flush(deadline);  // a failed handshake's alert as well
    if (step == Step::kDone && flushed) {
      established_ = true;
      co_return flushed;
    }
    if (step != Step::kWantRead) break;
    if (!flushed) co_return flushed;
    CANOPY_CO_TRY(co_await receive(deadline));
  }
  co_return engine_error("handshake");
}

Task<Result<void>> TlsStream::readable(int64_t deadline) {
  for (;;) {
    if (failed_) co_return engine_error("read");
    char peeked;
    size_t got = 0;
    ERR_clear_error();
    Step step = judge(SSL_peek_ex(ssl_, &peeked, 1, &got));
    if (!outgoing_.empty()) CANOPY_CO_TRY(co_await flush(deadline));
    if (step == Step::kDone || step == Step::kEnd) co_return Result<void>{};
    if (step == Step::kWantRead) CANOPY_CO_TRY(co_await receive(deadline));
  }
}

Task<Result<size_t>> TlsStream::read(std::span<char> into, int64_t deadline) {
  CANOPY_CHECK(!into.empty());
  for (;;) {
    if (failed_) co_return engine_error("read");
    size_t got = 0;
    ERR_clear_error();
    Step step = judge(SSL_read_ex(ssl_, into.data(), into.size(), &got));
    if (!outgoing_.empty()) {
      Result<void> flushed = co_await flush(deadline);
      if (!flushed && step != Step::kDone) co_return fail(flushed.error());
    }
    if (step == Step::kDone) co_return got;
    if (step == Step::kEnd) co_return size_t{0};
    if (step == Step::kWantRead) CANOPY_CO_TRY(co_await receive(deadline));
  }
}

Task<Result<void>> TlsStream::write(std::span<const std::string_view> pieces, int64_t deadline) {
  size_t index = 0, offset = 0;
  std::string plain;  // small pieces share a record
  while (index < pieces.size()) {
    std::string_view next = pieces[index].substr(offset);
    bool alone = index + 1 == pieces.size() || next.size() >= kPlainBytes;
    if (plain.empty() && alone) {
      next = next.substr(0, kFlushBytes);
      offset += next.size();
    } else {
      next = next.substr(0, kPlainBytes - plain.size());
      plain.append(next);
      offset += next.size();
      next = plain;
    }
    bool piece_done = offset == pieces[index].size();
    if (piece_done) {
      ++index;
      offset = 0;
    }
    bool gather_more = piece_done && !plain.empty() && plain.size() < kPlainBytes && index < pieces.size();
    if (gather_more) continue;
    while (!next.empty()) {
      if (failed_) co_return engine_error("write");
      size_t taken = 0;
      ERR_clear_error();
      Step step = judge(SSL_write_ex(ssl_, next.data(), next.size(), &taken));
      if (step == Step::kFailed || step == Step::kEnd) co_return engine_error("write");
      next.remove_prefix(taken);
      if (outgoing_.size() >= kFlushBytes) CANOPY_CO_TRY(co_await flush(deadline));
      if (step == Step::kWantRead)
        co_return fail(Code::kInternal, peer().to_string(), "TLS write: renegotiation");
    }
    plain.clear();
  }
  co_return co_await flush(deadline);
}

size_t TlsStream::write_at_once(std::string_view bytes) {
  if (!established_ || failed_ || flushing_.locked() || !outgoing_.empty()) return 0;
  size_t taken = 0;
  ERR_clear_error();
  if (judge(SSL_write_ex(ssl_, bytes.data(), std::min(bytes.size(), kPlainBytes), &taken)) != Step::kDone)
    return 0;
  size_t sent = inner_->write_at_once(outgoing_);
  outgoing_.erase(0, sent);  // the rest goes with the next write
  return taken;
}

void TlsStream::shutdown_write() {
  if (!established_ || failed_ || (SSL_get_shutdown(ssl_) & SSL_SENT_SHUTDOWN) != 0) return;
  ERR_clear_error();
  SSL_shutdown(ssl_);
  ERR_clear_error();
  if (!flushing_.locked()) {
    size_t sent = inner_->write_at_once(outgoing_);
    outgoing_.erase(0, sent);
  }
  if (outgoing_.empty()) inner_->shutdown_write();
}

bool TlsStream::peer_verified() const {
  return SSL_get0_peer_certificate(ssl_) != nullptr && SSL_get_verify_mode(ssl_) != SSL_VERIFY_NONE &&
         SSL_get_verify_result(ssl_) == X509_V_OK;
}

std::vector<std::string> TlsStream::peer_uri_names() const {
  std::vector<std::string> uris;
  const X509* certificate = SSL_get0_peer_certificate(ssl_);
  if (certificate == nullptr) return uris;
  auto* names =
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names, i);
    if (name->type != GEN_URI) continue;
    const ASN1_IA5STRING* text = name->d.uniformResourceIdentifier;
    uris.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                      static_cast<size_t>(ASN1_STRING_length(text)));
  }
  GENERAL_NAMES_free(names);
  return uris;
}

std::string TlsStream::peer_subject() const {
  const X509* certificate = SSL_get0_peer_certificate(ssl_);
  if (certificate == nullptr) return {};
  std::unique_ptr<BIO, decltype(&BIO_free_all)> text(BIO_new(BIO_s_mem()), &BIO_free_all);
  X509_NAME_print_ex(text.get(), X509_get_subject_name(certificate), 0,
                     XN_FLAG_ONELINE & ~ASN1_STRFLGS_ESC_MSB);
  char* bytes = nullptr;
  long length = BIO_get_mem_data(text.get(), &bytes);
  return std::string(bytes, static_cast<size_t>(length));
}

std::string TlsStream::server_name() const {
  const char* name = SSL_get_servername(ssl_, TLSEXT_NAMETYPE_host_name);
  return name == nullptr ? std::string() : std::string(name);
}

std::string TlsStream::protocol() const { return SSL_get_version(ssl_); }

}  // namespace canopy
