#include "layers/linear.h"

#include <algorithm>

#include "runtime/cpu.h"
#include "runtime/errors.h"

namespace bertcpp {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// How the product is cut: tasks = row chunks x column groups.
struct Grid {
  int64_t chunks;
  int64_t groups;
};

// A chunk's block of x takes half of the L2 cache, while panels stream past it. Then columns are cut until every thread
// has several tasks: a chunk's tasks follow one another, so its rows stay in every thread's cache, while another cut
// through the rows would read all panels from memory once more. Rows are cut where columns do not suffice.
Grid plan(const Kernels& kernels, int64_t m, int64_t panels, int64_t k, int threads) {
  constexpr int64_t kTasksPerThread = 6;
  const int64_t row_bytes = kernels.matmul_depth(k) * static_cast<int64_t>(sizeof(float));
  const int64_t most_rows = std::max(kernels.mr, cpu_caches().l2 / 2 / row_bytes);
  Grid grid{ceil_div(m, most_rows), 1};
  if (threads == 1) return grid;
  const int64_t wanted = kTasksPerThread * threads;
  grid.groups = std::min(ceil_div(wanted, grid.chunks), panels);
  grid.chunks = std::clamp(ceil_div(wanted, grid.groups), grid.chunks, std::max(grid.chunks, ceil_div(m, kernels.mr)));
  return grid;
}

}  // namespace

Linear::Linear(const Kernels& kernels, const std::vector<LinearPart>& parts, int num_threads) : kernels_(&kernels) {
  k_ = parts.front().weight->shape.at(1);
  for (const LinearPart& part : parts) n_ += part.weight->shape.at(0);
  const int64_t panels = ceil_div(n_, kernels.nr);
  Arena size;
  size.floats(panels * kernels.nr * k_);
  weight_ = Buffer(size.used());
  bias_ = Buffer(static_cast<size_t>(panels * kernels.nr) * sizeof(float));
  std::fill_n(bias_.floats(), panels * kernels.nr, 0.0f);
  int64_t offset = 0;
  for (const LinearPart& part : parts) {
    const int64_t rows = part.weight->shape[0];
    if (part.bias != nullptr) read_floats(kernels, *part.bias, 0, rows, bias_.floats() + offset);
    offset += rows;
  }
  // A thread for every million weights: a small matrix is packed before a team has come together.
  const int64_t useful = std::max<int64_t>(1, (n_ * k_) >> 20);
  const int threads = static_cast<int>(std::min<int64_t>(num_threads > 0 ? num_threads : get_num_threads(), useful));
  const int64_t row_floats = kernels.nr * k_;
  Buffer rows(static_cast<size_t>(threads * row_floats) * sizeof(float));
  run_team(threads, [&](Team& team) {
    float* own = rows.floats() + team.rank() * row_floats;
    team.for_each(panels, [&](int64_t panel) { pack_panel(parts, panel, own); });
  });
}

void Linear::pack_panel(const std::vector<LinearPart>& parts, int64_t panel, float* rows) {
  const int64_t begin = panel * kernels_->nr;
  const int64_t end = std::min(begin + kernels_->nr, n_);
  int64_t part_begin = 0;
  for (const LinearPart& part : parts) {
    const int64_t part_end = part_begin + part.weight->shape[0];
    const int64_t from = std::max(begin, part_begin);
    const int64_t to = std::min(end, part_end);
    if (from < to)
      read_floats(*kernels_, *part.weight, (from - part_begin) * k_, (to - from) * k_, rows + (from - begin) * k_);
    part_begin = part_end;
  }
  kernels_->pack_weight(rows, k_, end - begin, k_, weight_.floats() + begin * k_);
}

void Linear::forward(Team& team, const LinearInput& input, const LinearOutput& output) const {
  const int64_t panels = ceil_div(n_, kernels_->nr);
  const Grid grid = plan(*kernels_, input.m, panels, k_, team.size());
  team.for_each(grid.groups * grid.chunks, [&](int64_t task) {
    const int64_t chunk = task / grid.groups;
    const int64_t group = task % grid.groups;
    const int64_t row = input.m * chunk / grid.chunks;
    const int64_t rows = input.m * (chunk + 1) / grid.chunks - row;
    if (rows == 0) return;
    kernels_->matmul({
        .a = input.x + row * input.stride,
        .a_stride = input.stride,
        .packed = weight_.floats(),
        .bias = bias_.floats(),
        .residual = output.residual == nullptr ? nullptr : output.residual + row * output.residual_stride,
        .residual_stride = output.residual_stride,
        .out = output.y + row * output.stride,
        .out_stride = output.stride,
        .m = rows,
        .n_begin = panels * group / grid.groups * kernels_->nr,
        .n_end = std::min(panels * (group + 1) / grid.groups * kernels_->nr, n_),
        .k = k_,
        .activation = output.activation,
    });
  });
}

}  // namespace bertcpp
