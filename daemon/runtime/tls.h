// TLS over any Stream. The engine (OpenSSL) never touches a socket: it reads and writes memory, and this code
// moves the bytes, so TLS runs on every loop. An idle connection holds no buffers.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "daemon/runtime/loop.h"
#include "daemon/runtime/sync.h"

typedef struct ssl_st SSL;
typedef struct ssl_ctx_st SSL_CTX;
typedef struct bio_st BIO;

namespace canopy {

struct TlsOptions {
  enum class Side { kServer, kClient } side = Side::kServer;
  enum class Verify {
    kNone,      // the peer's certificate is neither asked for nor looked at
    kOptional,  // a server accepts a client without one; one that is shown must verify
    kRequired,
  } verify = Verify::kNone;
  enum class Version { k12, k13 } version_min = Version::k13;
  // PEM files; the certificate's file holds the chain, its own first. A server needs at least one, and shows
  // the first whose names match the name that the client asks for (SNI), otherwise the first.
  struct Certificate {
    std::string certificate_file, key_file;
  };
  std::vector<Certificate> certificates;
  std::string ca_file;  // PEM; whom we believe; needed unless verify is kNone
};

// May be shared by loops and threads.
class TlsContext {
 public:
  // Reads the files. Errors name the file and the rule.
  static Result<std::shared_ptr<TlsContext>> create(TlsOptions options);
  // Reads the files again: handshakes from now on use them. After a failure the former ones stay in use.
  Result<void> reload();
  const TlsOptions& options() const { return options_; }

  struct Loaded;  // one reading of the files

 private:
  friend class TlsStream;
  explicit TlsContext(TlsOptions options) : options_(std::move(options)) {}
  std::shared_ptr<const Loaded> loaded() const;

  const TlsOptions options_;
  mutable std::mutex mutex_;
  std::shared_ptr<const Loaded> loaded_;  // under mutex_
};

class TlsStream final : public Stream {
 public:
  // The handshake on an open stream, from which nothing of the TLS conversation was read yet. `deadline`: of
  // the whole handshake. A failed handshake closes the stream; its error names the peer and what OpenSSL
  // says.
  static Task<Result<std::unique_ptr<TlsStream>>> accept(Loop& loop, const TlsContext& context,
                                                         std::unique_ptr<Stream> inner, Nanos deadline);
  // `server_name`: a DNS name or numeric address that the server's certificate must bear (when verified) and
  // that is asked for (a DNS name only); "" checks no name.
  static Task<Result<std::unique_ptr<TlsStream>>> connect(Loop& loop, const TlsContext& context,
                                                          std::unique_ptr<Stream> inner,
                                                          std::string server_name, Nanos deadline);
  ~TlsStream() override;  // says close_notify when that needs no waiting

  Task<Result<void>> readable(int64_t deadline) override;
  // An end without close_notify is kConnectionLost: somebody may have cut the conversation short.
  Task<Result<size_t>> read(std::span<char> into, int64_t deadline) override;
  Task<Result<void>> write(std::span<const std::string_view> pieces, int64_t deadline) override;
  size_t write_at_once(std::string_view bytes) override;
  void shutdown_write() override;  // close_notify
  void abort() override { inner_->abort(); }
  const Address& peer() const override { return inner_->peer(); }
  const Address& local() const override { return inner_->local(); }
  PeerCredentials peer_credentials() const override { return inner_->peer_credentials(); }

  bool peer_verified() const;                       // showed a certificate, and the CA vouches for it
  std::vector<std::string> peer_uri_names() const;  // subjectAltName URIs of the peer's certificate
  std::string peer_subject() const;                 // "CN = …"; empty without a certificate
  std::string server_name() const;                  // that the client asked for (SNI); empty: none
  std::string protocol() const;                     // "TLSv1.3"

 private:
  struct Bio;  // the engine's view of incoming_ and outgoing_
  enum class Step { kDone, kWantRead, kEnd, kFailed };

  TlsStream(Loop& loop, const TlsContext& context, std::unique_ptr<Stream> inner);
  Task<Result<void>> handshake(Nanos deadline);
  Task<Result<void>> receive(Nanos deadline);
  Task<Result<void>> flush(Nanos deadline);
  Step judge(int answer);
  std::unexpected<Error> engine_error(std::string_view operation) const;

  std::unique_ptr<Stream> inner_;
  std::shared_ptr<const TlsContext::Loaded> loaded_;
  SSL* ssl_ = nullptr;
  std::string incoming_;  // ciphertext that the engine has not taken yet; empty and without memory when idle
  size_t incoming_taken_ = 0;
  std::string outgoing_;  // ciphertext for the peer
  bool inner_ended_ = false;
  bool established_ = false;
  bool failed_ = false;  // the engine must not be used any more
  std::string failure_;  // what it said
  Mutex flushing_;
};

}  // namespace canopy
