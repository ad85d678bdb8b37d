// The answers to an account's requests: found by id, forgotten by age, loaded as they were saved.
#include "daemon/account/remembered_requests.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

namespace canopy {
namespace {

constexpr uint32_t kMany = 5000;

RequestId id_of(uint32_t number) {
  RequestId id{};
  std::memcpy(id.data() + 6, &number, sizeof number);
  return id;
}

// Every 50th is empty, every 7th larger than a piece of memory for them.
std::string result_of(uint32_t number) {
  return std::string(number % 7 == 1 ? 20'000 : number % 50, static_cast<char>('a' + number % 26));
}

void add(RememberedRequests& requests, uint32_t number) {
  requests.add(id_of(number), number, result_of(number));
}

void expect_remembered(const RememberedRequests& requests, uint32_t first, uint32_t last) {
  ASSERT_EQ(requests.size(), last - first + 1);
  for (uint32_t number = first; number <= last; ++number) {
    const auto found = requests.find(id_of(number));
    ASSERT_TRUE(found) << number;
    ASSERT_EQ(found->result, result_of(number)) << number;
    ASSERT_EQ(found->time_ns, number);
    ASSERT_EQ(requests[number - first].id, id_of(number));
    ASSERT_EQ(requests[number - first].result, result_of(number));
  }
  EXPECT_FALSE(requests.find(id_of(first - 1)));
  EXPECT_FALSE(requests.find(id_of(last + 1)));
}

bool load(RememberedRequests& requests, size_t count, uint64_t result_bytes, std::string_view body) {
  for (std::span<char> place : requests.make_room(count, static_cast<uint32_t>(result_bytes))) {
    if (place.empty()) continue;
    std::copy_n(body.begin(), place.size(), place.begin());
    body.remove_prefix(place.size());
  }
  return body.empty() && requests.filled_rightly();
}

TEST(RememberedRequests, AreFoundUntilTheyAreForgotten) {
  RememberedRequests requests;
  for (uint32_t number = 1; number <= kMany; ++number) add(requests, number);
  add(requests, 17);  // again: no effect
  expect_remembered(requests, 1, kMany);
  requests.forget_before(1234);
  expect_remembered(requests, 1234, kMany);
  for (uint32_t number = kMany + 1; number <= 2 * kMany; ++number) add(requests, number);
  requests.forget_before(2 * kMany);
  expect_remembered(requests, 2 * kMany, 2 * kMany);
}

TEST(RememberedRequests, GoOnAfterLoadingAsTheOnesThatWereSaved) {
  RememberedRequests saved;
  for (uint32_t number = 1; number <= kMany; ++number) add(saved, number);
  saved.forget_before(100);
  std::string body;
  saved.save(body);
  RememberedRequests loaded;
  ASSERT_TRUE(load(loaded, saved.size(), saved.result_bytes(), body));
  expect_remembered(loaded, 100, kMany);
  std::string again;
  loaded.save(again);
  EXPECT_TRUE(again == body);
  for (uint32_t number = kMany + 1; number <= kMany + 500; ++number) add(loaded, number);
  loaded.forget_before(200);
  expect_remembered(loaded, 200, kMany + 500);
  loaded.forget_before(kMany + 100);
  expect_remembered(loaded, kMany + 100, kMany + 500);
}

TEST(RememberedRequests, ResultsThatDoNotFollowEachOtherAreRefused) {
  RememberedRequests saved;
  for (uint32_t number = 2; number <= 6; ++number) add(saved, number);
  std::string body;
  saved.save(body);
  for (size_t row = 0; row < saved.size(); ++row) {
    for (size_t at : {24, 28}) {  // where the result begins, its length
      std::string altered = body;
      altered[row * sizeof(RememberedRequests::Row) + at] ^= 1;
      RememberedRequests loaded;
      EXPECT_FALSE(load(loaded, saved.size(), saved.result_bytes(), altered)) << row << " " << at;
    }
  }
  RememberedRequests none;
  EXPECT_FALSE(load(none, 0, 3, "abc"));
}

}  // namespace
}  // namespace canopy
