// A part of a batch on its way to the device: everything that the kernels read beside the weights, in one copy.
#pragma once

#include <vector>

#include "cuda/memory.h"
#include "models/encoder.h"

namespace bertcpp::cuda {

// Whole sequences of a batch: [first_sequence, first_sequence + num_sequences), tokens from first_token on.
struct Piece {
  const EncoderBatch* batch;
  int64_t first_sequence;
  int64_t num_sequences;
  int64_t first_token;
  int64_t num_tokens;
  int64_t num_tiles;
  // Of each head's attention probabilities.
  int64_t first_probability;
  int64_t num_probabilities;

  int64_t length(int64_t b) const {
    const int32_t* ends = batch->cu_seqlens + first_sequence + b;
    return ends[1] - ends[0];
  }
};

// Cuts a batch into pieces of at most `tokens` tokens, or of one longer sequence. Throws InputError where the number of
// probabilities overflows.
std::vector<Piece> cut(const EncoderBatch& batch, int64_t tokens);

// The inputs of a piece, on the host or on the device; null for what is absent.
struct Inputs {
  int32_t* input_ids;
  float* inputs_embeds;
  int32_t* position_ids;
  int32_t* token_type_ids;
  int32_t* cu_seqlens;  // from 0
  int32_t* key_lens;
  int32_t* columns;
  int32_t* first_rows;  // [num_sequences]: the token that the pooler and kCls read
  QueryTile* tiles;
  int64_t* offsets;  // [num_sequences]: of each sequence's probabilities, per head
  int32_t* modes;    // of pooling
  float* pooling_weights;
};

Inputs carve(Carver& carver, const EncoderConfig& config, const Piece& piece, const EncoderOutputs& outputs);
// Fills in what carve() made room for on the host.
void fill(const EncoderConfig& config, const Piece& piece, const EncoderOutputs& outputs, const Inputs& inputs);

}  // namespace bertcpp::cuda
