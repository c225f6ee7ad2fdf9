#include "models/checks.h"

#include <cmath>
#include <string>

#include "runtime/errors.h"

namespace bertcpp {
namespace {

// No model comes near; it keeps products of two sizes far from overflow.
constexpr int64_t kLargestSize = int64_t{1} << 28;

void check_size(const char* name, int64_t value, int64_t least) {
  if (value >= least && value <= kLargestSize) return;
  throw ConfigError(std::string(name) + " is " + std::to_string(value) + "; it must lie between " +
                    std::to_string(least) + " and " + std::to_string(kLargestSize));
}

// A byte times a signed byte is at most 255 * 127, so that 32 bits hold the sum of this many of them and a few more.
constexpr int64_t kDeepestInt8 = (int64_t{1} << 16) - 1;

void check_int8_depth(const char* name, int64_t value) {
  if (value <= kDeepestInt8) return;
  throw ConfigError(std::string(name) + " is " + std::to_string(value) + ", but dtype int8 sums exactly over at most " +
                    std::to_string(kDeepestInt8) + " values: compute in float32 or bfloat16");
}

void check_ids(const char* name, const int32_t* ids, int64_t count, int64_t limit, const char* table) {
  if (ids == nullptr) return;
  for (int64_t i = 0; i < count; ++i) {
    if (ids[i] >= 0 && ids[i] < limit) continue;
    throw TokenIdError(std::string(name) + "[" + std::to_string(i) + "] is " + std::to_string(ids[i]) + ", but " +
                       table + " has " + std::to_string(limit) + " entries (0 to " + std::to_string(limit - 1) + ")");
  }
}

void check_sequences(const EncoderBatch& batch) {
  if (batch.num_sequences < 1 || batch.num_tokens < 1)
    throw InputError("a batch needs at least one sequence of at least one token");
  if (batch.cu_seqlens[0] != 0)
    throw InputError("cu_seqlens must start with 0, not " + std::to_string(batch.cu_seqlens[0]));
  for (int64_t b = 0; b < batch.num_sequences; ++b) {
    const int64_t begin = batch.cu_seqlens[b];
    const int64_t end = batch.cu_seqlens[b + 1];
    if (end <= begin || end > batch.num_tokens) {
      throw InputError("cu_seqlens must rise strictly up to the number of tokens, " + std::to_string(batch.num_tokens) +
                       "; entry " + std::to_string(b + 1) + " is " + std::to_string(end) + " after " +
                       std::to_string(begin));
    }
    if (batch.key_lens == nullptr) continue;
    if (batch.key_lens[b] < 1 || batch.key_lens[b] > end - begin) {
      throw InputError("key_lens[" + std::to_string(b) + "] is " + std::to_string(batch.key_lens[b]) +
                       "; it must lie between 1 and the sequence's length, " + std::to_string(end - begin));
    }
  }
  if (batch.cu_seqlens[batch.num_sequences] != batch.num_tokens) {
    throw InputError("cu_seqlens ends with " + std::to_string(batch.cu_seqlens[batch.num_sequences]) +
                     ", but there are " + std::to_string(batch.num_tokens) + " tokens");
  }
}

}  // namespace

int64_t largest_column(const EncoderConfig& config) { return 2 * config.max_position_embeddings; }

const EncoderConfig& check(const EncoderConfig& config) {
  check_size("vocab_size", config.vocab_size, 1);
  check_size("hidden_size", config.hidden_size, 1);
  check_size("num_hidden_layers", config.num_hidden_layers, 0);
  check_size("num_attention_heads", config.num_attention_heads, 1);
  check_size("intermediate_size", config.intermediate_size, 1);
  check_size("max_position_embeddings", config.max_position_embeddings, 1);
  check_size("type_vocab_size", config.type_vocab_size, 0);
  check_size("embedding_size", config.embedding_size, 1);
  check_size("relative_attention_num_buckets", config.relative_attention_num_buckets, 0);
  if (config.precision == Precision::kInt8) {
    check_int8_depth("hidden_size", config.hidden_size);
    check_int8_depth("intermediate_size", config.intermediate_size);
    check_int8_depth("embedding_size", config.embedding_size);
  }
  if (config.hidden_size % config.num_attention_heads != 0) {
    throw ConfigError("hidden_size " + std::to_string(config.hidden_size) +
                      " is not a multiple of num_attention_heads " + std::to_string(config.num_attention_heads));
  }
  if (!(config.layer_norm_eps >= 0.0) || !std::isfinite(config.layer_norm_eps)) {
    throw ConfigError("layer_norm_eps is " + std::to_string(config.layer_norm_eps) +
                      "; it must be a finite number of at least 0");
  }
  if (config.relative_attention_num_buckets > 0 &&
      (config.relative_attention_num_buckets % 4 != 0 ||
       config.relative_attention_max_distance <= config.relative_attention_num_buckets / 4)) {
    throw ConfigError("relative_attention_num_buckets " + std::to_string(config.relative_attention_num_buckets) +
                      " must be a multiple of 4, and relative_attention_max_distance more than a quarter of it");
  }
  return config;
}

void check(const EncoderConfig& config, const EncoderBatch& batch, const EncoderOutputs& outputs) {
  check_sequences(batch);
  if ((batch.input_ids == nullptr) == (batch.inputs_embeds == nullptr)) {
    throw InputError("give either input_ids or inputs_embeds");
  }
  if (batch.position_ids == nullptr) throw InputError("position_ids are missing");
  if (outputs.pooler_output != nullptr && !config.has_pooler) throw InputError("this model has no pooler");
  check_ids("input_ids", batch.input_ids, batch.num_tokens, config.vocab_size, "the vocabulary");
  check_ids("position_ids", batch.position_ids, batch.num_tokens, config.max_position_embeddings,
            "the table of positions");
  if (config.type_vocab_size > 0) {
    check_ids("token_type_ids", batch.token_type_ids, batch.num_tokens, config.type_vocab_size,
              "the table of token types");
  }
  if (config.relative_attention_num_buckets == 0) return;
  const int64_t limit = largest_column(config) + 1;
  check_ids("columns", batch.columns, batch.num_tokens, limit, "the table of relative places");
  for (int64_t b = 0; b < batch.num_sequences; ++b) {
    if (batch.cu_seqlens[b + 1] - batch.cu_seqlens[b] > limit) {
      throw InputError("sequence " + std::to_string(b) + " has more tokens than the table of relative places, " +
                       std::to_string(limit));
    }
  }
}

}  // namespace bertcpp
