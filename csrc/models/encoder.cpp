#include "models/encoder.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <queue>
#include <utility>

#include "models/channel_order.h"
#include "models/checks.h"
#include "models/pooling.h"
#include "runtime/errors.h"
#include "runtime/sizes.h"

namespace bertcpp {

namespace {

// A batch goes through the layers in pieces of whole sequences; results do not depend on where the cuts fall.
//
// Where a layer's weights are not many, each thread takes pieces of its own through all layers: a piece's states stay
// in its core's cache, and nobody waits for anybody. Measured with two threads: a third faster at 0.8 MB a layer, an
// eighth at 7 MB, a twentieth at 13 MB and nothing at 28 MB, as each piece reads all weights.
constexpr size_t kMostBytesApart = size_t{16} << 20;  // of a layer's weights
constexpr int64_t kTokensApart = 64;                  // of a piece, unless one sequence has more
constexpr double kLeastBusyApart = 0.9;               // the share of the threads' time that has to be work
// Else all threads share a piece, whose size bounds the workspace.
constexpr int64_t kTokensTogether = 4096;
// Between two layers' attention they go apart in it, if each has so many rows: fewer do not repay that each thread
// reads all weights (on Ice Lake 12 rows between two threads lose up to a fifth by it, 24 nothing).
constexpr int64_t kRowsApart = 14;

// The share of the threads' time that is work, if each takes the next piece of these when it is done with the last.
double busy_share(const std::vector<int64_t>& pieces, int threads) {
  std::priority_queue<int64_t, std::vector<int64_t>, std::greater<>> ends(
      {}, std::vector<int64_t>(static_cast<size_t>(threads), 0));
  int64_t total = 0;
  int64_t end = 0;
  for (const int64_t tokens : pieces) {
    const int64_t done = ends.top() + tokens;
    ends.pop();
    ends.push(done);
    total += tokens;
    end = std::max(end, done);
  }
  return static_cast<double>(total) / (static_cast<double>(end) * threads);
}

OperandRows operand_rows(Arena& arena, int64_t rows, int64_t width, Precision precision) {
  OperandRows operand;
  const int64_t values = precision == Precision::kInt8 ? 4 : 2;
  operand.stride = row_stride((width + values - 1) / values);
  operand.words = arena.int32s(checked_mul(rows, operand.stride));
  if (precision != Precision::kInt8) return operand;
  operand.scale = arena.floats(checked_mul(rows, OperandRows::kMostSegments));
  operand.zero = arena.int32s(checked_mul(rows, OperandRows::kMostSegments));
  return operand;
}

}  // namespace

// Whole sequences of a batch: [first_sequence, first_sequence + num_sequences), tokens from first_token on.
struct Encoder::Piece {
  const EncoderBatch* batch;
  int64_t first_sequence;
  int64_t first_token;
  std::vector<int32_t> cu_seqlens;
  Sequences sequences;
  int64_t first_probability;  // of the piece in each of EncoderOutputs::attentions, per head
};

struct Encoder::Memory {
  float* x;
  int64_t x_stride;
  float* narrow;
  float* embedding_scratch;
  LayerWorkspace layers;
};

Encoder::Encoder(const EncoderConfig& config, const WeightMap& weights, const Kernels& kernels, const Linear* decoder)
    : config_(check(config)), kernels_(&kernels) {
  embeddings_ = Embeddings(kernels, weights,
                           {.vocab_size = config.vocab_size,
                            .max_positions = config.max_position_embeddings,
                            .token_types = config.type_vocab_size,
                            .embedding_size = config.embedding_size,
                            .hidden_size = config.hidden_size,
                            .layer_norm_eps = config.layer_norm_eps},
                           decoder);
  if (config.relative_attention_num_buckets > 0) {
    position_bias_ = RelativePositionBias(kernels, weights, config.relative_attention_num_buckets,
                                          config.relative_attention_max_distance, config.num_attention_heads,
                                          largest_column(config));
  }
  const bool bytes = config.precision == Precision::kInt8;
  format_.precision = config.precision;
  if (bytes) {
    format_.hidden_order = hidden_order(config, weights, kernels);
    format_.hidden_segments = segment_ends(config.hidden_size, {config.hidden_size / 6});
  }
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    const std::string name = "layers." + std::to_string(i);
    std::vector<int32_t> order;
    // What is packed is in this order already.
    if (bytes && !is_packed(weights, name + ".ffn.up")) order = intermediate_order(config, weights, kernels, name);
    layers_.push_back(
        {SelfAttention(kernels, weights, name + ".attention", config.hidden_size, config.num_attention_heads,
                       config.layer_norm_eps, format_),
         FeedForward(kernels, weights, name + ".ffn", config.hidden_size, config.intermediate_size, config.hidden_act,
                     config.layer_norm_eps, format_, order.empty() ? nullptr : &order)});
    if (config.relative_attention_num_buckets > 0 && heads(i) != config.num_attention_heads) {
      throw WeightError(name + " has " + std::to_string(heads(i)) + " of " +
                        std::to_string(config.num_attention_heads) +
                        " heads, and relative_attention_bias.weight does not tell which of its columns are theirs");
    }
  }
  if (config.has_pooler) {
    pooler_ = Linear::of(kernels, weights, "pooler", {"pooler"}, config.hidden_size, config.hidden_size);
  }
}

