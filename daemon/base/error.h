// Errors as values. Every failure has a code from one table, the object it is about, and a sentence that says
// which rule was broken or what to do. Values are immutable and may cross threads.
#pragma once

#include <expected>
#include <memory>
#include <string>
#include <string_view>

namespace canopy {

// The numbers are part of the wire protocol (canopy.proto, message Error); never renumber.
enum class Code : uint16_t {
  kOk = 0,
  kInvalidArgument = 1,  // the request breaks a stated rule; repeating it cannot help
  kNotFound = 2,         // every place that could hold the object has answered that it does not
  kAlreadyExists = 3,
  kPermissionDenied = 4,
  kUnauthenticated = 5,  // no valid session or ticket
  kNotEmpty = 6,
  kNotDirectory = 7,
  kIsDirectory = 8,
  kBusy = 9,               // in use by somebody; try later
  kStoreUnavailable = 10,  // a store did not answer; retryable
  kStoreFull = 11,         // over store capacity or below the reserve
  kQuotaExceeded = 12,
  kTooLarge = 13,      // over a named limit
  kFenced = 14,        // this process has lost its right to the object
  kWrongBackend = 15,  // another backend owns the slot
  kDeadlineExceeded = 16,
  kCancelled = 17,
  kConnectionLost = 18,
  kDamaged = 19,  // stored bytes do not verify
  kUnsupported = 20,
  kSuspended = 21,       // the account is suspended or disabled
  kTryAgain = 22,        // a temporary state; retryable
  kIo = 23,              // the system refused; the message holds its words
  kInternal = 24,        // a defect in Canopy
  kConflict = 25,        // a version or condition that the request named no longer holds
  kNoSpaceForName = 26,  // name too long
  kCrossStore = 27,      // source and target lie on different stores
  kLoop = 28,            // too many symbolic links
  kTooManyLinks = 29,
  kReadOnly = 30,
  kLast = kReadOnly,
};

// "invalid-argument" and so on: stable, lower case, for logs, JSON and tests.
std::string_view code_name(Code code);
// True when the same request may succeed later without anybody changing it.
bool code_is_retryable(Code code);
// The errno for FUSE and for store code; EIO when nothing fits.
int code_to_errno(Code code);
Code code_from_errno(int error_number);

class [[nodiscard]] Error {
 public:
  // error_number: the system's, where it refused; 0: none.
  Error(Code code, std::string object, std::string message, int error_number = 0);

  Code code() const { return code_; }
  const std::string& object() const { return detail_->object; }    // "jsmith@company.com", a path, a field
  const std::string& message() const { return detail_->message; }  // one sentence, no final full stop
  bool retryable() const { return code_is_retryable(code_); }
  Error about(std::string object) const {  // the same, of another object
    return Error(code_, std::move(object), detail_->message, detail_->error_number);
  }
  std::string to_string() const;  // "object: message (code)"
  // Of Linux: the system's own word where it refused, otherwise what fits the code (code_to_errno).
  int error_number() const;
  // Whether the system itself refused, rather than a rule of Canopy.
  bool is_of_system() const { return detail_->error_number != 0; }

 private:
  struct Detail {
    std::string object;
    std::string message;
    int error_number;  // 0: the code's
  };
  Code code_;
  std::shared_ptr<const Detail> detail_;
};

template <class T = void>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> fail(Code code, std::string object, std::string message) {
  return std::unexpected<Error>(Error(code, std::move(object), std::move(message)));
}
inline std::unexpected<Error> fail(Error error) { return std::unexpected<Error>(std::move(error)); }
// What a system call answered: error_number > 0 is errno.
std::unexpected<Error> fail_errno(int error_number, std::string object, std::string_view operation);

}  // namespace canopy

// CANOPY_TRY(expr): returns the error of a Result from the enclosing plain function.
// CANOPY_CO_TRY(expr): the same from a coroutine (expr usually begins with co_await).
// CANOPY_ASSIGN(decl, expr), CANOPY_CO_ASSIGN(decl, expr): the same, and declares the value.
#define CANOPY_CONCAT_(a, b) a##b
#define CANOPY_CONCAT(a, b) CANOPY_CONCAT_(a, b)
#define CANOPY_TRY_(tmp, ret, ...)                        \
  do {                                                    \
    auto tmp = (__VA_ARGS__);                             \
    if (!tmp) ret ::canopy::fail(std::move(tmp).error()); \
  } while (false)
#define CANOPY_TRY(...) CANOPY_TRY_(CANOPY_CONCAT(try_, __COUNTER__), return, __VA_ARGS__)
#define CANOPY_CO_TRY(...) CANOPY_TRY_(CANOPY_CONCAT(try_, __COUNTER__), co_return, __VA_ARGS__)
#define CANOPY_ASSIGN_(tmp, ret, decl, ...)             \
  auto tmp = (__VA_ARGS__);                             \
  if (!tmp) ret ::canopy::fail(std::move(tmp).error()); \
  decl = std::move(*tmp)
#define CANOPY_ASSIGN(decl, ...) CANOPY_ASSIGN_(CANOPY_CONCAT(try_, __COUNTER__), return, decl, __VA_ARGS__)
#define CANOPY_CO_ASSIGN(decl, ...) \
  CANOPY_ASSIGN_(CANOPY_CONCAT(try_, __COUNTER__), co_return, decl, __VA_ARGS__)
