#include "daemon/wire/services/delivery.h"

#include "daemon/wire/framing_status.h"

namespace canopy::wire {

Delivery::Delivery(Loop& home, v1::DeliverRequest of, std::string put_before,
                   std::shared_ptr<Upload> uploaded)
    : request(std::move(of)),
      prefix(std::move(put_before)),
      upload(std::move(uploaded)),
      results(static_cast<size_t>(request.recipients_size())),
      home_(home),
      begun_(home.now()),
      done_(results.size()),
      left_(results.size()),
      changed_(home) {}

void Delivery::done(size_t index) {
  done_[index] = true;
  --left_;
  last_done_ = home_.now();
  changed_.wake_all();
}

Task<void> Delivery::wait() {
  while (left_ > 0) {
    Nanos until = kNever;
    if (left_ < done_.size())
      until = begun_ + std::max(kStragglersAwaited, kStragglersFactor * (last_done_ - begun_));
    if (!co_await changed_.wait_until(until)) break;
  }
  over = true;
}

v1::DeliverResponse Delivery::answer() const {
  v1::DeliverResponse out;
  for (size_t i = 0; i < done_.size(); ++i) {
    v1::DeliverResult* result = out.add_results();
    if (done_[i]) {
      *result = results[i];
      continue;
    }
    const std::string& address = request.recipients(static_cast<int>(i)).address();
    fill_error(
        Error(Code::kDeadlineExceeded, address,
              fmt::format("its store has not answered for {} seconds, unlike those of other recipients; "
                          "it may get the message all the same",
                          (home_.now() - begun_) / kSecond)),
        *result->mutable_error());
  }
  return out;
}

}  // namespace canopy::wire
