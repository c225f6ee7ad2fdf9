// A part of a batch on its way to the device: everything that the kernels read beside the weights, in one copy.
#pragma once

#include <vector>

#include "cuda/memory.h"
#include "models/encoder.h"

namespace bertcpp::cuda {

// A call whose padded arrays, [num_sequences, columns, ...], are on the device and stay there: those that
// EncoderOutputs points to, but for `pooled`, and inputs_embeds.
struct Padding {
  int64_t columns;
  const int32_t* cells;  // [num_tokens], on the host: the place of each token in the flattened rows; null: 0, 1, 2 ...
  CallerArray embeds;    // data null where there are none; else EncoderBatch::inputs_embeds is any pointer but null

  int64_t cell(int64_t token) const { return cells == nullptr ? token : cells[token]; }
};

// Throws InputError where a token is not in its sequence's row, or in the same cell as another.
void check(const EncoderBatch& batch, const Padding& padding);

// Whole sequences of a batch: [first_sequence, first_sequence + num_sequences), tokens from first_token on.
struct Piece {
  const EncoderBatch* batch;
  const Padding* padding;  // null where the host has the arrays
  int64_t first_sequence;
  int64_t num_sequences;
  int64_t first_token;
  int64_t num_tokens;
  int64_t num_tiles;
  // Of each head's attention probabilities.
  int64_t first_probability;
  int64_t num_probabilities;

  bool has_device_embeds() const { return padding != nullptr && padding->embeds.data != nullptr; }
  int64_t length(int64_t b) const {
    const int32_t* ends = batch->cu_seqlens + first_sequence + b;
    return ends[1] - ends[0];
  }
};

// Cuts a batch into pieces of at most `tokens` tokens, or of one longer sequence. Throws InputError where the number of
// probabilities overflows.
std::vector<Piece> cut(const EncoderBatch& batch, const Padding* padding, int64_t tokens);

// The inputs of a piece, on the host or on the device; null for what is absent.
struct Inputs {
  int32_t* input_ids;
  float* inputs_embeds;  // null where they are on the device already
  int32_t* cells;        // [num_tokens], of Padding; null without one
  int32_t* places;       // the same, -1 for tokens that are not attended to: nothing is answered for them
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
