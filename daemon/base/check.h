// Assertions that stay on in production: a process that finds its own state wrong must not write another
// byte.
#pragma once

#include <cstdio>
#include <cstdlib>

#define CANOPY_CHECK(condition)                                                            \
  do {                                                                                     \
    if (!(condition)) [[unlikely]] {                                                       \
      std::fprintf(stderr, "CHECK failed: %s at %s:%d\n", #condition, __FILE__, __LINE__); \
      std::abort();                                                                        \
    }                                                                                      \
  } while (false)
