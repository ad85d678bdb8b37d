// Client: what an NfsStore and its files share: the server's connections, the protocol, the names that are
// known, the writes that no sync() has covered. It turns paths into handles and faults into errors.
//
// For the thread of its loop.
#pragma once

#include <memory>

#include "daemon/store/nfs/birthmarks.h"
#include "daemon/store/nfs/name_cache.h"
#include "daemon/store/nfs/nfs_options.h"
#include "daemon/store/nfs/protocol.h"
#include "daemon/store/nfs/server.h"
#include "daemon/store/nfs/unsynced.h"

namespace canopy::nfs {

// A file as resolve() found it.
struct Node {
  NamedFile file;
  std::optional<Attributes> attributes;  // of just now; absent when the file was remembered
  bool remembered = false;
};

class Client {
 public:
  Client(Loop& loop, NfsOptions options, RpcEndpoint endpoint, std::unique_ptr<Protocol> protocol,
         FileHandle root);

  Task<Result<void>> start();  // connects and asks for the limits

  Loop& loop() { return loop_; }
  const NfsOptions& options() const { return options_; }
  Server& server() { return server_; }
  Protocol& protocol() { return *protocol_; }
  NameCache& names() { return names_; }
  const ServerLimits& limits() const { return limits_; }
  const FileHandle& root() const { return root_; }
  // Of an operation that begins now and carries so many bytes.
  Nanos deadline(uint64_t bytes = 0) const { return server_.deadline() + time_for(bytes); }

  // Never through a symbolic link (kLoop). What is remembered is not asked again.
  Task<Result<Node>> resolve(std::string path, Nanos deadline);
  Task<Result<Node>> resolve_directory(std::string path, Nanos deadline);
  // Asks the server for a name, whatever is remembered. Empty: there is none.
  Task<Result<std::optional<Node>>> look(Node directory, std::string path, Nanos deadline);
  Task<Result<Attributes>> attributes(FileHandle file, std::string path, Nanos deadline);
  Task<Result<Attributes>> attributes(Node node, std::string path, Nanos deadline);

  // Runs `use(node)`, a Task<Result<T>>, on what `path` means. When the server no longer knows a remembered
  // handle, `path` is resolved anew, once; not inside stage directories, whose names are never used again.
  template <class T, class Use>
  Task<Result<T>> with(std::string path, Nanos deadline, Use use);
  // To be called when an operation was refused with `error`: whether it is worth resolving `path` again.
  bool forget_if_stale(const Error& error, std::string_view path);

  std::unexpected<Error> fail(Fault fault, std::string path, std::string_view operation);
  // A file's or directory's time of access when it is made, by which it is known again when the answer was
  // lost.
  FileTime birthmark();
  Birthmarks& birthmarks() { return birthmarks_; }

  UnsyncedFiles& unsynced() { return *unsynced_; }
  const std::shared_ptr<UnsyncedFiles>& unsynced_files() { return unsynced_; }
  uint64_t next_order() { return ++orders_; }

 private:
  const NamedFile* remembered(std::string_view path);
  Task<bool> answers(RpcConnection& on);  // what it is asked about the root, whatever that is

  Loop& loop_;
  const NfsOptions options_;
  std::unique_ptr<Protocol> protocol_;
  const FileHandle root_;
  Server server_;
  NameCache names_;
  ServerLimits limits_;
  std::shared_ptr<UnsyncedFiles> unsynced_;
  Birthmarks birthmarks_;
  uint64_t orders_ = 0;
};

// Below a directory in which files wait to be renamed to their place (DESIGN: ".canopy/stage/SLOT.EPOCH/").
bool is_in_stage(std::string_view path);
bool is_stale(const Error& error);

template <class T, class Use>
Task<Result<T>> Client::with(std::string path, Nanos deadline, Use use) {
  for (bool again = false;; again = true) {
    CANOPY_CO_ASSIGN(Node node, co_await resolve(path, deadline));
    const bool was_remembered = node.remembered;
    Result<T> result = co_await use(node);
    if (result || again || !was_remembered || !forget_if_stale(result.error(), path)) co_return result;
  }
}

}  // namespace canopy::nfs
