#include "cuda/engine.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <type_traits>
#include <vector>

#include "cuda/delivery.h"
#include "cuda/errors.h"
#include "cuda/matmul.h"
#include "cuda/weights.h"
#include "models/checks.h"
#include "runtime/errors.h"
#include "runtime/sizes.h"

namespace bertcpp::cuda {
namespace {

// Tokens of one pass through the layers. A larger batch goes through in pieces of whole sequences, so that the memory
// stays bounded.
constexpr int64_t kPieceTokens = 16384;
// Memory that is kept from one call to the next; what a call needed beyond is given back after it.
constexpr size_t kKeepBytes = size_t{1} << 30;

// The heads that a layer has: num_attention_heads, or what pruning left of them, as its query's rows tell.
int64_t heads_of(const EncoderConfig& config, const WeightMap& weights, const std::string& layer) {
  const auto query = weights.find(layer + ".attention.query.weight");
  if (query == weights.end() || query->second.shape.empty()) return config.num_attention_heads;
  const int64_t rows = query->second.shape[0];
  // What is no number of whole heads fails where the shapes are checked.
  if (rows <= 0 || rows >= config.hidden_size || rows % config.head_dim() != 0) return config.num_attention_heads;
  if (config.relative_attention_num_buckets > 0) {
    throw WeightError(layer +
                      " has lost heads, and relative_attention_bias.weight does not tell which of its columns "
                      "are theirs");
  }
  return rows / config.head_dim();
}

class Stream {
 public:
  Stream() { check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream"); }
  ~Stream() { static_cast<void>(cudaStreamDestroy(stream_)); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  operator cudaStream_t() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

// Of one piece, on the device.
template <class T>
struct Memory {
  Inputs inputs;
  float* embeds;    // [tokens, E]: what was given in place of ids, or null
  Matrix<float> x;  // [tokens, H]: the residual stream
  Matrix<T> low;    // [tokens, H]: the same for products; null where T is float
  Matrix<T> qkv;    // [tokens, 3H], and context [tokens, H]: narrower in layers that lost heads
  Matrix<T> context;
  Matrix<T> inner;    // [tokens, I]
  Matrix<float> sum;  // [tokens, H]: what is added to the stream
  Matrix<float> narrow;
  Matrix<T> narrow_low;
  Matrix<T> firsts;      // [B, H]
  Matrix<float> pooler;  // [B, H]
  float* pooled;         // [B, H modes]
  float* probabilities;
};

template <class T>
struct Layer {
  int64_t heads;  // num_attention_heads, or fewer where some were pruned
  Product<T, T> qkv;
  Product<T, float> output;
  const float* output_bias;
  Norm attention_norm;
  Product<T, T> up;
  const float* up_bias;
  Product<T, float> down;
  const float* down_bias;
  Norm ffn_norm;
};

template <class T>
class TypedEngine final : public Engine {
 public:
  TypedEngine(const EncoderConfig& config, const WeightMap& weights, bool tf32)
      : config_(config), products_(tf32), weights_(weights, stream_) {
    load_embeddings();
    load_position_bias(weights);
    for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
      layers_.push_back(load_layer(weights, "layers." + std::to_string(i)));
    }
    if (config.has_pooler) {
      const int64_t hidden = config.hidden_size;
      pooler_ = product<float>({"pooler.weight"}, {}, hidden, hidden);
      pooler_bias_ = weights_.vector("pooler.bias", hidden);
    }
    weights_.finish();
  }

  void forward(const EncoderBatch& batch, const EncoderOutputs& outputs, const Padding* padding) override {
    try {
      delivery_.clear(batch, padding, config_.hidden_size, outputs.last_hidden_state);
      for (float* states : outputs.hidden_states) delivery_.clear(batch, padding, config_.hidden_size, states);
      for (size_t i = 0; padding != nullptr && i < outputs.attentions.size(); ++i) {
        delivery_.clear(batch, padding, checked_mul(layers_[i].heads, padding->columns), outputs.attentions[i]);
      }
      for (const Piece& piece : cut(batch, padding, kPieceTokens)) {
        run(piece, outputs, prepare(piece, outputs));
      }
    } catch (...) {
      // Nothing may still read the memory that the next call overwrites.
      static_cast<void>(cudaStreamSynchronize(stream_));
      shrink();
      throw;
    }
    shrink();
  }

  cudaStream_t stream() const override { return stream_; }
  Transfer& transfer() override { return delivery_.transfer(); }
  size_t nbytes() const override { return weights_.nbytes(); }
  int64_t heads(int64_t layer) const override { return layers_[static_cast<size_t>(layer)].heads; }

 private:
  static constexpr bool kIsFloat = std::is_same_v<T, float>;

  // Rows of `names` below each other; biases in T are added by the product itself, where there are any.
  template <class Out>
  Product<T, Out> product(const std::vector<std::string>& names, const std::vector<std::string>& biases, int64_t n,
                          int64_t k) {
    const auto weight = weights_.template stack<T>(names, {n, k});
    const T* bias = biases.empty() ? nullptr : weights_.template join<T>(biases, n);
    return Product<T, Out>(products_, weight, bias, n * static_cast<int64_t>(names.size()), k);
  }

  void load_embeddings() {
    const int64_t width = config_.embedding_size;
    word_ = weights_.template load<T>("embeddings.word.weight", {config_.vocab_size, width});
    position_ = weights_.template load<T>("embeddings.position.weight", {config_.max_position_embeddings, width});
    if (config_.type_vocab_size > 0) {
      token_type_ = weights_.template load<T>("embeddings.token_type.weight", {config_.type_vocab_size, width});
    }
    embedding_norm_ = weights_.norm("embeddings.norm", width, config_.layer_norm_eps);
    if (width == config_.hidden_size) return;
    projection_ = product<float>({"embeddings.projection.weight"}, {}, config_.hidden_size, width);
    projection_bias_ = weights_.vector("embeddings.projection.bias", config_.hidden_size);
  }

  void load_position_bias(const WeightMap& weights) {
    if (config_.relative_attention_num_buckets == 0) return;
    const RelativePositionBias bias(active_kernels(), weights, config_.relative_attention_num_buckets,
                                    config_.relative_attention_max_distance, config_.num_attention_heads,
                                    largest_column(config_));
    max_distance_ = bias.max_distance();
    position_bias_ =
        weights_.copy(bias.head(0) - max_distance_, checked_mul(config_.num_attention_heads, 2 * max_distance_ + 1));
  }

  Layer<T> load_layer(const WeightMap& weights, const std::string& name) {
    const int64_t hidden = config_.hidden_size;
    const int64_t inner = config_.intermediate_size;
    const std::string attention = name + ".attention";
    const std::string ffn = name + ".ffn";
    const auto of_all = [&](const std::string& part) {
      return std::vector{attention + ".query" + part, attention + ".key" + part, attention + ".value" + part};
    };
    Layer<T> layer;
    layer.heads = heads_of(config_, weights, name);
    const int64_t width = layer.heads * config_.head_dim();
    layer.qkv = product<T>(of_all(".weight"), of_all(".bias"), width, hidden);
    layer.output = product<float>({attention + ".output.weight"}, {}, hidden, width);
    layer.output_bias = weights_.vector(attention + ".output.bias", hidden);
    layer.attention_norm = weights_.norm(attention + ".norm", hidden, config_.layer_norm_eps);
    layer.up = product<T>({ffn + ".up.weight"}, {}, inner, hidden);
    layer.up_bias = weights_.vector(ffn + ".up.bias", inner);
    layer.down = product<float>({ffn + ".down.weight"}, {}, hidden, inner);
    layer.down_bias = weights_.vector(ffn + ".down.bias", hidden);
    layer.ffn_norm = weights_.norm(ffn + ".norm", hidden, config_.layer_norm_eps);
    return layer;
  }

  Memory<T> carve_memory(Carver& carver, const Piece& piece, const EncoderOutputs& outputs) const {
    const int64_t tokens = piece.num_tokens;
    const int64_t hidden = config_.hidden_size;
    const int64_t width = config_.embedding_size;
    Memory<T> m{};
    m.inputs = carve(carver, config_, piece, outputs);  // first, as the host's copy has them
    m.embeds = piece.has_device_embeds() ? carver.take<float>(checked_mul(tokens, width)) : m.inputs.inputs_embeds;
    m.x = carver.matrix<float>(tokens, hidden);
    if (!kIsFloat) m.low = carver.matrix<T>(tokens, hidden);
    m.qkv = carver.matrix<T>(tokens, 3 * hidden);
    m.context = carver.matrix<T>(tokens, hidden);
    m.inner = carver.matrix<T>(tokens, config_.intermediate_size);
    m.sum = carver.matrix<float>(tokens, hidden);
    if (width != hidden) m.narrow = carver.matrix<float>(tokens, width);
    if (width != hidden && !kIsFloat) m.narrow_low = carver.matrix<T>(tokens, width);
    if (outputs.pooler_output != nullptr) {
      m.firsts = carver.matrix<T>(piece.num_sequences, hidden);
      m.pooler = carver.matrix<float>(piece.num_sequences, hidden);
    }
    m.pooled =
        carver.take<float>(checked_mul({piece.num_sequences, hidden, static_cast<int64_t>(outputs.pooling.size())}));
    if (!outputs.attentions.empty()) {
      m.probabilities = carver.take<float>(checked_mul(config_.num_attention_heads, piece.num_probabilities));
    }
    return m;
  }

  // Makes room, and puts the copy of the inputs on the stream.
  Memory<T> prepare(const Piece& piece, const EncoderOutputs& outputs) {
    Carver measured(nullptr);
    carve_memory(measured, piece, outputs);
    arena_.grow(Place::kDevice, measured.used());
    Carver sized(nullptr);
    carve(sized, config_, piece, outputs);
    staging_.grow(Place::kPinned, sized.used());
    Carver host(staging_.data());
    fill(config_, piece, outputs, carve(host, config_, piece, outputs));
    check(cudaMemcpyAsync(arena_.data(), staging_.data(), sized.used(), cudaMemcpyHostToDevice, stream_),
          "copying a batch to the GPU");
    Carver carver(arena_.data());
    return carve_memory(carver, piece, outputs);
  }

  void run(const Piece& piece, const EncoderOutputs& outputs, const Memory<T>& m) {
    const auto write_states = [&](float* out) {
      delivery_.tokens(piece, m.inputs, {m.x.data, m.x.stride}, config_.hidden_size, out);
    };
    embed_tokens(piece, m);
    if (!outputs.hidden_states.empty()) write_states(outputs.hidden_states[0]);
    for (size_t i = 0; i < layers_.size(); ++i) {
      attend(layers_[i], piece, m, outputs.attentions.empty() ? nullptr : outputs.attentions[i]);
      feed_forward(layers_[i], piece, m);
      if (!outputs.hidden_states.empty()) write_states(outputs.hidden_states[i + 1]);
    }
    write_states(outputs.last_hidden_state);
    if (outputs.pooled != nullptr) pool_states(piece, outputs, m);
    if (outputs.pooler_output != nullptr) run_pooler(piece, outputs, m);
    check(cudaStreamSynchronize(stream_), "computing on the GPU");
  }

  static const T* read_by_products(const Matrix<float>& x, const Matrix<T>& low) {
    if constexpr (kIsFloat) {
      return x.data;
    } else {
      return low.data;
    }
  }

  void embed_tokens(const Piece& piece, const Memory<T>& m) {
    const bool narrow = config_.embedding_size != config_.hidden_size;
    if (piece.has_device_embeds()) {
      gather_cells(stream_, piece.padding->embeds, m.inputs.cells, piece.padding->columns, piece.num_tokens,
                   config_.embedding_size, m.embeds);
    }
    embed<T>(stream_, {.word = word_,
                       .position = position_,
                       .token_type = token_type_,
                       .inputs_embeds = m.embeds,
                       .input_ids = m.inputs.input_ids,
                       .position_ids = m.inputs.position_ids,
                       .type_ids = m.inputs.token_type_ids,
                       .norm = embedding_norm_,
                       .rows = piece.num_tokens,
                       .n = config_.embedding_size,
                       .x = narrow ? m.narrow : m.x,
                       .low = narrow ? m.narrow_low : m.low});
    if (!narrow) return;
    projection_(products_, stream_, read_by_products(m.narrow, m.narrow_low), piece.num_tokens, m.sum.data);
    const Matrix<const float> sum{m.sum.data, m.sum.stride};
    const auto add_bias = [&]<class To>(Matrix<To> to) {
      map<float, To>(stream_, sum, projection_bias_, Activation::kIdentity, piece.num_tokens, config_.hidden_size, to);
    };
    add_bias(m.x);
    if constexpr (!kIsFloat) add_bias(m.low);
  }

  void attend(const Layer<T>& layer, const Piece& piece, const Memory<T>& m, float* probabilities) {
    layer.qkv(products_, stream_, read_by_products(m.x, m.low), piece.num_tokens, m.qkv.data);
    const int64_t width = layer.heads * config_.head_dim();
    const AttentionArgs<T> args{
        .sequences = {m.inputs.cu_seqlens, m.inputs.key_lens, m.inputs.columns, m.inputs.tiles, piece.num_tiles},
        .qkv = {m.qkv.data, device_stride(3 * width)},
        .context = {m.context.data, device_stride(width)},
        .position_bias = position_bias_,
        .max_distance = max_distance_,
        .heads = static_cast<int32_t>(layer.heads),
        .head_dim = static_cast<int32_t>(config_.head_dim()),
        .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(config_.head_dim()))),
    };
    attention<T>(stream_, args);
    if (probabilities != nullptr) {
      attention_probabilities<T>(stream_, args, m.inputs.offsets, m.probabilities);
      delivery_.probabilities(piece, m.inputs, m.probabilities, layer.heads, probabilities);
    }
    layer.output(products_, stream_, m.context.data, piece.num_tokens, m.sum.data);
    add_to_stream(piece, m, layer.output_bias, layer.attention_norm);
  }

