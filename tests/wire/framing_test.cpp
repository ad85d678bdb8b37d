// Framing and the messages in the frames: pure code, fed whole, in pieces, and one byte at a time.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "daemon/wire/canopy.pb.h"
#include "daemon/wire/framing_envelope.h"
#include "daemon/wire/framing_status.h"
#include "daemon/wire/ttrpc.pb.h"

namespace canopy::wire {
namespace {

std::string frame_of(uint32_t stream, FrameType type, std::string_view payload, uint8_t flags = 0) {
  std::string bytes(kFrameHeaderBytes, '\0');
  put_frame_header(bytes.data(), static_cast<uint32_t>(payload.size()), stream, type, flags);
  return bytes + std::string(payload);
}

struct Taken {
  std::vector<std::string> frames;  // "stream type flags size first-byte"
  bool broken = false;
  size_t buffer_max = 0;
};

Taken feed(std::string_view bytes, size_t piece) {
  FrameReader reader;
  Taken taken;
  while (!bytes.empty()) {
    auto room = reader.room();
    const size_t count = std::min({piece, bytes.size(), room.size()});
    std::memcpy(room.data(), bytes.data(), count);
    bytes.remove_prefix(count);
    reader.filled(count);
    taken.buffer_max = std::max(taken.buffer_max, reader.buffer_bytes());
    Frame frame;
    FrameReader::State state;
    while ((state = reader.next(frame)) == FrameReader::State::kFrame)
      taken.frames.push_back(fmt::format(
          "{} {} {} {} {}", frame.stream_id, static_cast<int>(frame.type), frame.flags,
          frame.oversized ? "oversized" : std::to_string(frame.payload.size()), frame.payload.substr(0, 8)));
    if (state == FrameReader::State::kBroken) {
      taken.broken = true;
      break;
    }
    if (reader.idle()) reader.release();
  }
  return taken;
}

TEST(Framing, ReadsTheHeaderAsTheProtocolStatesIt) {
  const std::string bytes = frame_of(0x01020305, FrameType::kData, "abc", kFlagRemoteClosed);
  EXPECT_EQ(bytes, std::string("\x00\x00\x00\x03\x01\x02\x03\x05\x03\x01"
                               "abc",
                               13));
  EXPECT_EQ(feed(bytes, 100).frames, (std::vector<std::string>{"16909061 3 1 3 abc"}));
}

TEST(Framing, GivesTheSameFramesHoweverTheBytesArrive) {
  std::string bytes;
  for (uint32_t i = 0; i < 40; ++i)
    bytes +=
        frame_of(2 * i + 1, FrameType::kRequest, std::string(i * i * 7, static_cast<char>('a' + i % 26)));
  bytes += frame_of(99, FrameType::kRequest, std::string(200'000, 'L'));
  bytes += frame_of(101, FrameType::kRequest, "");
  const Taken whole = feed(bytes, bytes.size());
  EXPECT_EQ(whole.frames.size(), 42u);
  EXPECT_EQ(whole.frames[40], "99 1 0 200000 LLLLLLLL");
  for (size_t piece : {1, 2, 3, 7, 10, 4096, 65536, 65537}) {
    SCOPED_TRACE(piece);
    EXPECT_EQ(feed(bytes, piece).frames, whole.frames);
  }
}

TEST(Framing, HoldsNoMoreThanOneLargestFrame) {
  const std::string bytes = frame_of(1, FrameType::kRequest, std::string(kWireMessageBytesMax, 'x')) +
                            frame_of(3, FrameType::kRequest, "small");
  const Taken taken = feed(bytes, 50'000);
  EXPECT_EQ(taken.frames.size(), 2u);
  EXPECT_EQ(taken.buffer_max, kWireMessageBytesMax + kFrameHeaderBytes);
}

TEST(Framing, DropsAnOversizedFrameAndGoesOn) {
  const std::string bytes = frame_of(1, FrameType::kRequest, std::string(kWireMessageBytesMax + 1, 'x')) +
                            frame_of(3, FrameType::kRequest, "small");
  for (size_t piece : {size_t{100'000}, bytes.size()}) {
    const Taken taken = feed(bytes, piece);
    EXPECT_EQ(taken.frames, (std::vector<std::string>{"1 1 0 oversized ", "3 1 0 5 small"}));
    EXPECT_EQ(taken.buffer_max, kFrameReadBytes);
  }
}

TEST(Framing, KnowsThatOtherProtocolsAreNone) {
  EXPECT_TRUE(feed("GET / HTTP/1.1\r\n\r\n", 100).broken);
  EXPECT_TRUE(feed(std::string_view("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11), 1).broken);
  EXPECT_TRUE(feed(frame_of(1, static_cast<FrameType>(0), "x"), 100).broken);
  EXPECT_TRUE(feed(frame_of(1, static_cast<FrameType>(4), "x"), 100).broken);
}

TEST(Envelope, AgreesWithProtobufOnRequests) {
  v1::PingRequest payload;
  payload.set_payload(std::string(300, 'p'));
  for (int64_t timeout :
       {int64_t{0}, int64_t{1}, int64_t{127}, int64_t{128}, int64_t{5'000'000'000}, INT64_MAX}) {
    std::string bytes;
    ASSERT_TRUE(append_request(bytes, 7, "canopy.v1.Session", "Ping", timeout, payload));
    ttrpc::Request request;
    ASSERT_TRUE(request.ParseFromString(bytes.substr(kFrameHeaderBytes)));
    EXPECT_EQ(request.service(), "canopy.v1.Session");
    EXPECT_EQ(request.method(), "Ping");
    EXPECT_EQ(request.timeout_nano(), timeout);
    EXPECT_EQ(request.payload(), payload.SerializeAsString());
    auto* pair = request.add_metadata();
    pair->set_key("ignored");
    pair->set_value("too");
    const std::string again = request.SerializeAsString();
    RequestView view;
    ASSERT_TRUE(parse_request(again, view));
    EXPECT_EQ(view.service, "canopy.v1.Session");
    EXPECT_EQ(view.method, "Ping");
    EXPECT_EQ(view.timeout_nano, timeout);
    EXPECT_EQ(view.payload, request.payload());
  }
}

TEST(Envelope, AgreesWithProtobufOnResponses) {
  v1::PingResponse payload;
  payload.set_payload("pong");
  std::string bytes;
  ASSERT_TRUE(append_response(bytes, 9, payload));
  ttrpc::Response response;
  ASSERT_TRUE(response.ParseFromString(bytes.substr(kFrameHeaderBytes)));
  EXPECT_FALSE(response.has_status());
  EXPECT_EQ(response.payload(), payload.SerializeAsString());
  ResponseView view;
  ASSERT_TRUE(parse_response(std::string_view(bytes).substr(kFrameHeaderBytes), view));
  EXPECT_EQ(view.payload, response.payload());
}

TEST(Envelope, RefusesCutAndMeaninglessBytes) {
  ttrpc::Request request;
  request.set_service("service");
  request.set_method("method");
  request.set_payload("payload");
  request.set_timeout_nano(1'000'000);
  const std::string bytes = request.SerializeAsString();
  RequestView view;
  size_t refused = 0;
  for (size_t size = 1; size < bytes.size(); ++size) {
    const bool good = parse_request(bytes.substr(0, size), view);
    EXPECT_EQ(good, request.ParseFromString(bytes.substr(0, size))) << size;
    refused += good ? 0 : 1;
  }
  EXPECT_GT(refused, bytes.size() / 2);
  EXPECT_FALSE(
      parse_request("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", view));  // a length beyond all bounds
  EXPECT_FALSE(parse_request("\x0b", view));                             // a group
  EXPECT_FALSE(parse_request(std::string_view("\x00\x00", 2), view));    // field 0
}

TEST(Envelope, RefusesToBuildWhatIsTooLargeAndLeavesTheBufferAlone) {
  v1::PingRequest payload;
  payload.set_payload(std::string(kWireMessageBytesMax, 'p'));
  std::string bytes = "before";
  auto done = append_request(bytes, 1, "s", "m", 0, payload);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code(), Code::kTooLarge);
  EXPECT_EQ(append_response(bytes, 1, payload).error().code(), Code::kTooLarge);
  EXPECT_EQ(bytes, "before");
}

TEST(Status, CarriesEveryCodeThereAndBack) {
  for (uint32_t number = 1; number <= static_cast<uint32_t>(Code::kLast); ++number) {
    const Error error(static_cast<Code>(number), "object", "a sentence");
    const std::string bytes = encode_status(error);
    auto back = decode_status(bytes);
    ASSERT_TRUE(back);
    EXPECT_EQ(back->code(), error.code());
    EXPECT_EQ(back->object(), "object");
    EXPECT_EQ(back->message(), "a sentence");
    ttrpc::Status status;
    ASSERT_TRUE(status.ParseFromString(bytes));
    EXPECT_EQ(status.code(), grpc_code_of(error.code()));
    EXPECT_NE(status.code(), 0);
    EXPECT_EQ(status.message(), error.to_string());
  }
}

TEST(Status, IsDocumentedAsItIs) {
  std::ifstream file(CANOPY_SOURCE_DIR "/docs/protocol/errors.md");
  std::stringstream text;
  text << file.rdbuf();
  for (uint32_t number = 1; number <= static_cast<uint32_t>(Code::kLast); ++number) {
    const auto code = static_cast<Code>(number);
    const std::string row = fmt::format("\n| {} | {} | {} ", number, code_name(code), grpc_code_of(code));
    const size_t at = text.str().find(row);
    ASSERT_NE(at, std::string::npos) << row;
    const std::string rest = text.str().substr(at + row.size());
    EXPECT_EQ(rest.substr(rest.find('|') + 2, 3), code_is_retryable(code) ? "yes" : "no ") << row;
  }
}

TEST(Status, CarriesTheOwnerOfAnotherBackendsAccount) {
  v1::Owner owner, back;
  owner.set_endpoint("tcp:10.0.0.7:7143");
  owner.set_slot(77);
  auto error = decode_status(encode_status(Error(Code::kWrongBackend, "a@b", "elsewhere"), &owner), &back);
  ASSERT_TRUE(error);
  EXPECT_EQ(back.endpoint(), "tcp:10.0.0.7:7143");
  EXPECT_EQ(back.slot(), 77u);
}

TEST(Status, ArrivesAlsoWhenItIsAboutAFileWhoseNameIsNoUtf8) {
  auto error = decode_status(encode_status(Error(Code::kNotFound, "d/\xc3\xa4\xff", "no \xfe here", ENOENT)));
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code(), Code::kNotFound);
  EXPECT_EQ(error->object(), "d/\xc3\xa4\\xff");
  EXPECT_EQ(error->message(), "no \\xfe here");
}

TEST(Status, SaysWhetherTheSystemRefusedOrARuleOfCanopy) {
  // EACCES is also what the code alone means.
  for (const int number : {EACCES, EPERM}) {
    auto error =
        decode_status(encode_status(Error(Code::kPermissionDenied, "file", "open: refused", number)));
    ASSERT_TRUE(error);
    EXPECT_TRUE(error->is_of_system());
    EXPECT_EQ(error->error_number(), number);
  }
  auto error = decode_status(encode_status(Error(Code::kPermissionDenied, "method", "not for this role")));
  ASSERT_TRUE(error);
  EXPECT_FALSE(error->is_of_system());
}

TEST(Status, UnderstandsServersOfOtherMakeAndLaterVersions) {
  ttrpc::Status status;
  status.set_code(5);
  status.set_message("nothing here");
  auto error = decode_status(status.SerializeAsString());
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code(), Code::kNotFound);
  EXPECT_EQ(error->message(), "nothing here");
  v1::Error later;
  later.set_code(4000);
  later.set_retryable(true);
  EXPECT_EQ(error_of(later).code(), Code::kTryAgain);
  EXPECT_FALSE(decode_status(""));
}

}  // namespace
}  // namespace canopy::wire
