// RpcProxy: stands between an NFS client and its server, counts the calls that pass, and loses chosen ones:
// the call on its way, or its answer. Either way the connection breaks, as a lost answer over TCP does. It
// also answers chosen calls in the server's place, and changes chosen answers.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "daemon/base/check.h"

namespace canopy {

class RpcProxy {
 public:
  enum class Lose { kCall, kAnswer };

  explicit RpcProxy(uint16_t server_port) : server_port_(server_port) {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in at = loopback(0);
    CANOPY_CHECK(bind(listener_, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0);
    CANOPY_CHECK(listen(listener_, 64) == 0);
    socklen_t size = sizeof at;
    CANOPY_CHECK(getsockname(listener_, reinterpret_cast<sockaddr*>(&at), &size) == 0);
    port_ = ntohs(at.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~RpcProxy() {
    ending_ = true;
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    close(listener_);
  }

  uint16_t port() const { return port_; }

  // The next call of this procedure; `meanwhile` runs when it is lost (kCall: before the server would see it,
  // kAnswer: when the server has answered), before the client notices.
  void lose(uint32_t procedure, Lose what, std::function<void()> meanwhile = [] {}) {
    std::lock_guard lock(mutex_);
    plan_ = Plan{procedure, what, std::move(meanwhile), 0};
  }
  // The next compound of NFSv4 that does this operation.
  void lose_compound(uint32_t operation, Lose what, std::function<void()> meanwhile = [] {}) {
    std::lock_guard lock(mutex_);
    plan_ = Plan{1, what, std::move(meanwhile), operation};
  }
  bool has_lost() {
    std::lock_guard lock(mutex_);
    return !plan_.has_value();
  }
  // What the client gets for calls of this procedure in place of the server's answer; the server does not
  // see them. Nothing: the call passes. The record begins with its mark (answer_to() makes one).
  using Answer = std::function<std::optional<std::string>(const std::string& call)>;
  void answer(uint32_t procedure, Answer answer) {
    std::lock_guard lock(mutex_);
    answers_[procedure] = std::move(answer);
  }
  // Changes the server's answers to calls of this procedure.
  using Edit = std::function<void(std::string& answer)>;
  void edit(uint32_t procedure, Edit edit) {
    std::lock_guard lock(mutex_);
    edits_[procedure] = std::move(edit);
  }
  void pass_all() {
    std::lock_guard lock(mutex_);
    answers_.clear();
    edits_.clear();
  }
  // A record that answers `call` with these words: from reply_stat on (RFC 5531, section 9).
  static std::string answer_to(const std::string& call, std::initializer_list<uint32_t> words) {
    std::string record(4 * (3 + words.size()), '\0');
    put_number(record, 0, 0x80000000u | static_cast<uint32_t>(record.size() - 4));
    put_number(record, 4, number(call, 4));
    put_number(record, 8, 1);  // REPLY
    size_t at = 12;
    for (uint32_t word : words) put_number(record, std::exchange(at, at + 4), word);
    return record;
  }
  // Of an answer that was accepted: the result, whose first word is the status.
  static std::string accepted(const std::string& call, std::initializer_list<uint32_t> result) {
    std::string record = answer_to(call, {0, 0, 0, 0});
    for (uint32_t word : result) {
      record.resize(record.size() + 4);
      put_number(record, record.size() - 4, word);
    }
    put_number(record, 0, 0x80000000u | static_cast<uint32_t>(record.size() - 4));
    return record;
  }
  static uint32_t number(const std::string& bytes, size_t at) {
    uint32_t value;
    std::memcpy(&value, bytes.data() + at, sizeof value);
    return ntohl(value);
  }
  static void put_number(std::string& bytes, size_t at, uint32_t value) {
    value = htonl(value);
    std::memcpy(bytes.data() + at, &value, sizeof value);
  }

  // Calls since the last question, by procedure; NULL calls are not counted.
  std::map<uint32_t, int> calls() {
    std::lock_guard lock(mutex_);
    return std::exchange(calls_, {});
  }

 private:
  struct Plan {
    uint32_t procedure;
    Lose what;
    std::function<void()> meanwhile;
    uint32_t operation;                           // of a compound; 0: any
    std::optional<uint32_t> call = std::nullopt;  // its number, once it has passed
  };
  struct Connection {
    int client = -1, server = -1;
    std::string from_client, from_server;  // what is no whole record yet
    std::map<uint32_t, uint32_t> asked;    // procedures by the numbers of their calls
  };

  static sockaddr_in loopback(uint16_t port) {
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(port);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return at;
  }

  void serve() {
    while (!ending_) {
      std::vector<pollfd> wanted = {{listener_, POLLIN, 0}};
      for (const Connection& connection : connections_) {
        wanted.push_back({connection.client, POLLIN, 0});
        wanted.push_back({connection.server, POLLIN, 0});
      }
      poll(wanted.data(), wanted.size(), 100);
      size_t i = 1;
      for (auto connection = connections_.begin(); connection != connections_.end(); i += 2) {
        const bool goes_on = (wanted[i].revents == 0 || pass(*connection, true)) &&
                             (wanted[i + 1].revents == 0 || pass(*connection, false));
        if (goes_on) {
          ++connection;
        } else {
          end(*connection);
          connection = connections_.erase(connection);
        }
      }
      if (wanted[0].revents != 0) accept_one();
    }
    for (Connection& connection : connections_) end(connection);
  }

  void accept_one() {
    Connection made;
    made.client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (made.client < 0) return;
    made.server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in to = loopback(server_port_);
    if (connect(made.server, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0) {
      connections_.push_back(std::move(made));
    } else {
      end(made);
    }
  }
  static void end(Connection& connection) {
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    setsockopt(connection.client, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(connection.client);
    close(connection.server);
  }

  // False: the connection has ended.
  bool pass(Connection& connection, bool is_call) {
    std::string& bytes = is_call ? connection.from_client : connection.from_server;
    char buffer[65536];
    const ssize_t got = recv(is_call ? connection.client : connection.server, buffer, sizeof buffer, 0);
    if (got <= 0) return false;
    bytes.append(buffer, static_cast<size_t>(got));
    while (bytes.size() >= 4) {
      const size_t size = 4 + (number(bytes, 0) & 0x7fffffff);
      if (bytes.size() < size) break;
      std::string record = bytes.substr(0, size);
      bytes.erase(0, size);
      if (is_call && answer_here(connection, record)) continue;
      if (!is_call) change_answer(connection, record);
      if (is_call ? !look_at_call(record) : !look_at_answer(record)) return false;
      send(is_call ? connection.server : connection.client, record.data(), record.size(), MSG_NOSIGNAL);
    }
    return true;
  }
  bool answer_here(Connection& connection, const std::string& record) {
    const uint32_t procedure = number(record, 24);
    std::unique_lock lock(mutex_);
    connection.asked[number(record, 4)] = procedure;
    const auto at = answers_.find(procedure);
    if (at == answers_.end()) return false;
    const Answer answer = at->second;
    lock.unlock();
    const auto said = answer(record);
    if (!said) return false;
    lock.lock();
    ++calls_[procedure];
    send(connection.client, said->data(), said->size(), MSG_NOSIGNAL);
    return true;
  }
  void change_answer(Connection& connection, std::string& record) {
    const auto asked = connection.asked.find(number(record, 4));
    if (asked == connection.asked.end()) return;
    std::unique_lock lock(mutex_);
    const auto at = edits_.find(asked->second);
    const Edit edit = at == edits_.end() ? Edit() : at->second;
    lock.unlock();
    connection.asked.erase(asked);
    if (!edit) return;
    edit(record);
    put_number(record, 0, 0x80000000u | static_cast<uint32_t>(record.size() - 4));
  }
  bool look_at_call(const std::string& record) {
    const uint32_t procedure = number(record, 24);
    std::unique_lock lock(mutex_);
    if (procedure != 0) ++calls_[procedure];
    if (!plan_ || plan_->call || plan_->procedure != procedure) return true;
    if (plan_->operation != 0 && compound_does(record) != plan_->operation) return true;
    plan_->call = number(record, 4);
    return plan_->what == Lose::kCall ? lose_now(lock) : true;
  }
  // What a compound is for: its first operation that does not lead to a file or look at it (RFC 7531).
  static uint32_t compound_does(const std::string& call) {
    constexpr uint32_t kLookup = 15, kNverify = 17, kPutfh = 22, kSavefh = 32, kVerify = 37;
    size_t at = 28;  // the credentials
    auto word = [&] {
      const uint32_t value = at + 4 <= call.size() ? number(call, at) : 0;
      at += 4;
      return value;
    };
    auto pass_over_bytes = [&] {
      const uint32_t size = word();
      at += (size + 3) / 4 * 4;
    };
    for (int i = 0; i < 2; ++i) {
      word();  // the flavour of the credentials, and of their verifier
      pass_over_bytes();
    }
    pass_over_bytes();  // the tag
    word();             // the minor version
    for (uint32_t left = word(); left > 0; --left) {
      const uint32_t operation = word();
      switch (operation) {
        case kSavefh: break;
        case kPutfh:
        case kLookup: pass_over_bytes(); break;
        case kVerify:
        case kNverify:
          for (uint32_t words = word(); words > 0; --words) word();
          pass_over_bytes();
          break;
        default: return operation;
      }
    }
    return 0;
  }
  bool look_at_answer(const std::string& record) {
    std::unique_lock lock(mutex_);
    return plan_ && plan_->call == number(record, 4) ? lose_now(lock) : true;
  }
  bool lose_now(std::unique_lock<std::mutex>& lock) {
    const std::function<void()> meanwhile = plan_->meanwhile;
    lock.unlock();
    meanwhile();
    lock.lock();
    plan_.reset();
    return false;
  }

  const uint16_t server_port_;
  uint16_t port_ = 0;
  int listener_ = -1;
  std::atomic<bool> ending_{false};
  std::list<Connection> connections_;  // of the thread
  std::mutex mutex_;
  std::optional<Plan> plan_;
  std::map<uint32_t, int> calls_;
  std::map<uint32_t, Answer> answers_;
  std::map<uint32_t, Edit> edits_;
  std::thread thread_;
};

}  // namespace canopy
