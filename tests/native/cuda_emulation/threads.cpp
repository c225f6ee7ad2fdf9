// A block's threads, each on a stack of its own; one runs until it waits, then the next.

#include <setjmp.h>
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "cuda_bf16.h"
#include "cuda_fp16.h"
#include "cuda_runtime.h"

namespace emulated {
namespace {

constexpr unsigned kWarp = 32;
constexpr size_t kStack = (size_t{64} << 10) + 1216;  // so that the stacks do not all fall into the same cache sets

enum class State { kReady, kAtWarp, kAtBlock, kDone };

// Where a stack is left and entered again. glibc's swapcontext() asks the kernel for the signal mask each time, which
// longjmp() does not; but AddressSanitizer follows only the former from stack to stack.
#if defined(__SANITIZE_ADDRESS__)
struct Point {
  ucontext_t context;
};
void move(Point& from, Point& to) { swapcontext(&from.context, &to.context); }
#else
struct Point {
  ucontext_t context;
  jmp_buf jump;
  bool left = false;  // by move(): `jump` tells where
};
[[gnu::noinline]] void move(Point& from, Point& to) {
  from.left = true;
  if (_setjmp(from.jump) != 0) return;
  if (to.left) _longjmp(to.jump, 1);
  setcontext(&to.context);
}
#endif

struct Thread {
  Point point;
  State state = State::kDone;
  unsigned turn = 0;  // which of its warp's two places for words is in use
  std::unique_ptr<char[]> stack;
};

struct Words {
  uint32_t of_lane[2][kWarp][8];
};

struct Machine {
  Order order = Order::kRising;
  int launches_left = -1;
  Counts counts{};
  Point scheduler;
  std::vector<std::unique_ptr<Thread>> threads;  // as many as the largest block had
  unsigned in_block = 0;
  std::vector<Words> warps;
  unsigned running = 0;
  const std::function<void()>* kernel = nullptr;
};

Machine& machine() {
  static Machine one;
  return one;
}

[[noreturn]] void stop(const char* why) {
  std::fprintf(stderr, "emulated GPU: block (%u, %u): %s\n", blockIdx.x, blockIdx.y, why);
  std::abort();
}

void leave(State state) {
  Machine& m = machine();
  Thread& thread = *m.threads[m.running];
  thread.state = state;
  move(thread.point, m.scheduler);
}

// A thread of one block after the other.
void enter() {
  for (;;) {
    (*machine().kernel)();
    leave(State::kDone);
  }
}

// Threads [begin, end) that all wait at this barrier go on.
bool release(unsigned begin, unsigned end, State barrier) {
  Machine& m = machine();
  for (unsigned i = begin; i < end; ++i) {
    if (m.threads[i]->state != barrier) return false;
  }
  for (unsigned i = begin; i < end; ++i) m.threads[i]->state = State::kReady;
  return true;
}

// Apart from loops: getcontext() may return twice, as compilers know.
[[gnu::noinline]] std::unique_ptr<Thread> make_thread() {
  auto thread = std::make_unique<Thread>();
  thread->stack = std::make_unique<char[]>(kStack);
  ucontext_t& context = thread->point.context;
  getcontext(&context);
  context.uc_stack.ss_sp = thread->stack.get();
  context.uc_stack.ss_size = kStack;
  context.uc_link = nullptr;
  makecontext(&context, enter, 0);
  return thread;
}

void start(unsigned threads) {
  Machine& m = machine();
  while (m.threads.size() < threads) m.threads.push_back(make_thread());
  m.warps.resize(m.threads.size() / kWarp);
  m.in_block = threads;
  for (unsigned i = 0; i < threads; ++i) {
    m.threads[i]->state = State::kReady;
    m.threads[i]->turn = 0;
  }
}

// Lets every thread that is ready run until it waits; false where none was.
bool run_ready() {
  Machine& m = machine();
  bool any = false;
  for (unsigned i = 0; i < m.in_block; ++i) {
    m.running = m.order == Order::kRising ? i : m.in_block - 1 - i;
    Thread& thread = *m.threads[m.running];
    if (thread.state != State::kReady) continue;
    any = true;
    threadIdx = {m.running, 0, 0};
    move(m.scheduler, thread.point);
  }
  return any;
}

void run_block(unsigned threads) {
  start(threads);
  while (run_ready()) {
    release(0, threads, State::kAtBlock);
    for (unsigned warp = 0; warp < threads; warp += kWarp) release(warp, warp + kWarp, State::kAtWarp);
  }
  for (unsigned i = 0; i < threads; ++i) {
    if (machine().threads[i]->state != State::kDone) stop("its threads do not all meet at a barrier");
  }
}

float value_of(__half x) { return __half2float(x); }
float value_of(__nv_bfloat16 x) { return __bfloat162float(x); }

// An element of a pair.
template <class T>
float element(uint32_t two, unsigned which) {
  return value_of(T{static_cast<uint16_t>(two >> (16 * which))});
}

}  // namespace

void set_order(Order order) { machine().order = order; }

void fail_launch_after(int launches) { machine().launches_left = launches; }

bool launch_fails() {
  ++machine().counts.launches;
  int& left = machine().launches_left;
  if (left < 0) return false;
  return left-- == 0;
}

Counts& counts() { return machine().counts; }

void run_grid(Index grid, unsigned threads, const std::function<void()>& kernel) {
  if (threads % kWarp != 0) stop("a block is no whole number of warps");
  Machine& m = machine();
  m.kernel = &kernel;
  const uint64_t blocks = uint64_t{grid.x} * grid.y;
  for (uint64_t i = 0; i < blocks; ++i) {
    const uint64_t block = m.order == Order::kRising ? i : blocks - 1 - i;
    blockIdx = {static_cast<unsigned>(block % grid.x), static_cast<unsigned>(block / grid.x), 0};
    run_block(threads);
  }
}

void wait_for_block() { leave(State::kAtBlock); }
void wait_for_warp() { leave(State::kAtWarp); }

unsigned lane() { return machine().running % kWarp; }

uint32_t* lane_words(unsigned lane) {
  Machine& m = machine();
  return m.warps[m.running / kWarp].of_lane[m.threads[m.running]->turn][lane];
}

void next_words() { machine().threads[machine().running]->turn ^= 1; }

template <class T>
void multiply_add(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  uint32_t* own = lane_words(lane());
  for (unsigned i = 0; i < 4; ++i) own[i] = a[i];
  own[4] = b0;
  own[5] = b1;
  wait_for_warp();
  const unsigned row = lane() / 4;
  const unsigned column = lane() % 4 * 2;
  for (unsigned e = 0; e < 4; ++e) {
    const unsigned m = row + e / 2 * 8;  // of D
    const unsigned n = column + e % 2;
    for (unsigned k = 0; k < 16; ++k) {
      // A[m][k] is in lane 4 (m % 8) + k % 8 / 2; B[k][n] in lane 4 n + k % 8 / 2.
      const uint32_t* left = lane_words(m % 8 * 4 + k % 8 / 2);
      const uint32_t* right = lane_words(n * 4 + k % 8 / 2);
      d[e] += element<T>(left[m / 8 + k / 8 * 2], k % 2) * element<T>(right[4 + k / 8], k % 2);
    }
  }
  next_words();
}

template void multiply_add<__half>(float (&)[4], const uint32_t (&)[4], uint32_t, uint32_t);
template void multiply_add<__nv_bfloat16>(float (&)[4], const uint32_t (&)[4], uint32_t, uint32_t);

}  // namespace emulated
