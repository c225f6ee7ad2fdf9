#include "layers/gru.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <string>

#include "runtime/errors.h"
#include "runtime/sizes.h"

namespace bertcpp {
namespace {

// Tokens whose products are held at once. A larger batch goes through in pieces of whole sequences; results do not
// depend on where the cuts fall.
constexpr int64_t kPieceTokens = 4096;

void check(const GruBatch& batch) {
  if (batch.num_sequences < 1) throw InputError("cu_seqlens has one element, so there is no sequence");
  if (batch.cu_seqlens[0] != 0) throw InputError("cu_seqlens must begin with 0");
  for (int64_t b = 0; b < batch.num_sequences; ++b) {
    if (batch.cu_seqlens[b + 1] <= batch.cu_seqlens[b]) {
      throw InputError("cu_seqlens must rise, but " + std::to_string(batch.cu_seqlens[b + 1]) + " follows " +
                       std::to_string(batch.cu_seqlens[b]));
    }
  }
}

}  // namespace

// Whole sequences of a batch: [first_sequence, first_sequence + order.size()), tokens from first_token on. The longest
// come first in `order`, so that those which still run at a step are its beginning, and are dealt out to `groups`
// groups, which are computed apart from each other: group g has order[g], order[g + groups] ...
struct Gru::Piece {
  const GruBatch* batch;
  int64_t first_sequence;
  int64_t first_token;
  int64_t tokens;
  int64_t groups;
  std::vector<int64_t> order;

