#include "daemon/store/nfs/v4_types.h"

#include <arpa/inet.h>

#include <charconv>
#include <cstring>

namespace canopy::nfs::v4 {
namespace {

constexpr uint32_t low(std::initializer_list<int> attributes) {
  uint32_t bits = 0;
  for (int attribute : attributes)
    if (attribute < 32) bits |= uint32_t{1} << attribute;
  return bits;
}
constexpr uint32_t high(std::initializer_list<int> attributes) {
  uint32_t bits = 0;
  for (int attribute : attributes)
    if (attribute >= 32) bits |= uint32_t{1} << (attribute - 32);
  return bits;
}
constexpr std::initializer_list<int> kFileAttributes = {
    FATTR4_TYPE,        FATTR4_SIZE,          FATTR4_FILEID,      FATTR4_MODE,
    FATTR4_NUMLINKS,    FATTR4_OWNER,         FATTR4_OWNER_GROUP, FATTR4_SPACE_USED,
    FATTR4_TIME_ACCESS, FATTR4_TIME_METADATA, FATTR4_TIME_MODIFY};
constexpr std::initializer_list<int> kListingMore = {FATTR4_RDATTR_ERROR, FATTR4_FILEHANDLE};
constexpr std::initializer_list<int> kLimitAttributes = {FATTR4_MAXFILESIZE, FATTR4_MAXREAD, FATTR4_MAXWRITE};
constexpr std::initializer_list<int> kSpaceAttributes = {FATTR4_FILES_AVAIL, FATTR4_FILES_TOTAL,
                                                         FATTR4_SPACE_AVAIL, FATTR4_SPACE_TOTAL};
constexpr uint32_t kNobody = 65534;

// Reads XDR; every read beyond the end makes it bad.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : left_(bytes) {}
  bool bad() const { return bad_; }
  uint32_t number() {
    const std::string_view bytes = take(4);
    uint32_t value = 0;
    if (bytes.size() == 4) std::memcpy(&value, bytes.data(), 4);
    return ntohl(value);
  }
  uint64_t long_number() {
    const uint64_t high_part = number();
    return high_part << 32 | number();
  }
  std::string_view text() {
    const uint32_t size = number();
    const std::string_view bytes = take(size);
    take((4 - size % 4) % 4);
    return bytes;
  }
  FileTime time() {
    const auto seconds = static_cast<int64_t>(long_number());
    return FileTime{.seconds = seconds, .nanoseconds = number()};
  }

 private:
  std::string_view take(size_t size) {
    if (size > left_.size()) bad_ = true;
    if (bad_) return {};
    const std::string_view bytes = left_.substr(0, size);
    left_.remove_prefix(size);
    return bytes;
  }
  std::string_view left_;
  bool bad_ = false;
};

FileType type_from(uint32_t type) {
  switch (type) {
    case NF4REG: return FileType::kRegular;
    case NF4DIR: return FileType::kDirectory;
    case NF4LNK: return FileType::kSymlink;
    default: return FileType::kOther;
  }
}

// Owners are numbers in text (RFC 7530 section 5.9); a server that maps names sends what we cannot tell.
uint32_t owner_from(std::string_view text) {
  uint32_t value = 0;
  auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  return problem == std::errc() && end == text.data() + text.size() ? value : kNobody;
}

// False: an attribute that was not asked for.
bool decode_one(int attribute, Reader& reader, Decoded& out) {
  Attributes& file = out.attributes;
  auto bounded = [](uint64_t bytes) { return static_cast<uint32_t>(std::min<uint64_t>(bytes, UINT32_MAX)); };
  switch (attribute) {
    case FATTR4_TYPE: file.type = type_from(reader.number()); return true;
    case FATTR4_SIZE: file.size = reader.long_number(); return true;
    case FATTR4_RDATTR_ERROR: out.has_error = reader.number() != NFS4_OK; return true;
    case FATTR4_FILEHANDLE: {
      const std::string_view bytes = reader.text();
      if (bytes.size() <= kHandleBytesMax) out.handle = FileHandle(bytes);
      return true;
    }
    case FATTR4_FILEID: file.file_id = reader.long_number(); return true;
    case FATTR4_FILES_AVAIL: out.space.files_free = reader.long_number(); return true;
    case FATTR4_FILES_TOTAL: out.space.files_total = reader.long_number(); return true;
    case FATTR4_MAXFILESIZE: out.limits.file_bytes = reader.long_number(); return true;
    case FATTR4_MAXREAD: out.limits.read_bytes = bounded(reader.long_number()); return true;
    case FATTR4_MAXWRITE: out.limits.write_bytes = bounded(reader.long_number()); return true;
    case FATTR4_MODE: file.mode = reader.number() & 07777; return true;
    case FATTR4_NUMLINKS: file.links = reader.number(); return true;
    case FATTR4_OWNER: file.uid = owner_from(reader.text()); return true;
    case FATTR4_OWNER_GROUP: file.gid = owner_from(reader.text()); return true;
    case FATTR4_SPACE_AVAIL: out.space.bytes_free = reader.long_number(); return true;
    case FATTR4_SPACE_TOTAL: out.space.bytes_total = reader.long_number(); return true;
    case FATTR4_SPACE_USED: file.allocated = reader.long_number(); return true;
    case FATTR4_TIME_ACCESS: file.accessed = reader.time(); return true;
    case FATTR4_TIME_METADATA: file.changed = reader.time(); return true;
    case FATTR4_TIME_MODIFY: file.modified = reader.time(); return true;
    default: return false;
  }
}

}  // namespace