void Encoder::forward(const EncoderBatch& batch, const EncoderOutputs& outputs, int num_threads) const {
  check(config_, batch, outputs);
  const int threads = num_threads > 0 ? num_threads : get_num_threads();
  if (layers_are_small()) {
    std::vector<Piece> pieces = cut(batch, outputs, kTokensApart);
    // The largest first, so that what is left at the end is small.
    std::sort(pieces.begin(), pieces.end(),
              [](const Piece& a, const Piece& b) { return a.sequences.num_tokens > b.sequences.num_tokens; });
    std::vector<int64_t> sizes;
    for (const Piece& piece : pieces) sizes.push_back(piece.sequences.num_tokens);
    const bool bounded = !sizes.empty() &&
                         sizes.front() <= kTokensTogether / threads;  // the workspace, of which each thread has its own
    if (bounded && busy_share(sizes, threads) >= kLeastBusyApart) return forward_apart(pieces, outputs, threads);
  }
  for (const Piece& piece : cut(batch, outputs, kTokensTogether)) forward_together(piece, outputs, threads);
}

bool Encoder::layers_are_small() const {
  const auto small = [](const Layer& layer) { return layer.nbytes() <= kMostBytesApart; };
  return !layers_.empty() && std::all_of(layers_.begin(), layers_.end(), small);
}

std::vector<Encoder::Piece> Encoder::cut(const EncoderBatch& batch, const EncoderOutputs& outputs,
                                         int64_t tokens) const {
  std::vector<Piece> pieces;
  int64_t probability = 0;
  for (int64_t b = 0; b < batch.num_sequences;) {
    Piece piece{&batch, b, batch.cu_seqlens[b], {0}, {}, probability};
    do {
      const int64_t length = batch.cu_seqlens[b + 1] - batch.cu_seqlens[b];
      if (!outputs.attentions.empty()) {
        probability = checked_add(probability, checked_mul(length, length));
      }
      piece.cu_seqlens.push_back(static_cast<int32_t>(batch.cu_seqlens[++b] - piece.first_token));
    } while (b < batch.num_sequences && batch.cu_seqlens[b + 1] - piece.first_token <= tokens);
    piece.sequences = {
        .cu_seqlens = piece.cu_seqlens.data(),
        .key_lens = batch.key_lens == nullptr ? nullptr : batch.key_lens + piece.first_sequence,
        .columns = batch.columns == nullptr ? nullptr : batch.columns + piece.first_token,
        .num_tokens = piece.cu_seqlens.back(),
        .num_sequences = static_cast<int64_t>(piece.cu_seqlens.size()) - 1,
    };
    pieces.push_back(std::move(piece));
  }
  return pieces;
}

void Encoder::forward_apart(const std::vector<Piece>& pieces, const EncoderOutputs& outputs, int num_threads) const {
  int64_t tokens = 0;
  int64_t longest = 0;
  for (const Piece& piece : pieces) {
    tokens = std::max(tokens, piece.sequences.num_tokens);
    longest = std::max(longest, piece.sequences.longest());
  }
  Arena size;
  for (int rank = 0; rank < num_threads; ++rank) memory(size, tokens, longest, 1);
  Buffer buffer = buffers_.acquire(size.used());
  // Carved up before the team begins: nothing that a team does may throw.
  Arena arena(buffer);
  std::vector<Memory> carved;
  for (int rank = 0; rank < num_threads; ++rank) carved.push_back(memory(arena, tokens, longest, 1));
  run_team(num_threads, [&](Team& team) {
    Team alone = team.alone();
    const Memory& own = carved[static_cast<size_t>(team.rank())];
    team.for_each(static_cast<int64_t>(pieces.size()),
                  [&](int64_t i) { run(alone, pieces[static_cast<size_t>(i)], outputs, own); });
  });
  buffers_.release(std::move(buffer));
}

void Encoder::forward_together(const Piece& piece, const EncoderOutputs& outputs, int num_threads) const {
  const int64_t tokens = piece.sequences.num_tokens;
  const int64_t longest = piece.sequences.longest();
  Arena size;
  memory(size, tokens, longest, num_threads);
  Buffer buffer = buffers_.acquire(size.used());
  Arena arena(buffer);
  const Memory carved = memory(arena, tokens, longest, num_threads);
  run_team(num_threads, [&](Team& team) { run(team, piece, outputs, carved); });
  buffers_.release(std::move(buffer));
}

