// What libprotobuf would print to standard error becomes lines of our log.
#pragma once

namespace canopy::wire {

// Its words are about one message, which is refused with an error of its own, and name no object: they are
// for debugging. Once in a process, after log_start().
void log_protobuf();

}  // namespace canopy::wire
