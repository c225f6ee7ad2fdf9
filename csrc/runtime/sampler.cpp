#include "runtime/sampler.h"

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

namespace bertcpp {

double seconds_of(const Work& work, int threads, int64_t calls) {
  using Clock = std::chrono::steady_clock;
  struct Times {
    Clock::time_point begin = Clock::time_point::max();
    Clock::time_point end = Clock::time_point::min();
  };
  std::vector<Times> times(static_cast<size_t>(threads));
  run_team(threads, [&](Team& team) {
    team.barrier();
    const Clock::time_point begin = Clock::now();
    for (int64_t call = 0; call < calls; ++call) work.run(team, call);
    times[static_cast<size_t>(team.rank())] = {begin, Clock::now()};
  });
  Times all;
  for (const Times& member : times) {
    all.begin = std::min(all.begin, member.begin);
    all.end = std::max(all.end, member.end);
  }
  return std::chrono::duration<double>(all.end - all.begin).count();
}

Sampler::Sampler(Work work, int threads, double least_seconds) : work_(std::move(work)), threads_(threads) {
  seconds_of(work_, threads_, 1);  // the first call pays for pages and caches
  for (;;) {
    double seconds = seconds_of(work_, threads_, calls_);
    // A neighbour only ever adds time: the shortest of a few tries tells how often to call.
    for (int i = 0; i < 2 && seconds >= least_seconds; ++i) {
      seconds = std::min(seconds, seconds_of(work_, threads_, calls_));
    }
    if (seconds >= least_seconds) return;
    const double wanted = 1.2 * least_seconds / std::max(seconds, 1e-7);
    calls_ = std::max(calls_ + 1, static_cast<int64_t>(static_cast<double>(calls_) * std::min(wanted, 100.0)));
  }
}

double Sampler::rate() const {
  return work_.amount * static_cast<double>(calls_) / seconds_of(work_, threads_, calls_);
}

}  // namespace bertcpp
