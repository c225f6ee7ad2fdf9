#include "layers/linear.h"

#include <algorithm>
#include <cstring>

#include "runtime/cpu.h"
#include "runtime/errors.h"
#include "runtime/sizes.h"

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
Grid plan(const Kernels& kernels, int64_t m, int64_t mr, int64_t panels, int64_t k, int threads) {
  constexpr int64_t kTasksPerThread = 6;
  const int64_t row_bytes = kernels.matmul_depth(k) * static_cast<int64_t>(sizeof(float));
  const int64_t most_rows = std::max(mr, cpu_caches().l2 / 2 / row_bytes);
  Grid grid{ceil_div(m, most_rows), 1};
  if (threads == 1) return grid;
  const int64_t wanted = kTasksPerThread * threads;
  grid.groups = std::min(ceil_div(wanted, grid.chunks), panels);
  grid.chunks = std::clamp(ceil_div(wanted, grid.groups), grid.chunks, std::max(grid.chunks, ceil_div(m, mr)));
  // Rather somewhat fewer groups, if they are alike: a group's first panel is not asked for ahead, and threads end
  // together. Of 16 panels 8 groups of 2 and not 12 of 1 or 2; more than half stay, so more than three for a thread.
  for (int64_t groups = grid.groups; 2 * groups > grid.groups; --groups) {
    if (panels % groups == 0 && groups % threads == 0) return {grid.chunks, groups};
  }
  return grid;
}

int64_t values_per_word(Precision precision) {
  return precision == Precision::kInt8 ? 4 : precision == Precision::kBFloat16 ? 2 : 1;
}

int64_t rows_of(const std::vector<LinearPart>& parts) {
  int64_t rows = 0;
  for (const LinearPart& part : parts) rows += part.weight->shape.at(0);
  return rows;
}

}  // namespace

Linear::Linear(const Kernels& kernels, int64_t n, int64_t k, const LinearLayout& layout)
    : kernels_(&kernels),
      n_(n),
      k_(k),
      words_(ceil_div(k, values_per_word(layout.precision))),
      precision_(layout.precision) {
  if (precision_ != Precision::kInt8) return;
  for (const int64_t end : layout.segment_ends) segment_ends_.push_back(ceil_div(end, 4));
  if (segment_ends_.empty()) segment_ends_.push_back(words_);
}

bool Linear::reads_floats(const Kernels& kernels, Precision precision) {
  return precision == Precision::kFloat32 || (precision == Precision::kBFloat16 && !kernels.native_bfloat16);
}

int64_t Linear::columns() const { return ceil_div(n_, kernels_->nr) * kernels_->nr; }

std::vector<Linear::Part> Linear::parts() const {
  const auto bytes = [this](int64_t rows) { return checked_bytes(checked_mul(columns(), rows), sizeof(float)); };
  std::vector<Part> parts{{"weight", &Linear::weight_, bytes(words_)}, {"bias", &Linear::bias_, bytes(1)}};
  if (precision_ == Precision::kInt8) {
    parts.push_back({"column_scale", &Linear::column_scale_, bytes(segments())});
    parts.push_back({"column_sum", &Linear::column_sum_, bytes(segments())});
  }
  return parts;
}

Linear Linear::of(const Kernels& kernels, const WeightMap& weights, const std::string& name,
                  const std::vector<std::string>& stems, int64_t rows, int64_t k, const LinearLayout& layout) {
  if (is_packed(weights, name)) {
    Linear linear(kernels, checked_mul(static_cast<int64_t>(stems.size()), rows), k, layout);
    for (const Part& part : linear.parts()) {
      linear.*part.buffer = part_at(weights, packed_name(name) + part.name, part.bytes);
    }
    return linear;
  }
  std::vector<LinearPart> matrices;
  for (const std::string& stem : stems) {
    matrices.push_back({&weight_at(weights, stem + ".weight", {rows, k}), &weight_at(weights, stem + ".bias", {rows})});
  }
  return Linear(kernels, matrices, 0, layout);
}

void Linear::collect(const std::string& name, PackedParts& parts) const {
  for (const Part& part : this->parts()) {
    parts[packed_name(name) + part.name] = {(this->*part.buffer).data(), Buffer::stored_size(part.bytes)};
  }
}

