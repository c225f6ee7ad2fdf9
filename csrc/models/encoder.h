// The encoder that every BERT family shares: embeddings, then layers of self-attention and feed-forward, each with a
// residual and a LayerNorm behind it (arXiv 1810.04805). What families differ in is configuration.
#pragma once

#include <memory>
#include <vector>

#include "layers/embeddings.h"
#include "layers/feed_forward.h"
#include "layers/self_attention.h"

namespace bertcpp {

struct EncoderConfig {
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t num_hidden_layers = 0;
  int64_t num_attention_heads = 0;
  int64_t intermediate_size = 0;
  int64_t max_position_embeddings = 0;
  int64_t type_vocab_size = 0;  // 0: no token type embeddings
  int64_t embedding_size = 0;   // differs from hidden_size in ELECTRA
  Activation hidden_act = Activation::kGelu;
  double layer_norm_eps = 1e-12;
  int64_t relative_attention_num_buckets = 0;  // 0: no relative position bias
  int64_t relative_attention_max_distance = 128;
  bool has_pooler = false;
  Precision precision = Precision::kFloat32;  // of the products in the layers; everything else is float32

  int64_t head_dim() const { return hidden_size / num_attention_heads; }
};

// How a sequence's hidden states become one vector; equations of sentence-transformers' Pooling. Tokens that are not
// attended to take no part, except that kCls, like the pooler, reads the token that was first before masked ones went.
enum class Pooling { kCls, kMean, kMax, kMeanSqrtLen, kWeightedMean, kLastToken };

// T tokens of B sequences, end to end. Null where absent.
struct EncoderBatch {
  const int32_t* input_ids = nullptr;       // [T], or null with inputs_embeds
  const float* inputs_embeds = nullptr;     // [T, embedding_size]
  const int32_t* position_ids = nullptr;    // [T]
  const int32_t* token_type_ids = nullptr;  // [T]
  const int32_t* cu_seqlens = nullptr;      // [B + 1]
  const int32_t* key_lens = nullptr;        // [B]: the first so many tokens are attended to; all where null
  const int32_t* columns = nullptr;         // [T]: places for relative position biases; 0, 1, 2 ... where null
  int64_t num_tokens = 0;
  int64_t num_sequences = 0;
};

// Where results go; null or empty for what is not wanted.
struct EncoderOutputs {
  float* last_hidden_state = nullptr;  // [T, H]
  float* pooler_output = nullptr;      // [B, H]
  std::vector<float*> hidden_states;   // num_hidden_layers + 1 of [T, H]: the embeddings, then each layer
  std::vector<float*> attentions;      // num_hidden_layers, each sequence's [heads(i), length, length] end to end
  float* pooled = nullptr;             // [B, H * pooling.size()]
  std::vector<Pooling> pooling;
  const float* pooling_weights = nullptr;  // [T]: 0 leaves a token out of the pool; all ones where null
};

class Encoder {
 public:
  // Embedding tables are read where they lie and must outlive the Encoder, and so are the parts that another Encoder of
  // this configuration and these kernels has packed; where weights lacks those, matrices are packed.
  // `decoder`: see Embeddings. Throws ConfigError or WeightError.
  Encoder(const EncoderConfig& config, const WeightMap& weights, const Kernels& kernels,
          const Linear* decoder = nullptr);

  // Any number of threads may call this at once. num_threads 0: the process's default. Throws InputError, TokenIdError.
  void forward(const EncoderBatch& batch, const EncoderOutputs& outputs, int num_threads) const;

  const EncoderConfig& config() const { return config_; }
  // Of a layer: num_attention_heads, or fewer where some were pruned.
  int64_t heads(int64_t layer) const { return layers_[static_cast<size_t>(layer)].attention.heads(); }
  size_t nbytes() const;
  // What the constructor would take in place of the matrices but for the pooler's, which heads read too. Valid while
  // the Encoder is.
  PackedParts packed() const;

 private:
  struct Layer {
    SelfAttention attention;
    FeedForward feed_forward;
    size_t nbytes() const { return attention.nbytes() + feed_forward.nbytes(); }
  };
  struct Piece;
  struct Memory;

  // Whether threads may work apart: each of them reads all weights of a layer then.
  bool layers_are_small() const;
  // Pieces of whole sequences, each of as many as have up to so many tokens together, or of one.
  std::vector<Piece> cut(const EncoderBatch& batch, const EncoderOutputs& outputs, int64_t tokens) const;
  // Each piece on one thread, or one piece on all of them.
  void forward_apart(const std::vector<Piece>& pieces, const EncoderOutputs& outputs, int num_threads) const;
  void forward_together(const Piece& piece, const EncoderOutputs& outputs, int num_threads) const;
  void run(Team& team, const Piece& piece, const EncoderOutputs& outputs, const Memory& m) const;
  void run_layers(Team& team, const Piece& piece, const EncoderOutputs& outputs, const Memory& m) const;
  void write_results(Team& team, const Piece& piece, const EncoderOutputs& outputs, const Memory& m) const;
  // A hidden state from the checkpoint's order of channels to the layers', in place, and back.
  void to_layer_order(Team& team, int64_t tokens, const Memory& m) const;
  void to_checkpoint_order(const float* x, float* out) const;
  // Carves x, the layers' workspace and the embeddings' scratch for so many tokens, of sequences of up to `longest`.
  Memory memory(Arena& arena, int64_t tokens, int64_t longest, int num_threads) const;

  EncoderConfig config_;
  const Kernels* kernels_;
  Embeddings embeddings_;
  RelativePositionBias position_bias_;
  LayerFormat format_;
  std::vector<Layer> layers_;
  Linear pooler_;
  mutable BufferCache buffers_;
};

}  // namespace bertcpp