  void feed_forward(const Layer<T>& layer, const Piece& piece, const Memory<T>& m) {
    layer.up(products_, stream_, read_by_products(m.x, m.low), piece.num_tokens, m.inner.data);
    map<T, T>(stream_, {m.inner.data, m.inner.stride}, layer.up_bias, config_.hidden_act, piece.num_tokens,
              config_.intermediate_size, m.inner);
    layer.down(products_, stream_, m.inner.data, piece.num_tokens, m.sum.data);
    add_to_stream(piece, m, layer.down_bias, layer.ffn_norm);
  }

  // x = LayerNorm(x + sum + bias).
  void add_to_stream(const Piece& piece, const Memory<T>& m, const float* bias, const Norm& norm) {
    add_norm<T>(stream_, {.y = {m.sum.data, m.sum.stride},
                          .bias = bias,
                          .norm = norm,
                          .rows = piece.num_tokens,
                          .n = config_.hidden_size,
                          .x = m.x,
                          .low = m.low});
  }

  void pool_states(const Piece& piece, const EncoderOutputs& outputs, const Memory<T>& m) {
    const auto modes = static_cast<int64_t>(outputs.pooling.size());
    const int64_t width = config_.hidden_size * modes;
    pool(stream_, {.x = {m.x.data, m.x.stride},
                   .cu_seqlens = m.inputs.cu_seqlens,
                   .key_lens = m.inputs.key_lens,
                   .first_rows = m.inputs.first_rows,
                   .weights = m.inputs.pooling_weights,
                   .modes = m.inputs.modes,
                   .num_modes = modes,
                   .num_sequences = piece.num_sequences,
                   .n = config_.hidden_size,
                   .out = m.pooled});
    delivery_.sequences(piece, {m.pooled, width}, width, outputs.pooled);
  }

