// Answers to the kernel, from what the views say. For the mount's loop.
#pragma once

#include "fuse/mount.h"
#include "fuse/operations.h"

namespace canopy::mount {

inline Mount& mount_of(fuse_req_t request) { return *static_cast<Mount*>(fuse_req_userdata(request)); }

// What a user sees of an error. A backend that does not answer within the limit is EIO.
int errno_of(const Error& error);

// What an operation was about: a node, or what bears that name in it.
struct About {
  const Node& node;
  std::string_view name = {};
  std::string path() const;  // below the mount's directory; of one of its names
};

// Also logs what a user's errno does not tell: which object, and what to do.
void answer_error(fuse_req_t request, const Error& error, const About& about);
void answer_done(fuse_req_t request, const Result<void>& done, const About& about);
void answer_attributes(Mount& mount, fuse_req_t request, const Result<Found>& found, const About& about);
// As answers to LOOKUP and its like, which make the kernel know the node.
void answer_entry(Mount& mount, fuse_req_t request, const Result<Found>& found, const NodeRef& parent,
                  const std::string& name);
// -ENOENT: nobody waits for it any more, and the file is not open.
int answer_open(fuse_req_t request, const fuse_file_info& info, bool parallel_writes);
int answer_create(fuse_req_t request, const fuse_entry_param& entry, const fuse_file_info& info,
                  bool parallel_writes);
fuse_entry_param enter(Mount& mount, const Found& found, const NodeRef& parent, const std::string& name);

// As many entries as fit into `bytes`, from that position of the directory.
Task<Result<std::string>> fill_directory(Mount& mount, fuse_req_t request, OpenDirectory& directory,
                                         size_t bytes, uint64_t position, bool with_attributes);

}  // namespace canopy::mount
