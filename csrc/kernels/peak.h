// What the arithmetic units of this processor can do, measured: the peak that shares are taken of.
#pragma once

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

}  // namespace bertcpp
