#include "fuse/operations.h"

#include <time.h>
#include <unistd.h>

#include <cerrno>

#include "daemon/base/log.h"
#include "fuse/answer.h"
#include "fuse/lock_operations.h"
#include "fuse/mount.h"

namespace canopy::mount {
namespace {

Caller caller_of(fuse_req_t request) {
  const fuse_ctx* context = fuse_req_ctx(request);
  return Caller{context->uid, context->gid};
}

OpenFileRef file_of(fuse_req_t request, const fuse_file_info* info) {
  return info == nullptr ? nullptr : mount_of(request).file(info->fh);
}

// The kernel seldom says through which open file it asks for attributes. A name may be out of date, and a
// file without one has no other way.
OpenFileRef file_of(fuse_req_t request, const fuse_file_info* info, const Node& node) {
  const bool named = !node.names.empty() && !node.view->prefers_open_files();
  if (info != nullptr || named || node.open.empty()) return file_of(request, info);
  return mount_of(request).file(node.open.back());
}

// Starts `work(node…)`, or answers ESTALE when the kernel means a node that it was never given.
template <class Work>
void begin(fuse_req_t request, fuse_ino_t number, Work work) {
  Mount& mount = mount_of(request);
  NodeRef node = mount.nodes().find(number);
  if (node == nullptr) {
    fuse_reply_err(request, ESTALE);
    return;
  }
  mount.loop().spawn(work(mount, std::move(node)));
}

template <class Work>
void begin(fuse_req_t request, fuse_ino_t first, fuse_ino_t second, Work work) {
  NodeRef other = mount_of(request).nodes().find(second);
  if (other == nullptr) {
    fuse_reply_err(request, ESTALE);
    return;
  }
  begin(request, first,
        [&](Mount& mount, NodeRef node) { return work(mount, std::move(node), std::move(other)); });
}

// ------------------------------------------------------------------------------------------------ names

void on_init(void* user, fuse_conn_info* connection) {
  connection->max_write = kWriteBytesMax;
  connection->max_readahead = kWriteBytesMax;
  connection->max_background = kBackgroundMax;
  connection->congestion_threshold = kBackgroundMax / 4 * 3;
  connection->want &=
      ~static_cast<unsigned>(FUSE_CAP_SPLICE_READ);  // requests are read on the loop, one buffer each
  connection->want |=
      connection->capable & (FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_PARALLEL_DIROPS |
                             FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO | FUSE_CAP_AUTO_INVAL_DATA);
  if (static_cast<Mount*>(user)->modes_checked())
    connection->want |= connection->capable & FUSE_CAP_POSIX_ACL;
}

void on_lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  begin(request, parent, [&](Mount& mount, NodeRef directory) {
    return [](Mount& on, fuse_req_t to, NodeRef in, std::string of) -> Task<void> {
      auto found = co_await in->view->lookup(in, of);
      answer_entry(on, to, found, in, of);
    }(mount, request, std::move(directory), name);
  });
}

void on_forget(fuse_req_t request, fuse_ino_t number, uint64_t lookups) {
  mount_of(request).nodes().forget(number, lookups);
  fuse_reply_none(request);
}

void on_forget_multi(fuse_req_t request, size_t count, fuse_forget_data* forgets) {
  for (size_t i = 0; i < count; ++i) mount_of(request).nodes().forget(forgets[i].ino, forgets[i].nlookup);
  fuse_reply_none(request);
}

void on_getattr(fuse_req_t request, fuse_ino_t number, fuse_file_info* info) {
  begin(request, number, [&](Mount& mount, const NodeRef& node) {
    return [](Mount& on, fuse_req_t to, NodeRef of, OpenFileRef file) -> Task<void> {
      answer_attributes(on, to, co_await of->view->attributes(of, file), {*of});
    }(mount, request, node, file_of(request, info, *node));
  });
}

// Asked where the kernel checks no modes: then by root, who may do everything but start what is no program.
void on_access(fuse_req_t request, fuse_ino_t number, int mask) {
  if ((mask & X_OK) == 0) {
    fuse_reply_err(request, 0);
    return;
  }
  begin(request, number, [&](Mount& mount, NodeRef node) {
    return [](Mount&, fuse_req_t to, NodeRef of) -> Task<void> {
      auto found = co_await of->view->attributes(of, nullptr);
      if (!found) {
        answer_error(to, found.error(), {*of});
        co_return;
      }
      const mode_t mode = found->attributes.st_mode;
      fuse_reply_err(to, S_ISREG(mode) && (mode & 0111) == 0 ? EACCES : 0);
    }(mount, request, std::move(node));
  });
}

AttributeChange change_of(const struct stat& to, int which) {
  AttributeChange change;
  timespec now = {};
  clock_gettime(CLOCK_REALTIME, &now);
  if ((which & FUSE_SET_ATTR_MODE) != 0) change.mode = to.st_mode & 07777;
  if ((which & FUSE_SET_ATTR_UID) != 0) change.uid = to.st_uid;
  if ((which & FUSE_SET_ATTR_GID) != 0) change.gid = to.st_gid;
  if ((which & FUSE_SET_ATTR_SIZE) != 0) change.size = static_cast<uint64_t>(to.st_size);
  if ((which & FUSE_SET_ATTR_ATIME) != 0) change.accessed = to.st_atim;
  if ((which & FUSE_SET_ATTR_MTIME) != 0) change.modified = to.st_mtim;
  if ((which & FUSE_SET_ATTR_ATIME_NOW) != 0) change.accessed = now;
  if ((which & FUSE_SET_ATTR_MTIME_NOW) != 0) change.modified = now;
  return change;
}

void on_setattr(fuse_req_t request, fuse_ino_t number, struct stat* to, int which, fuse_file_info* info) {
  begin(request, number, [&](Mount& mount, const NodeRef& node) {
    return
        [](Mount& on, fuse_req_t reply, NodeRef of, OpenFileRef file, AttributeChange change) -> Task<void> {
          answer_attributes(on, reply, co_await of->view->set_attributes(of, file, change), {*of});
        }(mount, request, node, file_of(request, info, *node), change_of(*to, which));
  });
}

void on_readlink(fuse_req_t request, fuse_ino_t number) {
  begin(request, number, [&](Mount& mount, NodeRef node) {
    return [](Mount&, fuse_req_t to, NodeRef of) -> Task<void> {
      auto target = co_await of->view->read_link(of);
      if (target)
        fuse_reply_readlink(to, target->c_str());
      else
        answer_error(to, target.error(), {*of});
    }(mount, request, std::move(node));
  });
}

void on_mkdir(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode) {
  begin(request, parent, [&](Mount& mount, NodeRef directory) {
    return
        [](Mount& on, fuse_req_t to, NodeRef in, std::string of, mode_t with, Caller caller) -> Task<void> {
          auto made = co_await in->view->make_directory(in, of, with, caller);
          answer_entry(on, to, made, in, of);
        }(mount, request, std::move(directory), name, mode, caller_of(request));
  });
}

void on_symlink(fuse_req_t request, const char* target, fuse_ino_t parent, const char* name) {
  begin(request, parent, [&](Mount& mount, NodeRef directory) {
    return [](Mount& on, fuse_req_t to, NodeRef in, std::string of, std::string at,
              Caller caller) -> Task<void> {
      auto made = co_await in->view->make_symlink(in, of, std::move(at), caller);
      answer_entry(on, to, made, in, of);
    }(mount, request, std::move(directory), name, target, caller_of(request));
  });
}

void on_link(fuse_req_t request, fuse_ino_t number, fuse_ino_t parent, const char* name) {
  begin(request, number, parent, [&](Mount& mount, NodeRef node, NodeRef directory) {
    return [](Mount& on, fuse_req_t to, NodeRef what, NodeRef in, std::string of) -> Task<void> {
      if (what->view != in->view) {
        fuse_reply_err(to, EXDEV);
        co_return;
      }
      auto made = co_await in->view->link(what, in, of);
      answer_entry(on, to, made, in, of);
    }(mount, request, std::move(node), std::move(directory), name);
  });
}

void remove(fuse_req_t request, fuse_ino_t parent, const char* name, bool is_directory) {
  begin(request, parent, [&](Mount& mount, NodeRef directory) {
    return [](Mount&, fuse_req_t to, NodeRef in, std::string of, bool whole) -> Task<void> {
      answer_done(to, co_await in->view->remove(in, of, whole), {*in, of});
    }(mount, request, std::move(directory), name, is_directory);
  });
}

void on_unlink(fuse_req_t request, fuse_ino_t parent, const char* name) {
  remove(request, parent, name, false);
}
void on_rmdir(fuse_req_t request, fuse_ino_t parent, const char* name) {
  remove(request, parent, name, true);
}

void on_rename(fuse_req_t request, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
               const char* new_name, unsigned flags) {
  begin(request, parent, new_parent, [&](Mount& mount, NodeRef from, NodeRef onto) {
    return [](Mount&, fuse_req_t to, NodeRef old_in, NodeRef new_in, std::string old_as, std::string new_as,
              unsigned how) -> Task<void> {
      if (old_in->view != new_in->view) {
        fuse_reply_err(to, EXDEV);
        co_return;
      }
      answer_done(to, co_await old_in->view->rename(old_in, old_as, new_in, new_as, how), {*old_in, old_as});
    }(mount, request, std::move(from), std::move(onto), name, new_name, flags);
  });
}

// ------------------------------------------------------------------------------------------------ files

void on_open(fuse_req_t request, fuse_ino_t number, fuse_file_info* info) {
  begin(request, number, [&](Mount& mount, NodeRef node) {
    return [](Mount& on, fuse_req_t to, NodeRef of, fuse_file_info with) -> Task<void> {
      auto file = co_await of->view->open(of, with.flags);
      if (!file) {
        answer_error(to, file.error(), {*of});
        co_return;
      }
      with.keep_cache = on.keeps_content(*of, **file) || (*file)->keep_cache;
      with.direct_io = (*file)->direct;
      with.noflush = (*file)->no_flush;
      const bool parallel = (*file)->parallel;
      with.fh = on.keep(std::move(*file));
      if (answer_open(to, with, parallel) == -ENOENT) on.release(with.fh);  // the caller was interrupted
    }(mount, request, std::move(node), *info);
  });
}

void on_create(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, fuse_file_info* info) {
  begin(request, parent, [&](Mount& mount, NodeRef directory) {
    return [](Mount& on, fuse_req_t to, NodeRef in, std::string of, mode_t as, fuse_file_info with,
              Caller caller) -> Task<void> {
      auto made = co_await in->view->create(in, of, as, with.flags, caller);
      if (!made) {
        answer_error(to, made.error(), {*in, of});
        co_return;
      }
      fuse_entry_param entry = enter(on, made->found, in, of);
      made->file->node = on.nodes().find(entry.ino);
      with.direct_io = made->file->direct;
      const bool parallel = made->file->parallel;
      with.fh = on.keep(std::move(made->file));
      if (answer_create(to, entry, with, parallel) == -ENOENT) {
        on.release(with.fh);
        on.nodes().forget(entry.ino, 1);
      }
    }(mount, request, std::move(directory), name, mode, *info, caller_of(request));
  });
}

void on_mknod(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, dev_t) {
  begin(request, parent, [&](Mount& mount, NodeRef directory) {
    return [](Mount& on, fuse_req_t to, NodeRef in, std::string of, mode_t as, Caller caller) -> Task<void> {
      if (!S_ISREG(as)) {  // FIFOs, sockets and devices are of one machine only
        fuse_reply_err(to, EPERM);
        co_return;
      }
      auto made = co_await in->view->create(in, of, as, O_EXCL | O_WRONLY, caller);
      if (!made)
        answer_error(to, made.error(), {*in, of});
      else
        answer_entry(on, to, made->found, in, of);
    }(mount, request, std::move(directory), name, mode, caller_of(request));
  });
}

void on_read(fuse_req_t request, fuse_ino_t number, size_t bytes, off_t offset, fuse_file_info* info) {
  begin(request, number, [&](Mount& mount, NodeRef node) {
    return [](Mount&, fuse_req_t to, NodeRef of, OpenFileRef file, uint64_t at, size_t size) -> Task<void> {
      auto got = co_await of->view->read(file, at, size);
      if (got)
        fuse_reply_buf(to, got->data(), got->size());
      else
        answer_error(to, got.error(), {*of});
    }(mount, request, std::move(node), file_of(request, info), static_cast<uint64_t>(offset), bytes);
  });
}

void on_write(fuse_req_t request, fuse_ino_t number, const char* bytes, size_t size, off_t offset,
              fuse_file_info* info) {
  OpenFileRef written = file_of(request, info);
  if (written != nullptr) written->writer = info->lock_owner;
  begin(request, number, [&](Mount& mount, NodeRef node) {
    return [](Mount& on, fuse_req_t to, NodeRef of, OpenFileRef file, uint64_t at, std::string data,
              bool append) -> Task<void> {
      auto done = co_await of->view->write(file, at, std::move(data), append);
      if (!done) {
        answer_error(to, done.error(), {*of});
        co_return;
      }
      fuse_reply_write(to, done->bytes);
      // The kernel has put the bytes into its cache where it believed the end to be.
      if (done->elsewhere) on.notifier().expire_node(of->number, true);
    }(mount, request, std::move(node), std::move(written), static_cast<uint64_t>(offset),
                           std::string(bytes, size), (info->flags & O_APPEND) != 0);
  });
}

void on_flush(fuse_req_t request, fuse_ino_t number, fuse_file_info* info) {
  begin(request, number, [&](Mount& mount, NodeRef node) {
    return [](Mount&, fuse_req_t to, NodeRef of, OpenFileRef file,
              Closer closer) -> Task<void> {
      co_await give_back_locks_of_owner(of, closer.owner);
      answer_done(to, co_await of->view->flush(file, closer), {*of});
    }(mount, request, std::move(node), file_of(request, info),
                             Closer{info->lock_owner, fuse_req_ctx(request)->pid});
  });
}

void on_release(fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
  Mount& mount = mount_of(request);
  if (OpenFileRef file = mount.file(info->fh))
    mount.loop().spawn(give_back_locks_of_file(std::move(file), info->lock_owner));
  mount.release(info->fh);
  fuse_reply_err(request, 0);
}

void on_fsync(fuse_req_t request, fuse_ino_t number, int, fuse_file_info* info) {
  begin(request, number, [&](Mount& mount, NodeRef node) {
    return [](Mount&, fuse_req_t to, NodeRef of, OpenFileRef file) -> Task<void> {
      answer_done(to, co_await of->view->sync(file), {*of});
    }(mount, request, std::move(node), file_of(request, info));
  });
}

void on_fallocate(fuse_req_t request, fuse_ino_t number, int mode, off_t offset, off_t length,
                  fuse_file_info* info) {
  begin(request, number, [&](Mount& mount, NodeRef node) {
    return [](Mount&, fuse_req_t to, NodeRef of, OpenFileRef file, int how, off_t at,
              off_t size) -> Task<void> {
      answer_done(
          to, co_await of->view->allocate(file, how, static_cast<uint64_t>(at), static_cast<uint64_t>(size)),
          {*of});
    }(mount, request, std::move(node), file_of(request, info), mode, offset, length);
  });
}

void on_lseek(fuse_req_t request, fuse_ino_t number, off_t offset, int whence, fuse_file_info* info) {
  begin(request, number, [&](Mount& mount, NodeRef node) {
    return [](Mount&, fuse_req_t to, NodeRef of, OpenFileRef file, off_t at, bool hole) -> Task<void> {
      auto found = co_await of->view->seek(file, static_cast<uint64_t>(at), hole);
      if (found)
        fuse_reply_lseek(to, static_cast<off_t>(*found));
      else
        answer_error(to, found.error(), {*of});
    }(mount, request, std::move(node), file_of(request, info), offset, whence == SEEK_HOLE);
  });
}

// ------------------------------------------------------------------------------------------------
// directories

void on_opendir(fuse_req_t request, fuse_ino_t number, fuse_file_info* info) {
  Mount& mount = mount_of(request);
  NodeRef node = mount.nodes().find(number);
  if (node == nullptr) {
    fuse_reply_err(request, ESTALE);
    return;
  }
  mount.let_keep_listing(*node, *info);
  info->fh = mount.keep(std::make_shared<OpenDirectory>(std::move(node)));
  if (fuse_reply_open(request, info) == -ENOENT) mount.release(info->fh);
}

void read_directory(fuse_req_t request, fuse_ino_t, size_t bytes, off_t offset, fuse_file_info* info,
                    bool plus) {
  Mount& mount = mount_of(request);
  mount.loop().spawn([](Mount& on, fuse_req_t to, std::shared_ptr<OpenDirectory> directory, size_t size,
                        uint64_t from, bool with_attributes) -> Task<void> {
    auto filled = co_await fill_directory(on, to, *directory, size, from, with_attributes);
    if (filled)
      fuse_reply_buf(to, filled->data(), filled->size());
    else
      answer_error(to, filled.error(), {*directory->node()});
  }(mount, request, mount.directory(info->fh), bytes, static_cast<uint64_t>(offset), plus));
}

void on_readdir(fuse_req_t request, fuse_ino_t number, size_t bytes, off_t offset, fuse_file_info* info) {
  read_directory(request, number, bytes, offset, info, false);
}

void on_readdirplus(fuse_req_t request, fuse_ino_t number, size_t bytes, off_t offset, fuse_file_info* info) {
  read_directory(request, number, bytes, offset, info, true);
}

void on_releasedir(fuse_req_t request, fuse_ino_t, fuse_file_info* info) {
  mount_of(request).release(info->fh);
  fuse_reply_err(request, 0);
}

void on_fsyncdir(fuse_req_t request, fuse_ino_t number, int, fuse_file_info*) {
  begin(request, number, [&](Mount& mount, NodeRef node) {
    return [](Mount&, fuse_req_t to, NodeRef of) -> Task<void> {
      answer_done(to, co_await of->view->sync_directory(of), {*of});
    }(mount, request, std::move(node));
  });
}

void on_statfs(fuse_req_t request, fuse_ino_t number) {
  begin(request, number, [&](Mount& mount, NodeRef node) {
    return [](Mount& on, fuse_req_t to, NodeRef of) -> Task<void> {
      auto space = co_await on.space(of->view->space_path(*of));
      if (!space) {
        answer_error(to, space.error(), {*of});
        co_return;
      }
      constexpr uint64_t kBlock = 4096;
      struct statvfs out = {};
      out.f_bsize = out.f_frsize = kBlock;
      out.f_blocks = space->bytes_total() / kBlock;
      out.f_bfree = out.f_bavail = space->bytes_free() / kBlock;
      out.f_files = space->files_total();
      out.f_ffree = out.f_favail = space->files_free();
      out.f_namemax = 255;
      fuse_reply_statfs(to, &out);
    }(mount, request, std::move(node));
  });
}

// ------------------------------------------------------------------------------------------------ attributes

// size 0: the caller asks how much room the answer needs.
void answer_xattr(fuse_req_t request, const Result<std::string>& value, size_t size, const About& about) {
  if (!value)
    answer_error(request, value.error(), about);
  else if (size == 0)
    fuse_reply_xattr(request, value->size());
  else if (size < value->size())
    fuse_reply_err(request, ERANGE);
  else
    fuse_reply_buf(request, value->data(), value->size());
}

void on_getxattr(fuse_req_t request, fuse_ino_t number, const char* name, size_t size) {
  begin(request, number, [&](Mount& mount, NodeRef node) {
    return [](Mount&, fuse_req_t to, NodeRef of, std::string called, size_t room) -> Task<void> {
      answer_xattr(to, co_await of->view->get_xattr(of, std::move(called)), room, {*of});
    }(mount, request, std::move(node), name, size);
  });
}

void on_listxattr(fuse_req_t request, fuse_ino_t number, size_t size) {
  begin(request, number, [&](Mount& mount, NodeRef node) {
    return [](Mount&, fuse_req_t to, NodeRef of, size_t room) -> Task<void> {
      auto names = co_await of->view->list_xattr(of);
      if (!names) {
        answer_error(to, names.error(), {*of});
        co_return;
      }
      std::string all;
      for (const std::string& name : *names) all += name + '\0';
      answer_xattr(to, all, room, {*of});
    }(mount, request, std::move(node), size);
  });
}

void on_setxattr(fuse_req_t request, fuse_ino_t number, const char* name, const char* value, size_t size,
                 int flags) {
  begin(request, number, [&](Mount& mount, NodeRef node) {
    return
        [](Mount&, fuse_req_t to, NodeRef of, std::string called, std::string with, int how) -> Task<void> {
          answer_done(to, co_await of->view->set_xattr(of, std::move(called), std::move(with), how), {*of});
        }(mount, request, std::move(node), name, std::string(value, size), flags);
  });
}

void on_removexattr(fuse_req_t request, fuse_ino_t number, const char* name) {
  begin(request, number, [&](Mount& mount, NodeRef node) {
    return [](Mount&, fuse_req_t to, NodeRef of, std::string called) -> Task<void> {
      answer_done(to, co_await of->view->remove_xattr(of, std::move(called)), {*of});
    }(mount, request, std::move(node), name);
  });
}

}  // namespace

