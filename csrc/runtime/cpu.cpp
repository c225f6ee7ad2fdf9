#include "runtime/cpu.h"

#include <sched.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace bertcpp {
namespace {

#if defined(__x86_64__)

struct Registers {
  uint32_t eax = 0;
  uint32_t ebx = 0;
  uint32_t ecx = 0;
  uint32_t edx = 0;
};

// Zeros where the processor has no such leaf.
Registers cpuid(uint32_t leaf, uint32_t subleaf) {
  Registers r;
  if (__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx) == 0) return Registers{};
  return r;
}

bool bit(uint64_t word, int position) { return ((word >> position) & 1) != 0; }

// The register files that the operating system saves (xcr0); 0 where it saves none beyond SSE.
uint64_t saved_state(const Registers& basic) {
  if (!bit(basic.ecx, 27)) return 0;
  uint32_t low = 0;
  uint32_t high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t{high} << 32) | low;
}

// Whether the process may use tiles: their registers are so large that Linux (5.16 and later) saves them only for
// processes that have asked. The answer holds for all threads, and for forked children.
bool tiles_permitted() {
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM, which older headers lack
  constexpr long kTileData = 18;               // XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

// Intel's cores begin a vdpbf16ps of 512 bits every second cycle, but two fused multiply-adds in each (measured on
// Emerald Rapids: half the products of floats). AMD's begin as many of both.
bool made_by_intel() {
  const Registers vendor = cpuid(0, 0);
  return vendor.ebx == signature_INTEL_ebx && vendor.edx == signature_INTEL_edx && vendor.ecx == signature_INTEL_ecx;
}

CpuFeatures detect() {
  const Registers basic = cpuid(1, 0);
  const Registers extended = cpuid(7, 0);
  const Registers more = extended.eax >= 1 ? cpuid(7, 1) : Registers{};
  const uint64_t saved = saved_state(basic);
  const bool ymm = (saved & 0x6) == 0x6;
  const bool zmm = (saved & 0xe6) == 0xe6;
  const bool tiles = (saved & 0x60000) == 0x60000 && bit(extended.edx, 24) && tiles_permitted();

  CpuFeatures f;
  // FMA, AVX, F16C; AVX2.
  f.avx2 = ymm && bit(basic.ecx, 12) && bit(basic.ecx, 28) && bit(basic.ecx, 29) && bit(extended.ebx, 5);
  // F, DQ, BW, VL.
  f.avx512 =
      f.avx2 && zmm && bit(extended.ebx, 16) && bit(extended.ebx, 17) && bit(extended.ebx, 30) && bit(extended.ebx, 31);
  f.avx512_vnni = f.avx512 && bit(extended.ecx, 11);
  f.avx512_bf16 = f.avx512 && bit(more.eax, 5);
  f.slow_avx512_bf16 = f.avx512_bf16 && made_by_intel();
  f.avx_vnni = f.avx2 && bit(more.eax, 4);
  f.amx_bf16 = tiles && bit(extended.edx, 22);
  f.amx_int8 = tiles && bit(extended.edx, 25);
  return f;
}

#elif defined(__aarch64__)

CpuFeatures detect() {
  constexpr unsigned long kAsimd = 1ul << 1;     // HWCAP_ASIMD
  constexpr unsigned long kAsimdDp = 1ul << 20;  // HWCAP_ASIMDDP
  const unsigned long capabilities = getauxval(AT_HWCAP);
  CpuFeatures f;
  f.neon = (capabilities & kAsimd) != 0;
  f.neon_dotprod = f.neon && (capabilities & kAsimdDp) != 0;
  return f;
}

#else

CpuFeatures detect() { return CpuFeatures{}; }

#endif

// The first word of a file; empty where there is none.
std::string first_word(const std::string& path) {
  std::ifstream file(path);
  std::string word;
  file >> word;
  return word;
}

// How many processors a list such as 0-3,8 names; 1 where it cannot be read.
int64_t count_listed(const std::string& list) {
  int64_t count = 0;
  std::istringstream parts(list);
  for (std::string part; std::getline(parts, part, ',');) {
    std::istringstream range(part);
    int64_t first = 0;
    char dash = 0;
    int64_t last = 0;
    if (!(range >> first)) continue;
    count += (range >> dash >> last) && last >= first ? last - first + 1 : 1;
  }
  return std::max<int64_t>(count, 1);
}

// 48K, 2048K, 32M or plain bytes; 0 where it cannot be read.
int64_t parse_size(const std::string& text) {
  std::istringstream stream(text);
  int64_t size = 0;
  char unit = 0;
  if (!(stream >> size) || size < 0) return 0;
  stream >> unit;
  return unit == 'K' ? size << 10 : unit == 'M' ? size << 20 : size;
}

CpuCaches read_caches() {
  CpuCaches caches;
  const std::string cpu = "/sys/devices/system/cpu/cpu" + std::to_string(std::max(0, sched_getcpu()));
  const int64_t siblings = count_listed(first_word(cpu + "/topology/thread_siblings_list"));
  for (int index = 0; index < 16; ++index) {
    const std::string folder = cpu + "/cache/index" + std::to_string(index);
    const std::string level = first_word(folder + "/level");
    if (level.empty()) break;
    const int64_t size = parse_size(first_word(folder + "/size"));
    if (size <= 0 || first_word(folder + "/type") == "Instruction") continue;
    const int64_t cores = std::max<int64_t>(1, count_listed(first_word(folder + "/shared_cpu_list")) / siblings);
    if (level == "1") caches.l1d = size / cores;
    if (level == "2") caches.l2 = size / cores;
    if (level == "3") caches.l3 = size;
  }
  return caches;
}

// When the library is loaded: a fork cannot then fall into the middle of it, which would leave the child waiting for
// ever.
[[maybe_unused]] const CpuFeatures& detected = cpu_features();
[[maybe_unused]] const CpuCaches& measured = cpu_caches();

}  // namespace

