// Kernels between a caller's padded arrays and packed tokens, where both are on the device.

#include "cuda/kernels.h"
#include "cuda/launch.h"
#include "cuda/scalar.h"

namespace bertcpp::cuda {
namespace {

constexpr int kThreads = 128;

template <class From>
__global__ void __launch_bounds__(kThreads)
    gather_cells_kernel(const CallerArray x, const int32_t* cells, int64_t columns, int64_t n, float* y) {
  const int64_t cell = cells[blockIdx.x];
  const From* from = static_cast<const From*>(x.data) + cell / columns * x.strides[0] + cell % columns * x.strides[1];
  float* to = y + static_cast<int64_t>(blockIdx.x) * n;
  for (int64_t i = threadIdx.x; i < n; i += kThreads) to[i] = to_float(from[i * x.strides[2]]);
}

__global__ void __launch_bounds__(kThreads)
    scatter_kernel(Matrix<const float> x, const int32_t* places, int64_t n, float* y) {
  const int64_t place = places[blockIdx.x];
  if (place < 0) return;
  const float* from = x.data + static_cast<int64_t>(blockIdx.x) * x.stride;
  for (int64_t i = threadIdx.x; i < n; i += kThreads) y[place * n + i] = from[i];
}

// Blocks: x over the queries, y over the heads.
__global__ void __launch_bounds__(kThreads) scatter_probabilities_kernel(const ScatterProbabilitiesArgs args) {
  const int64_t token = blockIdx.x;
  const int64_t head = blockIdx.y;
  const int64_t place = args.places[token];
  if (place < 0) return;
  const int64_t row = place / args.columns;
  const int64_t sequence = row - args.first_sequence;
  const int64_t begin = args.cu_seqlens[sequence];
  const int64_t length = args.cu_seqlens[sequence + 1] - begin;
  const float* from =
      args.probabilities + args.heads * args.offsets[sequence] + (head * length + token - begin) * length;
  float* to = args.out + ((row * args.heads + head) * args.columns + place % args.columns) * args.columns;
  for (int64_t key = threadIdx.x; key < args.key_lens[sequence]; key += kThreads) {
    to[args.places[begin + key] % args.columns] = from[key];
  }
}

}  // namespace

void gather_cells(cudaStream_t stream, const CallerArray& x, const int32_t* cells, int64_t columns, int64_t count,
                  int64_t n, float* y) {
  const auto from = [&](void (*kernel)(CallerArray, const int32_t*, int64_t, int64_t, float*)) {
    launch(stream, kernel, count, 1, kThreads, x, cells, columns, n, y);
  };
  switch (x.element) {
    case Element::kFloat16:
      return from(gather_cells_kernel<__half>);
    case Element::kBFloat16:
      return from(gather_cells_kernel<__nv_bfloat16>);
    case Element::kFloat32:
      return from(gather_cells_kernel<float>);
    case Element::kFloat64:
      return from(gather_cells_kernel<double>);
  }
}

void scatter(cudaStream_t stream, Matrix<const float> x, const int32_t* places, int64_t count, int64_t n, float* y) {
  launch(stream, scatter_kernel, count, 1, kThreads, x, places, n, y);
}

void scatter_probabilities(cudaStream_t stream, const ScatterProbabilitiesArgs& args) {
  launch(stream, scatter_probabilities_kernel, args.num_tokens, args.heads, kThreads, args);
}

}  // namespace bertcpp::cuda
