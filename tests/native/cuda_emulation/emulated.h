// What the emulation offers to its tests, and to the headers beside this one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

namespace emulated {

struct Index {
  unsigned x = 0;
  unsigned y = 0;
  unsigned z = 0;
};

enum class Order { kRising, kFalling };

// The order in which blocks, and between two barriers threads, run from now on.
void set_order(Order order);
// Bytes of the device's memory, and of what may be pinned; allocations beyond fail.
void set_memory_limit(size_t bytes);
size_t memory_in_use();
// The next so many launches succeed, then one fails. Negative: none does.
void fail_launch_after(int launches);
bool launch_fails();

// Runs a grid of blocks of `threads`, a multiple of 32.
void run_grid(Index grid, unsigned threads, const std::function<void()>& kernel);

// Of the thread that runs.
void wait_for_block();
void wait_for_warp();
// A place for 8 words of each lane of this warp, of which two take turns: what is written before a wait may be read
// after it, until the next but one.
uint32_t* lane_words(unsigned lane);
unsigned lane();
void next_words();

// The lane's part of d += a b; see csrc/cuda/tensor_cores.h.
template <class T>
void multiply_add(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);

// Every launch, copy and product so far.
struct Counts {
  long launches;
  long copies;
  long products;
};
Counts& counts();

}  // namespace emulated
