// An NFS store with a proxy between it and a real server, and another one without, for tests of what a store
// makes of calls and answers that are lost, put off, refused or changed.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "daemon/runtime/uring_loop.h"
#include "daemon/store/nfs/libnfs.h"
#include "daemon/store/nfs/nfs_store.h"
#include "tests/store/nfs_server.h"
#include "tests/store/rpc_proxy.h"

namespace canopy {

class NfsFaults : public testing::Test {
 protected:
  static void TearDownTestSuite() { server_.reset(); }
  void SetUp() override {
    if (const std::string& why = NfsServer::why_unavailable(); !why.empty())
      GTEST_SKIP() << "NOT TESTED: " << why;
    if (server_ == nullptr) server_ = std::make_unique<NfsServer>();
    proxy_ = std::make_unique<RpcProxy>(server_->nfs_port());
    options_ = server_->options(version(), server_->new_directory());
    options_.hard_limit = 120 * kSecond;  // how slow the machine is must not matter
    options_.soft_limit = 30 * kSecond;
    other_ = open("direct", options_);
    options_.nfs_port = proxy_->port();
    store_ = open("proxied", options_);
    create(*store_, "first");  // over NFSv4 it takes calls that others do not
    must(store_->remove("first", Durable::kYes));
    proxy_->calls();
  }
  // What asked whether a server answers learns that its store is gone, and ends.
  ~NfsFaults() override {
    store_.reset();
    other_.reset();
    run([](Loop& loop) -> Task<void> { co_await loop.sleep(kMillisecond); }(*loop_));
  }
  virtual uint32_t version() const { return 3; }

  std::unique_ptr<NfsStore> open(const std::string& name, NfsOptions options) {
    options.name = name;
    auto opened = run(open_nfs_store(*loop_, options));
    if (!opened) std::fprintf(stderr, "%s\n", opened.error().to_string().c_str());
    CANOPY_CHECK(opened.has_value());
    return std::unique_ptr<NfsStore>(static_cast<NfsStore*>(opened->release()));
  }
  template <class T>
  T run(Task<T> task) {
    return loop_->run_until_done(std::move(task));
  }
  template <class T>
  T must(Task<Result<T>> task) {
    Result<T> result = run(std::move(task));
    if (!result) {
      ADD_FAILURE() << result.error().to_string();
      std::fprintf(stderr, "%s\n", result.error().to_string().c_str());
      abort();
    }
    if constexpr (!std::is_void_v<T>) return std::move(*result);
  }
  template <class T>
  Code code(Task<Result<T>> task) {
    Result<T> result = run(std::move(task));
    return result ? Code::kOk : result.error().code();
  }
  std::unique_ptr<File> create(Store& store, const std::string& path, uint32_t mode = 0600) {
    return must(store.open(path, {.write = true, .create = true, .exclusive = true, .mode = mode}));
  }
  void put(Store& store, const std::string& path, std::string_view bytes) {
    auto file = must(store.open(path, {.write = true, .create = true, .truncate = true}));
    std::string_view pieces[] = {bytes};
    must(file->write(0, pieces, Durable::kYes));
  }

  inline static std::unique_ptr<NfsServer> server_;
  std::unique_ptr<UringLoop> loop_ = *UringLoop::create();
  std::unique_ptr<RpcProxy> proxy_;
  NfsOptions options_;
  std::unique_ptr<NfsStore> store_, other_;
};

class NfsFaultsV4 : public NfsFaults {
 protected:
  uint32_t version() const override { return 4; }
};

}  // namespace canopy
