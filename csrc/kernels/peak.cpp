#include "kernels/peak.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "runtime/errors.h"
#include "runtime/workspace.h"

namespace bertcpp {
namespace {

constexpr int64_t kIterations = 5'000;
constexpr int64_t kPiecesPerThread = 8;
constexpr int64_t kSinkFloats = 256;
constexpr int kSamples = 3;

using Loop = double (*)(int64_t iterations, float* sink);

struct Peak {
  const char* dtype;
  Loop Kernels::* loop;
};

constexpr Peak kPeaks[] = {
    {"float32", &Kernels::fma_peak},
    {"bfloat16", &Kernels::bfloat16_peak},
    {"int8", &Kernels::int8_peak},
};

Loop loop_of(const Kernels& kernels, const std::string& dtype) {
  std::string known;
  for (const Peak& peak : kPeaks) {
    if (dtype == peak.dtype) return kernels.*peak.loop;
    known += (known.empty() ? "" : ", ") + std::string(peak.dtype);
  }
  throw InputError("no peak is measured for the dtype \"" + dtype + "\"; there is one for " + known);
}

}  // namespace

Sampler peak_sampler(const Kernels& kernels, const std::string& dtype, int threads, double least_seconds) {
  const Loop loop = loop_of(kernels, dtype);
  const int64_t pieces = kPiecesPerThread * threads;
  Buffer probe(kSinkFloats * sizeof(float));
  std::fill_n(probe.floats(), kSinkFloats, 0.5f);
  const double operations = loop(1, probe.floats()) * static_cast<double>(kIterations * pieces);
  const auto run = [loop, pieces](Team& team, int64_t) {
    team.for_each(pieces, [&](int64_t) {
      alignas(64) float sink[kSinkFloats];
      std::fill_n(sink, kSinkFloats, 0.5f);
      loop(kIterations, sink);
    });
  };
  return Sampler({operations, run}, threads, least_seconds);
}

double measure_peak(const Kernels& kernels, const std::string& dtype, int num_threads, double least_seconds) {
  const int threads = num_threads == 0 ? get_num_threads() : num_threads;
  const Sampler sampler = peak_sampler(kernels, dtype, threads, least_seconds);
  std::array<double, kSamples> rates;
  for (double& rate : rates) rate = sampler.rate();
  std::sort(rates.begin(), rates.end());
  return rates[kSamples / 2];
}

}  // namespace bertcpp
