// How the native benchmarks take time: every sample of a kernel lies between two samples of its reference (the peak of
// fused multiply-adds, or a plain pass over the same bytes), so that a machine that slows down for a second slows both.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "kernels/kernels.h"
#include "runtime/threads.h"
#include "runtime/workspace.h"

namespace bertcpp::bench {

struct Spread {
  double median = 0;
  double p10 = 0;
  double p90 = 0;
};

// The median and the 10th and 90th percentiles, interpolated between samples.
inline Spread spread(std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  const auto at = [&](double share) {
    const double place = share * static_cast<double>(samples.size() - 1);
    const size_t below = static_cast<size_t>(place);
    const size_t above = std::min(below + 1, samples.size() - 1);
    const double part = place - std::floor(place);
    return samples[below] * (1 - part) + samples[above] * part;
  };
  return {at(0.5), at(0.1), at(0.9)};
}

struct Settings {
  int threads = 1;
  int repeat = 15;
  double sample_seconds = 0.015;     // of a kernel, at least
  double reference_seconds = 0.005;  // of its reference, at least
  double budget_seconds = 4;         // of a case: past it, kLeastSamples are enough
};
constexpr int kLeastSamples = 3;

// Work that a team does together, `amount` (floating-point operations, or bytes) at each call. All members call it;
// the number of the call lets it walk through copies of its operands.
struct Work {
  double amount = 0;
  std::function<void(Team&, int64_t call)> run;
};

// Seconds that `calls` calls take, without the start and the end of the team: from the first member that began to the
// last that ended, since any member may be kept waiting by the system while the others work.
inline double seconds_of(const Work& work, int threads, int64_t calls) {
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

// Work and how often it is called in one sample.
class Sampler {
 public:
  Sampler(Work work, int threads, double least_seconds) : work_(std::move(work)), threads_(threads) {
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
  int64_t calls() const { return calls_; }
  // Amount per second.
  double rate() const { return work_.amount * static_cast<double>(calls_) / seconds_of(work_, threads_, calls_); }
  double amount() const { return work_.amount; }

 private:
  Work work_;
  int threads_;
  int64_t calls_ = 1;
};

struct Measured {
  Spread microseconds;  // of one call
  Spread rate;          // amount per second
  Spread share;         // of the reference's rate beside it
  Spread reference;     // amount per second
  int samples = 0;
};

inline Measured measure(const Work& work, const Sampler& reference, const Settings& settings) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  const Sampler sampler(work, settings.threads, settings.sample_seconds);
  std::vector<double> microseconds, rates, shares, references;
  double before = reference.rate();
  references.push_back(before);
  while (static_cast<int>(rates.size()) < settings.repeat) {
    const double elapsed = std::chrono::duration<double>(Clock::now() - start).count();
    if (static_cast<int>(rates.size()) >= kLeastSamples && elapsed > settings.budget_seconds) break;
    const double rate = sampler.rate();
    const double after = reference.rate();
    rates.push_back(rate);
    microseconds.push_back(1e6 * work.amount / rate);
    shares.push_back(rate / (0.5 * (before + after)));
    references.push_back(after);
    before = after;
  }
  return {spread(microseconds), spread(rates), spread(shares), spread(references), static_cast<int>(rates.size())};
}

// Independent fused multiply-adds whose accumulators stay in registers: what the arithmetic units can do. Shared out in
// pieces like the kernels' work, so that a thread that is kept waiting costs both the same.
inline Sampler fma_peak(const Kernels& kernels, const Settings& settings) {
  constexpr int64_t kIterations = 5'000;
  constexpr int64_t kPiecesPerThread = 8;
  constexpr int64_t kSinkFloats = 256;
  const int64_t pieces = kPiecesPerThread * settings.threads;
  Buffer probe(kSinkFloats * sizeof(float));
  std::fill_n(probe.floats(), kSinkFloats, 0.5f);
  const double flop = kernels.fma_peak(1, probe.floats()) * static_cast<double>(kIterations * pieces);
  const auto run = [&kernels, pieces](Team& team, int64_t) {
    team.for_each(pieces, [&](int64_t) {
      alignas(64) float sink[kSinkFloats];
      std::fill_n(sink, kSinkFloats, 0.5f);
      kernels.fma_peak(kIterations, sink);
    });
  };
  return Sampler({flop, run}, settings.threads, settings.reference_seconds);
}

}  // namespace bertcpp::bench
