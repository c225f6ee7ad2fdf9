// Measures each kernel's share of what the processor can do, for each instruction set that runs here.
//   bench_kernels [--isa NAME] [--threads N] [--repeat N] [--quick] [--peak-only] [--json]
#include <charconv>
#include <cstdio>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "cases.h"
#include "measure.h"
#include "runtime/cpu.h"
#include "runtime/errors.h"

namespace bertcpp::bench {
namespace {

constexpr const char* kUsage =
    "usage: bench_kernels [--isa NAME] [--threads N] [--repeat N] [--quick] [--peak-only] [--json]\n"
    "  --isa NAME   one instruction set (default: every one that runs here; with --peak-only: the best)\n"
    "  --threads N  threads (default: as many as this process may use)\n"
    "  --repeat N   samples of each case (default: 15)\n"
    "  --quick      few small cases, in about a second\n"
    "  --peak-only  only the peak of fused multiply-adds\n"
    "  --json       JSON in place of the table\n";

struct Options {
  std::string isa;
  Settings settings;
  bool quick = false;
  bool peak_only = false;
  bool json = false;
  bool help = false;
};

int number(const std::string& name, const char* text) {
  int value = 0;
  const char* end = text + std::strlen(text);
  const auto [stopped, error] = std::from_chars(text, end, value);
  if (error != std::errc() || stopped != end || value < 1 || value > 1024) {
    throw InputError(name + " takes a number from 1 to 1024, not \"" + text + "\"");
  }
  return value;
}

Options parse(int argc, char** argv) {
  Options options;
  options.settings.threads = available_cpus();
  std::optional<int> repeat;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    const auto value = [&]() -> const char* {
      if (i + 1 >= argc) throw InputError(name + " needs a value");
      return argv[++i];
    };
    if (name == "--isa") {
      options.isa = value();
    } else if (name == "--threads") {
      options.settings.threads = number(name, value());
    } else if (name == "--repeat") {
      repeat = number(name, value());
    } else if (name == "--quick") {
      options.quick = true;
    } else if (name == "--peak-only") {
      options.peak_only = true;
    } else if (name == "--json") {
      options.json = true;
    } else if (name == "--help" || name == "-h") {
      options.help = true;
    } else {
      throw InputError("unknown option " + name + "\n" + kUsage);
    }
  }
  if (options.quick) {
    options.settings.repeat = kLeastSamples;
    options.settings.sample_seconds = 0.001;
    options.settings.reference_seconds = 0.001;
  }
  if (repeat) options.settings.repeat = *repeat;
  return options;
}

struct IsaReport {
  const Kernels* kernels;
  Spread peak;  // operations per second
  std::vector<Result> results;
};

std::vector<const Kernels*> chosen_kernels(const Options& options) {
  if (!options.isa.empty()) return {&kernels_named(options.isa.c_str())};
  std::vector<const Kernels*> chosen;
  size_t count = 0;
  const KernelsEntry* entries = kernel_entries(&count);
  for (size_t i = 0; i < count; ++i) {
    if (!entries[i].supported) continue;
    chosen.push_back(entries[i].kernels);
    if (options.peak_only) break;
  }
  return chosen;
}

Spread measured_peak(const Kernels& kernels, const Settings& settings) {
  const Sampler peak = fma_peak(kernels, settings);
  std::vector<double> rates;
  for (int i = 0; i < settings.repeat; ++i) rates.push_back(peak.rate());
  return spread(rates);
}

IsaReport report_of(const Kernels& kernels, const Options& options) {
  IsaReport report{&kernels, measured_peak(kernels, options.settings), {}};
  if (options.peak_only) return report;
  run_matmul(kernels, options.settings, options.quick, report.results);
  run_attention(kernels, options.settings, options.quick, report.results);
  run_layer_norm(kernels, options.settings, options.quick, report.results);
  run_activations(kernels, options.settings, options.quick, report.results);
  return report;
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) >= 0x20) out += c;
  }
  return out + "\"";
}

std::string json(const Spread& spread, double factor) {
  char text[128];
  std::snprintf(text, sizeof text, R"({"median": %.6g, "p10": %.6g, "p90": %.6g})", spread.median * factor,
                spread.p10 * factor, spread.p90 * factor);
  return text;
}

