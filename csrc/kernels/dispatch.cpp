// Chooses the table of kernels: the best that the processor runs, or the one that BERTCPP_ISA names.

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <string>

#include "kernels/kernels.h"
#include "runtime/cpu.h"
#include "runtime/errors.h"

namespace bertcpp {

// BERTCPP_HAVE_<NAME> comes from the rows of cmake/isa.cmake that this build carries.
#if BERTCPP_HAVE_AMX
extern "C" const Kernels* bertcpp_kernels_amx();
#endif
#if BERTCPP_HAVE_AVX512_BF16
extern "C" const Kernels* bertcpp_kernels_avx512_bf16();
#endif
#if BERTCPP_HAVE_AVX512_VNNI
extern "C" const Kernels* bertcpp_kernels_avx512_vnni();
#endif
#if BERTCPP_HAVE_AVX512
extern "C" const Kernels* bertcpp_kernels_avx512();
#endif
#if BERTCPP_HAVE_AVX2_VNNI
extern "C" const Kernels* bertcpp_kernels_avx2_vnni();
#endif
#if BERTCPP_HAVE_AVX2
extern "C" const Kernels* bertcpp_kernels_avx2();
#endif
#if BERTCPP_HAVE_NEON_DOTPROD
extern "C" const Kernels* bertcpp_kernels_neon_dotprod();
#endif
#if BERTCPP_HAVE_NEON
extern "C" const Kernels* bertcpp_kernels_neon();
#endif
#if BERTCPP_HAVE_SCALAR
extern "C" const Kernels* bertcpp_kernels_scalar();
#endif

const KernelsEntry* kernel_entries(size_t* count) {
  // Each table's function is compiled for its instruction set, but returns an address only: it runs on any processor.
  static const KernelsEntry entries[] = {
#if BERTCPP_HAVE_AMX
      {bertcpp_kernels_amx(),
       cpu_features().amx_bf16 && cpu_features().amx_int8 && cpu_features().avx512_bf16 && cpu_features().avx512_vnni,
       true},
#endif
#if BERTCPP_HAVE_AVX512_BF16
      {bertcpp_kernels_avx512_bf16(), cpu_features().avx512_bf16 && cpu_features().avx512_vnni,
       cpu_features().slow_avx512_bf16},
#endif
#if BERTCPP_HAVE_AVX512_VNNI
      {bertcpp_kernels_avx512_vnni(), cpu_features().avx512_vnni},
#endif
#if BERTCPP_HAVE_AVX512
      {bertcpp_kernels_avx512(), cpu_features().avx512},
#endif
#if BERTCPP_HAVE_AVX2_VNNI
      {bertcpp_kernels_avx2_vnni(), cpu_features().avx_vnni},
#endif
#if BERTCPP_HAVE_AVX2
      {bertcpp_kernels_avx2(), cpu_features().avx2},
#endif
#if BERTCPP_HAVE_NEON_DOTPROD
      {bertcpp_kernels_neon_dotprod(), cpu_features().neon_dotprod},
#endif
#if BERTCPP_HAVE_NEON
      {bertcpp_kernels_neon(), cpu_features().neon},
#endif
#if BERTCPP_HAVE_SCALAR
      {bertcpp_kernels_scalar(), true},
#endif
  };
  *count = sizeof(entries) / sizeof(entries[0]);
  return entries;
}

namespace {

std::string names(bool supported_only) {
  size_t count = 0;
  const KernelsEntry* entries = kernel_entries(&count);
  std::string list;
  for (size_t i = 0; i < count; ++i) {
    if (supported_only && !entries[i].supported) continue;
    list += (list.empty() ? "" : ", ") + std::string(entries[i].kernels->name);
  }
  return list;
}

const Kernels& best() {
  size_t count = 0;
  const KernelsEntry* entries = kernel_entries(&count);
  for (size_t i = 0; i < count; ++i) {
    if (entries[i].supported && !entries[i].only_by_name) return *entries[i].kernels;
  }
  throw InstructionSetError("this build carries no instruction set that this processor runs: " + names(false));
}

// The table that BERTCPP_ISA names, or the best one where it is unset or empty.
const Kernels& chosen() {
  const char* forced = std::getenv("BERTCPP_ISA");
  if (forced == nullptr || *forced == '\0') return best();
  try {
    return kernels_named(forced);
  } catch (const InstructionSetError& error) {
    throw InstructionSetError("BERTCPP_ISA=" + std::string(forced) + ": " + error.what() +
                              "; set it to one of these or unset it");
  }
}

std::atomic<const Kernels*> active{nullptr};

}  // namespace

const Kernels& active_kernels() {
  // Two threads that come first at once find the same table.
  const Kernels* kernels = active.load(std::memory_order_acquire);
  if (kernels == nullptr) {
    kernels = &chosen();
    active.store(kernels, std::memory_order_release);
  }
  return *kernels;
}

const Kernels& kernels_named(const char* name) {
  size_t count = 0;
  const KernelsEntry* entries = kernel_entries(&count);
  for (size_t i = 0; i < count; ++i) {
    if (std::strcmp(entries[i].kernels->name, name) != 0) continue;
    if (entries[i].supported) return *entries[i].kernels;
    throw InstructionSetError("this processor does not support the instruction set \"" + std::string(name) +
                              "\"; it runs " + names(true));
  }
  throw InstructionSetError("this build carries no instruction set \"" + std::string(name) + "\"; it carries " +
                            names(false));
}

}  // namespace bertcpp
