#include "layers/feed_forward.h"

#include <algorithm>

#include "runtime/cpu.h"

namespace bertcpp {
namespace {

// Rows of a chunk whose intermediate state takes half of the L2 cache.
int64_t most_chunk_rows(Precision precision, int64_t intermediate_size) {
  const int64_t row_bytes = intermediate_size * (precision == Precision::kInt8 ? 3 : 2);
  return std::max<int64_t>(1, cpu_caches().l2 / 2 / row_bytes);
}

// How many chunks m rows are cut into: as many for each thread; 0 where columns are shared out instead, since each
// chunk reads all weights.
int64_t chunks_of(const Linear& up, int64_t m, int threads) {
  constexpr int64_t kLeastRows = 40;
  if (up.reads_floats() || m < kLeastRows * threads * 2) return 0;
  const int64_t most = most_chunk_rows(up.precision(), up.n());
  if (most < kLeastRows) return 0;
  const int64_t chunks = (m + most - 1) / most;
  return (chunks + threads - 1) / threads * threads;
}

}  // namespace

struct FeedForward::Rows {
  int64_t m;
  float* x;
  int64_t x_stride;
  const Linear* next;
};

FeedForward::FeedForward(const Kernels& kernels, const WeightMap& weights, const std::string& name, int64_t hidden_size,
                         int64_t intermediate_size, Activation activation, double layer_norm_eps,
                         const LayerFormat& format, const std::vector<int32_t>* order)
    : kernels_(&kernels),
      activation_(activation),
      norm_(kernels, weights, name + ".norm", hidden_size, layer_norm_eps, format.order()) {
  up_ = Linear::of(kernels, weights, name + ".up", {name + ".up"}, intermediate_size, hidden_size,
                   {.precision = format.precision,
                    .input_order = format.order(),
                    .output_order = order,
                    .segment_ends = format.hidden_segments});
  down_ = Linear::of(
      kernels, weights, name + ".down", {name + ".down"}, hidden_size, intermediate_size,
      {.precision = format.precision,
       .input_order = order,
       .output_order = format.order(),
       .segment_ends = segment_ends(intermediate_size, {intermediate_size / 12, 3 * intermediate_size / 8})});
}

void FeedForward::collect(const std::string& name, PackedParts& parts) const {
  up_.collect(name + ".up", parts);
  down_.collect(name + ".down", parts);
}

OperandRows FeedForward::inner(const LayerWorkspace& workspace, int64_t first) const {
  if (up_.precision() == Precision::kInt8) return workspace.inner.from(first, down_.segments());
  return {reinterpret_cast<int32_t*>(workspace.intermediate) + first * workspace.intermediate_stride,
          workspace.intermediate_stride, nullptr, nullptr};
}

// A row of bfloat16 as it came from `up`, made what `down` reads.
void FeedForward::prepare_inner(Team& team, const LayerWorkspace& workspace, int64_t row) const {
  const int64_t n = up_.n();
  auto* halves = reinterpret_cast<uint16_t*>(workspace.intermediate + row * workspace.intermediate_stride);
  if (up_.precision() == Precision::kBFloat16) {
    if (n % 2 == 1) halves[n] = 0;
    return;
  }
  float* floats = workspace.scratch + team.rank() * workspace.scratch_floats;
  kernels_->from_bfloat16(halves, n, floats);
  down_.prepare(floats, row, workspace.inner);
}

void FeedForward::forward(Team& team, const LayerWorkspace& workspace, int64_t m, float* x, int64_t x_stride,
                          const Linear* next) const {
  const Rows rows{m, x, x_stride, next};
  const int64_t chunks = chunks_of(up_, m, team.size());
  if (chunks == 0) return forward_columns(team, workspace, rows);
  team.for_each(chunks, [&](int64_t chunk) {
    forward_chunk(team, workspace, rows, m * chunk / chunks, m * (chunk + 1) / chunks);
  });
}

void FeedForward::forward_columns(Team& team, const LayerWorkspace& workspace, const Rows& rows) const {
  const bool low = !up_.reads_floats();
  const int64_t stride = workspace.intermediate_stride;
  up_.forward(
      team, workspace.input(rows.x, rows.x_stride, rows.m, workspace.operand),
      {.y = workspace.intermediate, .stride = low ? 2 * stride : stride, .activation = activation_, .bfloat16 = low});
  if (low && (up_.precision() == Precision::kInt8 || up_.n() % 2 == 1)) {
    team.for_each(rows.m, [&](int64_t row) { prepare_inner(team, workspace, row); });
  }
  const OperandRows operand = inner(workspace, 0);
  down_.forward(team, workspace.input(workspace.intermediate, stride, rows.m, operand),
                {.y = workspace.context,
                 .stride = workspace.context_stride,
                 .residual = rows.x,
                 .residual_stride = rows.x_stride});
  norm_.forward(team, workspace.context, workspace.context_stride, rows.m, rows.x, rows.x_stride, rows.next,
                workspace.operand);
}

void FeedForward::forward_chunk(Team& team, const LayerWorkspace& workspace, const Rows& rows, int64_t begin,
                                int64_t end) const {
  const int64_t m = end - begin;
  const int64_t first = team.rank() * (intermediate_rows(rows.m, team.size()) / team.size());  // this thread's own
  const int64_t stride = workspace.intermediate_stride;
  const OperandRows from = workspace.operand.from(begin, up_.segments());
  up_.forward({nullptr, 0, m, &from}, {.y = workspace.intermediate + first * stride,
                                       .stride = 2 * stride,
                                       .activation = activation_,
                                       .bfloat16 = true});
  for (int64_t row = 0; row < m; ++row) prepare_inner(team, workspace, first + row);
  const OperandRows operand = inner(workspace, first);
  float* x = rows.x + begin * rows.x_stride;
  float* sums = workspace.context + begin * workspace.context_stride;
  down_.forward({nullptr, 0, m, &operand},
                {.y = sums, .stride = workspace.context_stride, .residual = x, .residual_stride = rows.x_stride});
  norm_.rows(sums, workspace.context_stride, m, x, rows.x_stride);
  for (int64_t row = begin; rows.next != nullptr && row < end; ++row) {
    rows.next->prepare(rows.x + row * rows.x_stride, row, workspace.operand);
  }
}

}  // namespace bertcpp
