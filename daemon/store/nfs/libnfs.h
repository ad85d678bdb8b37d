// libnfs' headers in the one order in which they compile, and what they leave out.
#pragma once

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
