#include "runtime/threads.h"

#include <omp.h>
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

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

// Watches `value` for a moment, unless other threads need this processor, and then sleeps until reached(value).
template <class Reached>
void wait_until(const std::atomic<uint32_t>& value, const Reached& reached) {
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

// Stores what sleepers wait for and wakes them. In one order with all other such stores and waits: libstdc++'s
// notify_all first looks whether anybody sleeps, and a weaker store could still be on its way when a thread that goes
// to sleep reads the old value after that look.
void announce(std::atomic<uint32_t>& value, uint32_t now) {
  value.store(now, std::memory_order_seq_cst);
  value.notify_all();
}

// Of numbers that count up and wrap round.
auto at_least(uint32_t goal) {
  return [goal](uint32_t value) { return static_cast<int32_t>(value - goal) >= 0; };
}

}  // namespace

int available_cpus() {
  const double quota = std::ceil(cpu_quota());
  const int cpus = affinity_cpus();
  return quota < cpus ? std::max(1, static_cast<int>(quota)) : cpus;
}

void set_num_threads(int64_t n) {
  if (n < 1 || n > kMaxThreads) {
    throw InputError("the number of threads must be between 1 and " + std::to_string(kMaxThreads) + ", not " +
                     std::to_string(n));
  }
  num_threads_setting.store(static_cast<int>(n), std::memory_order_relaxed);
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
      announce(barriers_, generation + 1);
      return;
    }
    wait_until(barriers_, at_least(generation + 1));
  }

  // The ticket holds the number of the loop that is under way and the first index that nobody has taken. Whoever takes
  // one must still find its own loop there, so a late member cannot take part in what is over.
  int64_t next(uint32_t loop, int64_t count) {
    uint64_t ticket = ticket_.load(std::memory_order_acquire);
    while (static_cast<uint32_t>(ticket >> 32) == loop) {
      const int64_t index = static_cast<int64_t>(ticket & 0xffffffffu);
      if (index >= count) {
        if (count == 0) return skip(loop);
        wait_until(loops_done_, at_least(loop + 1));
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

  // After the ticket: whoever sees this number must find the next loop's ticket. It only counts up: others may have
  // ended the next loop before this member comes to say that its own is over.
  void open_next() {
    loops_done_.fetch_add(1, std::memory_order_seq_cst);  // see announce()
    loops_done_.notify_all();
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

// A team that is run from within a team has one member, whichever thread runs it.
thread_local bool serves_a_crew = false;

// Throws std::system_error unless the system gives this process so many threads more: OpenMP, which makes the crew's,
// ends the process where it is refused one.
void check_obtainable(int count) {
  std::atomic<uint32_t> done{0};
  std::vector<std::jthread> threads;
  threads.reserve(static_cast<size_t>(count));
  const auto wait = [&done] { done.wait(0, std::memory_order_acquire); };
  try {
    for (int i = 0; i < count; ++i) threads.emplace_back(wait);
  } catch (...) {
    announce(done, 1);
    throw;
  }
  announce(done, 1);
}

// The threads that work beside one calling thread: OpenMP makes them, in a parallel region that stays open between
// calls. A region per call would end with OpenMP's own barrier, which keeps its threads spinning for milliseconds and
// holds up the caller for members that the system has put to sleep; and after fork() its pool would name threads that
// are gone.
class Crew {
 public:
  // `inherited`: of the parent process, dead in this one; held so that leak checkers see it is kept on purpose.
  Crew(int workers, Crew* inherited)
      : asked_(workers), slots_(std::make_unique<Slot[]>(static_cast<size_t>(workers))), inherited_(inherited) {
    check_obtainable(workers + 1);
    host_ = std::thread([this] { open(); });
    wait_until(state_, [](uint32_t state) { return state != kOpening; });
  }
  ~Crew() {
    for (int i = 0; i < workers_; ++i) announce(slots_[static_cast<size_t>(i)].state, kStop);
    announce(state_, kStop);
    host_.join();
  }
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  int asked() const { return asked_; }
  bool busy() const { return body_ != nullptr; }

  // The caller is member 0. Members that have not begun when it ends are left out: all work is done then.
  void run(int size, const std::function<void(Team&)>& body) {
    size_ = std::min(size, workers_ + 1);
    TeamState team_state(size_);
    team_state_ = &team_state;
    body_ = &body;
    for (int i = 0; i + 1 < size_; ++i) announce(slots_[static_cast<size_t>(i)].state, kOffered);
    Team team(team_state, 0, size_);
    body(team);
    for (int i = 0; i + 1 < size_; ++i) {
      std::atomic<uint32_t>& slot = slots_[static_cast<size_t>(i)].state;
      uint32_t offered = kOffered;
      if (slot.compare_exchange_strong(offered, kIdle, std::memory_order_acq_rel)) continue;
      wait_until(slot, [](uint32_t state) { return state == kIdle; });
    }
    body_ = nullptr;
  }

 private:
  enum State : uint32_t { kIdle, kOffered, kTaken, kOpening, kStop };
  struct alignas(64) Slot {
    std::atomic<uint32_t> state{kIdle};
  };

  // One thread more than there are workers: the host, which keeps the region open and lies where OpenMP's affinity
  // settings put the caller. Limits may make the team smaller than asked for.
  void open() {
#pragma omp parallel num_threads(asked_ + 1)
    {
      const int rank = omp_get_thread_num();
      if (rank == 0) {
        workers_ = omp_get_num_threads() - 1;
        announce(state_, kIdle);
        wait_until(state_, [](uint32_t state) { return state == kStop; });
      } else {
        serve(rank);
      }
    }
  }

  void serve(int rank) {
    serves_a_crew = true;
    std::atomic<uint32_t>& slot = slots_[static_cast<size_t>(rank - 1)].state;
    for (;;) {
      wait_until(slot, [](uint32_t state) { return state != kIdle; });
      if (slot.load(std::memory_order_acquire) == kStop) return;
      uint32_t offered = kOffered;
      if (!slot.compare_exchange_strong(offered, kTaken, std::memory_order_acq_rel)) continue;  // withdrawn meanwhile
      Team team(*team_state_, rank, size_);
      (*body_)(team);
      announce(slot, kIdle);
    }
  }

  const int asked_;
  int workers_ = 0;
  std::atomic<uint32_t> state_{kOpening};
  std::unique_ptr<Slot[]> slots_;
  std::thread host_;
  // Of the call that is under way.
  int size_ = 0;
  TeamState* team_state_ = nullptr;
  const std::function<void(Team&)>* body_ = nullptr;
  [[maybe_unused]] Crew* inherited_;
};

thread_local Crew* crew = nullptr;
thread_local Crew* inherited_crew = nullptr;

// Ends the crew when its caller's thread ends.
struct CrewOwner {
  ~CrewOwner() { delete std::exchange(crew, nullptr); }
};

// Of the one thread that survives, the crew's threads are gone.
void after_fork_in_child() {
  if (crew != nullptr) inherited_crew = std::exchange(crew, nullptr);
  running.store(0, std::memory_order_relaxed);
}

// Once, when the library is loaded.
[[maybe_unused]] const int fork_handler = pthread_atfork(nullptr, nullptr, after_fork_in_child);

// The calling thread's crew of at least so many workers, if OpenMP grants them; nullptr where the system refuses
// threads.
Crew* crew_of_this_thread(int workers) {
  static thread_local CrewOwner owner;
  if (crew != nullptr && (crew->asked() >= workers || crew->busy())) return crew;
  delete std::exchange(crew, nullptr);
  try {
    crew = new Crew(workers, inherited_crew);
  } catch (const std::system_error&) {
    return nullptr;
  }
  return crew;
}

}  // namespace

void run_team(int num_threads, const std::function<void(Team&)>& body) {
  const int size = std::min(num_threads > 0 ? num_threads : get_num_threads(), kMaxThreads);
  Crew* beside = size > 1 && !serves_a_crew ? crew_of_this_thread(size - 1) : nullptr;
  // Busy: a team is being run from within a team.
  if (beside == nullptr || beside->busy()) return run_alone(body);
  beside->run(size, body);
}

}  // namespace bertcpp
