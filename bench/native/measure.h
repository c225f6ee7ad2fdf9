// How the native benchmarks take time: every sample of a kernel lies between two samples of its reference (the peak of
// fused multiply-adds, or a plain pass over the same bytes), so that a machine that slows down for a second slows both.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/kernels.h"
#include "kernels/peak.h"
#include "runtime/sampler.h"

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

inline Sampler fma_peak(const Kernels& kernels, const Settings& settings) {
  return peak_sampler(kernels, "float32", settings.threads, settings.reference_seconds);
}

}  // namespace bertcpp::bench
