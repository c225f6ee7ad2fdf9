// The tile instructions of AMX as functions, under the names that immintrin.h gives them. Included before everything
// else where csrc/kernels/isa.cpp is compiled as the row amx_emulated: the kernels' sources do not know.
//
// What the instructions compute and what they refuse is Intel's Software Developer's Manual, volume 2. Whatever a
// processor would refuse ends the program with a message.
#pragma once

#include <immintrin.h>

namespace bertcpp::testing::amx {

void load_config(const void* config);
void release();
void zero(int tile);
void load(int tile, const void* base, long stride);
void store(int tile, void* base, long stride);
void multiply_bfloat16(int sum, int a, int b);
void multiply_int8(int sum, int a, int b);  // unsigned bytes of a, signed ones of b

// How many threads hold tiles at this moment: they have configured them and not released them.
long threads_with_tiles();

}  // namespace bertcpp::testing::amx

#undef _tile_loadd
#undef _tile_stored
#undef _tile_zero
#undef _tile_dpbf16ps
#undef _tile_dpbusd
#define _tile_loadconfig(config) ::bertcpp::testing::amx::load_config(config)
#define _tile_release() ::bertcpp::testing::amx::release()
#define _tile_zero(tile) ::bertcpp::testing::amx::zero(tile)
#define _tile_loadd(tile, base, stride) ::bertcpp::testing::amx::load(tile, base, stride)
#define _tile_stored(tile, base, stride) ::bertcpp::testing::amx::store(tile, base, stride)
#define _tile_dpbf16ps(sum, a, b) ::bertcpp::testing::amx::multiply_bfloat16(sum, a, b)
#define _tile_dpbusd(sum, a, b) ::bertcpp::testing::amx::multiply_int8(sum, a, b)
