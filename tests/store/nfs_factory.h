// An NFS store for the tests that run over every store: a real server, one a test program, with a directory
// of it for each test.
#pragma once

#include "daemon/runtime/uring_loop.h"
#include "daemon/store/nfs/nfs_store.h"
#include "tests/store/nfs_server.h"

namespace canopy {

inline NfsServer& shared_nfs_server() {
  static NfsServer server;
  return server;
}

template <uint32_t kVersion>
class NfsFactory {
 public:
  explicit NfsFactory(UringLoop& loop) {
    NfsServer& server = shared_nfs_server();
    const std::string directory = server.new_directory();
    one_ = open(loop, server.options(kVersion, directory), "one");
    two_ = open(loop, server.options(kVersion, directory), "two");
  }
  Store& one() { return *one_; }
  Store& two() { return *two_; }
  static std::string why_unavailable() { return NfsServer::why_unavailable(); }
  static constexpr bool kOpenFileOutlivesItsName = false;
  static constexpr bool kHasHoles = false;  // also no way to reserve room
  static constexpr bool kExchangesNames = false;
  static constexpr bool kLinksOfTheRoot = true;
  static constexpr bool kHasXattrs = false;
  static constexpr bool kTimesBefore1970 = kVersion == 4;
  static constexpr bool kSetsTimesOfSymlinks = false;  // Ganesha over VFS says that it did, and does not
  static constexpr size_t kSymlinkBytes = 3800;        // libnfs 4.0.0 encodes a call into 4 KiB

 private:
  static std::unique_ptr<Store> open(UringLoop& loop, NfsOptions options, const std::string& name) {
    options.name = name;
    auto opened = loop.run_until_done(open_nfs_store(loop, options));
    if (!opened) std::fprintf(stderr, "%s\n", opened.error().to_string().c_str());
    CANOPY_CHECK(opened.has_value());
    return std::move(*opened);
  }
  std::unique_ptr<Store> one_, two_;
};

}  // namespace canopy
