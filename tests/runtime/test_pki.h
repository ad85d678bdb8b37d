// A CA and certificates in PEM files, for tests.
#pragma once

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "daemon/base/check.h"

namespace canopy {

class TestPki {
 public:
  TestPki() {
    char name[] = "/tmp/canopy-pki-XXXXXX";
    CANOPY_CHECK(mkdtemp(name) != nullptr);
    folder_ = name;
  }
  ~TestPki() {
    std::string command = "rm -rf " + folder_;
    CANOPY_CHECK(std::system(command.c_str()) == 0);
  }
  TestPki(const TestPki&) = delete;
  TestPki& operator=(const TestPki&) = delete;

  std::string file(const std::string& name) const { return folder_ + "/" + name; }

  // Writes NAME.pem and NAME.key, signed by itself.
  void authority(const std::string& name) { make(name, "", ""); }
  // Writes NAME.pem and NAME.key; `names` as in "DNS:a.example,IP:127.0.0.1,URI:canopy:role/backend".
  void certificate(const std::string& name, const std::string& authority_name, const std::string& names) {
    make(name, authority_name, names);
  }

 private:
  using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
  using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
  using File = std::unique_ptr<FILE, decltype(&fclose)>;

  File open(const std::string& path, const char* mode) const {
    File opened(fopen(path.c_str(), mode), &fclose);
    CANOPY_CHECK(opened);
    return opened;
  }

  void extend(X509* certificate, X509* issuer, int kind, const std::string& value) const {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str());
    CANOPY_CHECK(extension != nullptr);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
  }

  void make(const std::string& name, const std::string& authority_name, const std::string& names) {
    Key key(EVP_EC_gen("P-256"), &EVP_PKEY_free);
    Certificate made(X509_new(), &X509_free);
    X509_set_version(made.get(), 2);
    ASN1_INTEGER_set(X509_get_serialNumber(made.get()), ++serial_);
    X509_gmtime_adj(X509_getm_notBefore(made.get()), -3600);
    X509_gmtime_adj(X509_getm_notAfter(made.get()), 86400);
    X509_set_pubkey(made.get(), key.get());
    X509_NAME_add_entry_by_txt(X509_get_subject_name(made.get()), "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
    if (authority_name.empty()) {
      X509_set_issuer_name(made.get(), X509_get_subject_name(made.get()));
      extend(made.get(), made.get(), NID_basic_constraints, "critical,CA:TRUE");
      X509_sign(made.get(), key.get(), EVP_sha256());
    } else {
      Certificate issuer(
          PEM_read_X509(open(file(authority_name + ".pem"), "r").get(), nullptr, nullptr, nullptr),
          &X509_free);
      Key issuer_key(
          PEM_read_PrivateKey(open(file(authority_name + ".key"), "r").get(), nullptr, nullptr, nullptr),
          &EVP_PKEY_free);
      X509_set_issuer_name(made.get(), X509_get_subject_name(issuer.get()));
      if (!names.empty()) extend(made.get(), issuer.get(), NID_subject_alt_name, names);
      X509_sign(made.get(), issuer_key.get(), EVP_sha256());
    }
    PEM_write_X509(open(file(name + ".pem"), "w").get(), made.get());
    PEM_write_PrivateKey(open(file(name + ".key"), "w").get(), key.get(), nullptr, nullptr, 0, nullptr,
                         nullptr);
  }

  std::string folder_;
  long serial_ = 0;
};

}  // namespace canopy