Linear::Linear(const Kernels& kernels, const std::vector<LinearPart>& parts, int num_threads,
               const LinearLayout& layout)
    : Linear(kernels, rows_of(parts), parts.front().weight->shape.at(1), layout) {
  for (const Part& part : this->parts()) {
    this->*part.buffer = Buffer(part.bytes);
    if (part.buffer != &Linear::weight_) std::memset((this->*part.buffer).data(), 0, part.bytes);
  }
  int64_t offset = 0;
  for (const LinearPart& part : parts) {
    const int64_t rows = part.weight->shape[0];
    for (int64_t i = 0; part.bias != nullptr && i < rows; ++i) {
      const int64_t source = layout.output_order == nullptr ? i : (*layout.output_order)[static_cast<size_t>(i)];
      read_floats(kernels, *part.bias, source, 1, bias_.floats() + offset + i);
    }
    offset += rows;
  }
  // A thread for every million weights: a small matrix is packed before a team has come together.
  const int64_t useful = std::max<int64_t>(1, (n_ * k_) >> 20);
  const int threads = static_cast<int>(std::min<int64_t>(num_threads > 0 ? num_threads : get_num_threads(), useful));
  // Of each thread: a panel's rows in words, a row as it is in the checkpoint, and a row in its order here.
  const int64_t row_floats = kernels.nr * words_ + 2 * k_;
  Buffer rows(static_cast<size_t>(threads * row_floats) * sizeof(float));
  run_team(threads, [&](Team& team) {
    float* own = rows.floats() + team.rank() * row_floats;
    team.for_each(columns() / kernels.nr, [&](int64_t panel) { pack_panel(parts, panel, layout, own); });
  });
}

void Linear::pack_panel(const std::vector<LinearPart>& parts, int64_t panel, const LinearLayout& layout, float* rows) {
  const int64_t begin = panel * kernels_->nr;
  const int64_t end = std::min(begin + kernels_->nr, n_);
  float* row = rows + kernels_->nr * words_;
  float* ordered = row + k_;
  int64_t part_begin = 0;
  for (const LinearPart& part : parts) {
    const int64_t part_end = part_begin + part.weight->shape[0];
    for (int64_t column = std::max(begin, part_begin); column < std::min(end, part_end); ++column) {
      const int64_t i = column - part_begin;
      const int64_t source = layout.output_order == nullptr ? i : (*layout.output_order)[static_cast<size_t>(i)];
      float* words = rows + (column - begin) * words_;
      if (precision_ == Precision::kFloat32 && layout.input_order == nullptr) {
        read_floats(*kernels_, *part.weight, source * k_, k_, words);
        continue;
      }
      read_floats(*kernels_, *part.weight, source * k_, k_, row);
      for (int64_t c = 0; c < k_; ++c) {
        ordered[c] = row[layout.input_order == nullptr ? c : (*layout.input_order)[static_cast<size_t>(c)]];
      }
      to_words(column, ordered, reinterpret_cast<int32_t*>(words));
    }
    part_begin = part_end;
  }
  kernels_->pack_weight(rows, words_, end - begin, words_, weight_.floats() + begin * words_);
}

void Linear::to_words(int64_t column, const float* w, int32_t* words) {
  words[words_ - 1] = 0;  // what the last word holds beyond the depth
  if (precision_ == Precision::kFloat32) {
    std::memcpy(words, w, static_cast<size_t>(k_) * sizeof(float));
  } else if (precision_ == Precision::kBFloat16) {
    kernels_->to_bfloat16(w, k_, reinterpret_cast<uint16_t*>(words));
  } else {
    const int64_t columns = this->columns();
    int64_t first = 0;
    for (int64_t s = 0; s < segments(); ++s) {
      const int64_t end = std::min(segment_ends_[static_cast<size_t>(s)] * 4, k_);
      kernels_->quantize_weight(w + first, end - first, reinterpret_cast<int8_t*>(words) + first,
                                column_scale_.floats() + s * columns + column,
                                column_sum_.int32s() + s * columns + column);
      first = end;
    }
  }
}

