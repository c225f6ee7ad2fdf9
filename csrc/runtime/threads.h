// Teams of threads for one forward pass. threads.cpp is the only file that names OpenMP.
#pragma once

#include <cstdint>
#include <functional>

namespace bertcpp {

// The threads a process may use: its affinity mask, cut by the cgroup quota (rounded up); at least 1.
int available_cpus();
// What calls with num_threads = 0 use; starts as available_cpus(). Throws InputError outside [1, 1024].
void set_num_threads(int n);
int get_num_threads();

class TeamState;

// One thread's view of its team. All members of a team call the same methods in the same order.
class Team {
 public:
  Team(TeamState& state, int rank, int size) : state_(state), rank_(rank), size_(size) {}
  int rank() const { return rank_; }
  int size() const { return size_; }

  // Waits until every member has arrived.
  void barrier();

  // Runs body(i) once for each i in [0, count), by whichever member is free, and waits for all of them.
  template <class Body>
  void for_each(int64_t count, const Body& body) {
    for (int64_t i = next(count); i < count; i = next(count)) body(i);
    finish();
  }

 private:
  int64_t next(int64_t count);
  void finish();

  TeamState& state_;
  int rank_;
  int size_;
  uint64_t phase_ = 0;
};

// Runs body(team) on num_threads threads (0: get_num_threads()) and returns when all are done. body must not throw.
// Works in a forked child and from any number of threads at once; a team of 1 runs on the caller's thread.
void run_team(int num_threads, const std::function<void(Team&)>& body);

}  // namespace bertcpp