  void run_pooler(const Piece& piece, const EncoderOutputs& outputs, const Memory<T>& m) {
    const int64_t hidden = config_.hidden_size;
    const Matrix<T> states{const_cast<T*>(read_by_products(m.x, m.low)), m.x.stride};
    gather<T>(stream_, {states.data, states.stride}, m.inputs.first_rows, piece.num_sequences, hidden, m.firsts);
    pooler_(products_, stream_, m.firsts.data, piece.num_sequences, m.pooler.data);
    map<float, float>(stream_, {m.pooler.data, m.pooler.stride}, pooler_bias_, Activation::kTanh, piece.num_sequences,
                      hidden, m.pooler);
    delivery_.sequences(piece, {m.pooler.data, m.pooler.stride}, hidden, outputs.pooler_output);
  }

  void shrink() {
    if (arena_.size() > kKeepBytes) arena_ = Block();
  }

  EncoderConfig config_;
  Stream stream_;
  Delivery delivery_{stream_};
  Products products_;
  DeviceWeights weights_;
  Block arena_;
  Block staging_;  // pinned: inputs
  Matrix<const T> word_;
  Matrix<const T> position_;
  Matrix<const T> token_type_;
  Norm embedding_norm_{};
  Product<T, float> projection_;
  const float* projection_bias_ = nullptr;
  const float* position_bias_ = nullptr;
  int64_t max_distance_ = 0;
  std::vector<Layer<T>> layers_;
  Product<T, float> pooler_;
  const float* pooler_bias_ = nullptr;
};

}  // namespace

template <class T>
std::unique_ptr<Engine> make_engine(const EncoderConfig& config, const WeightMap& weights, bool tf32) {
  return std::make_unique<TypedEngine<T>>(config, weights, tf32);
}

template std::unique_ptr<Engine> make_engine<float>(const EncoderConfig&, const WeightMap&, bool);
template std::unique_ptr<Engine> make_engine<__half>(const EncoderConfig&, const WeightMap&, bool);
template std::unique_ptr<Engine> make_engine<__nv_bfloat16>(const EncoderConfig&, const WeightMap&, bool);

}  // namespace bertcpp::cuda
