// y = activation(x W^T + bias) + residual with W packed once for the instruction set in use, in float32, bfloat16 or
// bytes.
#pragma once

#include <vector>

#include "layers/packed.h"
#include "runtime/threads.h"

namespace bertcpp {

// One matrix of a Linear: weight [n, k], bias [n] or null (zeros).
struct LinearPart {
  const TensorView* weight;
  const TensorView* bias;
};

// How a weight is stored. Channels may be packed in another order than the checkpoint's: of bytes, those whose values
// reach far are gathered in segments of the depth with scales of their own, where they take no precision from others.
struct LinearLayout {
  Precision precision = Precision::kFloat32;
  const std::vector<int32_t>* input_order = nullptr;   // [k]: channel i is the checkpoint's input_order[i]; or null
  const std::vector<int32_t>* output_order = nullptr;  // [n], within each part
  std::vector<int64_t> segment_ends = {};              // of bytes, in channels; multiples of 4 but for the last, k
};

// Rows in the words that a product of low precision reads, and their scales. Memory is the caller's.
struct OperandRows {
  static constexpr int64_t kMostSegments = 4;
  int32_t* words = nullptr;  // [rows, stride]
  int64_t stride = 0;
  float* scale = nullptr;   // [rows, segments of the Linear]
  int32_t* zero = nullptr;  // the same

  // The rows from `row` on; `segments` as the Linear has them.
  OperandRows from(int64_t row, int64_t segments) const {
    return {words + row * stride, stride, scale + row * segments, zero + row * segments};
  }
};

struct LinearInput {
  const float* x;  // [m, k]; read where Linear::reads_floats, elsewhere `operand` is
  int64_t stride;
  int64_t m;
  const OperandRows* operand = nullptr;
  float* scratch = nullptr;  // of each thread scratch_floats: of bfloat16 Kernels::bfloat16_scratch at least
  int64_t scratch_floats = 0;
};

struct LinearOutput {
  void* y;  // [m, n] floats, or bfloat16
  int64_t stride;
  Activation activation = Activation::kIdentity;
  const float* residual = nullptr;  // [m, n], apart from y
  int64_t residual_stride = 0;
  bool bfloat16 = false;
};

class Linear {
 public:
  Linear() = default;
  // Stacks the parts along n (query, key and value are one product); all have the same k. Packs on num_threads threads.
  Linear(const Kernels& kernels, const std::vector<LinearPart>& parts, int num_threads = 0,
         const LinearLayout& layout = {});
  // The product `name` of a model: of the matrices `stems`.weight, each [rows, k], with `stems`.bias; or, where weights
  // has the parts of it that were packed before, of these, which must outlive it. Throws WeightError.
  static Linear of(const Kernels& kernels, const WeightMap& weights, const std::string& name,
                   const std::vector<std::string>& stems, int64_t rows, int64_t k, const LinearLayout& layout = {});

  int64_t n() const { return n_; }
  int64_t k() const { return k_; }
  Precision precision() const { return precision_; }
  // out[k] = row `row` of the weight, of float32 in the checkpoint's order of channels.
  void weight_row(int64_t row, float* out) const;
  int64_t segments() const { return static_cast<int64_t>(segment_ends_.size()); }
  // Whether a product of this precision reads its rows as floats; others read an operand that is made of them.
  static bool reads_floats(const Kernels& kernels, Precision precision);
  bool reads_floats() const { return reads_floats(*kernels_, precision_); }
  size_t nbytes() const { return weight_.size() + bias_.size() + column_scale_.size() + column_sum_.size(); }
  // Adds what `of` takes under this name.
  void collect(const std::string& name, PackedParts& parts) const;

  // Row `row` of `rows` becomes x[k] as this product reads it: in its precision, by segments. Where it reads floats,
  // nothing.
  void prepare(const float* x, int64_t row, const OperandRows& rows) const;
  // The same for m rows, shared among the team.
  void prepare(Team& team, const float* x, int64_t x_stride, int64_t m, const OperandRows& rows) const;

  // All members of the team call it; columns and rows are shared out among them, and all have finished when it returns.
  void forward(Team& team, const LinearInput& input, const LinearOutput& output) const;
  // On the calling thread alone: all columns of the input's rows.
  void forward(const LinearInput& input, const LinearOutput& output) const;

 private:
  struct Part {
    const char* name;
    Buffer Linear::* buffer;
    size_t bytes;
  };
  // The sizes alone; the parts are still to be filled.
  Linear(const Kernels& kernels, int64_t n, int64_t k, const LinearLayout& layout);
  int64_t columns() const;  // n rounded up to nr
  std::vector<Part> parts() const;
  void pack_panel(const std::vector<LinearPart>& parts, int64_t panel, const LinearLayout& layout, float* rows);
  void to_words(int64_t column, const float* w, int32_t* words);
  // The columns of the panels [panel_begin, panel_end) for `rows` rows from `row` on.
  void multiply(const LinearInput& input, const LinearOutput& output, int64_t row, int64_t rows, int64_t panel_begin,
                int64_t panel_end) const;

  const Kernels* kernels_ = nullptr;
  int64_t n_ = 0;
  int64_t k_ = 0;
  int64_t words_ = 0;  // of a row: k floats, pairs or quadruples
  Precision precision_ = Precision::kFloat32;
  std::vector<int64_t> segment_ends_;  // in words; of bytes alone
  Buffer weight_;                      // [ceil(n / nr)][words][nr]
  Buffer bias_;                        // [n rounded up to nr]
  Buffer column_scale_;                // [segments][n rounded up to nr]
  Buffer column_sum_;
};

}  // namespace bertcpp
