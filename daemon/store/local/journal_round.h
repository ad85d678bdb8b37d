// A round of a ReplaceJournal by plain system calls, as one job on a thread of its own.
#pragma once

#include "daemon/runtime/uring_loop.h"
#include "daemon/store/journal/replace_journal.h"
#include "daemon/store/local/system.h"

namespace canopy::local {

// Whether syncfs(2) of a file system makes everything on it durable and says so when that has failed.
bool syncs_as_a_whole(int fd);

// `root`: of the LocalStore whose files the rounds are given.
JournalOptions::Round make_journal_round(UringLoop& loop, Fd root);

}  // namespace canopy::local
