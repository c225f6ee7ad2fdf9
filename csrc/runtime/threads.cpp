#include "runtime/threads.h"

#include <omp.h>
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>

#include "runtime/cpu_quota.h"
#include "runtime/errors.h"

namespace bertcpp {
namespace {

constexpr int kMaxThreads = 1024;
// How long a thread watches a barrier before it sleeps: about what waking it up costs.
constexpr std::chrono::microseconds kSpin{20};

std::atomic<int> num_threads_setting{0};  // 0: not asked for yet
std::atomic<int> processors{0};           // available_cpus() at the first team
std::atomic<int> running{0};              // threads in teams at this moment

int affinity_cpus() {
  // The mask grows until the kernel's fits: it may hold more processors than a cpu_set_t.
  for (int capacity = 1024; capacity <= (1 << 20); capacity *= 4) {
    const size_t size = CPU_ALLOC_SIZE(static_cast<size_t>(capacity));
    cpu_set_t* mask = CPU_ALLOC(static_cast<size_t>(capacity));
    if (mask == nullptr) break;
    CPU_ZERO_S(size, mask);
    const bool read = sched_getaffinity(0, size, mask) == 0;
    const int count = read ? CPU_COUNT_S(size, mask) : 0;
    CPU_FREE(mask);
    if (count > 0) return count;
  }
  return static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

// The first number of OMP_NUM_THREADS, as OpenMP programs read it; 0 where it is absent or not a positive number.
int threads_from_environment() {
  const char* text = std::getenv("OMP_NUM_THREADS");
  if (text == nullptr) return 0;
  char* end = nullptr;
  const long n = std::strtol(text, &end, 10);
  while (*end == ' ') ++end;
  if (end == text || (*end != '\0' && *end != ',') || n < 1) return 0;
  return static_cast<int>(std::min<long>(n, kMaxThreads));
}

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield" ::: "memory");
#endif
}

}  // namespace

int available_cpus() {
  const double quota = std::ceil(cpu_quota());
  const int cpus = affinity_cpus();
  return quota < cpus ? std::max(1, static_cast<int>(quota)) : cpus;
}

void set_num_threads(int n) {
  if (n < 1 || n > kMaxThreads) {
    throw InputError("the number of threads must be between 1 and " + std::to_string(kMaxThreads) + ", not " +
                     std::to_string(n));
  }
  num_threads_setting.store(n, std::memory_order_relaxed);
}

int get_num_threads() {
  const int setting = num_threads_setting.load(std::memory_order_relaxed);
  if (setting > 0) return setting;
  const int wanted = threads_from_environment();
  const int initial = std::min(wanted > 0 ? wanted : available_cpus(), kMaxThreads);
  int expected = 0;
  return num_threads_setting.compare_exchange_strong(expected, initial) ? initial : expected;
}

// What the members of a team share.
class TeamState {
 public:
  // size: the threads asked for, which bounds those that come.
  explicit TeamState(int size) : size_(size) {
    running.fetch_add(size, std::memory_order_relaxed);
    if (processors.load(std::memory_order_relaxed) == 0) processors.store(available_cpus(), std::memory_order_relaxed);
  }
  ~TeamState() { running.fetch_sub(size_, std::memory_order_relaxed); }
  TeamState(const TeamState&) = delete;
  TeamState& operator=(const TeamState&) = delete;

  void barrier(int size) {
    const uint32_t generation = barriers_.load(std::memory_order_acquire);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == size) {
      arrived_.store(0, std::memory_order_relaxed);
      barriers_.store(generation + 1, std::memory_order_release);
      barriers_.notify_all();
      return;
    }
    wait_until(barriers_, generation + 1);
  }

