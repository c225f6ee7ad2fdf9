// Runs encoders from the files of write_cases.py on every instruction set, in every precision and with one to four
// threads: what comes out is what transformers computes, and its bits depend neither on the threads nor on the batch.
// Needs no Python, so it is also what runs for other processors under emulation and under the sanitizers.
//
// encoder_check [--isa NAME] FILE...

#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "encoder_case.h"
#include "kernels/kernels.h"
#include "tested_kernels.h"

namespace bertcpp::testing {
namespace {

// What a result may be off by, as a share of its largest magnitude. Random weights lose much.
constexpr struct {
  Precision precision;
  const char* name;
  double tolerance;
} kPrecisions[] = {
    {Precision::kFloat32, "float32", 2e-5}, {Precision::kBFloat16, "bfloat16", 0.1}, {Precision::kInt8, "int8", 0.25}};

void check_file(const CaseFile& file, const Kernels& kernels, Precision precision, const std::string& where,
                double tolerance) {
  EncoderConfig config = read_config(file);
  config.precision = precision;
  const Encoder encoder(config, read_weights(file), kernels);
  const EncoderBatch batch = read_batch(file);
  const auto compute_with = [&](int threads) {
    return compute(encoder, batch, [&](const EncoderBatch& given, const EncoderOutputs& outputs) {
      encoder.forward(given, outputs, threads);
    });
  };
  const Results results = compute_with(1);
  compare(file, where, results, tolerance);
  for (int threads = 2; threads <= 4; ++threads) {
    CHECK(same_bits(results, compute_with(threads)), "%s: other bits with %d threads", where.c_str(), threads);
  }
  check_alone(encoder, batch, results, where, [&](const EncoderBatch& alone, const EncoderOutputs& outputs, int64_t b) {
    encoder.forward(alone, outputs, 1 + static_cast<int>(b % 3));
  });
  const Kernels* twin = twin_of(kernels);
  if (precision != Precision::kInt8 || twin == nullptr) return;
  const Encoder other(config, read_weights(file), *twin);
  const Results expected = compute(other, batch, [&](const EncoderBatch& given, const EncoderOutputs& outputs) {
    other.forward(given, outputs, 1);
  });
  CHECK(same_bits(results, expected), "%s: other bits than those of %s", where.c_str(), twin->name);
}

// The number of instruction sets that ran.
int check_files(const std::vector<std::string>& paths, const std::string& isa) {
  int ran = 0;
  for (const Kernels* kernels : tested_kernels()) {
    if (!isa.empty() && isa != kernels->name) continue;
    ++ran;
    const int before = failures();
    for (const std::string& path : paths) {
      try {
        const CaseFile file(path);
        for (const auto& [precision, name, tolerance] : kPrecisions) {
          check_file(file, *kernels, precision, std::string(kernels->name) + " " + name + " " + path, tolerance);
        }
      } catch (const std::exception& error) {
        CHECK(false, "%s: %s", path.c_str(), error.what());
      }
    }
    CHECK(tiles_are_released(), "%s", kernels->name);
    std::printf("%s encoders: %s (%zu cases)\n", kernels->name, failures() == before ? "ok" : "FAILED", paths.size());
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
