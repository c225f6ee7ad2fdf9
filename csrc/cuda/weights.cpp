#include "cuda/weights.h"

#include <algorithm>

#include "cuda/errors.h"
#include "runtime/sizes.h"

namespace bertcpp::cuda {
namespace {

// What travels at once of a matrix, so that a table of a million rows needs no second copy of itself.
constexpr int64_t kStagingBytes = int64_t{64} << 20;

int64_t rows_of(const std::vector<int64_t>& shape) { return shape.size() == 1 ? 1 : shape.front(); }

}  // namespace

std::byte* DeviceWeights::allocate(size_t bytes) {
  blocks_.emplace_back(Place::kDevice, bytes);
  nbytes_ += bytes;
  return blocks_.back().data();
}

template <class T>
void DeviceWeights::convert(const TensorView& tensor, int64_t rows, int64_t n, Matrix<T> to) {
  const int64_t row_bytes = checked_mul(n, element_size(tensor.dtype));
  const int64_t at_once = std::clamp<int64_t>(kStagingBytes / row_bytes, 1, rows);
  staging_.grow(Place::kDevice, checked_bytes(at_once, row_bytes));
  for (int64_t first = 0; first < rows; first += at_once) {
    const int64_t count = std::min(at_once, rows - first);
    check(cudaMemcpyAsync(staging_.data(), static_cast<const std::byte*>(tensor.data) + first * row_bytes,
                          static_cast<size_t>(count * row_bytes), cudaMemcpyHostToDevice, stream_),
          "copying weights to the GPU");
    const Matrix<T> piece{to.data + first * to.stride, to.stride};
    const auto from = [&]<class From>(const From* data) {
      map<From, T>(stream_, {data, n}, nullptr, Activation::kIdentity, count, n, piece);
    };
    if (tensor.dtype == DType::kFloat32) from(reinterpret_cast<const float*>(staging_.data()));
    if (tensor.dtype == DType::kFloat16) from(reinterpret_cast<const __half*>(staging_.data()));
    if (tensor.dtype == DType::kBFloat16) from(reinterpret_cast<const __nv_bfloat16*>(staging_.data()));
    check(cudaStreamSynchronize(stream_), "copying weights to the GPU");
  }
}

template <class T>
Matrix<const T> DeviceWeights::stack(const std::vector<std::string>& names, const std::vector<int64_t>& shape) {
  const int64_t rows = rows_of(shape);
  const int64_t n = shape.back();
  const int64_t stride = device_stride(n);
  const int64_t elements = checked_mul({static_cast<int64_t>(names.size()), rows, stride});
  T* data = reinterpret_cast<T*>(allocate(checked_bytes(elements, sizeof(T))));
  for (size_t i = 0; i < names.size(); ++i) {
    const auto before = static_cast<int64_t>(i) * rows * stride;
    convert<T>(weight_at(*weights_, names[i], shape), rows, n, {data + before, stride});
  }
  return {data, stride};
}

template <class T>
Matrix<const T> DeviceWeights::load(const std::string& name, const std::vector<int64_t>& shape) {
  return stack<T>({name}, shape);
}

template <class T>
const T* DeviceWeights::join(const std::vector<std::string>& names, int64_t n) {
  const int64_t elements = checked_mul(static_cast<int64_t>(names.size()), n);
  T* data = reinterpret_cast<T*>(allocate(checked_bytes(elements, sizeof(T))));
  for (size_t i = 0; i < names.size(); ++i) {
    convert<T>(weight_at(*weights_, names[i], {n}), 1, n, {data + static_cast<int64_t>(i) * n, n});
  }
  return data;
}

const float* DeviceWeights::copy(const float* values, int64_t count) {
  const size_t bytes = checked_bytes(count, sizeof(float));
  std::byte* data = allocate(bytes);
  check(cudaMemcpyAsync(data, values, bytes, cudaMemcpyHostToDevice, stream_), "copying weights to the GPU");
  check(cudaStreamSynchronize(stream_), "copying weights to the GPU");
  return reinterpret_cast<const float*>(data);
}

void DeviceWeights::finish() {
  weights_ = nullptr;
  staging_ = Block();
}

#define BERTCPP_WEIGHTS(T)                                                                                        \
  template Matrix<const T> DeviceWeights::load<T>(const std::string&, const std::vector<int64_t>&);               \
  template Matrix<const T> DeviceWeights::stack<T>(const std::vector<std::string>&, const std::vector<int64_t>&); \
  template const T* DeviceWeights::join<T>(const std::vector<std::string>&, int64_t);
BERTCPP_WEIGHTS(float)
BERTCPP_WEIGHTS(__half)
BERTCPP_WEIGHTS(__nv_bfloat16)

}  // namespace bertcpp::cuda
