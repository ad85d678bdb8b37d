// SetFile: an open file of a member store: holds that Store, counts what is asked of it, and answers file ids
// that are unique over the set. For the loop's thread.
#pragma once

#include "daemon/store/set/member.h"

namespace canopy {

class SetFile final : public File {
 public:
  SetFile(MemberRef member, std::shared_ptr<Store> store, std::unique_ptr<File> file)
      : member_(std::move(member)), store_(std::move(store)), file_(std::move(file)) {}

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
  template <class T>
  Task<Result<T>> timed(Task<Result<T>> task);

  MemberRef member_;
  std::shared_ptr<Store> store_;  // before the file: it outlives it
  std::unique_ptr<File> file_;
};

}  // namespace canopy
