// Products in naive loops: d = alpha op(a) op(b) + beta c, by columns, with a bias for each row of d.

#include "cublasLt.h"

#include <cstring>
#include <vector>

#include "cuda_bf16.h"
#include "cuda_fp16.h"

struct EmulatedLt {};
struct EmulatedPreference {};
struct EmulatedLayout {
  cudaDataType_t type;
  int64_t rows;
  int64_t columns;
  int64_t stride;
};
struct EmulatedProduct {
  cublasOperation_t a = CUBLAS_OP_N;
  cublasOperation_t b = CUBLAS_OP_N;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;
  int32_t bias_type = -1;
};

namespace {

constexpr uint64_t kMark = 0x626572746370;  // what a chosen algorithm carries

float load(const void* data, int type, int64_t index) {
  if (type == CUDA_R_32F) return static_cast<const float*>(data)[index];
  if (type == CUDA_R_16F) return __half2float(static_cast<const __half*>(data)[index]);
  return __bfloat162float(static_cast<const __nv_bfloat16*>(data)[index]);
}

void store(void* data, int type, int64_t index, float value) {
  if (type == CUDA_R_32F) static_cast<float*>(data)[index] = value;
  if (type == CUDA_R_16F) static_cast<__half*>(data)[index] = __float2half_rn(value);
  if (type == CUDA_R_16BF) static_cast<__nv_bfloat16*>(data)[index] = __float2bfloat16_rn(value);
}

// op(matrix)[row, column] as floats, by rows.
std::vector<float> read(const void* data, const EmulatedLayout& layout, bool transposed) {
  std::vector<float> out;
  const int64_t rows = transposed ? layout.columns : layout.rows;
  const int64_t columns = transposed ? layout.rows : layout.columns;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t column = 0; column < columns; ++column) {
      out.push_back(load(data, layout.type, transposed ? row * layout.stride + column : column * layout.stride + row));
    }
  }
  return out;
}

bool fits(const EmulatedProduct& product, const EmulatedLayout& a, const EmulatedLayout& b, const EmulatedLayout& d) {
  const int64_t m = product.a == CUBLAS_OP_T ? a.columns : a.rows;
  const int64_t k = product.a == CUBLAS_OP_T ? a.rows : a.columns;
  const int64_t depth = product.b == CUBLAS_OP_T ? b.columns : b.rows;
  const int64_t n = product.b == CUBLAS_OP_T ? b.rows : b.columns;
  const bool strides = a.stride >= a.rows && b.stride >= b.rows && d.stride >= d.rows;
  const bool types = a.type == b.type && (d.type == a.type || d.type == CUDA_R_32F);
  const bool bias =
      product.epilogue != CUBLASLT_EPILOGUE_BIAS || (product.bias != nullptr && product.bias_type == d.type);
  return d.rows == m && d.columns == n && depth == k && strides && types && bias;
}

}  // namespace

const char* cublasLtGetStatusString(cublasStatus_t status) {
  return status == CUBLAS_STATUS_SUCCESS ? "CUBLAS_STATUS_SUCCESS" : "CUBLAS_STATUS_INVALID_VALUE";
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  *handle = new EmulatedLt;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* product, cublasComputeType_t, cudaDataType_t scale) {
  if (scale != CUDA_R_32F) return CUBLAS_STATUS_INVALID_VALUE;
  *product = new EmulatedProduct;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t product) {
  delete product;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t product, cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, size_t size) {
  const auto set = [&](auto& field) {
    if (size != sizeof(field)) return CUBLAS_STATUS_INVALID_VALUE;
    std::memcpy(&field, value, size);
    return CUBLAS_STATUS_SUCCESS;
  };
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return set(product->a);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return set(product->b);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      return set(product->epilogue);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      return set(product->bias);
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
      return set(product->bias_type);
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType_t type, uint64_t rows,
                                          uint64_t columns, int64_t stride) {
  *layout = new EmulatedLayout{type, static_cast<int64_t>(rows), static_cast<int64_t>(columns), stride};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete layout;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = new EmulatedPreference;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete preference;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t,
                                                    cublasLtMatmulPreferenceAttributes_t attribute, const void*,
                                                    size_t size) {
  const size_t wanted = attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES ? sizeof(uint64_t) : sizeof(uint32_t);
  return size == wanted ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t product, cublasLtMatrixLayout_t a,
                                              cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t, int wanted,
                                              cublasLtMatmulHeuristicResult_t* results, int* found) {
  if (wanted < 1 || !fits(*product, *a, *b, *d)) return CUBLAS_STATUS_INVALID_VALUE;
  results[0].algo.data[0] = kMark;
  *found = 1;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t product, const void* alpha, const void* a,
                              cublasLtMatrixLayout_t a_layout, const void* b, cublasLtMatrixLayout_t b_layout,
                              const void* beta, const void* c, cublasLtMatrixLayout_t, void* d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* algorithm, void*, size_t,
                              cudaStream_t stream) {
  if (algorithm->data[0] != kMark || stream == nullptr || c != d || !fits(*product, *a_layout, *b_layout, *d_layout) ||
      *static_cast<const float*>(alpha) != 1.0f || *static_cast<const float*>(beta) != 0.0f) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  ++emulated::counts().products;
  const std::vector<float> left = read(a, *a_layout, product->a == CUBLAS_OP_T);
  const std::vector<float> right = read(b, *b_layout, product->b != CUBLAS_OP_T);  // by columns
  const auto depth = static_cast<int64_t>(left.size()) / d_layout->rows;
  for (int64_t column = 0; column < d_layout->columns; ++column) {
    for (int64_t row = 0; row < d_layout->rows; ++row) {
      float sum = 0.0f;
      const float* x = left.data() + row * depth;
      const float* y = right.data() + column * depth;
      for (int64_t k = 0; k < depth; ++k) sum += x[k] * y[k];
      if (product->epilogue == CUBLASLT_EPILOGUE_BIAS) sum += load(product->bias, product->bias_type, row);
      store(d, d_layout->type, column * d_layout->stride + row, sum);
    }
  }
  return CUBLAS_STATUS_SUCCESS;
}