  int64_t begin(int64_t sequence) const { return batch->cu_seqlens[first_sequence + sequence] - first_token; }
  int64_t length(int64_t sequence) const { return begin(sequence + 1) - begin(sequence); }
  int64_t sequences() const { return static_cast<int64_t>(order.size()); }
  int64_t rows_of(int64_t group) const { return (sequences() - group + groups - 1) / groups; }
  int64_t member(int64_t group, int64_t row) const { return order[static_cast<size_t>(group + row * groups)]; }
};

struct Gru::Memory {
  float* products;  // [tokens, directions * 3 hidden] of the layer's input
  int64_t products_stride;
  float* between[2];  // [tokens, directions * hidden]: what one layer hands to the next
  float* states;      // [directions * sequences, hidden], a group's rows together
  int64_t states_stride;
  float* hidden_products;  // [directions * sequences, 3 hidden]
  int64_t hidden_stride;
};

Gru::Gru(const GruConfig& config, const WeightMap& weights, const Kernels& kernels)
    : config_(config), kernels_(&kernels) {
  const int64_t gates = 3 * config.hidden_size;
  for (int64_t k = 0; k < config.num_layers; ++k) {
    const int64_t width = k == 0 ? config.input_size : config.directions() * config.hidden_size;
    Layer layer;
    layer.hidden =
        Buffer(checked_bytes(checked_mul({config.directions(), panels(), kernels.nr, config.hidden_size}), 4));
    layer.bias = Buffer(checked_bytes(checked_mul({config.directions(), panels(), kernels.nr}), 4));
    std::vector<LinearPart> parts;
    for (int64_t d = 0; d < config.directions(); ++d) {
      const std::string end = "_l" + std::to_string(k) + (d == 0 ? "" : "_reverse");
      const auto bias = [&](const char* name) {
        return config.bias ? &weight_at(weights, name + end, {gates}) : nullptr;
      };
      parts.push_back({&weight_at(weights, "weight_ih" + end, {gates, width}), bias("bias_ih")});
      pack_hidden(weight_at(weights, "weight_hh" + end, {gates, config.hidden_size}), bias("bias_hh"), d, layer);
    }
    layer.input = Linear(kernels, parts);
    layers_.push_back(std::move(layer));
  }
}

void Gru::pack_hidden(const TensorView& weight, const TensorView* bias, int64_t direction, Layer& layer) const {
  const int64_t n = 3 * config_.hidden_size;
  const int64_t k = config_.hidden_size;
  const int64_t width = panels() * kernels_->nr;
  Buffer rows(checked_bytes(checked_mul(n, k), sizeof(float)));
  read_floats(*kernels_, weight, 0, n * k, rows.floats());
  kernels_->pack_weight(rows.floats(), k, n, k, layer.hidden.floats() + direction * width * k);
  float* own = layer.bias.floats() + direction * width;
  std::fill_n(own, width, 0.0f);
  if (bias != nullptr) read_floats(*kernels_, *bias, 0, n, own);
}

void Gru::forward(const GruBatch& batch, const GruOutputs& outputs, int num_threads) const {
  check(batch);
  const int threads = num_threads > 0 ? num_threads : get_num_threads();
  for (int64_t b = 0; b < batch.num_sequences;) {
    Piece piece{&batch, b, batch.cu_seqlens[b], 0, 1, {}};
    do {
      ++b;
    } while (b < batch.num_sequences && batch.cu_seqlens[b + 1] - piece.first_token <= kPieceTokens);
    piece.tokens = batch.cu_seqlens[b] - piece.first_token;
    piece.order.resize(static_cast<size_t>(b - piece.first_sequence));
    std::iota(piece.order.begin(), piece.order.end(), int64_t{0});
    std::stable_sort(piece.order.begin(), piece.order.end(),
                     [&](int64_t left, int64_t right) { return piece.length(left) > piece.length(right); });
    // A group for every thread; a thread with many sequences reads the weights once for all of them.
    const int64_t wanted = (threads + config_.directions() - 1) / config_.directions();
    piece.groups = std::min(wanted, piece.sequences());
    forward_piece(piece, outputs, threads);
  }
}

void Gru::forward_piece(const Piece& piece, const GruOutputs& outputs, int num_threads) const {
  Arena size;
  memory(size, piece);
  Buffer buffer = buffers_.acquire(size.used());
  // Carved up before the team begins: nothing that a team does may throw.
  Arena arena(buffer);
  const Memory carved = memory(arena, piece);
  run_team(num_threads, [&](Team& team) { run(team, piece, outputs, carved); });
  buffers_.release(std::move(buffer));
}

Gru::Memory Gru::memory(Arena& arena, const Piece& piece) const {
  const int64_t rows = checked_mul(config_.directions(), piece.sequences());
  Memory memory{};
  memory.products_stride = row_stride(config_.directions() * 3 * config_.hidden_size);
  memory.products = arena.floats(checked_mul(piece.tokens, memory.products_stride));
  for (int64_t i = 0; i < std::min<int64_t>(2, config_.num_layers - 1); ++i) {
    memory.between[i] = arena.floats(checked_mul({piece.tokens, config_.directions(), config_.hidden_size}));
  }
  memory.states_stride = row_stride(config_.hidden_size);
  memory.states = arena.floats(checked_mul(rows, memory.states_stride));
  memory.hidden_stride = row_stride(3 * config_.hidden_size);
  memory.hidden_products = arena.floats(checked_mul(rows, memory.hidden_stride));
  return memory;
}

void Gru::run(Team& team, const Piece& piece, const GruOutputs& outputs, const Memory& m) const {
  const int64_t width = config_.directions() * config_.hidden_size;
  const float* x = piece.batch->x + piece.first_token * config_.input_size;
  int64_t x_width = config_.input_size;
  for (int64_t k = 0; k < config_.num_layers; ++k) {
    const bool last = k + 1 == config_.num_layers;
    float* states = last ? outputs.states + piece.first_token * width : m.between[k % 2];
    float* finals = outputs.finals + k * config_.directions() * piece.batch->num_sequences * config_.hidden_size;
    layers_[static_cast<size_t>(k)].input.forward(team, {x, x_width, piece.tokens},
                                                  {.y = m.products, .stride = m.products_stride});
    team.for_each(config_.directions() * piece.groups, [&](int64_t task) { recur(piece, m, k, task, states, finals); });
    x = states;
    x_width = width;
  }
}

void Gru::recur(const Piece& piece, const Memory& m, int64_t layer, int64_t task, float* states, float* finals) const {
  const Layer& own = layers_[static_cast<size_t>(layer)];
  const int64_t direction = task / piece.groups;
  const int64_t group = task % piece.groups;
  const int64_t hidden = config_.hidden_size;
  const int64_t width = panels() * kernels_->nr;
  const auto bytes = static_cast<size_t>(hidden) * sizeof(float);
  int64_t first_row = direction * piece.sequences();
  for (int64_t g = 0; g < group; ++g) first_row += piece.rows_of(g);
  float* state = m.states + first_row * m.states_stride;
  float* products = m.hidden_products + first_row * m.hidden_stride;
  const int64_t rows = piece.rows_of(group);
  for (int64_t r = 0; r < rows; ++r) std::memset(state + r * m.states_stride, 0, bytes);
  int64_t running = rows;
  for (int64_t step = 0;; ++step) {
    while (running > 0 && piece.length(piece.member(group, running - 1)) <= step) --running;
    if (running == 0) break;
    kernels_->matmul({
        .a = state,
        .a_stride = m.states_stride,
        .packed = own.hidden.floats() + direction * width * hidden,
        .bias = own.bias.floats() + direction * width,
        .residual = nullptr,
        .residual_stride = 0,
        .out = products,
        .out_stride = m.hidden_stride,
        .m = running,
        .n_begin = 0,
        .n_end = 3 * hidden,
        .k = hidden,
        .activation = Activation::kIdentity,
    });
    for (int64_t r = 0; r < running; ++r) {
      const int64_t sequence = piece.member(group, r);
      const int64_t token = direction == 0 ? piece.begin(sequence) + step : piece.begin(sequence + 1) - 1 - step;
      float* row = state + r * m.states_stride;
      kernels_->gru_cell(m.products + token * m.products_stride + direction * 3 * hidden,
                         products + r * m.hidden_stride, hidden, row);
      std::memcpy(states + (token * config_.directions() + direction) * hidden, row, bytes);
    }
  }
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t sequence = piece.first_sequence + piece.member(group, r);
    std::memcpy(finals + (direction * piece.batch->num_sequences + sequence) * hidden, state + r * m.states_stride,
                bytes);
  }
}

size_t Gru::nbytes() const {
  size_t total = 0;
  for (const Layer& layer : layers_) total += layer.input.nbytes() + layer.hidden.size() + layer.bias.size();
  return total;
}

}  // namespace bertcpp
