// The rules that every Store puts on a path, in one place, so that all stores refuse the same ones with the
// same words.
#pragma once

#include <string_view>

#include "daemon/base/error.h"

namespace canopy {

inline constexpr size_t kStoreNameBytesMax = 255;  // a component, in bytes of any value but '/' and NUL
inline constexpr size_t kStorePathBytesMax =
    4000;  // a path: below the kernel's PATH_MAX with room for a root's prefix
inline constexpr size_t kSymlinkBytesMax = 4095;  // what a symbolic link says; Linux has room for no more

// kInvalidArgument: an empty component (also from a leading, trailing or doubled '/'), "." or "..", or a NUL
// byte; kNoSpaceForName: a component or the path is too long. "" is the root and is fine.
Result<void> check_store_path(std::string_view path);
// The same, and refuses the root: for what makes, removes or renames a name.
Result<void> check_store_name(std::string_view path);

// kInvalidArgument (an attribute without a namespace, or a NUL byte), kNoSpaceForName with ERANGE.
Result<void> check_xattr_name(std::string_view name);

std::string_view store_parent_of(std::string_view path);  // "a/b" of "a/b/c"; "" of "a"
std::string_view store_leaf_of(std::string_view path);    // "c" of "a/b/c"

}  // namespace canopy
