#include "tools/canopyctl/certificates.h"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <ctime>
#include <memory>

#include "daemon/base/bytes.h"

namespace canopy::ctl {

namespace {
template <auto function>
struct Free {
  template <class T>
  void operator()(T* object) const {
    function(object);
  }
};
using Certificate = std::unique_ptr<X509, Free<X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using Bio = std::unique_ptr<BIO, Free<BIO_free_all>>;
using Names = std::unique_ptr<GENERAL_NAMES, Free<GENERAL_NAMES_free>>;
}  // namespace

static std::unexpected<Error> openssl_failure(const std::string& object, std::string_view operation) {
  char text[256] = "no reason given";
  if (const unsigned long code = ERR_get_error(); code != 0) ERR_error_string_n(code, text, sizeof(text));
  ERR_clear_error();
  return fail(Code::kInternal, object, std::string(operation) + " failed: " + text);
}

Result<KeyKind> parse_key_kind(const std::string& name) {
  if (name == "p256") return KeyKind::kP256;
  if (name == "ed25519") return KeyKind::kEd25519;
  return fail(Code::kInvalidArgument, name, "the kinds of keys are p256 and ed25519");
}

static Result<Key> make_key(KeyKind kind) {
  Key key(kind == KeyKind::kEd25519 ? EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519") : EVP_EC_gen("P-256"));
  if (!key) return openssl_failure("key", "making a key");
  return key;
}

static const EVP_MD* digest_for(const EVP_PKEY* key) {
  return EVP_PKEY_is_a(key, "ED25519") ? nullptr : EVP_sha256();
}

static std::string text_of(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<size_t>(size)};
}

static Result<Pem> to_pem(X509* certificate, EVP_PKEY* key) {
  const Bio certificate_text(BIO_new(BIO_s_mem()));
  const Bio key_text(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_X509(certificate_text.get(), certificate) != 1 ||
      PEM_write_bio_PKCS8PrivateKey(key_text.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1)
    return openssl_failure("certificate", "writing PEM");
  return Pem{text_of(certificate_text.get()), text_of(key_text.get())};
}

static bool add_extension(X509* certificate, X509* issuer, int kind, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const std::unique_ptr<X509_EXTENSION, Free<X509_EXTENSION_free>> extension(
      X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str()));
  return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

// A fresh certificate with subject, serial, times and key, not signed yet.
static Result<Certificate> begin_certificate(const std::string& common_name, int days, EVP_PKEY* key) {
  Certificate certificate(X509_new());
  unsigned char serial[16];
  if (!certificate || RAND_bytes(serial, sizeof(serial)) != 1)
    return openssl_failure("certificate", "making it");
  serial[0] &= 0x7F;
  serial[0] |= 0x40;
  const std::unique_ptr<BIGNUM, Free<BN_free>> number(BN_bin2bn(serial, sizeof(serial), nullptr));
  X509_NAME* subject = X509_get_subject_name(certificate.get());
  const bool made = X509_set_version(certificate.get(), 2) == 1 &&
                    BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate.get())) != nullptr &&
                    // An hour back: the clocks of a cluster are not equal to the second.
                    X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -3600) != nullptr &&
                    X509_time_adj_ex(X509_getm_notAfter(certificate.get()), days, 0, nullptr) != nullptr &&
                    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                                               reinterpret_cast<const unsigned char*>(common_name.c_str()),
                                               -1, -1, 0) == 1 &&
                    X509_set_pubkey(certificate.get(), key) == 1;
  if (!made) return openssl_failure(common_name, "making the certificate");
  return certificate;
}

