#include "layers/self_attention.h"

#include <algorithm>
#include <cmath>

namespace bertcpp {
namespace {

// The heads that a layer has: `heads`, or what pruning left of them.
int64_t heads_of(const WeightMap& weights, const std::string& name, int64_t hidden_size, int64_t heads) {
  const auto query = weights.find(name + ".query.bias");
  if (query == weights.end() || query->second.shape.empty()) return heads;
  const int64_t rows = query->second.shape[0];
  const int64_t head_dim = hidden_size / heads;
  // What is no number of whole heads fails where the shapes are checked.
  return rows >= head_dim && rows < hidden_size && rows % head_dim == 0 ? rows / head_dim : heads;
}

// The bucket of a distance key - query: half of the buckets for each sign; of those, half for single distances and half
// for logarithmic steps up to `far` (T5's scheme, arXiv 1910.10683, bidirectional).
int64_t bucket_of(int64_t distance, int64_t buckets, int64_t far) {
  const int64_t half = buckets / 2;
  const int64_t sign = distance > 0 ? half : 0;
  const int64_t n = distance < 0 ? -distance : distance;
  const int64_t exact = half / 2;
  if (n < exact) return sign + n;
  // float32 throughout, as PyTorch computes it: the last bit decides at the edges of buckets.
  const float step = std::log(static_cast<float>(n) / static_cast<float>(exact)) /
                     static_cast<float>(std::log(static_cast<double>(far) / static_cast<double>(exact)));
  const int64_t bucket = exact + static_cast<int64_t>(step * static_cast<float>(half - exact));
  return sign + std::min(bucket, half - 1);
}

}  // namespace

int64_t Sequences::longest() const {
  int64_t most = 0;
  for (int64_t b = 0; b < num_sequences; ++b) most = std::max(most, length(b));
  return most;
}

LayerWorkspace LayerWorkspace::from(int64_t row, int rank) const {
  LayerWorkspace own = *this;
  own.qkv += row * qkv_stride;
  own.context += row * context_stride;
  own.intermediate += row * intermediate_stride;
  // Products differ in their segments: rows are as far apart as the most of them need.
  const auto rows_from = [row](const OperandRows& rows) {
    return rows.words == nullptr ? rows : rows.from(row, rows.scale == nullptr ? 0 : OperandRows::kMostSegments);
  };
  own.operand = rows_from(operand);
  own.inner = rows_from(inner);
  own.scratch += rank * scratch_floats;
  return own;
}

RelativePositionBias::RelativePositionBias(const Kernels& kernels, const WeightMap& weights, int64_t buckets,
                                           int64_t far, int64_t heads, int64_t max_distance)
    : heads_(heads),
      max_distance_(max_distance),
      table_(static_cast<size_t>(heads * (2 * max_distance + 1)) * sizeof(float)) {
  const TensorView& weight = weight_at(weights, "relative_attention_bias.weight", {buckets, heads});
  std::vector<float> values(static_cast<size_t>(buckets * heads));
  read_floats(kernels, weight, 0, buckets * heads, values.data());
  for (int64_t distance = -max_distance; distance <= max_distance; ++distance) {
    const int64_t bucket = bucket_of(distance, buckets, far);
    for (int64_t h = 0; h < heads; ++h) {
      table_.floats()[h * (2 * max_distance + 1) + max_distance + distance] =
          values[static_cast<size_t>(bucket * heads + h)];
    }
  }
}

SelfAttention::SelfAttention(const Kernels& kernels, const WeightMap& weights, const std::string& name,
                             int64_t hidden_size, int64_t heads, double layer_norm_eps, const LayerFormat& format)
    : kernels_(&kernels),
      head_dim_(hidden_size / heads),
      heads_(heads_of(weights, name, hidden_size, heads)),
      qkv_(Linear::of(
          kernels, weights, name + ".qkv", {name + ".query", name + ".key", name + ".value"}, heads_ * head_dim_,
          hidden_size,
          {.precision = format.precision, .input_order = format.order(), .segment_ends = format.hidden_segments})),
      output_(Linear::of(kernels, weights, name + ".output", {name + ".output"}, hidden_size, heads_ * head_dim_,
                         {.precision = format.precision, .output_order = format.order()})),
      norm_(kernels, weights, name + ".norm", hidden_size, layer_norm_eps, format.order()) {}

void SelfAttention::collect(const std::string& name, PackedParts& parts) const {
  qkv_.collect(name + ".qkv", parts);
  output_.collect(name + ".output", parts);
}

int64_t SelfAttention::scratch_floats(const Kernels& kernels, int64_t longest, int64_t head_dim) {
  return row_stride(kernels.attention_scratch(longest, longest, head_dim));
}

void SelfAttention::project(Team& team, const LayerWorkspace& workspace, int64_t m, const float* x,
                            int64_t x_stride) const {
  qkv_.forward(team, workspace.input(x, x_stride, m, workspace.operand), {workspace.qkv, workspace.qkv_stride});
}

void SelfAttention::attend(Team& team, const Sequences& sequences, const RelativePositionBias& bias,
                           const LayerWorkspace& workspace, float* probabilities) const {
  const int64_t head_dim = head_dim_;
  const int64_t width = heads_ * head_dim;
  const int64_t stride = workspace.qkv_stride;
  // Where sequences and heads are fewer than the threads could share, queries are cut as well; each cut packs the keys
  // again, so a piece keeps at least four tiles.
  const int64_t tasks = sequences.num_sequences * heads_;
  const int64_t wanted = team.size() == 1 ? 1 : (2 * team.size() + tasks - 1) / tasks;
  const int64_t cuts =
      std::clamp<int64_t>(wanted, 1, std::max<int64_t>(1, sequences.longest() / (4 * kernels_->head_mr)));
  team.for_each(tasks * cuts, [&](int64_t task) {
    const int64_t cut = task % cuts;
    const int64_t head = task / cuts % heads_;
    const int64_t b = task / cuts / heads_;
    const int64_t length = sequences.length(b);
    const int64_t first = length * cut / cuts;
    const int64_t token = sequences.cu_seqlens[b];
    const float* q = workspace.qkv + token * stride + head * head_dim;
    float* head_probabilities = nullptr;
    if (probabilities != nullptr) {
      int64_t before = head * length * length;
      for (int64_t i = 0; i < b; ++i) before += heads_ * sequences.length(i) * sequences.length(i);
      head_probabilities = probabilities + before;
    }
    kernels_->attention({
        .q = q,
        .k = q + width,
        .v = q + 2 * width,
        .stride = stride,
        .out = workspace.context + token * workspace.context_stride + head * head_dim,
        .out_stride = workspace.context_stride,
        .num_tokens = length,
        .query_begin = first,
        .query_end = length * (cut + 1) / cuts,
        .num_keys = sequences.keys(b),
        .head_dim = head_dim,
        .scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_dim))),
        .position_bias = bias.head(head),
        .columns = sequences.columns == nullptr ? nullptr : sequences.columns + token,
        .probabilities = head_probabilities,
        .scratch = workspace.scratch + team.rank() * workspace.scratch_floats,
        .bfloat16 = qkv_.precision() != Precision::kFloat32 && kernels_->native_bfloat16,
    });
  });
}

void SelfAttention::finish(Team& team, const LayerWorkspace& workspace, int64_t m, float* x, int64_t x_stride,
                           const Linear& next) const {
  output_.prepare(team, workspace.context, workspace.context_stride, m, workspace.operand);
  // Queries, keys and values have been used up: their memory takes the sum that the norm reads.
  output_.forward(team, workspace.input(workspace.context, workspace.context_stride, m, workspace.operand),
                  {.y = workspace.qkv, .stride = workspace.qkv_stride, .residual = x, .residual_stride = x_stride});
  norm_.forward(team, workspace.qkv, workspace.qkv_stride, m, x, x_stride, &next, workspace.operand);
}

}  // namespace bertcpp
