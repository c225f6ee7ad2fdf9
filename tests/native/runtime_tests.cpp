// The runtime: teams, barriers and loops under stress, forks in every direction, quotas, memory and sizes.

#include <unistd.h>

#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <new>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "check.h"
#include "kernels/kernels.h"
#include "runtime/cpu.h"
#include "runtime/cpu_quota.h"
#include "runtime/errors.h"
#include "runtime/sizes.h"
#include "runtime/threads.h"
#include "runtime/workspace.h"
#include "team_cases.h"

namespace bertcpp::testing {
namespace {

void test_thread_settings() {
  CHECK(available_cpus() >= 1, "%d", available_cpus());
  const int before = get_num_threads();
  CHECK(before >= 1, "%d", before);
  set_num_threads(3);
  CHECK(get_num_threads() == 3, "%d", get_num_threads());
  CHECK_THROWS(set_num_threads(0), InputError, "between 1 and 1024, not 0");
  CHECK_THROWS(set_num_threads(1025), InputError, "1025");
  CHECK(get_num_threads() == 3, "%d", get_num_threads());
  set_num_threads(before);
  CHECK(succeeds_in_child([] { return get_num_threads() >= 1; }), "settings in a child");
}

void write_file(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

void test_quota() {
  char pattern[] = "/tmp/bertcpp-quota-XXXXXX";
  const std::filesystem::path root = mkdtemp(pattern);
  const std::string mount2 = (root / "v2").string();
  const std::string mount1 = (root / "v1").string();
  const auto quota = [&root] { return cpu_quota(root / "cgroup", root / "mountinfo"); };

  CHECK(std::isinf(quota()), "no files");
  write_file(root / "cgroup", "0::/a/b\n");
  write_file(root / "mountinfo",
             "30 1 0:5 / " + mount2 + " rw shared:9 - cgroup2 cgroup2 rw,nsdelegate\nbroken line\n");
  write_file(root / "v2/a/b/cpu.max", "max 100000\n");
  CHECK(std::isinf(quota()), "max");
  write_file(root / "v2/a/b/cpu.max", "250000 100000\n");
  CHECK(quota() == 2.5, "%f", quota());
  write_file(root / "v2/a/cpu.max", "150000 100000\n");
  CHECK(quota() == 1.5, "a parent's: %f", quota());
  write_file(root / "v2/cpu.max", "50000 100000\n");
  CHECK(quota() == 0.5, "the root's: %f", quota());

  write_file(root / "cgroup", "4:cpuset:/x\n3:cpu,cpuacct:/docker/1234\n");
  write_file(root / "mountinfo", "31 1 0:6 /docker/1234 " + mount1 + " rw - cgroup cgroup rw,cpu,cpuacct\n");
  write_file(root / "v1/cpu.cfs_quota_us", "-1\n");
  write_file(root / "v1/cpu.cfs_period_us", "100000\n");
  CHECK(std::isinf(quota()), "-1");
  write_file(root / "v1/cpu.cfs_quota_us", "300000\n");
  CHECK(quota() == 3.0, "%f", quota());
  write_file(root / "cgroup", "3:cpu,cpuacct:/../outside\n");
  CHECK(quota() == 3.0, "a path outside the namespace: %f", quota());
  write_file(root / "v1/cpu.cfs_period_us", "0\n");
  CHECK(std::isinf(quota()), "a period of 0");
  std::filesystem::remove_all(root);
}

void test_buffers() {
  for (size_t bytes : {size_t{0}, size_t{1}, size_t{1000}, (size_t{2} << 20) - 1, size_t{2} << 20, size_t{5'000'001}}) {
    Buffer buffer(bytes);
    const auto address = reinterpret_cast<uintptr_t>(buffer.data());
    CHECK(address % (bytes >= (size_t{2} << 20) ? size_t{2} << 20 : 64) == 0, "%zu bytes at %zx", bytes, address);
    CHECK(buffer.size() == bytes, "%zu", buffer.size());
    std::memset(buffer.data(), 1, bytes);
    int slack = 0;
    for (size_t i = 0; i < 256; ++i) slack += static_cast<int>(buffer.data()[bytes + i]);
    CHECK(slack == 0, "slack of %zu bytes", bytes);
    Buffer moved(std::move(buffer));
    CHECK(buffer.data() == nullptr && buffer.size() == 0 && moved.size() == bytes, "%zu", moved.size());
    buffer = std::move(moved);
    CHECK(buffer.size() == bytes, "%zu", buffer.size());
  }
  bool thrown = false;
  try {
    Buffer impossible(std::numeric_limits<size_t>::max() - 100);
  } catch (const std::bad_alloc&) {
    thrown = true;
  }
  CHECK(thrown, "no bad_alloc");
}

void test_arena() {
  Arena measure;
  CHECK(measure.floats(10) == nullptr, "measuring");
  measure.int32s(17);
  CHECK(measure.used() == 64 + 128, "%zu", measure.used());
  Buffer buffer(measure.used());
  Arena arena(buffer);
  CHECK(arena.floats(10) == buffer.floats(), "first");
  CHECK(reinterpret_cast<std::byte*>(arena.int32s(17)) == buffer.data() + 64, "second");
  CHECK_THROWS(arena.floats(1), std::logic_error, "arena");
  CHECK_THROWS(Arena().floats(-1), InputError, "overflow");
  CHECK_THROWS(Arena().floats(std::numeric_limits<int64_t>::max() / 2), InputError, "overflow");
}

void test_buffer_cache() {
  BufferCache cache;
  Buffer first = cache.acquire(5000);
  const std::byte* address = first.data();
  cache.release(std::move(first));
  Buffer again = cache.acquire(4000);
  CHECK(again.data() == address && again.size() >= 4000, "kept");
  cache.release(std::move(again));
  CHECK(cache.acquire(6000).size() >= 6000, "too small to serve");
  cache.release(Buffer(BufferCache::kKeepBytes + 1));
  CHECK(cache.acquire(10).size() == 10, "too large to keep");

  std::atomic<int> wrong{0};
  std::vector<std::thread> users;
  for (int u = 0; u < 4; ++u) {
    users.emplace_back([&cache, &wrong, u] {
      for (size_t i = 0; i < 500; ++i) {
        Buffer buffer = cache.acquire(100 + i * 37 % 1000);
        std::memset(buffer.data(), u, buffer.size());
        for (size_t j = 0; j < buffer.size(); ++j) {
          if (buffer.data()[j] != static_cast<std::byte>(u)) wrong.fetch_add(1);
        }
        cache.release(std::move(buffer));
      }
    });
  }
  for (std::thread& user : users) user.join();
  CHECK(wrong == 0, "%d bytes changed by others", wrong.load());
}

void test_sizes() {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  CHECK(checked_add(2, 3) == 5 && checked_mul(2, 3) == 6 && checked_mul({2, 3, 4}) == 24, "plain");
  CHECK(checked_add(kMax, 0) == kMax && checked_mul(kMax, 1) == kMax && checked_mul(kMax, 0) == 0, "at the limit");
  CHECK_THROWS(checked_add(kMax, 1), InputError, "overflow");
  CHECK_THROWS(checked_add(-1, 1), InputError, "overflow");
  CHECK_THROWS(checked_mul(kMax / 2 + 1, 2), InputError, "overflow");
  CHECK_THROWS(checked_mul({1 << 30, 1 << 30, 1 << 30}), InputError, "overflow");
  CHECK_THROWS(checked_mul(-1, 2), InputError, "overflow");
  CHECK(checked_round_up(0, 64) == 0 && checked_round_up(1, 64) == 64 && checked_round_up(64, 64) == 64, "rounding");
  CHECK_THROWS(checked_round_up(kMax, 64), InputError, "overflow");
}

void test_cpu() {
  const CpuCaches& caches = cpu_caches();
  CHECK(caches.l1d >= 4 << 10 && caches.l1d <= 1 << 20, "%lld", static_cast<long long>(caches.l1d));
  CHECK(caches.l2 >= 64 << 10 && caches.l2 <= 64 << 20, "%lld", static_cast<long long>(caches.l2));
  CHECK(allowed_l3_bytes() >= caches.l3, "%lld", static_cast<long long>(allowed_l3_bytes()));
  CHECK(!cpu_model_name().empty(), "no name");
  const CpuFeatures& f = cpu_features();
  CHECK(f.avx2 || !f.avx512, "AVX-512 without AVX2");
#if defined(__x86_64__)
  CHECK(!f.neon, "NEON on x86");
  __builtin_cpu_init();
  CHECK(f.avx2 == (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")), "avx2 %d", f.avx2);
  CHECK(f.avx512 == (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")), "avx512 %d", f.avx512);
#endif
}

// Four processors of a chip with a third-level cache for every two.
void test_l3_of_several() {
  char pattern[] = "/tmp/bertcpp_l3_XXXXXX";
  const std::filesystem::path root = mkdtemp(pattern);
  for (int cpu = 0; cpu < 4; ++cpu) {
    const std::filesystem::path cache = root / ("cpu" + std::to_string(cpu)) / "cache";
    write_file(cache / "index0" / "level", "2\n");
    write_file(cache / "index0" / "size", "1024K\n");
    write_file(cache / "index1" / "level", "3\n");
    write_file(cache / "index1" / "size", "32M\n");
    write_file(cache / "index1" / "shared_cpu_list", cpu < 2 ? "0-1\n" : "2-3\n");
  }
  const auto megabytes = [&](const std::vector<int>& cpus) { return l3_bytes_of(cpus, root.string()) >> 20; };
  CHECK(megabytes({0, 1}) == 32 && megabytes({1, 2}) == 64 && megabytes({0, 1, 2, 3}) == 64, "each is counted once");
  CHECK(megabytes({}) == 0 && megabytes({9}) == 0, "what is not there");
  std::filesystem::remove_all(root);
}

void test_dispatch() {
  size_t count = 0;
  const KernelsEntry* entries = kernel_entries(&count);
  CHECK(count >= 1, "%zu tables", count);
  const Kernels* best = nullptr;
  for (size_t i = 0; i < count; ++i) {
    const std::string name = entries[i].kernels->name;
    if (entries[i].supported && !entries[i].only_by_name && best == nullptr) best = entries[i].kernels;
    if (entries[i].supported) {
      CHECK(&kernels_named(name.c_str()) == entries[i].kernels, "%s", name.c_str());
    } else {
      CHECK_THROWS(kernels_named(name.c_str()), InstructionSetError, "does not support the instruction set \"" + name);
    }
  }
  CHECK_THROWS(kernels_named("mmx"), InstructionSetError, "carries no instruction set \"mmx\"; it carries ");

  setenv("BERTCPP_ISA", "mmx", 1);
  CHECK_THROWS(active_kernels(), InstructionSetError, "BERTCPP_ISA=mmx");
  CHECK(succeeds_in_child([] {
          setenv("BERTCPP_ISA", "scalar", 1);
          return std::string(active_kernels().name) == "scalar";
        }),
        "forced to scalar");
  setenv("BERTCPP_ISA", "", 1);
  CHECK(&active_kernels() == best, "%s", active_kernels().name);
}

}  // namespace
}  // namespace bertcpp::testing

int main() {
  using namespace bertcpp::testing;
  const struct {
    const char* name;
    void (*run)();
  } tests[] = {
      {"teams", test_teams},
      {"chained_loops", test_chained_loops},
      {"barrier", test_writes_are_seen_after_a_barrier},
      {"callers", test_many_callers},
      {"idle", test_idle_threads_sleep},
      {"bounded", test_threads_are_bounded},
      {"nested", test_a_team_within_a_team},
      {"refused", test_refused_threads},
      {"fork", test_fork},
      {"fork_busy", test_fork_while_others_compute},
      {"settings", test_thread_settings},
      {"quota", test_quota},
      {"buffers", test_buffers},
      {"arena", test_arena},
      {"buffer_cache", test_buffer_cache},
      {"sizes", test_sizes},
      {"cpu", test_cpu},
      {"l3 of several", test_l3_of_several},
      {"dispatch", test_dispatch},
  };
  for (const auto& test : tests) {
    const int before = failures();
    alarm(kAlarmSeconds);
    test.run();
    std::printf("%s: %s\n", test.name, failures() == before ? "ok" : "FAILED");
    std::fflush(stdout);
  }
  return failures() == 0 ? 0 : 1;
}
