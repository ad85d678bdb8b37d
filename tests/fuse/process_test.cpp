#include "fuse/process.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fmt/format.h>

namespace canopy::mount {
namespace {

std::string stat_of(std::string_view name, uint64_t flags, int exit_code) {
  std::string text = fmt::format("77 ({}) R 1 77 77 0 -1 {}", name, flags);
  for (int field = 10; field < 52; ++field) text += fmt::format(" {}", field);
  return text + fmt::format(" {}\n", exit_code);
}

TEST(Process, IsKilledWhenItExitsByASignal) {
  EXPECT_TRUE(says_killed(stat_of("cp", 0x400004, 2)));
  EXPECT_TRUE(says_killed(stat_of("cp", 0x400004, 11 | 0x80)));  // with a core
  EXPECT_TRUE(says_killed(stat_of("a) R 1 (b", 0x400004, 9)));
}

TEST(Process, IsNotKilledWhenItEndsItselfOrGoesOn) {
  EXPECT_FALSE(says_killed(stat_of("cp", 0x400004, 0)));
  EXPECT_FALSE(says_killed(stat_of("cp", 0x400004, 1 << 8)));  // exit(1)
  EXPECT_FALSE(says_killed(stat_of("cp", 0x400000, 0)));
  EXPECT_FALSE(says_killed(stat_of("cp", 0x400000, 9)));  // stopped under a debugger, or the like
  EXPECT_FALSE(says_killed("77 (cp) R 1 77"));
  EXPECT_FALSE(says_killed(""));
  EXPECT_FALSE(was_killed(getpid()));
  EXPECT_FALSE(was_killed(0));
}

// What the kernel says of a process that has ended and waits to be asked for its status.
TEST(Process, IsLookedUpInProc) {
  for (const int signal : {0, SIGKILL, SIGINT}) {
    const pid_t child = fork();
    if (child == 0) {
      if (signal != 0) raise(signal);
      _exit(signal);
    }
    siginfo_t ended;
    ASSERT_EQ(waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOWAIT), 0);
    EXPECT_EQ(was_killed(child), signal != 0) << signal;
    ASSERT_EQ(waitpid(child, nullptr, 0), child);
  }
}

}  // namespace
}  // namespace canopy::mount
