// Teams of threads: loops and barriers under stress, many callers, idle threads, and forks in every direction.
#pragma once

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <thread>
#include <vector>

#include "check.h"
#include "runtime/threads.h"

namespace bertcpp::testing {

constexpr unsigned kAlarmSeconds = 120;  // of one test: a hang is a failure

// A team sums 0 ... count - 1 in `loops` loops of changing length; true if every index came exactly once each time.
inline bool team_counts_right(int threads, int loops) {
  constexpr int64_t kMax = 64;
  std::vector<std::atomic<int>> seen(kMax);
  std::atomic<bool> right{true};
  std::atomic<int> members{0};
  run_team(threads, [&](Team& team) {
    members.fetch_add(1);
    for (int loop = 0; loop < loops; ++loop) {
      const int64_t count = (loop * 7) % (kMax + 1);
      team.for_each(count, [&](int64_t i) { seen[static_cast<size_t>(i)].fetch_add(1, std::memory_order_relaxed); });
      if (team.rank() == loop % team.size()) {
        for (int64_t i = 0; i < kMax; ++i) {
          if (seen[static_cast<size_t>(i)].exchange(0, std::memory_order_relaxed) != (i < count ? 1 : 0)) right = false;
        }
      }
      team.barrier();
    }
  });
  return right && members > 0 && members <= std::max(threads, 1);
}

inline void test_teams() {
  for (int threads : {1, 2, 3, 4, 7, 16}) {
    CHECK(team_counts_right(threads, 400 / threads), "%d threads", threads);
  }
  for (int i = 0; i < 300; ++i) CHECK(team_counts_right(1 + i % 4, 3), "team %d", i);

  std::atomic<int> sizes{0};
  run_team(3, [&](Team& team) {
    CHECK(team.rank() >= 0 && team.rank() < team.size(), "rank %d of %d", team.rank(), team.size());
    if (team.rank() == 0) sizes = team.size();
  });
  CHECK(sizes == 3, "granted %d", sizes.load());
}

// Loops follow one another without barriers: what one wrote, whoever takes part in the next one must see, however late
// members are; and no member sleeps for ever.
inline void test_chained_loops() {
  constexpr int64_t kCells = 5;
  for (int team_number = 0; team_number < 4000; ++team_number) {
    const int64_t loops = 2 + team_number % 5;
    std::vector<int64_t> cells(kCells, 0);
    std::vector<int64_t> previous(kCells, 0);
    std::atomic<int> wrong{0};
    run_team(2 + team_number % 7, [&](Team& team) {
      for (int64_t loop = 1; loop <= loops; ++loop) {
        team.for_each(kCells, [&](int64_t i) {
          if (previous[static_cast<size_t>((i + 1) % kCells)] != loop - 1) wrong.fetch_add(1);
          cells[static_cast<size_t>(i)] = loop;
        });
        team.for_each(team_number % 2, [](int64_t) {});
        team.for_each(kCells, [&](int64_t i) {
          previous[static_cast<size_t>(i)] = cells[static_cast<size_t>((i + 3) % kCells)];
        });
      }
    });
    CHECK(wrong == 0 && previous == std::vector<int64_t>(kCells, loops), "team %d: %d stale reads", team_number,
          wrong.load());
  }
}

inline void test_writes_are_seen_after_a_barrier() {
  std::vector<int64_t> values(4, 0);
  std::atomic<int> wrong{0};
  run_team(4, [&](Team& team) {
    for (int64_t round = 1; round <= 500; ++round) {
      values[static_cast<size_t>(team.rank())] = round;
      team.barrier();
      for (int r = 0; r < team.size(); ++r) {
        if (values[static_cast<size_t>(r)] != round) wrong.fetch_add(1);
      }
      team.barrier();
    }
  });
  CHECK(wrong == 0, "%d stale reads", wrong.load());
}

inline void test_many_callers() {
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < 8; ++c) {
    callers.emplace_back([&wrong, c] {
      for (int i = 0; i < 30; ++i) {
        if (!team_counts_right(1 + (c + i) % 4, 10)) wrong.fetch_add(1);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK(wrong == 0, "%d teams", wrong.load());
}

inline double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Between calls nobody spins: other work needs the processors.
inline void test_idle_threads_sleep() {
  run_team(4, [](Team& team) { team.barrier(); });
  const double before = cpu_seconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  const double used = cpu_seconds() - before;
  CHECK(used < 0.002, "%f s of processor time in 0.1 s without a call", used);
}

inline int64_t threads_of_process() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/task"), std::filesystem::directory_iterator());
}

// Threads come with the first team of a calling thread, stay for the next ones, and go with it.
inline void test_threads_are_bounded() {
  const int64_t before = threads_of_process();
  int64_t during = 0;
  std::thread caller([&during] {
    for (int i = 0; i < 40; ++i) CHECK(team_counts_right(1 + i % 5, 2), "team %d", i);
    during = threads_of_process();
  });
  caller.join();
  // The caller, four beside it, and one that keeps them.
  CHECK(during <= before + 6, "%ld threads, then %ld", long{before}, long{during});
  // A thread that has been joined is listed until the system has cleared it away.
  int64_t after = threads_of_process();
  for (int i = 0; i < 1000 && after != before; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    after = threads_of_process();
  }
  CHECK(after == before, "%ld threads, then %ld", long{before}, long{after});
}

inline void test_a_team_within_a_team() {
  std::atomic<int> inner{0};
  std::atomic<int> members{0};
  run_team(3, [&](Team& team) {
    team.barrier();
    run_team(4, [&](Team& within) {
      members.fetch_add(within.size());
      within.for_each(10, [&](int64_t) { inner.fetch_add(1); });
    });
  });
  CHECK(inner == 30 && members == 3, "%d of 30, %d members", inner.load(), members.load());
}

// Runs `body` in a forked child; true if the child ended with status 0 before the alarm.
inline bool succeeds_in_child(const std::function<bool()>& body) {
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    alarm(kAlarmSeconds / 2);
    const int before = failures();
    _exit(body() && failures() == before ? 0 : 1);
  }
  int status = -1;
  return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

inline bool teams_of_all_sizes() {
  return team_counts_right(4, 20) && team_counts_right(1, 10) && team_counts_right(2, 30) && team_counts_right(3, 10);
}

// Where the system refuses threads, the calling thread works alone.
inline void test_refused_threads() {
#if !defined(__SANITIZE_ADDRESS__)  // which needs address space of its own
  CHECK(succeeds_in_child([] {
          int64_t pages = 0;
          std::ifstream("/proc/self/statm") >> pages;
          const auto used = static_cast<rlim_t>(pages * sysconf(_SC_PAGESIZE));
          const rlimit limit{used + (rlim_t{24} << 20), used + (rlim_t{24} << 20)};
          return pages > 0 && setrlimit(RLIMIT_AS, &limit) == 0 && team_counts_right(64, 3) && team_counts_right(2, 3);
        }),
        "in a child with 24 MiB left");
#endif
}

inline void test_fork() {
  CHECK(teams_of_all_sizes(), "in the parent, before");
  CHECK(succeeds_in_child(teams_of_all_sizes), "in a child");
  CHECK(teams_of_all_sizes(), "in the parent, between");
  CHECK(succeeds_in_child([] {
          return teams_of_all_sizes() &&
                 succeeds_in_child([] { return teams_of_all_sizes() && succeeds_in_child(teams_of_all_sizes); }) &&
                 teams_of_all_sizes();
        }),
        "in children of children");
  CHECK(succeeds_in_child([] {
          bool right = false;
          std::thread other([&right] { right = teams_of_all_sizes(); });
          const bool here = teams_of_all_sizes();
          other.join();
          return right && here;
        }),
        "in two threads of a child");

  bool right = false;
  std::thread forks([&right] { right = teams_of_all_sizes() && succeeds_in_child(teams_of_all_sizes); });
  forks.join();
  CHECK(right, "in a child of a thread that had teams");
}

inline void test_fork_while_others_compute() {
#if defined(__SANITIZE_ADDRESS__)
  // The sanitizer's allocator does not unlock itself in a child: other threads that allocate must not run at the fork.
  return;
#else
  std::atomic<bool> stop{false};
  std::vector<std::thread> busy;
  for (int i = 0; i < 3; ++i) {
    busy.emplace_back([&stop] {
      while (!stop) team_counts_right(3, 5);
    });
  }
  for (int i = 0; i < 10; ++i) CHECK(succeeds_in_child(teams_of_all_sizes), "fork %d", i);
  stop = true;
  for (std::thread& thread : busy) thread.join();
#endif
}

}  // namespace bertcpp::testing
