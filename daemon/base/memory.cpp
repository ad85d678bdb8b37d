#include "daemon/base/memory.h"

#include <malloc.h>

namespace canopy {

void keep_large_buffers() {
  mallopt(M_MMAP_THRESHOLD, 8 << 20);
  mallopt(M_TRIM_THRESHOLD, 8 << 20);
}

}  // namespace canopy
