// Codecs.
#include "daemon/log/records.h"