  // The ticket holds the number of the loop that is under way and the first index that nobody has taken. Whoever takes
  // one must still find its own loop there, so a late member cannot take part in what is over.
  int64_t next(uint32_t loop, int64_t count) {
    uint64_t ticket = ticket_.load(std::memory_order_acquire);
    while (static_cast<uint32_t>(ticket >> 32) == loop) {
      const int64_t index = static_cast<int64_t>(ticket & 0xffffffffu);
      if (index >= count) {
        if (count == 0) return skip(loop);
        wait_until(loops_done_, loop + 1);
        return count;
      }
      if (ticket_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel, std::memory_order_acquire)) {
        return index;
      }
    }
    return count;
  }

  void finish_one(uint32_t loop, int64_t count) {
    if (finished_.fetch_add(1, std::memory_order_acq_rel) + 1 < count) return;
    finished_.store(0, std::memory_order_relaxed);
    ticket_.store(uint64_t{loop + 1} << 32, std::memory_order_release);
    open_next();
  }

 private:
  // An empty loop ends with the first member that comes to it.
  int64_t skip(uint32_t loop) {
    uint64_t ticket = uint64_t{loop} << 32;
    if (ticket_.compare_exchange_strong(ticket, uint64_t{loop + 1} << 32, std::memory_order_acq_rel)) open_next();
    return 0;
  }

  // After the ticket: whoever sees this number must find the next loop's ticket. It only counts up: others may have ended
  // the next loop before this member comes to say that its own is over.
  void open_next() {
    loops_done_.fetch_add(1, std::memory_order_acq_rel);
    loops_done_.notify_all();
  }

  // Watches `value` for a moment, unless other threads need this processor, and then sleeps until it reaches `goal`.
  static void wait_until(const std::atomic<uint32_t>& value, uint32_t goal) {
    const auto reached = [goal](uint32_t v) { return static_cast<int32_t>(v - goal) >= 0; };
    if (running.load(std::memory_order_relaxed) <= processors.load(std::memory_order_relaxed)) {
      const auto deadline = std::chrono::steady_clock::now() + kSpin;
      do {
        for (int i = 0; i < 8; ++i) {
          if (reached(value.load(std::memory_order_acquire))) return;
          relax();
        }
      } while (std::chrono::steady_clock::now() < deadline);
    }
    for (uint32_t v = value.load(std::memory_order_acquire); !reached(v); v = value.load(std::memory_order_acquire)) {
      value.wait(v, std::memory_order_acquire);
    }
  }

  alignas(64) std::atomic<uint64_t> ticket_{0};
  alignas(64) std::atomic<int64_t> finished_{0};
  alignas(64) std::atomic<uint32_t> loops_done_{0};
  alignas(64) std::atomic<int> arrived_{0};
  std::atomic<uint32_t> barriers_{0};
  int size_;
};

void Team::barrier() {
  if (size_ > 1) state_.barrier(size_);
}

int64_t Team::next(int64_t count) { return state_.next(loop_, count); }

void Team::finish_one(int64_t count) { state_.finish_one(loop_, count); }

namespace {

void run_alone(const std::function<void(Team&)>& body) {
  TeamState state(1);
  Team team(state, 0, 1);
  body(team);
}

// The team has as many members as OpenMP grants: limits may make them fewer than asked for.
void run_openmp(int size, const std::function<void(Team&)>& body) {
  TeamState state(size);
#pragma omp parallel num_threads(size)
  {
    Team team(state, omp_get_thread_num(), omp_get_num_threads());
    body(team);
  }
}

// Runs teams for a thread that came through fork(): its OpenMP pool names threads that only the parent has, and its
// next parallel region would wait for them for ever. A new thread gets a pool of its own.
class Substitute {
 public:
  explicit Substitute(Substitute* previous) : previous_(previous) {
    std::thread([this] { serve(); }).detach();
  }

  void run(int size, const std::function<void(Team&)>& body) {
    std::unique_lock lock(mutex_);
    size_ = size;
    body_ = &body;
    changed_.notify_all();
    changed_.wait(lock, [this] { return body_ == nullptr; });
  }

 private:
  void serve() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return body_ != nullptr; });
      run_openmp(size_, *body_);
      body_ = nullptr;
      changed_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  int size_ = 0;
  const std::function<void(Team&)>* body_ = nullptr;
  [[maybe_unused]] Substitute*
      previous_;  // a parent's, dead in this process; named so that leak checkers see it is kept on purpose
};

// Of the one thread that survived a fork: its substitute is never freed, since its thread serves until the process
// ends.
thread_local bool forked = false;
thread_local Substitute* substitute = nullptr;
thread_local Substitute* inherited_substitute = nullptr;

void after_fork_in_child() {
  forked = true;
  inherited_substitute = substitute;
  substitute = nullptr;
  running.store(0, std::memory_order_relaxed);
}

// Registered when the library is loaded: a pool may exist before our first team, made by other users of OpenMP.
[[maybe_unused]] const int fork_handler = pthread_atfork(nullptr, nullptr, after_fork_in_child);

// nullptr where the system refuses a new thread.
Substitute* substitute_of_this_thread() {
  if (substitute == nullptr) {
    try {
      substitute = new Substitute(inherited_substitute);
    } catch (const std::system_error&) {
      return nullptr;
    }
  }
  return substitute;
}

}  // namespace

void run_team(int num_threads, const std::function<void(Team&)>& body) {
  const int size = std::min(num_threads > 0 ? num_threads : get_num_threads(), kMaxThreads);
  if (size == 1) return run_alone(body);
  if (!forked) return run_openmp(size, body);
  Substitute* stand_in = substitute_of_this_thread();
  return stand_in != nullptr ? stand_in->run(size, body) : run_alone(body);
}

}  // namespace bertcpp
