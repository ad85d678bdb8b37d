// libnfs' headers in the one order in which they compile, and what they leave out.
#pragma once

#include <cstring>

// clang-format off
#include <nfsc/libnfs.h>
#include <nfsc/libnfs-raw.h>
#include <nfsc/libnfs-raw-mount.h>
#include <nfsc/libnfs-raw-nfs.h>
#include <nfsc/libnfs-raw-nfs4.h>
#include <nfsc/libnfs-raw-portmap.h>
// clang-format on

// libnfs 4.0.0 exports these without declaring them.
extern "C" {
void rpc_set_autoreconnect(struct rpc_context* rpc, int num_retries);
void rpc_set_timeout(struct rpc_context* rpc, int timeout_ms);
}

namespace canopy::nfs {

// What libnfs decodes behind a pointer or into an array lies at multiples of four bytes only.
template <class T>
T aligned(const void* at) {
  T out;
  std::memcpy(&out, at, sizeof out);
  return out;
}

}  // namespace canopy::nfs
