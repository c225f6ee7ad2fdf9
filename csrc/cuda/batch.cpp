#include "cuda/batch.h"

#include <algorithm>
#include <limits>
#include <string>

#include "runtime/errors.h"
#include "runtime/sizes.h"

namespace bertcpp::cuda {
namespace {

int64_t tiles_of(int64_t length) { return (length + kTileQueries - 1) / kTileQueries; }

}  // namespace

void check(const EncoderBatch& batch, const Padding& padding) {
  if (padding.columns < 1 || checked_mul(batch.num_sequences, padding.columns) > std::numeric_limits<int32_t>::max()) {
    throw InputError("rows of " + std::to_string(padding.columns) +
                     " columns are none, or too many for offsets of 32 bits");
  }
  std::vector<bool> taken(static_cast<size_t>(padding.columns));
  for (int64_t b = 0; b < batch.num_sequences; ++b) {
    taken.assign(taken.size(), false);
    for (int64_t t = batch.cu_seqlens[b]; t < batch.cu_seqlens[b + 1]; ++t) {
      const int64_t cell = padding.cell(t);
      const int64_t column = cell - b * padding.columns;
      const bool inside = column >= 0 && column < padding.columns;
      if (inside && !taken[static_cast<size_t>(column)]) {
        taken[static_cast<size_t>(column)] = true;
        continue;
      }
      const std::string text = "cells[" + std::to_string(t) + "] is " + std::to_string(cell);
      if (inside) throw InputError(text + ", where another token lies; give each a cell of its own");
      throw InputError(text + ", which is not in row " + std::to_string(b) + " of " + std::to_string(padding.columns) +
                       " columns");
    }
  }
}

std::vector<Piece> cut(const EncoderBatch& batch, const Padding* padding, int64_t tokens) {
  std::vector<Piece> pieces;
  int64_t probability = 0;
  for (int64_t b = 0; b < batch.num_sequences;) {
    Piece piece{&batch, padding, b, 0, batch.cu_seqlens[b], 0, 0, probability, 0};
    do {
      const int64_t length = piece.length(piece.num_sequences);
      piece.num_tiles += tiles_of(length);
      piece.num_probabilities = checked_add(piece.num_probabilities, checked_mul(length, length));
      piece.num_tokens = batch.cu_seqlens[++b] - piece.first_token;
      ++piece.num_sequences;
    } while (b < batch.num_sequences && batch.cu_seqlens[b + 1] - piece.first_token <= tokens);
    probability = checked_add(probability, piece.num_probabilities);
    pieces.push_back(piece);
  }
  return pieces;
}

Inputs carve(Carver& carver, const EncoderConfig& config, const Piece& piece, const EncoderOutputs& outputs) {
  const EncoderBatch& batch = *piece.batch;
  const auto ints = [&](bool present, int64_t count) { return present ? carver.take<int32_t>(count) : nullptr; };
  Inputs inputs{};
  inputs.input_ids = ints(batch.input_ids != nullptr, piece.num_tokens);
  if (batch.inputs_embeds != nullptr && !piece.has_device_embeds()) {
    inputs.inputs_embeds = carver.take<float>(checked_mul(piece.num_tokens, config.embedding_size));
  }
  inputs.cells = ints(piece.has_device_embeds(), piece.num_tokens);
  inputs.places = ints(piece.padding != nullptr, piece.num_tokens);
  inputs.position_ids = ints(true, piece.num_tokens);
  inputs.token_type_ids = ints(batch.token_type_ids != nullptr && config.type_vocab_size > 0, piece.num_tokens);
  inputs.cu_seqlens = ints(true, piece.num_sequences + 1);
  inputs.key_lens = ints(true, piece.num_sequences);
  inputs.columns = ints(batch.columns != nullptr && config.relative_attention_num_buckets > 0, piece.num_tokens);
  inputs.first_rows = ints(true, piece.num_sequences);
  inputs.tiles = carver.take<QueryTile>(piece.num_tiles);
  inputs.offsets = carver.take<int64_t>(piece.num_sequences);
  inputs.modes = ints(true, static_cast<int64_t>(outputs.pooling.size()));
  if (outputs.pooling_weights != nullptr) inputs.pooling_weights = carver.take<float>(piece.num_tokens);
  return inputs;
}

void fill(const EncoderConfig& config, const Piece& piece, const EncoderOutputs& outputs, const Inputs& inputs) {
  const EncoderBatch& batch = *piece.batch;
  const auto copy = [&](const auto* from, int64_t width, auto* to) {
    if (to != nullptr) std::copy_n(from + piece.first_token * width, piece.num_tokens * width, to);
  };
  copy(batch.input_ids, 1, inputs.input_ids);
  copy(batch.inputs_embeds, config.embedding_size, inputs.inputs_embeds);
  copy(batch.position_ids, 1, inputs.position_ids);
  copy(batch.token_type_ids, 1, inputs.token_type_ids);
  copy(batch.columns, 1, inputs.columns);
  copy(outputs.pooling_weights, 1, inputs.pooling_weights);
  QueryTile* tile = inputs.tiles;
  int64_t offset = 0;
  int32_t token = 0;
  for (int64_t b = 0; b < piece.num_sequences; ++b) {
    const auto length = static_cast<int32_t>(piece.length(b));
    const int32_t keys = batch.key_lens == nullptr ? length : batch.key_lens[piece.first_sequence + b];
    inputs.cu_seqlens[b] = token;
    inputs.key_lens[b] = keys;
    // The token that was first in its row: the first one, unless it is masked; then it follows the others.
    inputs.first_rows[b] = token + (keys < length ? keys : 0);
    inputs.offsets[b] = offset;
    for (int32_t query = 0; query < length; query += kTileQueries) *tile++ = {static_cast<int32_t>(b), query};
    offset += int64_t{length} * length;
    for (int32_t t = 0; piece.padding != nullptr && t < length; ++t) {
      const auto cell = static_cast<int32_t>(piece.padding->cell(piece.first_token + token + t));
      if (inputs.cells != nullptr) inputs.cells[token + t] = cell;
      inputs.places[token + t] = t < keys ? cell : -1;
    }
    token += length;
  }
  inputs.cu_seqlens[piece.num_sequences] = token;
  std::transform(outputs.pooling.begin(), outputs.pooling.end(), inputs.modes,
                 [](Pooling mode) { return static_cast<int32_t>(mode); });
}

}  // namespace bertcpp::cuda
