// The tables that the native tests run: those of this build that run here, and amx_emulated.
#pragma once

#include <cstdio>
#include <cstring>
#include <vector>

#include "kernels/kernels.h"
#include "runtime/cpu.h"

#if BERTCPP_EMULATED_AMX
#include "amx_emulation/tiles.h"

extern "C" const bertcpp::Kernels* bertcpp_kernels_amx_emulated();
#endif

namespace bertcpp::testing {

inline std::vector<const Kernels*> tested_kernels() {
  std::vector<const Kernels*> tables;
  size_t count = 0;
  const KernelsEntry* entries = kernel_entries(&count);
  for (size_t i = 0; i < count; ++i) {
    if (entries[i].supported) tables.push_back(entries[i].kernels);
  }
#if BERTCPP_EMULATED_AMX
  if (cpu_features().avx512_bf16 && cpu_features().avx512_vnni) {
    tables.push_back(bertcpp_kernels_amx_emulated());
  } else {
    std::fprintf(stderr, "amx_emulated is left out: the rest of that row needs AVX512_BF16 and AVX512_VNNI\n");
  }
#endif
  return tables;
}

// The table that gives the same bits as that of a row with tiles wherever its sums are of bytes, which are exact; null
// of other rows.
inline const Kernels* twin_of(const Kernels& kernels) {
  return std::strncmp(kernels.name, "amx", 3) == 0 ? &kernels_named("avx512_bf16") : nullptr;
}

// Whether every kernel that configured tiles has released them.
inline bool tiles_are_released() {
#if BERTCPP_EMULATED_AMX
  return amx::threads_with_tiles() == 0;
#else
  return true;
#endif
}

}  // namespace bertcpp::testing