Encoder::Memory Encoder::memory(Arena& arena, int64_t tokens, int64_t longest, int num_threads) const {
  Memory memory{};
  memory.x_stride = row_stride(config_.hidden_size);
  memory.x = arena.floats(checked_mul(tokens, memory.x_stride));
  LayerWorkspace& layers = memory.layers;
  layers.qkv_stride = row_stride(3 * config_.hidden_size);
  layers.context_stride = row_stride(config_.hidden_size);
  const bool low = !Linear::reads_floats(*kernels_, config_.precision);
  layers.intermediate_stride = row_stride(low ? (config_.intermediate_size + 1) / 2 : config_.intermediate_size);
  layers.scratch_floats = SelfAttention::scratch_floats(*kernels_, longest, config_.head_dim());
  if (config_.precision == Precision::kBFloat16) {
    layers.scratch_floats = std::max(layers.scratch_floats, kernels_->bfloat16_scratch);
  }
  if (low) {
    layers.scratch_floats = std::max(layers.scratch_floats, FeedForward::scratch_floats(config_.intermediate_size));
  }
  layers.qkv = arena.floats(checked_mul(tokens, layers.qkv_stride));
  layers.context = arena.floats(checked_mul(tokens, layers.context_stride));
  const int64_t inner_rows = low ? FeedForward::intermediate_rows(tokens, num_threads) : tokens;
  layers.intermediate = arena.floats(checked_mul(inner_rows, layers.intermediate_stride));
  if (low) layers.operand = operand_rows(arena, tokens, config_.hidden_size, config_.precision);
  if (config_.precision == Precision::kInt8) {
    layers.inner = operand_rows(arena, inner_rows, config_.intermediate_size, config_.precision);
  }
  layers.scratch = arena.floats(checked_mul(num_threads, layers.scratch_floats));
  memory.narrow = arena.floats(checked_mul(tokens, embeddings_.narrow_stride()));
  memory.embedding_scratch = arena.floats(checked_mul(num_threads, embeddings_.scratch_floats()));
  return memory;
}

void Encoder::to_layer_order(Team& team, int64_t tokens, const Memory& m) const {
  const int64_t hidden = config_.hidden_size;
  team.for_each(tokens, [&](int64_t t) {
    float* x = m.x + t * m.x_stride;
    float* copy = m.layers.context + t * m.layers.context_stride;
    std::memcpy(copy, x, static_cast<size_t>(hidden) * sizeof(float));
    for (int64_t c = 0; c < hidden; ++c) x[c] = copy[format_.hidden_order[static_cast<size_t>(c)]];
  });
}

void Encoder::to_checkpoint_order(const float* x, float* out) const {
  const int64_t hidden = config_.hidden_size;
  if (format_.hidden_order.empty()) {
    std::memcpy(out, x, static_cast<size_t>(hidden) * sizeof(float));
    return;
  }
  for (int64_t c = 0; c < hidden; ++c) out[format_.hidden_order[static_cast<size_t>(c)]] = x[c];
}

void Encoder::run(Team& team, const Piece& piece, const EncoderOutputs& outputs, const Memory& m) const {
  const EncoderBatch& batch = *piece.batch;
  const int64_t token = piece.first_token;
  const auto from_first = [&](const auto* values, int64_t width) {
    return values == nullptr ? nullptr : values + token * width;
  };
  embeddings_.forward(team,
                      {.input_ids = from_first(batch.input_ids, 1),
                       .inputs_embeds = from_first(batch.inputs_embeds, config_.embedding_size),
                       .position_ids = from_first(batch.position_ids, 1),
                       .token_type_ids = from_first(batch.token_type_ids, 1),
                       .num_tokens = piece.sequences.num_tokens},
                      m.x, m.x_stride, m.narrow, m.embedding_scratch);
  if (!format_.hidden_order.empty()) to_layer_order(team, piece.sequences.num_tokens, m);
  run_layers(team, piece, outputs, m);
  write_results(team, piece, outputs, m);
}

