// FileIdentity: which file of a store it is. The inode number of a removed file comes back; together with the
// time of its birth it does not.
#pragma once

#include <functional>

#include "daemon/store/store.h"
#include "daemon/wire/canopy.pb.h"

namespace canopy::wire {

struct FileIdentity {
  uint64_t file_id = 0;  // 0: none
  FileTime born;

  bool operator==(const FileIdentity&) const = default;
  explicit operator bool() const { return file_id != 0; }
};

inline FileIdentity identity_of(const Attributes& attributes) {
  return FileIdentity{attributes.file_id, attributes.born};
}
inline FileIdentity identity_of(uint64_t file_id, const v1::TreeTime& born) {
  return FileIdentity{file_id, FileTime{born.seconds(), born.nanoseconds()}};
}
inline FileIdentity identity_of(const v1::TreeIdentity& identity) {
  return identity_of(identity.file_id(), identity.born());
}

struct FileIdentityHash {
  size_t operator()(const FileIdentity& of) const {
    return std::hash<uint64_t>()(of.file_id * 0x9e3779b97f4a7c15ull ^ of.born.nanoseconds);
  }
};

}  // namespace canopy::wire