const fuse_lowlevel_ops& fuse_operations() {
  static const fuse_lowlevel_ops operations = [] {
    fuse_lowlevel_ops ops = {};
    ops.init = on_init;
    ops.lookup = on_lookup;
    ops.forget = on_forget;
    ops.forget_multi = on_forget_multi;
    ops.getattr = on_getattr;
    ops.setattr = on_setattr;
    ops.access = on_access;
    ops.readlink = on_readlink;
    ops.mknod = on_mknod;
    ops.mkdir = on_mkdir;
    ops.unlink = on_unlink;
    ops.rmdir = on_rmdir;
    ops.symlink = on_symlink;
    ops.rename = on_rename;
    ops.link = on_link;
    ops.open = on_open;
    ops.create = on_create;
    ops.read = on_read;
    ops.write = on_write;
    ops.flush = on_flush;
    ops.release = on_release;
    ops.fsync = on_fsync;
    ops.fallocate = on_fallocate;
    ops.lseek = on_lseek;
    ops.opendir = on_opendir;
    ops.readdir = on_readdir;
    ops.readdirplus = on_readdirplus;
    ops.releasedir = on_releasedir;
    ops.fsyncdir = on_fsyncdir;
    ops.statfs = on_statfs;
    ops.getxattr = on_getxattr;
    ops.listxattr = on_listxattr;
    ops.setxattr = on_setxattr;
    ops.removexattr = on_removexattr;
    add_lock_operations(ops);
    return ops;
  }();
  return operations;
}

}  // namespace canopy::mount
