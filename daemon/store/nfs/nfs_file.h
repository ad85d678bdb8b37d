// A file of an NfsStore: a handle, which means the same file for as long as it lives, whatever becomes of its
// name. Once it has no name any more it is kNotFound.
#pragma once

#include "daemon/store/nfs/client.h"

namespace canopy::nfs {

class NfsFile final : public File {
 public:
  NfsFile(Client& client, FileHandle handle, std::string path, bool writable)
      : client_(client),
        unsynced_(client.unsynced_files()),
        handle_(handle),
        path_(std::move(path)),
        writable_(writable) {
    if (writable_) unsynced_->opened(handle_);
  }
  ~NfsFile() override {
    if (writable_) unsynced_->closed(handle_);
  }

  Task<Result<size_t>> read(uint64_t offset, std::span<char> into) override;
  Task<Result<WriteOutcome>> write(uint64_t offset, std::span<const std::string_view> pieces,
                                   Durable durable) override;
  Task<Result<Attributes>> attributes() override;
  Task<Result<void>> set_attributes(SetAttributes change, Durable durable) override;
  Task<Result<void>> sync() override;
  Task<Result<void>> allocate(AllocateMode mode, uint64_t offset, uint64_t size) override;
  Task<Result<uint64_t>> seek_data(uint64_t offset) override;
  Task<Result<uint64_t>> seek_hole(uint64_t offset) override;

 private:
  Result<void> check_writable() const;
  // The end of the file; kNotFound when it is not behind `from`.
  Task<Result<uint64_t>> seek_end(uint64_t from);

  Client& client_;
  const std::shared_ptr<UnsyncedFiles> unsynced_;
  const FileHandle handle_;
  const std::string path_;
  const bool writable_;
};

// All until `deadline` at the latest. Reads until `into` is full or the file ends, several READs at a time.
Task<Result<size_t>> read_range(Client& client, FileHandle file, std::string path, uint64_t offset,
                                std::span<char> into, Nanos deadline);
// Writes `pieces`, `total` bytes in all, in one WRITE with FILE_SYNC when it takes them, in many and a COMMIT
// otherwise.
Task<Result<WriteOutcome>> write_pieces(Client& client, FileHandle file, std::string path, uint64_t offset,
                                        std::span<const std::string_view> pieces, size_t total,
                                        Durable durable, Nanos deadline);
Task<Result<void>> sync_file(Client& client, FileHandle file, std::string path, Nanos deadline);
Task<Result<void>> change_attributes(Client& client, Node node, std::string path, SetAttributes change,
                                     Nanos deadline);

}  // namespace canopy::nfs
