#include "tests/proto-frontends/fake_backend.h"

#include <sys/socket.h>

namespace canopy::frontend {

std::unique_ptr<Stream> Fixture::connect() {
  int ends[2];
  CANOPY_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  bool lmtp = config.protocol == Protocol::kLmtp;
  server->serve(
      loop->adopt(ends[0]), *shared,
      {lmtp ? serve_lmtp_session : serve_pop3_session, &cache, lmtp ? lmtp::kReadBytes : pop3::kReadBytes,
       lmtp ? "421 4.3.2 Too many connections\r\n" : "-ERR [SYS/TEMP] Too many connections\r\n"});
  return loop->adopt(ends[1]);
}

namespace {

Task<void> write_pieces(Loop& loop, Stream& stream, const std::string& script, size_t piece_bytes,
                        bool half_close, bool& written) {
  size_t piece = piece_bytes == 0 ? std::max<size_t>(1, script.size()) : piece_bytes;
  for (size_t at = 0; at < script.size(); at += piece) {
    auto sent =
        co_await stream.write_all(std::string_view(script).substr(at, piece), loop.now() + 10 * kSecond);
    if (!sent) break;
    if (piece_bytes != 0) co_await loop.yield();
  }
  if (half_close) stream.shutdown_write();
  written = true;
}

Task<std::string> play(Loop& loop, Stream& stream, const std::string& script, size_t piece_bytes,
                       bool half_close) {
  bool written = false;
  loop.spawn(write_pieces(loop, stream, script, piece_bytes, half_close, written));
  std::string said = co_await read_until(loop, stream, std::string());
  while (!written) co_await loop.yield();
  co_return said;
}

}  // namespace

std::string Fixture::talk(std::string script, size_t piece_bytes) {
  auto stream = connect();
  return loop->run_until_done(play(*loop, *stream, script, piece_bytes, half_close));
}

Task<std::string> read_until(Loop& loop, Stream& stream, std::string end) {
  std::string said;
  char buffer[65536];
  while (end.empty() || !said.ends_with(end)) {
    auto got = co_await stream.read(buffer, loop.now() + 10 * kSecond);
    if (!got || *got == 0) break;
    said.append(buffer, *got);
  }
  co_return said;
}

Task<std::string> send_and_read(Loop& loop, Stream& stream, std::string line, std::string end) {
  auto sent = co_await stream.write_all(line, loop.now() + 10 * kSecond);
  if (!sent) co_return "write failed: " + sent.error().to_string();
  co_return co_await read_until(loop, stream, std::move(end));
}

size_t count_of(std::string_view text, std::string_view word) {
  size_t count = 0;
  for (size_t at = text.find(word); at != text.npos; at = text.find(word, at + word.size())) ++count;
  return count;
}

}  // namespace canopy::frontend