void Encoder::run_layers(Team& team, const Piece& piece, const EncoderOutputs& outputs, const Memory& m) const {
  const int64_t tokens = piece.sequences.num_tokens;
  const auto write_state = [&](size_t i) {
    if (outputs.hidden_states.empty()) return;
    float* out = outputs.hidden_states[i] + piece.first_token * config_.hidden_size;
    team.for_each(tokens, [&](int64_t t) { to_checkpoint_order(m.x + t * m.x_stride, out + t * config_.hidden_size); });
  };
  write_state(0);
  if (layers_.empty()) return;
  // A thread takes its share of the rows through all that lies between two layers' attention, under the conditions
  // above. One block a thread: with more of them rows move from core to core.
  const bool by_rows = layers_are_small() && tokens >= team.size() * kRowsApart;
  const int64_t blocks = by_rows ? team.size() : 1;
  const auto for_rows = [&](const auto& body) {
    if (blocks == 1) return body(team, m.layers, tokens, m.x);
    team.for_each(blocks, [&](int64_t block) {
      const int64_t first = tokens * block / blocks;
      Team alone = team.alone();
      body(alone, m.layers.from(first, team.rank()), tokens * (block + 1) / blocks - first, m.x + first * m.x_stride);
    });
  };
  for_rows([&](Team& rows_team, const LayerWorkspace& workspace, int64_t rows, float* x) {
    layers_[0].attention.first().prepare(rows_team, x, m.x_stride, rows, workspace.operand);
    layers_[0].attention.project(rows_team, workspace, rows, x, m.x_stride);
  });
  for (size_t i = 0; i < layers_.size(); ++i) {
    const SelfAttention& attention = layers_[i].attention;
    const FeedForward& feed_forward = layers_[i].feed_forward;
    const SelfAttention* next = i + 1 < layers_.size() ? &layers_[i + 1].attention : nullptr;
    float* probabilities =
        outputs.attentions.empty() ? nullptr : outputs.attentions[i] + attention.heads() * piece.first_probability;
    attention.attend(team, piece.sequences, position_bias_, m.layers, probabilities);
    for_rows([&](Team& rows_team, const LayerWorkspace& workspace, int64_t rows, float* x) {
      attention.finish(rows_team, workspace, rows, x, m.x_stride, feed_forward.first());
      feed_forward.forward(rows_team, workspace, rows, x, m.x_stride, next == nullptr ? nullptr : &next->first());
      if (next != nullptr) next->project(rows_team, workspace, rows, x, m.x_stride);
    });
    write_state(i + 1);
  }
}

void Encoder::write_results(Team& team, const Piece& piece, const EncoderOutputs& outputs, const Memory& m) const {
  const Sequences& sequences = piece.sequences;
  const int64_t hidden = config_.hidden_size;
  if (outputs.last_hidden_state != nullptr) {
    float* out = outputs.last_hidden_state + piece.first_token * hidden;
    team.for_each(sequences.num_tokens,
                  [&](int64_t t) { to_checkpoint_order(m.x + t * m.x_stride, out + t * hidden); });
  }
  // The context is free after the last layer and has a row for every token, so one for every sequence.
  float* rows = m.layers.context;
  const int64_t stride = m.layers.context_stride;
  if (outputs.pooled != nullptr) {
    const auto modes = static_cast<int64_t>(outputs.pooling.size());
    const float* weights = outputs.pooling_weights == nullptr ? nullptr : outputs.pooling_weights + piece.first_token;
    float* pooled = outputs.pooled + piece.first_sequence * hidden * modes;
    pool(team, *kernels_, sequences, {m.x, m.x_stride, hidden}, outputs.pooling, weights, pooled);
    for (int64_t mode = 0; mode < modes && !format_.hidden_order.empty(); ++mode) {
      team.for_each(sequences.num_sequences, [&](int64_t b) {
        float* vector = pooled + (b * modes + mode) * hidden;
        std::memcpy(rows + b * stride, vector, static_cast<size_t>(hidden) * sizeof(float));
        to_checkpoint_order(rows + b * stride, vector);
      });
    }
  }
  if (outputs.pooler_output != nullptr) {
    team.for_each(sequences.num_sequences, [&](int64_t b) {
      to_checkpoint_order(m.x + first_token(sequences, b) * m.x_stride, rows + b * stride);
    });
    pooler_.forward(team, {rows, stride, sequences.num_sequences},
                    {.y = outputs.pooler_output + piece.first_sequence * hidden,
                     .stride = hidden,
                     .activation = Activation::kTanh});
  }
}

size_t Encoder::nbytes() const {
  size_t total = embeddings_.nbytes() + pooler_.nbytes();
  for (const Layer& layer : layers_) total += layer.nbytes();
  return total;
}

PackedParts Encoder::packed() const {
  PackedParts parts;
  embeddings_.collect(parts);
  for (size_t i = 0; i < layers_.size(); ++i) {
    const std::string name = "layers." + std::to_string(i);
    layers_[i].attention.collect(name + ".attention", parts);
    layers_[i].feed_forward.collect(name + ".ffn", parts);
  }
  if (!format_.hidden_order.empty()) parts[kStoredOrder] = std::as_bytes(std::span(format_.hidden_order));
  return parts;
}

}  // namespace bertcpp