const CpuFeatures& cpu_features() {
  static const CpuFeatures features = detect();
  return features;
}

const CpuCaches& cpu_caches() {
  static const CpuCaches caches = read_caches();
  return caches;
}

int64_t l3_bytes_of(const std::vector<int>& cpus, const std::string& root) {
  std::map<std::string, int64_t> sizes;  // by the processors that share the cache
  for (const int cpu : cpus) {
    for (int index = 0; index < 16; ++index) {
      const std::string folder = root + "/cpu" + std::to_string(cpu) + "/cache/index" + std::to_string(index);
      const std::string level = first_word(folder + "/level");
      if (level.empty()) break;
      if (level == "3") sizes[first_word(folder + "/shared_cpu_list")] = parse_size(first_word(folder + "/size"));
    }
  }
  int64_t sum = 0;
  for (const auto& [sharers, size] : sizes) sum += size;
  return sum;
}

int64_t allowed_l3_bytes() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  // Fails where there are more processors than the mask has room for: then the first ones stand for all.
  const bool known = sched_getaffinity(0, sizeof(mask), &mask) == 0;
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!known || CPU_ISSET(cpu, &mask)) cpus.push_back(cpu);
  }
  return std::max(l3_bytes_of(cpus), cpu_caches().l3);
}

std::string cpu_model_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(": ");
    if (line.compare(0, 10, "model name") == 0 && colon != std::string::npos) return line.substr(colon + 2);
  }
  // Arm kernels give no name here; boards have one in their device tree.
  std::ifstream tree("/sys/firmware/devicetree/base/model");
  std::string model;
  if (std::getline(tree, model, '\0') && !model.empty()) return model;
  utsname system{};
  return uname(&system) == 0 ? std::string(system.machine) + " processor" : "unknown processor";
}

std::vector<std::string> cpu_feature_names() {
  const CpuFeatures& f = cpu_features();
  const struct {
    const char* name;
    bool present;
  } all[] = {
      {"avx2", f.avx2},
      {"avx512", f.avx512},
      {"avx512_vnni", f.avx512_vnni},
      {"avx_vnni", f.avx_vnni},
      {"avx512_bf16", f.avx512_bf16},
      {"amx_bf16", f.amx_bf16},
      {"amx_int8", f.amx_int8},
      {"neon", f.neon},
      {"neon_dotprod", f.neon_dotprod},
  };
  std::vector<std::string> names;
  for (const auto& feature : all) {
    if (feature.present) names.emplace_back(feature.name);
  }
  return names;
}

}  // namespace bertcpp
