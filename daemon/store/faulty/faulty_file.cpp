#include "daemon/store/faulty/faulty_file.h"

namespace canopy {

namespace {

// Owns what the write carries, as its caller may go away while it is under way.
struct OwnedWrite {
  std::shared_ptr<File> file;
  uint64_t offset;
  std::string bytes;
  std::string_view pieces[1] = {};

  Task<Result<WriteOutcome>> operator()(FaultyExecution how) {
    auto size = static_cast<size_t>(static_cast<double>(bytes.size()) * how.part);
    pieces[0] = std::string_view(bytes).substr(0, size);
    return file->write(offset, pieces, how.durable);
  }
};

Task<Result<std::string>> read_owned(std::shared_ptr<File> file, uint64_t offset, size_t size) {
  std::string bytes(size, '\0');
  CANOPY_CO_ASSIGN(size_t got, co_await file->read(offset, std::span<char>(bytes.data(), size)));
  bytes.resize(got);
  co_return bytes;
}

Task<Result<void>> left_out_sync() { co_return Result<void>(); }

}  // namespace

FaultyFile::FaultyFile(std::shared_ptr<FaultyWorld> world, std::shared_ptr<File> inner, std::string path)
    : world_(std::move(world)), inner_(std::move(inner)), path_(std::move(path)) {
  ++world_->open_files;
}

FaultyFile::~FaultyFile() { --world_->open_files; }

Task<Result<size_t>> FaultyFile::read(uint64_t offset, std::span<char> into) {
  FaultyCall<std::string> call{StoreOperation::kRead, path_};
  call.execute = [file = inner_, offset, size = into.size()](FaultyExecution) {
    return read_owned(file, offset, size);
  };
  CANOPY_CO_ASSIGN(std::string bytes, co_await FaultyWorld::perform(world_, std::move(call)));
  std::ranges::copy(bytes, into.begin());
  co_return bytes.size();
}

Task<Result<WriteOutcome>> FaultyFile::write(uint64_t offset, std::span<const std::string_view> pieces,
                                             Durable durable) {
  if (pieces.size() > kStoreWritePiecesMax)
    co_return fail(Code::kInvalidArgument, path_, "too many pieces in one write");
  FaultyCall<WriteOutcome> call{StoreOperation::kWrite, path_, durable};
  OwnedWrite owned{inner_, offset, {}};
  for (std::string_view piece : pieces) owned.bytes.append(piece);
  call.bytes = owned.bytes.size();
  call.execute = std::move(owned);
  co_return co_await FaultyWorld::perform(world_, std::move(call));
}

Task<Result<Attributes>> FaultyFile::attributes() {
  FaultyCall<Attributes> call{StoreOperation::kAttributes, path_};
  call.execute = [file = inner_](FaultyExecution) { return file->attributes(); };
  return FaultyWorld::perform(world_, std::move(call));
}

Task<Result<void>> FaultyFile::set_attributes(SetAttributes change, Durable durable) {
  FaultyCall<void> call{StoreOperation::kSetAttributes, path_, durable};
  call.execute = [file = inner_, change](FaultyExecution how) {
    return file->set_attributes(change, how.durable);
  };
  return FaultyWorld::perform(world_, std::move(call));
}

Task<Result<void>> FaultyFile::sync() {
  FaultyCall<void> call{StoreOperation::kSync, path_, Durable::kYes};
  call.execute = [file = inner_](FaultyExecution how) {
    return how.skip_sync ? left_out_sync() : file->sync();
  };
  return FaultyWorld::perform(world_, std::move(call));
}

Task<Result<void>> FaultyFile::allocate(AllocateMode mode, uint64_t offset, uint64_t size) {
  FaultyCall<void> call{StoreOperation::kAllocate, path_};
  if (mode != AllocateMode::kPunchHole) call.bytes = size;
  call.execute = [file = inner_, mode, offset, size](FaultyExecution) {
    return file->allocate(mode, offset, size);
  };
  return FaultyWorld::perform(world_, std::move(call));
}

Task<Result<uint64_t>> FaultyFile::seek_data(uint64_t offset) {
  FaultyCall<uint64_t> call{StoreOperation::kSeek, path_};
  call.execute = [file = inner_, offset](FaultyExecution) { return file->seek_data(offset); };
  return FaultyWorld::perform(world_, std::move(call));
}

Task<Result<uint64_t>> FaultyFile::seek_hole(uint64_t offset) {
  FaultyCall<uint64_t> call{StoreOperation::kSeek, path_};
  call.execute = [file = inner_, offset](FaultyExecution) { return file->seek_hole(offset); };
  return FaultyWorld::perform(world_, std::move(call));
}

}  // namespace canopy
