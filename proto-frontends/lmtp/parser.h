// LMTP's input as a sequence of events, without I/O. The caller keeps unconsumed bytes (at most
// kCommandBytesMax and an unfinished read) and shows them again with more behind them.
#pragma once

#include "proto-frontends/common/line_scanner.h"
#include "proto-frontends/lmtp/command.h"
#include "proto-frontends/lmtp/dot_decoder.h"

namespace canopy::lmtp {

// RFC 5321 asks for 512 and more for extensions (SIZE, BODY, SMTPUTF8).
inline constexpr size_t kCommandBytesMax = 2048;

struct Event {
  enum class Kind {
    kNeedMore,
    kCommand,
    kContent,     // bytes of DATA or BDAT were appended to the content; more will come
    kContentEnd,  // DATA's end, or the end of a BDAT chunk
  };
  Kind kind = Kind::kNeedMore;
  Command command;
};

class Parser {
 public:
  // Takes what it can off the front of `input`. After kCommand of DATA or BDAT the caller says begin_data()
  // or begin_chunk() before it goes on, or nothing when it refused DATA.
  Event next(std::string_view& input, std::string& content);

  void begin_data() {
    mode_ = Mode::kData;
    dots_ = DotDecoder();
  }
  void begin_chunk(uint64_t bytes) {
    mode_ = Mode::kChunk;
    chunk_left_ = bytes;
  }
  // True between commands: nothing of a message is expected.
  bool in_commands() const { return mode_ == Mode::kCommands; }

 private:
  enum class Mode { kCommands, kData, kChunk };
  Event next_command(std::string_view& input);

  Mode mode_ = Mode::kCommands;
  frontend::LineScanner lines_{frontend::LineEnd::kCrLf};
  DotDecoder dots_;
  uint64_t chunk_left_ = 0;
};

}  // namespace canopy::lmtp
