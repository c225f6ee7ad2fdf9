// The functions that stand for AMX's tile instructions in the kernels of amx_emulated: that they compute and refuse
// what Intel's manual says. The kernels themselves are for kernel_tests and encoder_check.

#include <cstdio>

#include "check.h"

#if BERTCPP_EMULATED_AMX

#include <sys/wait.h>
#include <unistd.h>

#include <bit>
#include <csignal>
#include <cstdint>
#include <limits>

#include "amx_emulation/tiles.h"

namespace bertcpp::testing {
namespace {

struct Config {
  uint8_t bytes[64] = {1};
  void shape(int tile, int rows, int row_bytes) {
    bytes[16 + 2 * tile] = static_cast<uint8_t>(row_bytes);
    bytes[17 + 2 * tile] = static_cast<uint8_t>(row_bytes >> 8);
    bytes[48 + tile] = static_cast<uint8_t>(rows);
  }
};

// Tile 0 [rows, columns] = that + tile 1 [rows, depth] * tile 2 [depth, columns], in words.
Config product_config(int rows, int columns, int depth) {
  Config config;
  config.shape(0, rows, columns * 4);
  config.shape(1, rows, depth * 4);
  config.shape(2, depth, columns * 4);
  return config;
}

uint32_t pair(uint16_t low, uint16_t high) { return static_cast<uint32_t>(high) << 16 | low; }

uint16_t bfloat16(float x) { return static_cast<uint16_t>(std::bit_cast<uint32_t>(x) >> 16); }

// What one element becomes whose row is `a` and whose column is `b`, 16 words each.
uint32_t multiply_one(uint32_t sum, const uint32_t (&a)[16], const uint32_t (&b)[16], void (*multiply)(int, int, int)) {
  amx::load_config(product_config(1, 1, 16).bytes);
  amx::load(0, &sum, 64);
  amx::load(1, a, 64);
  amx::load(2, b, 4);
  multiply(0, 1, 2);
  amx::store(0, &sum, 64);
  amx::release();
  return sum;
}

float multiply_bfloat16(float sum, const uint32_t (&a)[16], const uint32_t (&b)[16]) {
  return std::bit_cast<float>(multiply_one(std::bit_cast<uint32_t>(sum), a, b, amx::multiply_bfloat16));
}

void test_bfloat16() {
  uint32_t a[16];
  uint32_t b[16];
  const auto fill = [&](uint32_t x, uint32_t y) {
    for (int i = 0; i < 16; ++i) a[i] = b[i] = 0;
    a[0] = x;
    b[0] = y;
  };
  // 32 products of 2^-25, each of which would be lost in 1 alone: they are summed first.
  for (int i = 0; i < 16; ++i) {
    a[i] = pair(bfloat16(0x1p-12f), bfloat16(0x1p-12f));
    b[i] = pair(bfloat16(0x1p-13f), bfloat16(0x1p-13f));
  }
  CHECK(multiply_bfloat16(1.0f, a, b) == 1.0f + 0x1p-20f, "products are not summed first");
  // Even values and odd ones apart: 2^-25 is lost in the odd 1 that it would follow, and is not where it has its own
  // sum, which meets the rest after 1 has gone.
  fill(pair(bfloat16(0x1p-12f), bfloat16(1.0f)), pair(bfloat16(0x1p-13f), bfloat16(1.0f)));
  a[1] = pair(0, bfloat16(-1.0f));
  b[1] = pair(0, bfloat16(1.0f));
  CHECK(multiply_bfloat16(0.0f, a, b) == 0x1p-25f, "even and odd values are not summed apart");
  fill(pair(0x0001, 0), pair(bfloat16(0x1p127f), 0));
  CHECK(multiply_bfloat16(0.0f, a, b) == 0.0f, "a denormal operand is no zero");
  fill(pair(bfloat16(0x1p-100f), 0), pair(bfloat16(0x1p-30f), 0));
  CHECK(multiply_bfloat16(0.0f, a, b) == 0.0f, "a denormal result is no zero");
  CHECK(multiply_bfloat16(0x1p-126f, a, b) == 0x1p-126f, "a product that is no normal number moves a sum");
  fill(pair(bfloat16(3e38f), bfloat16(1.0f)), pair(bfloat16(3e38f), bfloat16(2.0f)));
  CHECK(multiply_bfloat16(5.0f, a, b) == std::numeric_limits<float>::infinity(), "no infinity");
  std::printf("amx bfloat16: done\n");
}

void test_int8() {
  const auto all = [](uint32_t x) {
    return [x](uint32_t (&words)[16]) {
      for (uint32_t& word : words) word = x;
    };
  };
  uint32_t a[16];
  uint32_t b[16];
  all(0xffffffffu)(a);
  all(0x80808080u)(b);
  CHECK(multiply_one(7, a, b, amx::multiply_int8) == static_cast<uint32_t>(7 - 64 * 255 * 128),
        "unsigned times signed bytes");
  CHECK(multiply_one(0x80000000u, a, b, amx::multiply_int8) == 0x80000000u - 64u * 255u * 128u, "no wrapping round");
  all(0x04030201u)(a);
  all(0xfc03fe01u)(b);
  CHECK(multiply_one(0, a, b, amx::multiply_int8) == static_cast<uint32_t>(16 * (1 - 4 + 9 - 16)),
        "the order of bytes");
  std::printf("amx int8: done\n");
}

// Whatever lies beside a tile's shape stays as it is, and a new configuration clears everything.
void test_shapes() {
  uint32_t memory[5][7];
  for (int i = 0; i < 35; ++i) memory[i / 7][i % 7] = static_cast<uint32_t>(100 + i);
  amx::load_config(product_config(3, 5, 1).bytes);
  amx::load(0, memory, sizeof(memory[0]));
  uint32_t out[5][7] = {};
  amx::store(0, out, sizeof(out[0]));
  for (int r = 0; r < 5; ++r) {
    for (int c = 0; c < 7; ++c) CHECK(out[r][c] == (r < 3 && c < 5 ? memory[r][c] : 0), "row %d column %d", r, c);
  }
  amx::load_config(product_config(3, 5, 1).bytes);
  amx::store(0, out, sizeof(out[0]));
  CHECK(out[0][0] == 0 && out[2][4] == 0, "a new configuration leaves what was there");
  CHECK(amx::threads_with_tiles() == 1, "tiles are not counted");
  amx::release();
  CHECK(amx::threads_with_tiles() == 0, "released tiles are counted");
  std::printf("amx shapes: done\n");
}

void expect_refusal(const char* what, void (*act)()) {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    if (std::freopen("/dev/null", "w", stderr) == nullptr) _exit(1);
    act();
    _exit(0);
  }
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "%s is allowed",
        what);
}

