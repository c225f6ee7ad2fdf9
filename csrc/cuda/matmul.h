// Matrix products by cuBLASLt. The rest of a layer is own kernels.
#pragma once

#include <cublasLt.h>

#include <memory>

#include "cuda/memory.h"

namespace bertcpp::cuda {

// What the products of one stream share. Not to be used by two threads at once.
class Products {
 public:
  explicit Products(bool tf32);  // throws DeviceError
  ~Products();
  Products(const Products&) = delete;
  Products& operator=(const Products&) = delete;

  cublasLtHandle_t handle() const { return handle_; }
  cublasComputeType_t compute_type() const { return tf32_ ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F; }
  void* workspace() const { return workspace_.data(); }
  size_t workspace_size() const { return workspace_.size(); }

 private:
  bool tf32_;
  cublasLtHandle_t handle_ = nullptr;
  Block workspace_;
};

// out[M,N] = a[M,K] * w[N,K]^T + bias[N], summed in float. T: of a, w and the bias; Out: T, or float.
//
// cuBLASLt chooses among algorithms by the sizes, and two of them may sum in different orders. So that a row's bits do
// not depend on the rows around it, one algorithm is chosen when the product is made, without a split of K, and kept
// for every M.
template <class T, class Out>
class Product {
 public:
  Product() = default;
  // weight[n,k] and bias[n] (null: none) must outlive the product. Throws DeviceError.
  Product(const Products& products, Matrix<const T> weight, const T* bias, int64_t n, int64_t k);
  // Rows of `out` and `a` are device_stride(n) and device_stride(k) apart.
  void operator()(const Products& products, cudaStream_t stream, const T* a, int64_t m, Out* out) const;

 private:
  struct Delete {
    void operator()(cublasLtMatmulDesc_t description) const { cublasLtMatmulDescDestroy(description); }
  };
  std::unique_ptr<std::remove_pointer_t<cublasLtMatmulDesc_t>, Delete> description_;
  cublasLtMatmulAlgo_t algorithm_{};
  Matrix<const T> weight_;
  int64_t n_ = 0;
  int64_t k_ = 0;
};

}  // namespace bertcpp::cuda
