// Every kernel of every instruction set that runs here, against naive loops over doubles, on ragged shapes between
// guard pages, with NaN in whatever must not be read; and that a row's bits do not depend on the rows around it.
//
// kernel_tests [--isa NAME] [--op NAME] [--seed N] [--list]

#include <cinttypes>
#include <cstdlib>
#include <string>

#include "attention_cases.h"
#include "elementwise_cases.h"
#include "gru_cases.h"
#include "kernel_case.h"
#include "low_precision_cases.h"
#include "matmul_cases.h"
#include "tested_kernels.h"

namespace bertcpp::testing {
namespace {

struct Op {
  const char* name;
  void (*run)(Case& test);
};

constexpr Op kOps[] = {
    {"pack_weight", test_pack_weight},
    {"matmul", test_matmul},
    {"matmul_depth", test_matmul_depth},
    {"attention", test_attention},
    {"gru_cell", test_gru_cell},
    {"layer_norm", test_layer_norm},
    {"add", test_add},
    {"activate", test_activate},
    {"accumulate", test_accumulate},
    {"maximum", test_maximum},
    {"scale", test_scale},
    {"sum_squares", test_sum_squares},
    {"from_float16", test_from_float16},
    {"from_bfloat16", test_from_bfloat16},
    {"to_bfloat16", test_to_bfloat16},
    {"quantize_row", test_quantize_row},
    {"quantize_weight", test_quantize_weight},
    {"matmul_bfloat16", test_matmul_bfloat16},
    {"matmul_int8", test_matmul_int8},
    {"fma_peak", [](Case& test) { test_peak(test, "fma_peak", test.kernels.fma_peak); }},
    {"bfloat16_peak", [](Case& test) { test_peak(test, "bfloat16_peak", test.kernels.bfloat16_peak); }},
    {"int8_peak", [](Case& test) { test_peak(test, "int8_peak", test.kernels.int8_peak); }},
};

struct Options {
  std::string isa;
  std::string op;
  uint64_t seed = 20181011;
  bool list = false;
};

[[noreturn]] void usage() {
  std::fprintf(stderr, "usage: kernel_tests [--isa NAME] [--op NAME] [--seed N] [--list]\n");
  std::exit(2);
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--list") {
      options.list = true;
      continue;
    }
    if (i + 1 == argc) usage();
    const std::string value = argv[++i];
    if (argument == "--isa") {
      options.isa = value;
    } else if (argument == "--op") {
      options.op = value;
    } else if (argument == "--seed") {
      options.seed = std::strtoull(value.c_str(), nullptr, 10);
    } else {
      usage();
    }
  }
  return options;
}

int run(const Options& options) {
  int ran = 0;
  for (const Kernels* table : tested_kernels()) {
    const Kernels& kernels = *table;
    if (!options.isa.empty() && options.isa != kernels.name) continue;
    for (const Op& op : kOps) {
      if (!options.op.empty() && options.op != op.name) continue;
      ++ran;
      if (options.list) {
        std::printf("%s %s\n", kernels.name, op.name);
        continue;
      }
      const int before = failures();
      Case test{kernels, Random(options.seed)};
      op.run(test);
      CHECK(tiles_are_released(), "%s %s", kernels.name, op.name);
      std::printf("%s %s: %s\n", kernels.name, op.name, failures() == before ? "ok" : "FAILED");
      std::fflush(stdout);
    }
  }
  return ran;
}

}  // namespace
}  // namespace bertcpp::testing

int main(int argc, char** argv) {
  using namespace bertcpp::testing;
  const Options options = parse(argc, argv);
  install_guard_handler();
  if (!options.list) std::printf("seed %" PRIu64 "\n", options.seed);
  if (run(options) == 0) {
    std::fprintf(stderr, "no such kernel or instruction set here: --isa %s --op %s\n", options.isa.c_str(),
                 options.op.c_str());
    return 2;
  }
  if (failures() > 0)
    std::fprintf(stderr, "%d checks failed; repeat with --seed %" PRIu64 "\n", failures(), options.seed);
  return failures() == 0 ? 0 : 1;
}