Result<Pem> make_ca(const std::string& common_name, int days, KeyKind key_kind) {
  CANOPY_ASSIGN(const Key key, make_key(key_kind));
  CANOPY_ASSIGN(const Certificate certificate, begin_certificate(common_name, days, key.get()));
  X509* const ca = certificate.get();
  const bool made = X509_set_issuer_name(ca, X509_get_subject_name(ca)) == 1 &&
                    add_extension(ca, ca, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
                    add_extension(ca, ca, NID_key_usage, "critical,keyCertSign,cRLSign") &&
                    add_extension(ca, ca, NID_subject_key_identifier, "hash") &&
                    X509_sign(ca, key.get(), digest_for(key.get())) != 0;
  if (!made) return openssl_failure(common_name, "signing the CA's certificate");
  return to_pem(ca, key.get());
}

static Result<std::string> alternative_names(const CertificateRequest& request) {
  std::string value;
  const auto add = [&](const char* kind, const std::string& name) {
    value += (value.empty() ? "" : ",") + std::string(kind) + ":" + name;
  };
  const auto plain = [](const std::string& name) {
    return !name.empty() && name.find_first_of(", \t\r\n") == std::string::npos;
  };
  const auto is_address = [](const std::string& text) {
    unsigned char bytes[sizeof(in6_addr)];
    return inet_pton(AF_INET, text.c_str(), bytes) == 1 || inet_pton(AF_INET6, text.c_str(), bytes) == 1;
  };
  for (const std::string& uri : request.uris) {
    if (!plain(uri)) return fail(Code::kInvalidArgument, uri, "a URI name has no commas or spaces");
    add("URI", uri);
  }
  for (const std::string& name : request.dns_names) {
    if (!plain(name)) return fail(Code::kInvalidArgument, name, "a DNS name has no commas or spaces");
    if (is_address(name))  // as a name it would never be compared with where a client connects to
      return fail(Code::kInvalidArgument, name, "an IP address is no DNS name; give it with --ip");
    add("DNS", name);
  }
  for (const std::string& address : request.addresses) {
    if (!is_address(address))
      return fail(Code::kInvalidArgument, address, "not a numeric IPv4 or IPv6 address");
    add("IP", address);
  }
  return value;
}

static Result<Certificate> read_certificate(const std::string& pem, const std::string& name) {
  const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  Certificate certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  if (!certificate) return fail(Code::kInvalidArgument, name, "it holds no certificate in PEM");
  return certificate;
}

Result<Pem> issue_certificate(const Pem& ca, const CertificateRequest& request) {
  CANOPY_ASSIGN(const Certificate issuer, read_certificate(ca.certificate, "CA certificate"));
  const Bio key_text(BIO_new_mem_buf(ca.key.data(), static_cast<int>(ca.key.size())));
  const Key issuer_key(PEM_read_bio_PrivateKey(key_text.get(), nullptr, nullptr, nullptr));
  if (!issuer_key) return fail(Code::kInvalidArgument, "CA key", "it holds no private key in PEM");
  if (X509_check_private_key(issuer.get(), issuer_key.get()) != 1) {
    ERR_clear_error();
    return fail(Code::kInvalidArgument, "CA key", "it is not the key of the CA's certificate");
  }
  CANOPY_ASSIGN(const std::string names, alternative_names(request));
  CANOPY_ASSIGN(const Key key, make_key(request.key_kind));
  CANOPY_ASSIGN(const Certificate certificate,
                begin_certificate(request.common_name, request.days, key.get()));
  X509* const leaf = certificate.get();
  X509* const signer = issuer.get();
  const bool made = X509_set_issuer_name(leaf, X509_get_subject_name(signer)) == 1 &&
                    add_extension(leaf, signer, NID_basic_constraints, "critical,CA:FALSE") &&
                    add_extension(leaf, signer, NID_key_usage, "critical,digitalSignature") &&
                    add_extension(leaf, signer, NID_ext_key_usage, "serverAuth,clientAuth") &&
                    (names.empty() || add_extension(leaf, signer, NID_subject_alt_name, names)) &&
                    add_extension(leaf, signer, NID_subject_key_identifier, "hash") &&
                    add_extension(leaf, signer, NID_authority_key_identifier, "keyid") &&
                    X509_sign(leaf, issuer_key.get(), digest_for(issuer_key.get())) != 0;
  if (!made) return openssl_failure(request.common_name, "signing the certificate");
  return to_pem(leaf, key.get());
}

// ------------------------------------------------------------------------------------------------------
// describing
static std::string name_text(const X509_NAME* name) {
  const Bio bio(BIO_new(BIO_s_mem()));
  X509_NAME_print_ex(bio.get(), name, 0, XN_FLAG_RFC2253);
  return text_of(bio.get());
}

static std::string time_text(const ASN1_TIME* time) {
  struct tm parts = {};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return "";
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

static void read_names(X509* certificate, CertificateFacts& facts) {
  const Names names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    const auto text = [](const ASN1_STRING* value) {
      return std::string(reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
                         static_cast<size_t>(ASN1_STRING_length(value)));
    };
    if (name->type == GEN_URI) facts.uris.push_back(text(name->d.uniformResourceIdentifier));
    if (name->type == GEN_DNS) facts.dns_names.push_back(text(name->d.dNSName));
    if (name->type == GEN_IPADD) {
      const std::string bytes = text(name->d.iPAddress);
      char printed[INET6_ADDRSTRLEN] = "";
      inet_ntop(bytes.size() == 4 ? AF_INET : AF_INET6, bytes.data(), printed, sizeof(printed));
      facts.addresses.emplace_back(printed);
    }
  }
}

Result<CertificateFacts> describe_certificate(const std::string& pem, const std::string& name) {
  CANOPY_ASSIGN(const Certificate certificate, read_certificate(pem, name));
  CertificateFacts facts;
  facts.subject = name_text(X509_get_subject_name(certificate.get()));
  facts.issuer = name_text(X509_get_issuer_name(certificate.get()));
  facts.not_before = time_text(X509_get0_notBefore(certificate.get()));
  facts.not_after = time_text(X509_get0_notAfter(certificate.get()));
  facts.expired = X509_cmp_current_time(X509_get0_notAfter(certificate.get())) < 0;
  facts.is_ca = X509_check_ca(certificate.get()) > 0;
  const ASN1_INTEGER* serial = X509_get0_serialNumber(certificate.get());
  facts.serial = to_hex({reinterpret_cast<const char*>(ASN1_STRING_get0_data(serial)),
                         static_cast<size_t>(ASN1_STRING_length(serial))});
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (X509_digest(certificate.get(), EVP_sha256(), digest, &size) == 1)
    facts.fingerprint = to_hex({reinterpret_cast<const char*>(digest), size});
  read_names(certificate.get(), facts);
  return facts;
}

}  // namespace canopy::ctl