bitmap4 bits_of(Wanted wanted) {
  static uint32_t file[] = {low(kFileAttributes), high(kFileAttributes)};
  static uint32_t listing[] = {low(kFileAttributes) | low(kListingMore), high(kFileAttributes)};
  static uint32_t limits[] = {low(kLimitAttributes), high(kLimitAttributes)};
  static uint32_t space[] = {low(kSpaceAttributes), high(kSpaceAttributes)};
  uint32_t* bits = wanted == Wanted::kFile      ? file
                   : wanted == Wanted::kListing ? listing
                   : wanted == Wanted::kLimits  ? limits
                                                : space;
  return bitmap4{.bitmap4_len = 2, .bitmap4_val = bits};
}

void Encoded::add(int attribute) {
  mask_[static_cast<size_t>(attribute / 32)] |= uint32_t{1} << (attribute % 32);
}
void Encoded::number(uint32_t value) {
  const uint32_t wire = htonl(value);
  values_.append(reinterpret_cast<const char*>(&wire), sizeof wire);
}
void Encoded::long_number(uint64_t value) {
  number(static_cast<uint32_t>(value >> 32));
  number(static_cast<uint32_t>(value));
}
void Encoded::text(const std::string& value) {
  number(static_cast<uint32_t>(value.size()));
  values_.append(value);
  values_.append((4 - value.size() % 4) % 4, '\0');
}
void Encoded::time(const FileTime& value) {
  number(SET_TO_CLIENT_TIME4);
  long_number(static_cast<uint64_t>(value.seconds));
  number(value.nanoseconds);
}

// In the order of their numbers.
Encoded::Encoded(const SetAttributes& change) {
  if (change.size) {
    add(FATTR4_SIZE);
    long_number(*change.size);
  }
  if (change.mode) {
    add(FATTR4_MODE);
    number(*change.mode);
  }
  if (change.uid) {
    add(FATTR4_OWNER);
    text(std::to_string(*change.uid));
  }
  if (change.gid) {
    add(FATTR4_OWNER_GROUP);
    text(std::to_string(*change.gid));
  }
  if (change.accessed) {
    add(FATTR4_TIME_ACCESS_SET);
    time(*change.accessed);
  }
  if (change.modified) {
    add(FATTR4_TIME_MODIFY_SET);
    time(*change.modified);
  }
}

Encoded Encoded::type_only(nfs_ftype4 type) {
  Encoded out;
  out.add(FATTR4_TYPE);
  out.number(static_cast<uint32_t>(type));
  return out;
}

fattr4 Encoded::get() {
  fattr4 out{};
  out.attrmask = bitmap4{.bitmap4_len = 2, .bitmap4_val = mask_.data()};
  out.attr_vals =
      attrlist4{.attrlist4_len = static_cast<u_int>(values_.size()), .attrlist4_val = values_.data()};
  return out;
}