void load_changed(int byte, uint8_t value) {
  Config config = product_config(16, 16, 16);
  config.bytes[byte] = value;
  amx::load_config(config.bytes);
}

void test_refusals() {
  expect_refusal("a tile without a configuration", [] { amx::zero(0); });
  expect_refusal("a released tile", [] {
    amx::load_config(product_config(1, 1, 1).bytes);
    amx::release();
    amx::zero(0);
  });
  expect_refusal("a tile without a shape", [] {
    amx::load_config(product_config(1, 1, 1).bytes);
    amx::zero(3);
  });
  expect_refusal("an unknown palette", [] { load_changed(0, 2); });
  expect_refusal("a start row", [] { load_changed(1, 1); });
  expect_refusal("a reserved byte", [] { load_changed(9, 1); });
  expect_refusal("17 rows", [] { load_changed(48, 17); });
  expect_refusal("rows without columns", [] { load_changed(55, 1); });
  expect_refusal("a ninth tile", [] { load_changed(56, 1); });
  expect_refusal("rows of 65 bytes", [] { load_changed(16, 65); });
  expect_refusal("a product with itself", [] {
    amx::load_config(product_config(16, 16, 16).bytes);
    amx::multiply_int8(0, 1, 1);
  });
  expect_refusal("shapes that do not fit", [] {
    amx::load_config(product_config(8, 16, 16).bytes);
    amx::multiply_bfloat16(0, 2, 1);
  });
  std::printf("amx refusals: done\n");
}

}  // namespace
}  // namespace bertcpp::testing

int main() {
  using namespace bertcpp::testing;
  test_bfloat16();
  test_int8();
  test_shapes();
  test_refusals();
  if (failures() == 0) std::printf("amx instructions: ok\n");
  return failures() == 0 ? 0 : 1;
}

#else

int main() {
  std::printf("amx: skipped, tiles are a matter of x86-64\n");
  return 0;
}

#endif
