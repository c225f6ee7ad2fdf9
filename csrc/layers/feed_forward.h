// y = LayerNorm(x + down(activation(up(x)))).
#pragma once

#include "layers/self_attention.h"

namespace bertcpp {

// In low precision the intermediate state is bfloat16, as `down` reads it, or is made bytes of. Many rows go through
// both products in chunks, each on one thread, so that a chunk's intermediate state stays in the L2 cache of its core.
class FeedForward {
 public:
  // weights holds `name`.{up,down}.{weight,bias}, or what collect() adds, and `name`.norm.{weight,bias}. order: of the
  // intermediate channels, or null.
  FeedForward(const Kernels& kernels, const WeightMap& weights, const std::string& name, int64_t hidden_size,
              int64_t intermediate_size, Activation activation, double layer_norm_eps, const LayerFormat& format,
              const std::vector<int32_t>* order);

  // x[m, hidden_size] in place; of low precision workspace.operand has it as first() reads it, and gets the result as
  // `next` does, where next is not null.
  void forward(Team& team, const LayerWorkspace& workspace, int64_t m, float* x, int64_t x_stride,
               const Linear* next) const;
  const Linear& first() const { return up_; }
  // Rows that `intermediate` and `inner` of the workspace need for m rows on so many threads.
  static int64_t intermediate_rows(int64_t m, int threads) { return (m + threads - 1) / threads * threads; }
  // Floats that each thread's scratch needs.
  static int64_t scratch_floats(int64_t intermediate_size) { return row_stride(intermediate_size); }
  size_t nbytes() const { return up_.nbytes() + down_.nbytes() + norm_.nbytes(); }
  void collect(const std::string& name, PackedParts& parts) const;  // the products, packed

 private:
  struct Rows;
  void forward_columns(Team& team, const LayerWorkspace& workspace, const Rows& rows) const;
  void forward_chunk(Team& team, const LayerWorkspace& workspace, const Rows& rows, int64_t begin, int64_t end) const;
  // The rows of the intermediate state from `first` on as `down` reads them, once each has been prepared.
  OperandRows inner(const LayerWorkspace& workspace, int64_t first) const;
  void prepare_inner(Team& team, const LayerWorkspace& workspace, int64_t row) const;

  const Kernels* kernels_;
  Activation activation_;
  Linear up_;
  Linear down_;
  LayerNorm norm_;
};

}  // namespace bertcpp
