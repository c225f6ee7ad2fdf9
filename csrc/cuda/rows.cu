// Kernels that work row by row: the embeddings, sums with a LayerNorm, elementwise functions, copies.

#include "cuda/kernels.h"
#include "cuda/launch.h"
#include "cuda/scalar.h"

namespace bertcpp::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;

// The sum of a value over the block, the same bits in every thread. `shared` [kWarps] must not be in use.
__device__ float block_sum(float x, float* shared) {
  x = warp_sum(x);
  if (threadIdx.x % kWarp == 0) shared[threadIdx.x / kWarp] = x;
  __syncthreads();
  float sum = 0.0f;
  for (int i = 0; i < kWarps; ++i) sum += shared[i];
  __syncthreads();  // all have read before anybody writes again
  return sum;
}

// x[n] = LayerNorm(x[n]) by one block, each thread the elements that it wrote itself; `sum` is of those.
template <class T>
__device__ void normalize_row(float sum, const Norm& norm, int64_t n, float* x, T* low) {
  __shared__ float shared[kWarps];
  const float mean = block_sum(sum, shared) / static_cast<float>(n);
  float squares = 0.0f;
  for (int64_t i = threadIdx.x; i < n; i += kThreads) {
    const float difference = x[i] - mean;
    squares += difference * difference;
  }
  const float variance = block_sum(squares, shared) / static_cast<float>(n);
  const float scale = 1.0f / sqrtf(variance + norm.eps);
  for (int64_t i = threadIdx.x; i < n; i += kThreads) {
    const float y = (x[i] - mean) * scale * norm.weight[i] + norm.bias[i];
    x[i] = y;
    if (low != nullptr) low[i] = from_float<T>(y);
  }
}

template <class T>
__device__ T* row_of(const Matrix<T>& matrix, int64_t row) {
  return matrix.data == nullptr ? nullptr : matrix.data + row * matrix.stride;
}

template <class T>
__global__ void __launch_bounds__(kThreads) embed_kernel(const EmbedArgs<T> args) {
  const int64_t row = blockIdx.x;
  const T* word = args.input_ids == nullptr ? nullptr : row_of(args.word, args.input_ids[row]);
  const float* given = args.inputs_embeds == nullptr ? nullptr : args.inputs_embeds + row * args.n;
  const T* position = row_of(args.position, args.position_ids[row]);
  const T* type = row_of(args.token_type, args.type_ids == nullptr ? 0 : args.type_ids[row]);
  float* x = row_of(args.x, row);
  float sum = 0.0f;
  for (int64_t i = threadIdx.x; i < args.n; i += kThreads) {
    float element = given != nullptr ? given[i] : to_float(word[i]);
    if (type != nullptr) element += to_float(type[i]);
    element += to_float(position[i]);
    x[i] = element;
    sum += element;
  }
  normalize_row(sum, args.norm, args.n, x, row_of(args.low, row));
}

template <class T>
__global__ void __launch_bounds__(kThreads) add_norm_kernel(const AddNormArgs<T> args) {
  const int64_t row = blockIdx.x;
  const float* y = row_of(args.y, row);
  float* x = row_of(args.x, row);
  float sum = 0.0f;
  for (int64_t i = threadIdx.x; i < args.n; i += kThreads) {
    const float element = y[i] + args.bias[i] + x[i];
    x[i] = element;
    sum += element;
  }
  normalize_row(sum, args.norm, args.n, x, row_of(args.low, row));
}

__device__ float gelu(float x) { return 0.5f * x * (1.0f + erff(x * 0.70710678f)); }

__device__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

// Comparisons are written so that NaN stays NaN.
__device__ float clip(float x, float low, float high) { return x < low ? low : (x > high ? high : x); }

