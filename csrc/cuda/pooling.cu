// One vector per sequence: a thread for each element of it, which runs over the tokens from the first to the last.

#include "cuda/kernels.h"
#include "cuda/launch.h"
#include "models/encoder.h"

namespace bertcpp::cuda {
namespace {

constexpr int kThreads = 128;

// One element of one sequence's tokens.
struct Column {
  const float* x;
  int64_t stride;
  int count;
  const float* weights;  // [count] or null

  __device__ float weight(int token) const { return weights == nullptr ? 1.0f : weights[token]; }

  // The sum of weight times place times element; `total` becomes the sum of the factors.
  template <class Place>
  __device__ float weighted_sum(float& total, Place place) const {
    float sum = 0.0f;
    total = 0.0f;
    for (int token = 0; token < count; ++token) {
      const float factor = weight(token) * place(token);
      if (factor == 0.0f) continue;
      sum += factor * x[token * stride];
      total += factor;
    }
    total = total < 1e-9f ? 1e-9f : total;
    return sum;
  }

  // NaN where any is, as torch.maximum has it.
  __device__ float largest() const {
    float top = -1e9f;
    for (int token = 0; token < count; ++token) {
      const float element = x[token * stride];
      if (weight(token) != 0.0f && !(element <= top) && top == top) top = element;
    }
    return top;
  }

  __device__ float last() const {
    int token = count - 1;
    while (token > 0 && weight(token) == 0.0f) --token;
    return x[token * stride];
  }
};

__device__ float pooled(const Column& column, float first, Pooling mode) {
  float total = 0.0f;
  switch (mode) {
    case Pooling::kCls:
      return first;
    case Pooling::kLastToken:
      return column.last();
    case Pooling::kMax:
      return column.largest();
    case Pooling::kMean: {
      const float sum = column.weighted_sum(total, [](int) { return 1.0f; });
      return sum / total;
    }
    case Pooling::kMeanSqrtLen: {
      const float sum = column.weighted_sum(total, [](int) { return 1.0f; });
      return sum / sqrtf(total);
    }
    case Pooling::kWeightedMean: {
      const float sum = column.weighted_sum(total, [](int token) { return static_cast<float>(token + 1); });
      return sum / total;
    }
  }
  return 0.0f;
}

// Blocks: x over sequences, y over the elements of a sequence's vectors by kThreads.
__global__ void __launch_bounds__(kThreads) pool_kernel(const PoolArgs args) {
  const int64_t sequence = blockIdx.x;
  const int64_t element = static_cast<int64_t>(blockIdx.y) * kThreads + threadIdx.x;
  if (element >= args.num_modes * args.n) return;
  const int64_t i = element % args.n;
  const int32_t begin = args.cu_seqlens[sequence];
  const Column column{args.x.data + begin * args.x.stride + i, args.x.stride, args.key_lens[sequence],
                      args.weights == nullptr ? nullptr : args.weights + begin};
  const float first = args.x.data[args.first_rows[sequence] * args.x.stride + i];
  args.out[sequence * args.num_modes * args.n + element] =
      pooled(column, first, static_cast<Pooling>(args.modes[element / args.n]));
}

}  // namespace

void pool(cudaStream_t stream, const PoolArgs& args) {
  launch(stream, pool_kernel, args.num_sequences, (args.num_modes * args.n + kThreads - 1) / kThreads, kThreads, args);
}

}  // namespace bertcpp::cuda
