#include "tiles.h"

#include <atomic>
#include <bit>
#include <cmath>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace bertcpp::testing::amx {
namespace {

constexpr int kTiles = 8;
constexpr int kMostRows = 16;
constexpr int kMostBytes = 64;

struct Tile {
  int rows = 0;
  int bytes = 0;  // of a row
  uint32_t words[kMostRows][kMostBytes / 4] = {};
};

struct Registers {
  bool configured = false;
  Tile tiles[kTiles];
};

thread_local Registers registers;
std::atomic<long> configured_threads{0};

__attribute__((format(printf, 1, 2))) void refuse(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::fprintf(stderr, "a tile instruction would fault: ");
  std::vfprintf(stderr, format, arguments);
  std::fprintf(stderr, "\n");
  va_end(arguments);
  std::abort();
}

Tile& used(int number) {
  if (!registers.configured) refuse("no tiles are configured");
  if (number < 0 || number >= kTiles) refuse("there is no tile %d", number);
  Tile& tile = registers.tiles[number];
  if (tile.rows == 0 || tile.bytes == 0) refuse("tile %d has no shape", number);
  return tile;
}

// sum[M,N] and a[M,K] and b[K,N] in words, all different.
void check_product(int sum, int a, int b) {
  const Tile& c = used(sum);
  const Tile& rows = used(a);
  const Tile& columns = used(b);
  if (sum == a || sum == b || a == b) refuse("tiles %d, %d and %d must differ", sum, a, b);
  if (c.bytes % 4 != 0 || rows.bytes % 4 != 0 || columns.bytes % 4 != 0) refuse("a row of a tile is no whole words");
  if (c.rows != rows.rows || c.bytes != columns.bytes || rows.bytes / 4 != columns.rows) {
    refuse("tile %d [%d, %d] cannot be that of %d [%d, %d] and %d [%d, %d]", sum, c.rows, c.bytes / 4, a, rows.rows,
           rows.bytes / 4, b, columns.rows, columns.bytes / 4);
  }
}

float without_denormal(float x) { return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x; }

float low_half(uint32_t word) { return without_denormal(std::bit_cast<float>(word << 16)); }
float high_half(uint32_t word) { return without_denormal(std::bit_cast<float>(word & 0xffff0000u)); }

// x + a b, rounded once.
float add_product(float x, float a, float b) {
  const float product = a * b;  // exact where it is neither too large nor too small
  const bool exact = product == 0.0f ? a == 0.0f || b == 0.0f : std::isnormal(product);
  return without_denormal(exact ? product + x : std::fma(a, b, x));
}

float add(float a, float b) { return without_denormal(a + b); }

int32_t dot_bytes(uint32_t a, uint32_t b) {
  int32_t sum = 0;
  for (int shift = 0; shift < 32; shift += 8) {
    sum += static_cast<int32_t>((a >> shift) & 0xffu) * static_cast<int8_t>(static_cast<uint8_t>(b >> shift));
  }
  return sum;
}

}  // namespace

void load_config(const void* config) {
  uint8_t bytes[64];
  std::memcpy(bytes, config, sizeof(bytes));
  if (bytes[0] != 1) refuse("palette %d", bytes[0]);
  if (bytes[1] != 0) refuse("start row %d", bytes[1]);
  for (int i = 2; i < 16; ++i) {
    if (bytes[i] != 0) refuse("reserved byte %d is %d", i, bytes[i]);
  }
  if (!registers.configured) ++configured_threads;
  registers = {};
  registers.configured = true;
  for (int i = 0; i < 16; ++i) {
    const int row_bytes = bytes[16 + 2 * i] | bytes[17 + 2 * i] << 8;
    const int rows = bytes[48 + i];
    if (i >= kTiles && (rows != 0 || row_bytes != 0)) refuse("palette 1 has no tile %d", i);
    if (rows > kMostRows || row_bytes > kMostBytes || (rows == 0) != (row_bytes == 0)) {
      refuse("tile %d cannot be %d rows of %d bytes", i, rows, row_bytes);
    }
    if (i < kTiles) registers.tiles[i] = {.rows = rows, .bytes = row_bytes, .words = {}};
  }
}

void release() {
  if (registers.configured) --configured_threads;
  registers = {};
}

long threads_with_tiles() { return configured_threads; }

void zero(int tile) { std::memset(used(tile).words, 0, sizeof(Tile::words)); }

void load(int tile, const void* base, long stride) {
  Tile& t = used(tile);
  std::memset(t.words, 0, sizeof(t.words));
  for (int r = 0; r < t.rows; ++r) {
    std::memcpy(t.words[r], static_cast<const char*>(base) + r * stride, static_cast<size_t>(t.bytes));
  }
}

void store(int tile, void* base, long stride) {
  const Tile& t = used(tile);
  for (int r = 0; r < t.rows; ++r) {
    std::memcpy(static_cast<char*>(base) + r * stride, t.words[r], static_cast<size_t>(t.bytes));
  }
}

// The even and the odd values of the depth are summed apart, from zero, and added to the sum so far at the end.
void multiply_bfloat16(int sum, int a, int b) {
  check_product(sum, a, b);
  Tile& c = registers.tiles[sum];
  const Tile& rows = registers.tiles[a];
  const Tile& columns = registers.tiles[b];
  for (int m = 0; m < c.rows; ++m) {
    float even[kMostBytes / 4] = {};
    float odd[kMostBytes / 4] = {};
    for (int k = 0; k < rows.bytes / 4; ++k) {
      const uint32_t x = rows.words[m][k];
      for (int n = 0; n < c.bytes / 4; ++n) {
        even[n] = add_product(even[n], low_half(x), low_half(columns.words[k][n]));
        odd[n] = add_product(odd[n], high_half(x), high_half(columns.words[k][n]));
      }
    }
    for (int n = 0; n < c.bytes / 4; ++n) {
      const float so_far = without_denormal(std::bit_cast<float>(c.words[m][n]));
      c.words[m][n] = std::bit_cast<uint32_t>(add(so_far, add(even[n], odd[n])));
    }
  }
}

// Sums wrap round.
void multiply_int8(int sum, int a, int b) {
  check_product(sum, a, b);
  Tile& c = registers.tiles[sum];
  const Tile& rows = registers.tiles[a];
  const Tile& columns = registers.tiles[b];
  for (int m = 0; m < c.rows; ++m) {
    for (int k = 0; k < rows.bytes / 4; ++k) {
      for (int n = 0; n < c.bytes / 4; ++n) {
        c.words[m][n] += static_cast<uint32_t>(dot_bytes(rows.words[m][k], columns.words[k][n]));
      }
    }
  }
}

}  // namespace bertcpp::testing::amx