__device__ float activated(float x, Activation activation) {
  switch (activation) {
    case Activation::kIdentity:
    case Activation::kCount:
      return x;
    case Activation::kGelu:
      return gelu(x);
    case Activation::kGeluTanh:
      return 0.5f * x * (1.0f + tanhf(0.79788456f * (x + 0.044715f * x * x * x)));
    case Activation::kGeluClipped:
      return clip(gelu(x), -10.0f, 10.0f);
    case Activation::kQuickGelu:
      return x * sigmoid(1.702f * x);
    case Activation::kRelu:
      return x < 0.0f ? 0.0f : x;
    case Activation::kReluSquared:
      return x < 0.0f ? 0.0f : x * x;
    case Activation::kRelu6:
      return clip(x, 0.0f, 6.0f);
    case Activation::kLeakyRelu:
      return x < 0.0f ? 0.01f * x : x;
    case Activation::kSilu:
      return x * sigmoid(x);
    case Activation::kTanh:
      return tanhf(x);
    case Activation::kSigmoid:
      return sigmoid(x);
    case Activation::kMish:
      return x * tanhf(x > 30.0f ? x : log1pf(expf(x)));
    case Activation::kLaplace:
      return 0.5f * (1.0f + erff((x - 0.707107f) * (1.0f / (0.282095f * 1.41421356f))));
  }
  return x;
}

template <class From, class To>
__global__ void __launch_bounds__(kThreads)
    map_kernel(Matrix<const From> x, const float* bias, Activation activation, int64_t n, Matrix<To> y) {
  const From* from = row_of(x, blockIdx.x);
  To* to = row_of(y, blockIdx.x);
  for (int64_t i = threadIdx.x; i < n; i += kThreads) {
    const float element = to_float(from[i]) + (bias == nullptr ? 0.0f : bias[i]);
    to[i] = from_float<To>(activated(element, activation));
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    gather_kernel(Matrix<const T> x, const int32_t* rows, int64_t n, Matrix<T> y) {
  const T* from = row_of(x, rows[blockIdx.x]);
  T* to = row_of(y, blockIdx.x);
  for (int64_t i = threadIdx.x; i < n; i += kThreads) to[i] = from[i];
}

}  // namespace

template <class T>
void embed(cudaStream_t stream, const EmbedArgs<T>& args) {
  launch(stream, embed_kernel<T>, args.rows, 1, kThreads, args);
}

template <class T>
void add_norm(cudaStream_t stream, const AddNormArgs<T>& args) {
  launch(stream, add_norm_kernel<T>, args.rows, 1, kThreads, args);
}

template <class From, class To>
void map(cudaStream_t stream, Matrix<const From> x, const float* bias, Activation activation, int64_t rows, int64_t n,
         Matrix<To> y) {
  launch(stream, map_kernel<From, To>, rows, 1, kThreads, x, bias, activation, n, y);
}

template <class T>
void gather(cudaStream_t stream, Matrix<const T> x, const int32_t* rows, int64_t count, int64_t n, Matrix<T> y) {
  launch(stream, gather_kernel<T>, count, 1, kThreads, x, rows, n, y);
}

#define BERTCPP_MAP(From, To) \
  template void map<From, To>(cudaStream_t, Matrix<const From>, const float*, Activation, int64_t, int64_t, Matrix<To>);
#define BERTCPP_ROWS(T)                                                                                \
  template void embed<T>(cudaStream_t, const EmbedArgs<T>&);                                           \
  template void add_norm<T>(cudaStream_t, const AddNormArgs<T>&);                                      \
  template void gather<T>(cudaStream_t, Matrix<const T>, const int32_t*, int64_t, int64_t, Matrix<T>); \
  BERTCPP_MAP(float, T)                                                                                \
  BERTCPP_MAP(__half, T)                                                                               \
  BERTCPP_MAP(__nv_bfloat16, T)
BERTCPP_ROWS(float)
BERTCPP_ROWS(__half)
BERTCPP_ROWS(__nv_bfloat16)

}  // namespace bertcpp::cuda
