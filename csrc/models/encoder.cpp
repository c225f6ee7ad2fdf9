#include "models/encoder.h"

#include <algorithm>
#include <cstring>

#include "models/checks.h"
#include "models/pooling.h"
#include "runtime/errors.h"
#include "runtime/sizes.h"

namespace bertcpp {

namespace {

// Tokens of one pass through the layers. A larger batch goes through in pieces of whole sequences, so that the
// workspace stays bounded; results do not depend on where the cuts fall.
constexpr int64_t kPieceTokens = 4096;

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

Encoder::Encoder(const EncoderConfig& config, const WeightMap& weights, const Kernels& kernels)
    : config_(check(config)), kernels_(&kernels) {
  embeddings_ = Embeddings(kernels, weights,
                           {.vocab_size = config.vocab_size,
                            .max_positions = config.max_position_embeddings,
                            .token_types = config.type_vocab_size,
                            .embedding_size = config.embedding_size,
                            .hidden_size = config.hidden_size,
                            .layer_norm_eps = config.layer_norm_eps});
  if (config.relative_attention_num_buckets > 0) {
    position_bias_ = RelativePositionBias(kernels, weights, config.relative_attention_num_buckets,
                                          config.relative_attention_max_distance, config.num_attention_heads,
                                          largest_column(config));
  }
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    const std::string name = "layers." + std::to_string(i);
    layers_.push_back({SelfAttention(kernels, weights, name + ".attention", config.hidden_size,
                                     config.num_attention_heads, config.layer_norm_eps),
                       FeedForward(kernels, weights, name + ".ffn", config.hidden_size, config.intermediate_size,
                                   config.hidden_act, config.layer_norm_eps)});
    if (config.relative_attention_num_buckets > 0 && heads(i) != config.num_attention_heads) {
      throw WeightError(name + " has " + std::to_string(heads(i)) + " of " +
                        std::to_string(config.num_attention_heads) +
                        " heads, and relative_attention_bias.weight does not tell which of its columns are theirs");
    }
  }
  if (config.has_pooler) {
    const TensorView& weight = weight_at(weights, "pooler.weight", {config.hidden_size, config.hidden_size});
    const TensorView& bias = weight_at(weights, "pooler.bias", {config.hidden_size});
    pooler_ = Linear(kernels, {{&weight, &bias}});
  }
}

void Encoder::forward(const EncoderBatch& batch, const EncoderOutputs& outputs, int num_threads) const {
  check(config_, batch, outputs);
  const int threads = num_threads > 0 ? num_threads : get_num_threads();
  int64_t probability = 0;
  for (int64_t b = 0; b < batch.num_sequences;) {
    Piece piece{&batch, b, batch.cu_seqlens[b], {0}, {}, probability};
    do {
      const int64_t length = batch.cu_seqlens[b + 1] - batch.cu_seqlens[b];
      if (!outputs.attentions.empty()) {
        probability = checked_add(probability, checked_mul(length, length));
      }
      piece.cu_seqlens.push_back(static_cast<int32_t>(batch.cu_seqlens[++b] - piece.first_token));
    } while (b < batch.num_sequences && batch.cu_seqlens[b + 1] - piece.first_token <= kPieceTokens);
    piece.sequences = {
        .cu_seqlens = piece.cu_seqlens.data(),
        .key_lens = batch.key_lens == nullptr ? nullptr : batch.key_lens + piece.first_sequence,
        .columns = batch.columns == nullptr ? nullptr : batch.columns + piece.first_token,
        .num_tokens = piece.cu_seqlens.back(),
        .num_sequences = static_cast<int64_t>(piece.cu_seqlens.size()) - 1,
    };
    forward_piece(piece, outputs, threads);
  }
}

void Encoder::forward_piece(const Piece& piece, const EncoderOutputs& outputs, int num_threads) const {
  Arena size;
  memory(size, piece.sequences, num_threads);
  Buffer buffer = buffers_.acquire(size.used());
  // Carved up before the team begins: nothing that a team does may throw.
  Arena arena(buffer);
  const Memory carved = memory(arena, piece.sequences, num_threads);
  run_team(num_threads, [&](Team& team) { run(team, piece, outputs, carved); });
  buffers_.release(std::move(buffer));
}

Encoder::Memory Encoder::memory(Arena& arena, const Sequences& sequences, int num_threads) const {
  const int64_t tokens = sequences.num_tokens;
  Memory memory{};
  memory.x_stride = row_stride(config_.hidden_size);
  memory.x = arena.floats(checked_mul(tokens, memory.x_stride));
  LayerWorkspace& layers = memory.layers;
  layers.qkv_stride = row_stride(3 * config_.hidden_size);
  layers.context_stride = row_stride(config_.hidden_size);
  layers.intermediate_stride = row_stride(config_.intermediate_size);
  layers.scratch_floats = SelfAttention::scratch_floats(*kernels_, sequences.longest(), config_.head_dim());
  layers.qkv = arena.floats(checked_mul(tokens, layers.qkv_stride));
  layers.context = arena.floats(checked_mul(tokens, layers.context_stride));
  layers.intermediate = arena.floats(checked_mul(tokens, layers.intermediate_stride));
  layers.scratch = arena.floats(checked_mul(num_threads, layers.scratch_floats));
  memory.narrow = arena.floats(checked_mul(tokens, embeddings_.narrow_stride()));
  memory.embedding_scratch = arena.floats(checked_mul(num_threads, embeddings_.scratch_floats()));
  return memory;
}

void Encoder::run(Team& team, const Piece& piece, const EncoderOutputs& outputs, const Memory& m) const {
  const EncoderBatch& batch = *piece.batch;
  const Sequences& sequences = piece.sequences;
  const int64_t tokens = sequences.num_tokens;
  const int64_t hidden = config_.hidden_size;
  const int64_t token = piece.first_token;

  const auto from_first = [&](const auto* values, int64_t width) {
    return values == nullptr ? nullptr : values + token * width;
  };
  const auto write_rows = [&](const float* x, float* out) {
    team.for_each(tokens, [&](int64_t t) {
      std::memcpy(out + (token + t) * hidden, x + t * m.x_stride, static_cast<size_t>(hidden) * sizeof(float));
    });
  };

  embeddings_.forward(team,
                      {.input_ids = from_first(batch.input_ids, 1),
                       .inputs_embeds = from_first(batch.inputs_embeds, config_.embedding_size),
                       .position_ids = from_first(batch.position_ids, 1),
                       .token_type_ids = from_first(batch.token_type_ids, 1),
                       .num_tokens = tokens},
                      m.x, m.x_stride, m.narrow, m.embedding_scratch);
  if (!outputs.hidden_states.empty()) write_rows(m.x, outputs.hidden_states[0]);
  for (size_t i = 0; i < layers_.size(); ++i) {
    const SelfAttention& attention = layers_[i].attention;
    float* probabilities =
        outputs.attentions.empty() ? nullptr : outputs.attentions[i] + attention.heads() * piece.first_probability;
    attention.forward(team, sequences, position_bias_, m.layers, m.x, m.x_stride, probabilities);
    layers_[i].feed_forward.forward(team, m.layers, tokens, m.x, m.x_stride);
    if (!outputs.hidden_states.empty()) write_rows(m.x, outputs.hidden_states[i + 1]);
  }
  if (outputs.last_hidden_state != nullptr) write_rows(m.x, outputs.last_hidden_state);
  if (outputs.pooled != nullptr) {
    const int64_t width = hidden * static_cast<int64_t>(outputs.pooling.size());
    pool(team, *kernels_, sequences, {m.x, m.x_stride, hidden}, outputs.pooling, from_first(outputs.pooling_weights, 1),
         outputs.pooled + piece.first_sequence * width);
  }
  if (outputs.pooler_output != nullptr) {
    // The context is free after the last layer and has a row for every token, so one for every sequence.
    float* firsts = m.layers.context;
    const int64_t stride = m.layers.context_stride;
    team.for_each(sequences.num_sequences, [&](int64_t b) {
      std::memcpy(firsts + b * stride, m.x + first_token(sequences, b) * m.x_stride,
                  static_cast<size_t>(hidden) * sizeof(float));
    });
    pooler_.forward(team, {firsts, stride, sequences.num_sequences},
                    {.y = outputs.pooler_output + piece.first_sequence * hidden,
                     .stride = hidden,
                     .activation = Activation::kTanh});
  }
}

size_t Encoder::nbytes() const {
  size_t total = embeddings_.nbytes() + pooler_.nbytes();
  for (const Layer& layer : layers_) total += layer.attention.nbytes() + layer.feed_forward.nbytes();
  return total;
}

}  // namespace bertcpp
