// The directory of an account moves while its process remembers something of it.
#include "tests/log/log_fixture.h"

namespace canopy {
namespace {

using testing::ElementsAre;

TEST_F(AccountLogTest, WhatEndedASliceIsKnownWhereverTheDirectoryGoes) {
  const std::string folder = "SharedDomains/company.com/j.sub", moved = folder + "/jsmith.macnt";
  Process process(world, disk, kEpoch, true);
  ASSERT_TRUE(process.create());
  ASSERT_TRUE(process.append(delivery(1)));
  process.store.set_plan(Process::late_writes());
  ASSERT_FALSE(process.append(delivery(2)));
  process.store.set_plan(Process::without_unclosed({}));
  process.close();

  ASSERT_TRUE(disk.make_directory(folder, 0700, Durable::kYes));
  ASSERT_TRUE(disk.rename(kAccount, moved, RenameMode::kNoReplace, Durable::kYes));
  auto opened = process.run(AccountLog::open(process.environment(), moved, process.account));
  ASSERT_TRUE(opened) << opened.error().to_string();
  process.log = std::move(*opened);
  ASSERT_TRUE(process.append(delivery(3)));
  EXPECT_EQ(process.log->slices().size(), 2u);  // the first one ended with the write that failed
  world.run_for(1000 * kSecond);                // and may have it after all
  process.close();

  ASSERT_TRUE(disk.rename(moved, kAccount, RenameMode::kNoReplace, Durable::kYes));
  Process next(world, disk, kEpoch + 1, true);
  ASSERT_TRUE(next.open());
  EXPECT_THAT(next.account.uids(), ElementsAre(1, 3));
  EXPECT_THAT(next.log->damages(), testing::IsEmpty());
  expect_contents(next);
  next.close();
}

}  // namespace
}  // namespace canopy
