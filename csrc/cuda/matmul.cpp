#include "cuda/matmul.h"

#include <string>

#include "cuda/errors.h"

namespace bertcpp::cuda {
namespace {

constexpr size_t kWorkspaceBytes = size_t{32} << 20;
// The rows that algorithms are chosen for.
constexpr int64_t kPlannedRows = 2048;

template <class T>
constexpr cudaDataType_t kType = CUDA_R_32F;
template <>
constexpr cudaDataType_t kType<__half> = CUDA_R_16F;
template <>
constexpr cudaDataType_t kType<__nv_bfloat16> = CUDA_R_16BF;

template <class Value>
void set(cublasLtMatmulDesc_t description, cublasLtMatmulDescAttributes_t attribute, const Value& value) {
  check(cublasLtMatmulDescSetAttribute(description, attribute, &value, sizeof(value)), "describing a product");
}

class Layout {
 public:
  // A matrix by columns: `rows` elements of each lie together, `stride` between the columns.
  Layout(cudaDataType_t type, int64_t rows, int64_t columns, int64_t stride) {
    check(
        cublasLtMatrixLayoutCreate(&layout_, type, static_cast<uint64_t>(rows), static_cast<uint64_t>(columns), stride),
        "describing a matrix");
  }
  ~Layout() { cublasLtMatrixLayoutDestroy(layout_); }
  Layout(const Layout&) = delete;
  Layout& operator=(const Layout&) = delete;
  operator cublasLtMatrixLayout_t() const { return layout_; }

 private:
  cublasLtMatrixLayout_t layout_ = nullptr;
};

class Preference {
 public:
  explicit Preference(size_t workspace) {
    check(cublasLtMatmulPreferenceCreate(&preference_), "preparing a product");
    set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, static_cast<uint64_t>(workspace));
    set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, static_cast<uint32_t>(CUBLASLT_REDUCTION_SCHEME_NONE));
  }
  ~Preference() { cublasLtMatmulPreferenceDestroy(preference_); }
  Preference(const Preference&) = delete;
  Preference& operator=(const Preference&) = delete;
  operator cublasLtMatmulPreference_t() const { return preference_; }

 private:
  template <class Value>
  void set(cublasLtMatmulPreferenceAttributes_t attribute, const Value& value) {
    check(cublasLtMatmulPreferenceSetAttribute(preference_, attribute, &value, sizeof(value)), "preparing a product");
  }

  cublasLtMatmulPreference_t preference_ = nullptr;
};

// cuBLASLt counts by columns. Our matrices by rows are their transposes by columns, so what it computes is
// out^T[N,M] = (w^T)^T[N,K] * a^T[K,M].
template <class T, class Out>
struct Layouts {
  Layouts(int64_t m, int64_t n, int64_t k)
      : w(kType<T>, k, n, device_stride(k)),
        a(kType<T>, k, m, device_stride(k)),
        out(kType<Out>, n, m, device_stride(n)) {}
  Layout w;
  Layout a;
  Layout out;
};

}  // namespace

Products::Products(bool tf32) : tf32_(tf32), workspace_(Place::kDevice, kWorkspaceBytes) {
  check(cublasLtCreate(&handle_), "starting cuBLASLt");
}

Products::~Products() { cublasLtDestroy(handle_); }

template <class T, class Out>
Product<T, Out>::Product(const Products& products, Matrix<const T> weight, const T* bias, int64_t n, int64_t k)
    : weight_(weight), n_(n), k_(k) {
  cublasLtMatmulDesc_t description = nullptr;
  check(cublasLtMatmulDescCreate(&description, products.compute_type(), CUDA_R_32F), "describing a product");
  description_.reset(description);
  set(description, CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T);
  set(description, CUBLASLT_MATMUL_DESC_TRANSB, CUBLAS_OP_N);
  if (bias != nullptr) {
    set(description, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    set(description, CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<const void*>(bias));
    set(description, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, static_cast<int32_t>(kType<T>));
  }
  const Layouts<T, Out> layouts(kPlannedRows, n, k);
  const Preference preference(products.workspace_size());
  cublasLtMatmulHeuristicResult_t found{};
  int count = 0;
  check(cublasLtMatmulAlgoGetHeuristic(products.handle(), description, layouts.w, layouts.a, layouts.out, layouts.out,
                                       preference, 1, &found, &count),
        "choosing an algorithm of cuBLASLt");
  if (count == 0) {
    throw DeviceError("cuBLASLt has no algorithm for a product of width " + std::to_string(n) + " and depth " +
                      std::to_string(k) + " on this GPU");
  }
  algorithm_ = found.algo;
}

template <class T, class Out>
void Product<T, Out>::operator()(const Products& products, cudaStream_t stream, const T* a, int64_t m, Out* out) const {
  if (m == 0) return;
  const float one = 1.0f;
  const float zero = 0.0f;
  const Layouts<T, Out> layouts(m, n_, k_);
  check(cublasLtMatmul(products.handle(), description_.get(), &one, weight_.data, layouts.w, a, layouts.a, &zero, out,
                       layouts.out, out, layouts.out, &algorithm_, products.workspace(), products.workspace_size(),
                       stream),
        "a product by cuBLASLt");
}

template class Product<float, float>;
template class Product<__half, __half>;
template class Product<__half, float>;
template class Product<__nv_bfloat16, __nv_bfloat16>;
template class Product<__nv_bfloat16, float>;

}  // namespace bertcpp::cuda