std::string json(const Result& result) {
  std::string out = "{\"kernel\": " + quoted(result.kernel);
  for (const auto& [name, value] : result.dims) {
    const bool is_number = value.find_first_not_of("0123456789") == std::string::npos;
    out += ", " + quoted(name) + ": " + (is_number ? value : quoted(value));
  }
  out += ", \"microseconds\": " + json(result.measured.microseconds, 1);
  out += ", \"unit\": " + quoted(result.unit) + ", \"rate\": " + json(result.measured.rate, 1e-9);
  out +=
      ", \"reference\": " + quoted(result.reference) + ", \"reference_rate\": " + json(result.measured.reference, 1e-9);
  out += ", \"share\": " + json(result.measured.share, 1);
  out += ", \"samples\": " + std::to_string(result.measured.samples);
  if (result.weight_bytes > 0)
    out += ", \"weight_bytes\": " + std::to_string(static_cast<int64_t>(result.weight_bytes));
  return out + "}";
}

void print_json(const Options& options, const std::vector<IsaReport>& reports, const std::optional<Spread>& memory) {
  std::string features;
  for (const std::string& name : cpu_feature_names()) features += (features.empty() ? "" : ", ") + quoted(name);
  std::printf("{\"cpu\": {\"model\": %s, \"features\": [%s], \"l1d\": %lld, \"l2\": %lld, \"l3\": %lld},\n",
              quoted(cpu_model_name()).c_str(), features.c_str(), static_cast<long long>(cpu_caches().l1d),
              static_cast<long long>(cpu_caches().l2), static_cast<long long>(cpu_caches().l3));
  std::printf(" \"compiler\": %s, \"threads\": %d, \"available_cpus\": %d,\n", quoted(__VERSION__).c_str(),
              options.settings.threads, available_cpus());
  if (memory) std::printf(" \"memory_read_gbytes_per_second\": %s,\n", json(*memory, 1e-9).c_str());
  std::printf(" \"instruction_sets\": [");
  for (size_t i = 0; i < reports.size(); ++i) {
    std::printf("%s\n  {\"name\": %s, \"mr\": %lld, \"nr\": %lld, \"peak_gflops\": %s, \"results\": [",
                i == 0 ? "" : ",", quoted(reports[i].kernels->name).c_str(),
                static_cast<long long>(reports[i].kernels->mr), static_cast<long long>(reports[i].kernels->nr),
                json(reports[i].peak, 1e-9).c_str());
    for (size_t j = 0; j < reports[i].results.size(); ++j) {
      std::printf("%s\n   %s", j == 0 ? "" : ",", json(reports[i].results[j]).c_str());
    }
    std::printf("]}");
  }
  std::printf("]}\n");
}

void print_table(const IsaReport& report, const std::optional<Spread>& memory) {
  std::printf("\n%s: tile %lld x %lld, fp32 peak %.1f GFLOP/s (%.1f to %.1f)\n", report.kernels->name,
              static_cast<long long>(report.kernels->mr), static_cast<long long>(report.kernels->nr),
              1e-9 * report.peak.median, 1e-9 * report.peak.p10, 1e-9 * report.peak.p90);
  for (const Result& result : report.results) {
    std::string label = result.kernel;
    for (const auto& [name, value] : result.dims) label += " " + name + "=" + value;
    const Measured& m = result.measured;
    std::printf("%-50s %10.1f us  %8.1f %-7s  %3.0f%% (%.0f to %.0f) of %s", label.c_str(), m.microseconds.median,
                1e-9 * m.rate.median, result.unit.c_str(), 100 * m.share.median, 100 * m.share.p10, 100 * m.share.p90,
                result.reference.c_str());
    if (result.weight_bytes > 0 && memory) {
      const double bytes = 1e6 * result.weight_bytes / m.microseconds.median;
      std::printf(", weights %.1f GB/s", 1e-9 * bytes);
    }
    std::printf("\n");
  }
}

int run(int argc, char** argv) {
  const Options options = parse(argc, argv);
  if (options.help) {
    std::fputs(kUsage, stdout);
    return 0;
  }
  std::vector<IsaReport> reports;
  std::optional<Spread> memory;
  if (!options.peak_only) memory = memory_read(options.settings, options.quick);
  if (!options.json) {
    std::printf("%s, %d threads\n", cpu_model_name().c_str(), options.settings.threads);
    if (memory)
      std::printf("memory read %.1f GB/s (%.1f to %.1f)\n", 1e-9 * memory->median, 1e-9 * memory->p10,
                  1e-9 * memory->p90);
  }
  for (const Kernels* kernels : chosen_kernels(options)) {
    reports.push_back(report_of(*kernels, options));
    if (!options.json) print_table(reports.back(), memory);
    std::fflush(stdout);
  }
  if (options.json) print_json(options, reports, memory);
  return 0;
}

}  // namespace
}  // namespace bertcpp::bench

int main(int argc, char** argv) {
  try {
    return bertcpp::bench::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_kernels: %s\n", error.what());
    return 2;
  }
}