std::optional<Decoded> decode(const fattr4& from) {
  Decoded out;
  Reader reader(std::string_view(from.attr_vals.attrlist4_val, from.attr_vals.attrlist4_len));
  for (u_int word = 0; word < from.attrmask.bitmap4_len; ++word) {
    for (int bit = 0; bit < 32; ++bit) {
      if ((from.attrmask.bitmap4_val[word] >> bit & 1) == 0) continue;
      if (!decode_one(static_cast<int>(word) * 32 + bit, reader, out)) return std::nullopt;
    }
  }
  if (reader.bad()) return std::nullopt;
  return out;
}

nfs_argop4& Compound::add(nfs_opnum4 operation) {
  nfs_argop4& added = operations_.emplace_back();
  added.argop = operation;
  return added;
}
Compound& Compound::at(const FileHandle& handle) {
  add(OP_PUTFH).nfs_argop4_u.opputfh.object =
      nfs_fh4{.nfs_fh4_len = static_cast<u_int>(handle.bytes().size()),
              .nfs_fh4_val = const_cast<char*>(handle.bytes().data())};
  return *this;
}
Compound& Compound::plain(nfs_opnum4 operation) {
  add(operation);
  return *this;
}
Compound& Compound::lookup(const std::string& name) {
  add(OP_LOOKUP).nfs_argop4_u.oplookup.objname = text_of(name);
  return *this;
}
Compound& Compound::attributes(Wanted wanted) {
  add(OP_GETATTR).nfs_argop4_u.opgetattr.attr_request = bits_of(wanted);
  return *this;
}
COMPOUND4args Compound::arguments() {
  COMPOUND4args out{};
  out.argarray.argarray_len = static_cast<u_int>(operations_.size());
  out.argarray.argarray_val = operations_.data();
  return out;
}

utf8string text_of(const std::string& text) {
  return utf8string{.utf8string_len = static_cast<u_int>(text.size()),
                    .utf8string_val = const_cast<char*>(text.data())};
}

int status_from(nfsstat4 status) {
  switch (static_cast<int>(status)) {
    case NFS4ERR_GRACE:
    case NFS4ERR_RESOURCE: return kDelayed;
    case NFS4ERR_FHEXPIRED: return kStale;
    case NFS4ERR_SYMLINK: return kExists;  // of OPEN: the name is taken by one
    case NFS4ERR_BADCHAR:
    case NFS4ERR_BADNAME: return kInvalid;
    case NFS4ERR_WRONGSEC: return kAccess;
    default: return static_cast<int>(status);
  }
}

std::optional<nfs_resop4> find(const COMPOUND4res& answer, nfs_opnum4 operation) {
  const auto* results = reinterpret_cast<const char*>(answer.resarray.resarray_val);
  for (u_int i = answer.resarray.resarray_len; i-- > 0;) {
    const auto result = aligned<nfs_resop4>(results + i * sizeof(nfs_resop4));
    if (result.resop == operation) return result;
  }
  return std::nullopt;
}

bool has_made(const COMPOUND4res& answer) {
  const auto open = find(answer, OP_OPEN);
  if (open && open->nfs_resop4_u.opopen.status == NFS4_OK) return true;
  const auto create = find(answer, OP_CREATE);
  return create && create->nfs_resop4_u.opcreate.status == NFS4_OK;
}

std::optional<Attributes> attributes_in(const COMPOUND4res& answer) {
  const auto found = find(answer, OP_GETATTR);
  if (!found) return std::nullopt;
  const auto decoded = decode(found->nfs_resop4_u.opgetattr.GETATTR4res_u.resok4.obj_attributes);
  if (!decoded) return std::nullopt;
  return decoded->attributes;
}

std::optional<FileHandle> handle_in(const COMPOUND4res& answer) {
  const auto found = find(answer, OP_GETFH);
  if (!found) return std::nullopt;
  const nfs_fh4& handle = found->nfs_resop4_u.opgetfh.GETFH4res_u.resok4.object;
  if (handle.nfs_fh4_len > kHandleBytesMax) return std::nullopt;
  return FileHandle(std::string_view(handle.nfs_fh4_val, handle.nfs_fh4_len));
}

}  // namespace canopy::nfs::v4
