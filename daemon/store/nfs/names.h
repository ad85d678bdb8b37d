// Operations on names whose lost answers cannot be had by asking again: each looks at what became of it.
#pragma once

#include "daemon/store/nfs/client.h"

namespace canopy::nfs {

enum class Removed : bool { kFile, kDirectory };

// `parent` is the directory that holds the last name of `path`.
Task<Result<Node>> create_file(Client& client, Node parent, std::string path, uint32_t mode, Nanos deadline);
Task<Result<void>> make_directory(Client& client, Node parent, std::string path, uint32_t mode,
                                  Nanos deadline);
Task<Result<void>> make_symlink(Client& client, Node parent, std::string path, std::string target,
                                Nanos deadline);
Task<Result<void>> remove_name(Client& client, Node parent, std::string path, Removed what, Nanos deadline);
Task<Result<void>> make_link(Client& client, Node file, Node parent, std::string path, Nanos deadline);
// `file` is what `from` means.
Task<Result<void>> rename_file(Client& client, Node file, Node from_parent, std::string from, Node to_parent,
                               std::string to, Nanos deadline);

}  // namespace canopy::nfs
