// Teams of threads for one forward pass. threads.cpp is the only file that names OpenMP.
#pragma once

#include <cstdint>
#include <functional>

namespace bertcpp {

// The threads a process may use: its affinity mask, cut by the cgroup quota (rounded up); at least 1.
int available_cpus();
// What calls with num_threads = 0 use; starts as available_cpus(). Throws InputError outside [1, 1024].
void set_num_threads(int64_t n);
int get_num_threads();

class TeamState;

// One thread's view of its team. All members of a team call the same methods in the same order.
class Team {
 public:
  Team(TeamState& state, int rank, int size) : state_(state), rank_(rank), size_(size) {}
  int rank() const { return rank_; }
  int size() const { return size_; }
  // A team of this thread alone, for work that a task of this team does by itself.
  Team alone() const { return {state_, 0, 1}; }

  // Waits until every member has arrived.
  void barrier();

  // Runs body(i) once for each i in [0, count), by whichever member is free, and waits until all are done. It waits for
  // work, not for members: one that the system has put to sleep holds nobody up, and passes by what was done without
  // it. count is below 2^32.
  template <class Body>
  void for_each(int64_t count, const Body& body) {
    if (size_ == 1) {
      for (int64_t i = 0; i < count; ++i) body(i);
      return;
    }
    for (int64_t i = next(count); i < count; i = next(count)) {
      body(i);
      finish_one(count);
    }
    ++loop_;
  }

 private:
  // An index that nobody else has; count once this loop is over.
  int64_t next(int64_t count);
  void finish_one(int64_t count);

  TeamState& state_;
  int rank_;
  int size_;
  uint32_t loop_ = 0;  // loops left behind
};

// Runs body(team) on num_threads threads (0: get_num_threads()), the caller's among them, and returns when all are
// done. A thread that has not begun when the caller's is through is left out, so work is shared by for_each alone. body
// must not throw. Works in a forked child and from any number of threads at once; a team within a team has one member.
void run_team(int num_threads, const std::function<void(Team&)>& body);

}  // namespace bertcpp
