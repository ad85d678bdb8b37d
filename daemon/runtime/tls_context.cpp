#include "daemon/runtime/tls_context.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <unistd.h>

namespace canopy {
namespace {

using Options = TlsOptions;

// Why OpenSSL refused, in its words: its last reason.
std::string openssl_words() {
  unsigned long first = ERR_peek_error();
  std::string words = first == 0                                  ? "no reason given"
                      : ERR_reason_error_string(first) != nullptr ? ERR_reason_error_string(first)
                                                                  : "unknown reason";
  ERR_clear_error();
  return words;
}

Result<void> readable_file(const std::string& file, std::string_view what) {
  if (file.empty()) return fail(Code::kInvalidArgument, std::string(what), "no file is named");
  if (access(file.c_str(), R_OK) != 0) return fail_errno(errno, file, fmt::format("reading the {}", what));
  return {};
}

Result<void> load_certificate(SSL_CTX* context, const Options::Certificate& from) {
  CANOPY_TRY(readable_file(from.certificate_file, "certificate"));
  CANOPY_TRY(readable_file(from.key_file, "private key"));
  ERR_clear_error();
  if (SSL_CTX_use_certificate_chain_file(context, from.certificate_file.c_str()) != 1)
    return fail(Code::kInvalidArgument, from.certificate_file,
                fmt::format("must hold a PEM certificate, then its chain: {}", openssl_words()));
  if (SSL_CTX_use_PrivateKey_file(context, from.key_file.c_str(), SSL_FILETYPE_PEM) != 1)
    return fail(Code::kInvalidArgument, from.key_file,
                fmt::format("must hold the PEM private key, without a passphrase, of the certificate {}: {}",
                            from.certificate_file, openssl_words()));
  if (SSL_CTX_check_private_key(context) != 1)
    return fail(Code::kInvalidArgument, from.key_file,
                fmt::format("is not the private key of the certificate {}: {}", from.certificate_file,
                            openssl_words()));
  return {};
}

Result<void> load_authorities(SSL_CTX* context, const Options& options) {
  if (options.verify == Options::Verify::kNone && options.ca_file.empty()) return {};
  CANOPY_TRY(readable_file(options.ca_file, "CA certificates"));
  ERR_clear_error();
  if (SSL_CTX_load_verify_file(context, options.ca_file.c_str()) != 1)
    return fail(Code::kInvalidArgument, options.ca_file,
                fmt::format("must hold the PEM certificates of the CA: {}", openssl_words()));
  if (options.side == Options::Side::kServer) {
    STACK_OF(X509_NAME)* names = SSL_load_client_CA_file(options.ca_file.c_str());
    if (names != nullptr) SSL_CTX_set_client_CA_list(context, names);
  }
  return {};
}

int verify_mode(const Options& options) {
  switch (options.verify) {
    case Options::Verify::kNone: return SSL_VERIFY_NONE;
    case Options::Verify::kOptional: return SSL_VERIFY_PEER;
    case Options::Verify::kRequired: return SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
  }
  return SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
}

Result<SslContext> make_context(const Options& options) {
  bool server = options.side == Options::Side::kServer;
  SslContext context(SSL_CTX_new(server ? TLS_server_method() : TLS_client_method()), &SSL_CTX_free);
  if (!context) return fail(Code::kInternal, "TLS", openssl_words());
  SSL_CTX* raw = context.get();
  SSL_CTX_set_min_proto_version(
      raw, options.version_min == Options::Version::k13 ? TLS1_3_VERSION : TLS1_2_VERSION);
  SSL_CTX_set_mode(raw, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                            SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                            SSL_MODE_NO_AUTO_CHAIN);  // the file holds the chain
  SSL_CTX_set_options(raw, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);  // no memory per session: tickets hold it
  SSL_CTX_set_verify(raw, verify_mode(options), nullptr);
  if (options.verify != Options::Verify::kNone) {
    // A resumed session would not look at the certificate again, which may have run out since.
    SSL_CTX_set_options(raw, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(raw, 0);
  } else {
    SSL_CTX_set_num_tickets(raw, 1);
  }
  static constexpr unsigned char kSessionContext[] = "canopy";
  SSL_CTX_set_session_id_context(raw, kSessionContext, sizeof kSessionContext - 1);
  CANOPY_TRY(load_authorities(raw, options));
  return context;
}

// Server name indication: the context whose certificate bears the name that the client asks for.
int choose_certificate(SSL* ssl, int*, void* argument) {
  const auto& loaded = *static_cast<const TlsContext::Loaded*>(argument);
  const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  if (name == nullptr) return SSL_TLSEXT_ERR_OK;
  for (const SslContext& context : loaded.contexts) {
    X509* certificate = SSL_CTX_get0_certificate(context.get());
    if (certificate == nullptr || X509_check_host(certificate, name, 0, 0, nullptr) != 1) continue;
    SSL_set_SSL_CTX(ssl, context.get());
    break;
  }
  return SSL_TLSEXT_ERR_OK;
}

Result<std::shared_ptr<const TlsContext::Loaded>> load(const Options& options) {
  if (options.side == Options::Side::kServer && options.certificates.empty())
    return fail(Code::kInvalidArgument, "TLS", "a server needs a certificate and its key");
  auto loaded = std::make_shared<TlsContext::Loaded>();
  for (const Options::Certificate& certificate : options.certificates) {
    CANOPY_ASSIGN(SslContext context, make_context(options));
    CANOPY_TRY(load_certificate(context.get(), certificate));
    loaded->contexts.push_back(std::move(context));
  }
  if (loaded->contexts.empty()) {
    CANOPY_ASSIGN(SslContext context, make_context(options));
    loaded->contexts.push_back(std::move(context));
  }
  if (options.side == Options::Side::kServer && loaded->contexts.size() > 1) {
    SSL_CTX_set_tlsext_servername_callback(loaded->contexts[0].get(), choose_certificate);
    SSL_CTX_set_tlsext_servername_arg(loaded->contexts[0].get(), loaded.get());
  }
  return loaded;
}

}  // namespace

Result<std::shared_ptr<TlsContext>> TlsContext::create(TlsOptions options) {
  std::shared_ptr<TlsContext> context(new TlsContext(std::move(options)));
  CANOPY_TRY(context->reload());
  return context;
}

Result<void> TlsContext::reload() {
  CANOPY_ASSIGN(std::shared_ptr<const Loaded> fresh, load(options_));
  std::lock_guard lock(mutex_);
  loaded_ = std::move(fresh);
  return {};
}

std::shared_ptr<const TlsContext::Loaded> TlsContext::loaded() const {
  std::lock_guard lock(mutex_);
  return loaded_;
}

}  // namespace canopy
