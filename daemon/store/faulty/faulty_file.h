// An open file of a FaultyStore.
#pragma once

#include "daemon/store/faulty/faulty_world.h"

namespace canopy {

class FaultyFile final : public File {
 public:
  FaultyFile(std::shared_ptr<FaultyWorld> world, std::shared_ptr<File> inner, std::string path);
  ~FaultyFile() override;

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
  std::shared_ptr<FaultyWorld> world_;
  std::shared_ptr<File> inner_;  // shared with what is under way
  std::string path_;
};

}  // namespace canopy
