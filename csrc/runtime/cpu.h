// What the processor offers: instruction sets (by cpuid and the state the system saves), caches, its name.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace bertcpp {

struct CpuFeatures {
  bool avx2 = false;    // with FMA, F16C and saved ymm state
  bool avx512 = false;  // F, BW, DQ, VL and saved zmm state
  bool avx512_vnni = false;
  bool avx512_bf16 = false;
  bool slow_avx512_bf16 = false;  // its products take longer than those of floats
  bool avx_vnni = false;
  bool amx_bf16 = false;  // with leave to use tiles, which Linux gives to those that ask
  bool amx_int8 = false;
  bool neon = false;
  bool neon_dotprod = false;
};

struct CpuCaches {  // bytes per core (l3: as reported); sensible defaults where the system does not tell
  int64_t l1d = 32 << 10;
  int64_t l2 = 1 << 20;
  int64_t l3 = 8 << 20;
};

const CpuFeatures& cpu_features();
const CpuCaches& cpu_caches();
// The third-level caches of these processors together, each counted once however many share it; 0 where the system does
// not tell. `root` is the folder of sysfs that has the processors.
int64_t l3_bytes_of(const std::vector<int>& cpus, const std::string& root = "/sys/devices/system/cpu");
// Those of all processors that the calling thread may run on: the chip's l3 several times over on many servers.
int64_t allowed_l3_bytes();
std::string cpu_model_name();
std::vector<std::string> cpu_feature_names();

}  // namespace bertcpp
