// Runs csrc/cuda on the emulated GPU of cuda_emulation/: every kernel against the naive reference, then whole encoders
// from the files of write_cases.py against what transformers computes, and what happens where memory runs out. It shows
// what is written, not that a GPU does it: that is for tests/cuda.
//
// cuda_check [--seed N] FILE...

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "cuda/array.h"
#include "cuda/batch.h"
#include "cuda/encoder.h"
#include "cuda_cases.h"
#include "encoder_case.h"
#include "runtime/errors.h"

namespace bertcpp::testing {
namespace {

struct Precision {
  const char* name;
  cuda::Compute compute;
  double tolerance;  // of a whole encoder, relative to the largest magnitude
};
constexpr Precision kPrecisions[] = {
    {"float32", cuda::Compute::kFloat32, 2e-5},
    {"float16", cuda::Compute::kFloat16, 2e-2},
    {"bfloat16", cuda::Compute::kBFloat16, 4e-2},
};

void report(const std::string& what, int failures_before) {
  std::printf("cuda %s: %s\n", what.c_str(), failures() == failures_before ? "ok" : "FAILED");
  std::fflush(stdout);
}

template <class T>
void check_kernels(uint64_t seed) {
  const auto run = [&](const char* name, void (GpuCase<T>::*test)()) {
    const int before = failures();
    GpuCase<T> one(seed);
    (one.*test)();
    report(std::string(Type<T>::kName) + " " + name, before);
  };
  run("map", &GpuCase<T>::test_map);
  run("norms", &GpuCase<T>::test_norms);
  run("attention", &GpuCase<T>::test_attention);
  if (std::is_same_v<T, float>) run("pool", &GpuCase<T>::test_pool);
}

// Half precision is exact in float32, and every finite value comes back from there.
void check_conversions() {
  const int before = failures();
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const __half half{static_cast<uint16_t>(bits)};
    const float value = __half2float(half);
    const double expected = reference::float16(half.bits);
    CHECK(std::isnan(expected) ? std::isnan(value) : static_cast<double>(value) == expected, "float16 bits %x", bits);
    CHECK(std::isnan(value) || __float2half_rn(value).bits == half.bits, "float16 bits %x come back otherwise", bits);
    if (bits >= 0x7bff) continue;
    // Halfway to the next value: the even one of the two; a little more: the next one.
    const float middle = (value + __half2float({static_cast<uint16_t>(bits + 1)})) / 2;
    CHECK(__float2half_rn(middle).bits == bits + bits % 2, "float16 bits %x: a tie", bits);
    CHECK(__float2half_rn(std::nextafter(middle, 1e9f)).bits == bits + 1, "float16 bits %x: above a tie", bits);
  }
  report("conversions", before);
}

// With the threads in one order or, if `both`, in either: the bits are the same.
void check_file(const std::string& path, const Precision& precision, bool both) {
  const CaseFile file(path);
  const std::string where = std::string("cuda ") + precision.name + " " + path;
  const EncoderConfig config = read_config(file);
  const EncoderBatch batch = read_batch(file);
  const cuda::Encoder encoder(config, read_weights(file), precision.compute, 0);
  const auto forward = [&](const EncoderBatch& given, const EncoderOutputs& outputs) {
    encoder.forward(given, outputs);
  };
  emulated::set_order(emulated::Order::kRising);
  const Results results = compute(encoder, batch, forward);
  compare(file, where, results, precision.tolerance);
  if (!both) return;
  emulated::set_order(emulated::Order::kFalling);
  CHECK(same_bits(results, compute(encoder, batch, forward)), "%s: other bits where threads run in the other order",
        where.c_str());
  emulated::set_order(emulated::Order::kRising);
}

void check_alone_on_gpu(const std::string& path) {
  const CaseFile file(path);
  const EncoderConfig config = read_config(file);
  const EncoderBatch batch = read_batch(file);
  const cuda::Encoder encoder(config, read_weights(file), cuda::Compute::kFloat16, 0);
  const Results together = compute(encoder, batch, [&](const EncoderBatch& given, const EncoderOutputs& outputs) {
    encoder.forward(given, outputs);
  });
  check_alone(encoder, batch, together, path, [&](const EncoderBatch& alone, const EncoderOutputs& outputs, int64_t) {
    encoder.forward(alone, outputs);
  });
}

// Memory runs out at every size that a call or a model asks for: an exception each time, nothing is kept that should
// not be, and the same model computes the same afterwards.
void check_memory(const std::string& path) {
  const CaseFile file(path);
  const EncoderConfig config = read_config(file);
  const EncoderBatch batch = read_batch(file);
  const size_t at_first = emulated::memory_in_use();
  const auto unlimited = std::numeric_limits<size_t>::max();
  int refused = 0;
  {
    const cuda::Encoder encoder(config, read_weights(file), cuda::Compute::kFloat16, 0);
    const auto forward = [&] {
      return compute(encoder, batch, [&](const EncoderBatch& given, const EncoderOutputs& outputs) {
        encoder.forward(given, outputs);
      });
    };
    for (size_t room = 0; room < 4096; room = room * 2 + 512) {
      emulated::set_memory_limit(emulated::memory_in_use() + room);
      CHECK_THROWS(forward(), DeviceMemoryError, "MiB");
      ++refused;
    }
    emulated::set_memory_limit(unlimited);
    const Results results = forward();
    compare(file, path, results, 2e-2);
    for (int launches = 0; launches < 12; ++launches) {
      emulated::fail_launch_after(launches);
      CHECK_THROWS(forward(), DeviceError, "cudaErrorLaunchFailure");
    }
    emulated::fail_launch_after(-1);
    CHECK(same_bits(results, forward()), "%s: other bits after failures", path.c_str());
  }
  CHECK(emulated::memory_in_use() == at_first, "%s: memory is not given back", path.c_str());
  for (const size_t limit : {size_t{100}, size_t{4096}, (size_t{32} << 20) + 4096}) {
    emulated::set_memory_limit(at_first + limit);
    CHECK_THROWS(cuda::Encoder(config, read_weights(file), cuda::Compute::kFloat32, 0), DeviceMemoryError, "MiB");
    emulated::set_memory_limit(unlimited);
    CHECK(emulated::memory_in_use() == at_first, "%s: memory of a model that failed is kept", path.c_str());
  }
  CHECK_THROWS(cuda::Encoder(config, read_weights(file), cuda::Compute::kFloat32, 1), DeviceError, "no GPU 1");
}

// Padded rows that stay on the device, with holes: what is packed, where each token is, and zeros elsewhere. Nothing
// but the inputs is copied, and the memory goes with its last owner.
void check_padded(const std::string& path) {
  const CaseFile file(path);
  const EncoderConfig config = read_config(file);
  const EncoderBatch batch = read_batch(file);
  const size_t at_first = emulated::memory_in_use();
  auto encoder = std::make_unique<cuda::Encoder>(config, read_weights(file), cuda::Compute::kFloat16, 0);
  const auto hidden = static_cast<size_t>(config.hidden_size);
  std::vector<float> packed(static_cast<size_t>(batch.num_tokens) * hidden);
  EncoderOutputs outputs;
  outputs.last_hidden_state = packed.data();
  encoder->forward(batch, outputs);
  const int64_t columns = 2 * batch.num_tokens;
  std::vector<int32_t> cells;
  std::vector<float> expected(static_cast<size_t>(batch.num_sequences * columns) * hidden);
  for (int64_t b = 0; b < batch.num_sequences; ++b) {
    const int64_t begin = batch.cu_seqlens[b];
    const int64_t length = batch.cu_seqlens[b + 1] - begin;
    for (int64_t i = 0; i < length; ++i) {
      cells.push_back(static_cast<int32_t>(b * columns + 2 * i));
      if (batch.key_lens != nullptr && i >= batch.key_lens[b]) continue;
      const auto row = static_cast<size_t>(begin + i) * hidden;
      std::copy_n(packed.begin() + static_cast<std::ptrdiff_t>(row), hidden,
                  expected.begin() + static_cast<std::ptrdiff_t>(static_cast<size_t>(cells.back()) * hidden));
    }
  }
  auto padded =
      std::make_unique<cuda::Array>(0, std::vector<int64_t>{batch.num_sequences, columns, config.hidden_size});
  outputs.last_hidden_state = padded->data();
  const long copies = emulated::counts().copies;
  encoder->forward(batch, outputs, {columns, cells.data(), {}});
  CHECK(emulated::counts().copies == copies + 1, "%s: results are copied", path.c_str());
  encoder.reset();
  CHECK(emulated::memory_in_use() == at_first + padded->nbytes(), "%s: results go with the model", path.c_str());
  CHECK(std::memcmp(padded->data(), expected.data(), padded->nbytes()) == 0, "%s: padded otherwise", path.c_str());
  padded.reset();
  CHECK(emulated::memory_in_use() == at_first, "%s: an array's memory is kept", path.c_str());
}

void check_encoders(const std::vector<std::string>& paths) {
  const auto guarded = [](const std::string& path, auto run) {
    try {
      run();
    } catch (const std::exception& error) {
      CHECK(false, "%s: %s", path.c_str(), error.what());
    }
  };
  for (const Precision& precision : kPrecisions) {
    const int before = failures();
    // bfloat16 differs from float16 in conversions only: a few cases of it serve.
    const size_t step = precision.compute == cuda::Compute::kBFloat16 ? 4 : 1;
    for (size_t i = 0; i < paths.size(); i += step) {
      guarded(paths[i], [&] { check_file(paths[i], precision, i % 3 == 0); });
    }
    report(std::string(precision.name) + " encoders", before);
  }
  const int before = failures();
  guarded(paths.front(), [&] { check_alone_on_gpu(paths.front()); });
  report("alone", before);
  const int before_padded = failures();
  for (const std::string& path : paths) guarded(path, [&] { check_padded(path); });
  report("padded", before_padded);
  const int before_memory = failures();
  guarded(paths.front(), [&] { check_memory(paths.front()); });
  report("memory", before_memory);
}

}  // namespace
}  // namespace bertcpp::testing

int main(int argc, char** argv) {
  using namespace bertcpp::testing;
  std::vector<std::string> paths(argv + 1, argv + argc);
  uint64_t seed = 0;
  if (paths.size() >= 2 && paths[0] == "--seed") {
    seed = std::strtoull(paths[1].c_str(), nullptr, 10);
    paths.erase(paths.begin(), paths.begin() + 2);
  }
  if (paths.empty()) {
    std::fprintf(stderr, "usage: cuda_check [--seed N] FILE...   (write_cases.py makes the files)\n");
    return 2;
  }
  install_guard_handler();
  std::printf("seed %" PRIu64 "\n", seed);
  check_conversions();
  check_kernels<float>(seed);
  check_kernels<__half>(seed);
  check_kernels<__nv_bfloat16>(seed);
  check_encoders(paths);
  return failures() == 0 ? 0 : 1;
}