void Linear::weight_row(int64_t row, float* out) const {
  const int64_t nr = kernels_->nr;
  const float* element = weight_.floats() + row / nr * nr * words_ + row % nr;
  for (int64_t i = 0; i < k_; ++i) out[i] = element[i * nr];
}

void Linear::prepare(const float* x, int64_t row, const OperandRows& rows) const {
  if (reads_floats()) return;
  int32_t* words = rows.words + row * rows.stride;
  words[words_ - 1] = 0;
  if (precision_ == Precision::kBFloat16) return kernels_->to_bfloat16(x, k_, reinterpret_cast<uint16_t*>(words));
  int64_t first = 0;
  for (int64_t s = 0; s < segments(); ++s) {
    const int64_t end = std::min(segment_ends_[static_cast<size_t>(s)] * 4, k_);
    const int64_t place = row * segments() + s;
    kernels_->quantize_row(x + first, end - first, reinterpret_cast<uint8_t*>(words) + first, rows.scale + place,
                           rows.zero + place);
    first = end;
  }
}

void Linear::prepare(Team& team, const float* x, int64_t x_stride, int64_t m, const OperandRows& rows) const {
  if (reads_floats()) return;
  constexpr int64_t kRows = 16;
  team.for_each(ceil_div(m, kRows), [&](int64_t block) {
    const int64_t end = std::min(m, (block + 1) * kRows);
    for (int64_t row = block * kRows; row < end; ++row) prepare(x + row * x_stride, row, rows);
  });
}

void Linear::forward(Team& team, const LinearInput& input, const LinearOutput& output) const {
  const int64_t panels = ceil_div(n_, kernels_->nr);
  const int64_t mr = precision_ == Precision::kFloat32 ? kernels_->mr : kernels_->low_mr;
  LinearInput own = input;
  own.scratch += team.rank() * input.scratch_floats;
  const Grid grid = plan(*kernels_, input.m, mr, panels, reads_floats() ? k_ : words_, team.size());
  team.for_each(grid.groups * grid.chunks, [&](int64_t task) {
    const int64_t chunk = task / grid.groups;
    const int64_t group = task % grid.groups;
    const int64_t row = input.m * chunk / grid.chunks;
    const int64_t rows = input.m * (chunk + 1) / grid.chunks - row;
    if (rows == 0) return;
    multiply(own, output, row, rows, panels * group / grid.groups, panels * (group + 1) / grid.groups);
  });
}

void Linear::forward(const LinearInput& input, const LinearOutput& output) const {
  multiply(input, output, 0, input.m, 0, ceil_div(n_, kernels_->nr));
}

void Linear::multiply(const LinearInput& input, const LinearOutput& output, int64_t row, int64_t rows,
                      int64_t panel_begin, int64_t panel_end) const {
  const int64_t size = output.bfloat16 ? 2 : 4;
  MatmulArgs args{
      .a = input.x + row * input.stride,
      .a_stride = input.stride,
      .packed = weight_.data(),
      .bias = bias_.floats(),
      .residual = output.residual == nullptr ? nullptr : output.residual + row * output.residual_stride,
      .residual_stride = output.residual_stride,
      .out = static_cast<std::byte*>(output.y) + row * output.stride * size,
      .out_stride = output.stride,
      .m = rows,
      .n_begin = panel_begin * kernels_->nr,
      .n_end = std::min(panel_end * kernels_->nr, n_),
      .k = words_,
      .activation = output.activation,
      .out_bfloat16 = output.bfloat16,
  };
  if (precision_ == Precision::kFloat32) return kernels_->matmul(args);
  if (reads_floats()) {
    args.half_word = k_ % 2 != 0;
    args.scratch = input.scratch;
    return kernels_->matmul_bfloat16(args);
  }
  const OperandRows operand = input.operand->from(row, segments());
  args.a = operand.words;
  args.a_stride = operand.stride;
  if (precision_ == Precision::kBFloat16) return kernels_->matmul_bfloat16(args);
  args.segments = segments();
  args.segment_ends = segment_ends_.data();
  args.row_scale = operand.scale;
  args.row_zero = operand.zero;
  args.column_scale = column_scale_.floats();
  args.column_sum = column_sum_.int32s();
  args.column_stride = columns();
  kernels_->matmul_int8(args);
}

}  // namespace bertcpp
