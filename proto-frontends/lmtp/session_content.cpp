// The content of a message on its way from DATA or BDAT to the backend.
#include "daemon/base/bytes.h"
#include "daemon/base/limits.h"
#include "daemon/base/log.h"
#include "proto-frontends/lmtp/replies.h"
#include "proto-frontends/lmtp/session.h"
#include "proto-frontends/lmtp/trace.h"

namespace canopy::lmtp {

void Session::begin_content() {
  TraceInfo trace{
      .helo = helo_,
      .client = connection_.client().is_unspecified() ? std::string() : connection_.client().to_string(),
      .hostname = context_.options.hostname,
      .recipient = recipients_.size() == 1 ? recipients_[0] : std::string(),
      .id = hex64(id_ + connection_.commands),
      .tls = connection_.tls(),
      .utf8 = utf8_,
      .unix_seconds = connection_.loop().wall_clock_ns() / kSecond,
  };
  content_state_ = ContentState::kTaking;
  content_ = received_field(trace);
  content_bytes_ = trace_bytes_ = content_.size();
  // One allocation for a message whose size was announced, but none that a liar chooses.
  content_.reserve(content_.size() + std::min<uint64_t>(announced_bytes_, kWireChunkBytesMax) + 2048);
}

Task<void> Session::data() {
  if (!mail_given_ || recipients_.empty()) {
    bad_command(mail_given_ ? "503 5.5.1 No valid recipients" : "503 5.5.1 MAIL and RCPT come first");
    co_return;
  }
  if (body_ == Body::kBinaryMime) {
    bad_command("503 5.5.1 BINARYMIME needs BDAT");
    co_return;
  }
  begin_content();
  parser_.begin_data();
  connection_.reply("354 End with CRLF.CRLF");
}

Task<void> Session::bdat(const Command& command) {
  parser_.begin_chunk(command.size);
  last_chunk_ = command.last;
  if (content_state_ == ContentState::kNone) {
    begin_content();
    if (!mail_given_ || recipients_.empty())
      refuse_content(mail_given_ ? "503 5.5.1 No valid recipients" : "503 5.5.1 MAIL and RCPT come first");
  }
  in_chunks_ = true;
  if (content_state_ == ContentState::kTaking &&
      content_bytes_ - trace_bytes_ + command.size > context_.options.message_bytes_max)
    refuse_content(
        fmt::format("552 5.3.4 A message has at most {} bytes", context_.options.message_bytes_max));
  co_return;
}

// The rest of the message is read and dropped; its replies say why.
void Session::refuse_content(std::string reply) {
  content_state_ = ContentState::kRefused;
  content_reply_ = std::move(reply);
  content_ = std::string();
  if (upload_id_ != 0) context_.backend.drop_upload(upload_id_);
  upload_id_ = 0;
}

Task<void> Session::content_came() {
  if (content_state_ != ContentState::kTaking) {
    content_.clear();
    co_return;
  }
  content_bytes_ = uploaded_bytes_ + content_.size();
  if (content_bytes_ - trace_bytes_ > context_.options.message_bytes_max) {
    refuse_content(
        fmt::format("552 5.3.4 A message has at most {} bytes", context_.options.message_bytes_max));
    co_return;
  }
  // Until the backend has taken a chunk nothing more is read: the client's pace is the store's.
  while (content_.size() > kWireChunkBytesMax && content_state_ == ContentState::kTaking)
    co_await send_chunk(false);
}

Task<void> Session::send_chunk(bool last) {
  if (upload_id_ == 0) {
    auto opened =
        co_await context_.backend.open_upload(recipients_, std::max(announced_bytes_, content_bytes_));
    if (!opened) {
      refuse_content(reply_for(opened.error(), context_.options.quota_is_permanent));
      co_return;
    }
    upload_id_ = *opened;
  }
  std::string chunk;
  if (last || content_.size() <= kWireChunkBytesMax) {
    chunk = std::move(content_);
    content_.clear();
  } else {
    chunk = content_.substr(0, kWireChunkBytesMax);
    content_.erase(0, kWireChunkBytesMax);
  }
  uint64_t size = chunk.size();
  auto sent = co_await context_.backend.upload(upload_id_, uploaded_bytes_, std::move(chunk));
  if (!sent) {
    refuse_content(reply_for(sent.error(), context_.options.quota_is_permanent));
    co_return;
  }
  uploaded_bytes_ += size;
}

Task<void> Session::content_ended() {
  if (in_chunks_ && !last_chunk_) {
    // A chunk gets its reply at once. One that was refused keeps its reply for the last, too.
    if (content_state_ == ContentState::kRefused)
      connection_.reply(content_reply_);
    else
      connection_.reply("250 2.0.0 Chunk taken");
    co_return;
  }
  if (content_state_ == ContentState::kTaking && upload_id_ != 0 && !content_.empty())
    co_await send_chunk(true);
  if (content_state_ == ContentState::kTaking) {
    co_await deliver();
  } else {
    // One reply for each recipient (RFC 2033 section 4.2), or the one that refuses the command itself.
    for (size_t i = 0; i < std::max<size_t>(1, recipients_.size()); ++i) connection_.reply(content_reply_);
  }
  reset();
}

Task<void> Session::deliver() {
  frontend::Delivery delivery;
  delivery.return_path = return_path_;
  delivery.upload_id = upload_id_;
  if (upload_id_ == 0) delivery.content = std::move(content_);
  delivery.recipients.reserve(recipients_.size());
  for (const std::string& address : recipients_)
    delivery.recipients.push_back({address, frontend::new_request_id(connection_.loop())});
  auto results = co_await context_.backend.deliver(std::move(delivery));
  upload_id_ = 0;
  for (size_t i = 0; i < recipients_.size(); ++i) {
    if (results && i < results->size() && (*results)[i]) {
      connection_.reply("250 2.1.5 Delivered");
      ++delivered_;
      continue;
    }
    cache_.erase(recipients_[i]);
    if (!results || i >= results->size()) {
      // A failure of the whole call says nothing about a recipient, whatever its code.
      connection_.reply("451 4.3.0 The mail store does not answer at the moment");
      if (!results)
        log_event(LogLevel::kWarning, "delivery-failed", recipients_[i],
                  {{"error", results.error().to_string()}});
      continue;
    }
    const Error& error = (*results)[i].error();
    log_event(LogLevel::kInfo, "delivery-refused", recipients_[i], {{"error", error.to_string()}});
    connection_.reply(reply_for(error, context_.options.quota_is_permanent));
  }
}

}  // namespace canopy::lmtp
