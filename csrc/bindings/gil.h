// Other Python threads run while the engine computes.
#pragma once

#include <pybind11/pybind11.h>
#include <unistd.h>

namespace bertcpp::bindings {

// Gives the interpreter lock back for as long as it lives. Where the interpreter shuts down meanwhile, Python
// before 3.14 ends a daemon thread that asks for the lock by unwinding its stack, which no destructor lets through: the
// process would abort at its exit. Such a thread sleeps until the process is gone instead, as it does from Python 3.14
// on.
class GilRelease {
 public:
  GilRelease() : state_(PyEval_SaveThread()) {}
  ~GilRelease() {
    try {
      PyEval_RestoreThread(state_);
    } catch (...) {
      for (;;) pause();
    }
  }
  GilRelease(const GilRelease&) = delete;
  GilRelease& operator=(const GilRelease&) = delete;

 private:
  PyThreadState* state_;
};

}  // namespace bertcpp::bindings
