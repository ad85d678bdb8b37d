// Between RFC 1813's structures and ours.
#pragma once

#include <cstring>

#include "daemon/store/nfs/libnfs.h"
#include "daemon/store/nfs/protocol.h"

namespace canopy::nfs::v3 {

// Points into `handle`, which must stay.
nfs_fh3 handle_of(const FileHandle& handle);
diropargs3 name_in(const FileHandle& directory, const std::string& name);
sattr3 changes_of(const SetAttributes& change);

FileHandle handle_from(const nfs_fh3& handle);
Attributes attributes_from(const fattr3& attributes);
std::optional<Attributes> attributes_from(const post_op_attr& attributes);
std::optional<FileHandle> handle_from(const post_op_fh3& handle);

// One call: `queue` is one of rpc_nfs3_…_async, `take` fills the answer's value out of the protocol's.
// The answer of Reply<T>: kLost, the status when it is no NFS3_OK, or T.
template <class Answer, class T, class Arguments, class Take>
Task<Reply<T>> ask(RpcConnection& on, int (*queue)(rpc_context*, rpc_cb, Arguments*, void*),
                   Arguments& arguments, Take take) {
  Reply<T> reply = fault(kLost);
  const Outcome outcome =
      co_await on.call<Answer>([&](rpc_context* context, rpc_cb callback,
                                   void* data) { return queue(context, callback, &arguments, data); },
                               [&](const Answer& answer) {
                                 if (answer.status != NFS3_OK) {
                                   reply = fault(static_cast<int>(answer.status));
                                 } else {
                                   reply = take(answer);
                                 }
                               });
  if (outcome != Outcome::kAnswered) co_return fault(status_of(outcome));
  co_return reply;
}

}  // namespace canopy::nfs::v3
