// Gated recurrent units over packed sequences, one or more layers, in one direction or both: torch.nn.GRU's equations
// and weights. A sequence's results depend on nothing but itself.
#pragma once

#include <vector>

#include "layers/linear.h"
#include "layers/tensor.h"

namespace bertcpp {

struct GruConfig {
  int64_t input_size = 0;
  int64_t hidden_size = 0;
  int64_t num_layers = 1;
  bool bidirectional = false;
  bool bias = true;

  int64_t directions() const { return bidirectional ? 2 : 1; }
};

// T tokens of B sequences, end to end; cu_seqlens[B + 1] from 0 to T, rising strictly.
struct GruBatch {
  const float* x;  // [T, input_size]
  const int32_t* cu_seqlens;
  int64_t num_sequences;

  int64_t num_tokens() const { return cu_seqlens[num_sequences]; }
};

struct GruOutputs {
  float* states;  // [T, directions * hidden_size]: the last layer's, forward then backward
  float* finals;  // [num_layers * directions, B, hidden_size]: what each layer and direction ends with
};

class Gru {
 public:
  // weights holds, for every layer k, weight_ih_lk [3 hidden, input], weight_hh_lk [3 hidden, hidden] and, with `bias`,
  // bias_ih_lk and bias_hh_lk [3 hidden]; the backward direction's with _reverse behind. Throws WeightError.
  Gru(const GruConfig& config, const WeightMap& weights, const Kernels& kernels);

  // Any number of threads may call this at once. num_threads 0: the process's default. Throws InputError for offsets
  // that do not rise.
  void forward(const GruBatch& batch, const GruOutputs& outputs, int num_threads) const;

  const GruConfig& config() const { return config_; }
  size_t nbytes() const;

 private:
  struct Layer {
    Linear input;   // the products of all tokens: [directions * 3 hidden, input]
    Buffer hidden;  // for each direction W_hh packed: [ceil(3 hidden / nr)][hidden][nr]
    Buffer bias;    // for each direction [3 hidden rounded up to nr]
  };
  struct Piece;
  struct Memory;

  void pack_hidden(const TensorView& weight, const TensorView* bias, int64_t direction, Layer& layer) const;
  void forward_piece(const Piece& piece, const GruOutputs& outputs, int num_threads) const;
  Memory memory(Arena& arena, const Piece& piece) const;
  void run(Team& team, const Piece& piece, const GruOutputs& outputs, const Memory& m) const;
  // Every step of a group's sequences in one direction, on the calling thread.
  void recur(const Piece& piece, const Memory& m, int64_t layer, int64_t task, float* states, float* finals) const;

  int64_t panels() const { return (3 * config_.hidden_size + kernels_->nr - 1) / kernels_->nr; }

  GruConfig config_;
  const Kernels* kernels_;
  std::vector<Layer> layers_;
  mutable BufferCache buffers_;
};

}  // namespace bertcpp
