// How long work takes that a team of threads does together.
#pragma once

#include <cstdint>
#include <functional>

#include "runtime/threads.h"

namespace bertcpp {

// Work that a team does together, `amount` (floating-point operations, or bytes) at each call. All members call it;
// the number of the call lets it walk through copies of its operands.
struct Work {
  double amount = 0;
  std::function<void(Team&, int64_t call)> run;
};

// Seconds that `calls` calls take, without the start and the end of the team: from the first member that began to the
// last that ended, since any member may be kept waiting by the system while the others work.
double seconds_of(const Work& work, int threads, int64_t calls);

// Work and how often it is called in one sample, which takes `least_seconds` at least.
class Sampler {
 public:
  Sampler(Work work, int threads, double least_seconds);
  int64_t calls() const { return calls_; }
  double amount() const { return work_.amount; }
  // Takes a sample: amount per second.
  double rate() const;

 private:
  Work work_;
  int threads_;
  int64_t calls_ = 1;
};

}  // namespace bertcpp
