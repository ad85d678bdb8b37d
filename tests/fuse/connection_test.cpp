#include "fuse/connection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace canopy::mount {
namespace {

using testing::Eq;
using testing::Optional;

constexpr std::string_view kMountInfo =
    "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
    "40 21 0:43 / /mnt/canopy rw,nosuid - fuse.canopy canopy rw,user_id=0\n"
    "41 21 0:44 / /mnt/my\\040mail rw master:2 - fuse.canopy canopy rw\n"
    "42 21 0:45 / /mnt/other rw - fuse.sshfs host rw\n"
    "43 40 0:1046 / /mnt/canopy rw - fuse.canopy canopy rw\n";

TEST(Connection, IsFoundByWhereItIsMounted) {
  EXPECT_THAT(connection_number(kMountInfo, "/mnt/my mail"), Optional(44u));
  EXPECT_THAT(connection_number(kMountInfo, "/mnt/canopy"), Optional(1046u));  // in front of the other
}

TEST(Connection, OfOtherFileSystemsAndPlacesIsNoneOfOurs) {
  EXPECT_THAT(connection_number(kMountInfo, "/mnt/other"), Eq(std::nullopt));
  EXPECT_THAT(connection_number(kMountInfo, "/mnt"), Eq(std::nullopt));
  EXPECT_THAT(connection_number("", "/mnt/canopy"), Eq(std::nullopt));
  EXPECT_THAT(connection_number("40 21", "/mnt/canopy"), Eq(std::nullopt));
  EXPECT_THAT(connection_of("/"), Eq(std::nullopt));
}

}  // namespace
}  // namespace canopy::mount
