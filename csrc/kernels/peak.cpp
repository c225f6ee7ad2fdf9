#include "kernels/peak.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "runtime/cpu.h"
#include "runtime/errors.h"
#include "runtime/threads.h"
#include "runtime/workspace.h"

namespace bertcpp {
namespace {

constexpr int64_t kIterations = 5'000;
constexpr int64_t kPiecesPerThread = 8;
constexpr int64_t kSinkFloats = 256;
constexpr int kSamples = 3;
constexpr int64_t kLeastUncachedBytes = int64_t{256} << 20;
constexpr int64_t kMostUncachedBytes = int64_t{2} << 30;

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

double median_rate(const Sampler& sampler) {
  std::array<double, kSamples> rates;
  for (double& rate : rates) rate = sampler.rate();
  std::sort(rates.begin(), rates.end());
  return rates[kSamples / 2];
}

// The vectors that every x86-64 and ARM has are wide enough: memory is the limit, not the loads.
using Words = uint64_t __attribute__((vector_size(16)));
constexpr int64_t kWordsAtOnce = 8;  // two cache lines

uint64_t folded(const Words* first, const Words* last) {
  Words sums[kWordsAtOnce] = {};
  for (; first != last; first += kWordsAtOnce) {
    for (int64_t j = 0; j < kWordsAtOnce; ++j) sums[j] ^= first[j];
  }
  for (int64_t j = 1; j < kWordsAtOnce; ++j) sums[0] ^= sums[j];
  return sums[0][0] ^ sums[0][1];
}

// What is read, and where each thread leaves what it made of its part.
struct Reading {
  Reading(int64_t bytes, int threads)
      : blocks(std::max<int64_t>(threads, bytes / (kWordsAtOnce * int64_t{sizeof(Words)}))),
        memory(static_cast<size_t>(blocks * kWordsAtOnce) * sizeof(Words)),
        left(static_cast<size_t>(threads * kApart)) {
    // The thread that first writes a page decides which socket's memory it lies in.
    run_team(threads, [this](Team& team) {
      team.barrier();  // all members take part
      std::fill(part(team.rank(), team.size()), part(team.rank() + 1, team.size()), Words{1, 1});
    });
  }
  void read(const Team& team) {
    left[static_cast<size_t>(team.rank() * kApart)] ^=
        folded(part(team.rank(), team.size()), part(team.rank() + 1, team.size()));
  }
  // Where the part of a member begins, and the one before it ends.
  Words* part(int rank, int size) const {
    return reinterpret_cast<Words*>(memory.data()) + blocks * rank / size * kWordsAtOnce;
  }
  static constexpr int kApart = 8;  // a cache line
  int64_t blocks;
  Buffer memory;
  std::vector<uint64_t> left;
};

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
  return median_rate(peak_sampler(kernels, dtype, threads, least_seconds));
}

int64_t uncached_bytes() { return std::clamp(8 * allowed_l3_bytes(), kLeastUncachedBytes, kMostUncachedBytes); }

Sampler read_sampler(int64_t bytes, int threads, double least_seconds) {
  const auto reading = std::make_shared<Reading>(bytes, threads);
  const auto run = [reading](Team& team, int64_t) { reading->read(team); };
  return Sampler({static_cast<double>(reading->memory.size()), run}, threads, least_seconds);
}

double measure_read_bandwidth(int64_t bytes, int num_threads, double least_seconds) {
  const int threads = num_threads == 0 ? get_num_threads() : num_threads;
  return median_rate(read_sampler(bytes == 0 ? uncached_bytes() : bytes, threads, least_seconds));
}

}  // namespace bertcpp
