// Runs encoders from the files of write_cases.py on every instruction set and with one to four threads: what comes out
// is what transformers computes, and its bits depend neither on the threads nor on the batch. Needs no Python, so it is
// also what runs for other processors under emulation and under the sanitizers.
//
// encoder_check [--isa NAME] FILE...

#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "encoder_case.h"
#include "kernels/kernels.h"

namespace bertcpp::testing {
namespace {

constexpr double kTolerance = 2e-5;  // of the largest magnitude

void check_file(const std::string& path, const Kernels& kernels) {
  const CaseFile file(path);
  const std::string where = std::string(kernels.name) + " " + path;
  const Encoder encoder(read_config(file), read_weights(file), kernels);
  const EncoderBatch batch = read_batch(file);
  const auto compute_with = [&](int threads) {
    return compute(encoder, batch, [&](const EncoderBatch& given, const EncoderOutputs& outputs) {
      encoder.forward(given, outputs, threads);
    });
  };
  const Results results = compute_with(1);
  compare(file, where, results, kTolerance);
  for (int threads = 2; threads <= 4; ++threads) {
    CHECK(same_bits(results, compute_with(threads)), "%s: other bits with %d threads", where.c_str(), threads);
  }
  check_alone(encoder, batch, results, where, [&](const EncoderBatch& alone, const EncoderOutputs& outputs, int64_t b) {
    encoder.forward(alone, outputs, 1 + static_cast<int>(b % 3));
  });
}

// The number of instruction sets that ran.
int check_files(const std::vector<std::string>& paths, const std::string& isa) {
  int ran = 0;
  size_t count = 0;
  const KernelsEntry* entries = kernel_entries(&count);
  for (size_t i = 0; i < count; ++i) {
    if (!entries[i].supported || (!isa.empty() && isa != entries[i].kernels->name)) continue;
    ++ran;
    const int before = failures();
    for (const std::string& path : paths) {
      try {
        check_file(path, *entries[i].kernels);
      } catch (const std::exception& error) {
        CHECK(false, "%s: %s", path.c_str(), error.what());
      }
    }
    std::printf("%s encoders: %s (%zu cases)\n", entries[i].kernels->name, failures() == before ? "ok" : "FAILED",
                paths.size());
    std::fflush(stdout);
  }
  return ran;
}

}  // namespace
}  // namespace bertcpp::testing

int main(int argc, char** argv) {
  std::vector<std::string> paths(argv + 1, argv + argc);
  std::string isa;
  if (paths.size() >= 2 && paths[0] == "--isa") {
    isa = paths[1];
    paths.erase(paths.begin(), paths.begin() + 2);
  }
  if (paths.empty()) {
    std::fprintf(stderr, "usage: encoder_check [--isa NAME] FILE...   (write_cases.py makes the files)\n");
    return 2;
  }
  if (bertcpp::testing::check_files(paths, isa) == 0) {
    std::fprintf(stderr, "the instruction set %s is not carried or does not run here\n", isa.c_str());
    return 2;
  }
  return bertcpp::testing::failures() == 0 ? 0 : 1;
}
