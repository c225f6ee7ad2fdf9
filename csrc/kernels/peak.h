// What this processor can do, measured: the arithmetic peak that shares are taken of, and how fast memory is read.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/kernels.h"
#include "runtime/sampler.h"

namespace bertcpp {

// Independent multiply-adds of a dtype whose accumulators stay in registers. Shared out in pieces like the kernels'
// work, so that a thread that is kept waiting costs both the same. Throws InputError for a dtype that has no such loop.
Sampler peak_sampler(const Kernels& kernels, const std::string& dtype, int threads, double least_seconds);

// Operations per second of a dtype at this moment, all threads together: the median of a few samples of `least_seconds`
// each. num_threads 0 means get_num_threads(). Throws InputError.
double measure_peak(const Kernels& kernels, const std::string& dtype, int num_threads, double least_seconds);

// Eight times the third-level caches of all processors that may be used, but 256 MiB at least and 2 GiB at most: next
// to nothing of a buffer so large stays in caches between two readings, unless there is more than 1 GiB of them.
int64_t uncached_bytes();

// Reads `bytes` of memory, each thread a contiguous part of its own, which it has also written first: the system takes
// the pages from memory that is near to it. Nothing is done with them but what keeps the compiler from leaving the
// reading out. The buffer lives as long as the sampler.
Sampler read_sampler(int64_t bytes, int threads, double least_seconds);

// Bytes per second that all threads together read from memory at this moment: the median of a few samples of
// `least_seconds` each. num_threads 0 means get_num_threads(), bytes 0 uncached_bytes().
double measure_read_bandwidth(int64_t bytes, int num_threads, double least_seconds);

}  // namespace bertcpp
