// An open file of a LocalStore.
#pragma once

#include "daemon/store/local/blocking.h"
#include "daemon/store/local/system.h"
#include "daemon/store/store.h"

namespace canopy::local {

class LocalFile final : public File {
 public:
  LocalFile(Blocking& blocking, Fd fd, std::string path, bool writable, bool shared)
      : loop_(blocking.loop()),
        blocking_(blocking),
        fd_(std::move(fd)),
        path_(std::move(path)),
        writable_(writable),
        shared_(shared) {}

  Task<Result<size_t>> read(uint64_t offset, std::span<char> into) override;
  Task<Result<WriteOutcome>> write(uint64_t offset, std::span<const std::string_view> pieces,
                                   Durable durable) override;
  Task<Result<Attributes>> attributes() override;
  Task<Result<void>> set_attributes(SetAttributes change, Durable durable) override;
  Task<Result<void>> sync() override;
  Task<Result<void>> allocate(AllocateMode mode, uint64_t offset, uint64_t size) override;
  Task<Result<uint64_t>> seek_data(uint64_t offset) override;
  Task<Result<uint64_t>> seek_hole(uint64_t offset) override;

  int descriptor() const { return fd_.get(); }

 private:
  Result<void> check_writable() const;

  UringLoop& loop_;
  Blocking& blocking_;
  Fd fd_;
  std::string path_;
  bool writable_;
  bool shared_;
};

// Attributes from the file's server where another machine may have changed them, else from memory.
Task<Result<Attributes>> fresh_attributes(UringLoop& loop, int fd, bool shared, std::string object);

}  // namespace canopy::local
