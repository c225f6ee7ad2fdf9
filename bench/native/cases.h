// What the native benchmark measures: each kernel at the shapes that encoders call it with.
#pragma once

#include <cstring>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "layers/linear.h"
#include "layers/tensor.h"
#include "measure.h"

namespace bertcpp::bench {

// One line of the results. `dims` are the numbers that tell it from other lines of the same kernel.
struct Result {
  std::string kernel;
  std::vector<std::pair<std::string, std::string>> dims;
  std::string unit;  // of the rate: "GFLOP/s" or "GB/s"
  std::string reference;
  Measured measured;
  double weight_bytes = 0;  // read by one call; 0 where there are none
};

inline void fill_uniform(float* x, int64_t n, float low, float high) {
  std::minstd_rand generator(7);
  std::uniform_real_distribution<float> uniform(low, high);
  for (int64_t i = 0; i < n; ++i) x[i] = uniform(generator);
}

inline Buffer uniform_buffer(int64_t n, float low, float high) {
  Buffer buffer(static_cast<size_t>(n) * sizeof(float));
  fill_uniform(buffer.floats(), n, low, high);
  return buffer;
}

struct MatmulShape {
  int64_t n;
  int64_t k;
};

// y[m,n] = activation(x[m,k] w[n,k]^T + bias). The calls walk through copies of the weights that are kWalkedBytes large
// together, as the layers of a model follow each other: no product finds its weights in L2.
class MatmulCase {
 public:
  MatmulCase(const Kernels& kernels, MatmulShape shape, int64_t most_rows, const Settings& settings)
      : shape_(shape),
        x_(uniform_buffer(most_rows * row_stride(shape.k), -1.0f, 1.0f)),
        y_(uniform_buffer(most_rows * row_stride(shape.n), 0.0f, 0.0f)) {
    const Buffer weight = uniform_buffer(shape.n * shape.k, -0.05f, 0.05f);
    const Buffer bias = uniform_buffer(shape.n, -0.05f, 0.05f);
    const TensorView weight_view{weight.data(), DType::kFloat32, {shape.n, shape.k}};
    const TensorView bias_view{bias.data(), DType::kFloat32, {shape.n}};
    const int64_t copies = std::max<int64_t>(1, kWalkedBytes / (shape.n * shape.k * int64_t{sizeof(float)}));
    for (int64_t i = 0; i < copies; ++i) {
      linears_.emplace_back(kernels, std::vector<LinearPart>{{&weight_view, &bias_view}}, settings.threads);
    }
  }

  Work work(int64_t m, Activation activation) const {
    const auto run = [this, m, activation](Team& team, int64_t call) {
      const Linear& linear = linears_[static_cast<size_t>(call) % linears_.size()];
      linear.forward(team, {x_.floats(), row_stride(shape_.k), m},
                     {.y = y_.floats(), .stride = row_stride(shape_.n), .activation = activation});
    };
    return {2.0 * static_cast<double>(m * shape_.n * shape_.k), run};
  }

 private:
  static constexpr int64_t kWalkedBytes = int64_t{64} << 20;
  MatmulShape shape_;
  Buffer x_;
  Buffer y_;
  std::vector<Linear> linears_;
};

inline void run_matmul(const Kernels& kernels, const Settings& settings, bool quick, std::vector<Result>& results) {
  const std::vector<MatmulShape> shapes =
      quick ? std::vector<MatmulShape>{{384, 384}, {768, 768}}
            : std::vector<MatmulShape>{{768, 768},  {2304, 768}, {3072, 768},  {768, 3072}, {384, 384},
                                       {1536, 384}, {384, 1536}, {1024, 1024}, {4096, 1024}};
  const std::vector<int64_t> rows =
      quick ? std::vector<int64_t>{1, 64} : std::vector<int64_t>{1, 4, 16, 64, 128, 512, 1024};
  const Sampler peak = fma_peak(kernels, settings);
  for (const MatmulShape shape : shapes) {
    const MatmulCase matmul(kernels, shape, rows.back(), settings);
    const auto add = [&](int64_t m, Activation activation, const char* name) {
      results.push_back({"matmul",
                         {{"m", std::to_string(m)},
                          {"n", std::to_string(shape.n)},
                          {"k", std::to_string(shape.k)},
                          {"activation", name}},
                         "GFLOP/s",
                         "fma_peak",
                         measure(matmul.work(m, activation), peak, settings),
                         static_cast<double>(shape.n * shape.k) * sizeof(float)});
    };
    for (const int64_t m : rows) add(m, Activation::kIdentity, "identity");
    if (shape.n == 4 * shape.k) {  // the wide layer of a feed forward block, with its activation in the epilogue
      for (const int64_t m : {rows[rows.size() / 2], rows.back()}) add(m, Activation::kGelu, "gelu");
    }
  }
}

// A batch of sequences of one length through `kHeads` heads, cut into one task for each sequence and head.
class AttentionCase {
 public:
  static constexpr int64_t kHeads = 12;
  AttentionCase(const Kernels& kernels, int64_t length, int64_t head_dim, int64_t tokens, const Settings& settings)
      : kernels_(&kernels),
        length_(length),
        head_dim_(head_dim),
        sequences_(std::max<int64_t>(1, tokens / length)),
        stride_(row_stride(3 * kHeads * head_dim)),
        out_stride_(row_stride(kHeads * head_dim)),
        scratch_floats_(row_stride(kernels.attention_scratch(length, length, head_dim))),
        qkv_(uniform_buffer(sequences_ * length * stride_, -2.0f, 2.0f)),
        out_(uniform_buffer(sequences_ * length * out_stride_, 0.0f, 0.0f)),
        scratch_(uniform_buffer(settings.threads * scratch_floats_, 0.0f, 0.0f)) {}

  Work work() const {
    const double flop = 4.0 * static_cast<double>(sequences_ * kHeads * length_ * length_ * head_dim_);
    return {flop, [this](Team& team, int64_t) {
              team.for_each(sequences_ * kHeads,
                            [&](int64_t task) { attend(team.rank(), task / kHeads, task % kHeads); });
            }};
  }

 private:
  void attend(int rank, int64_t sequence, int64_t head) const {
    const float* q = qkv_.floats() + sequence * length_ * stride_ + head * head_dim_;
    AttentionArgs args{};
    args.q = q;
    args.k = q + kHeads * head_dim_;
    args.v = q + 2 * kHeads * head_dim_;
    args.stride = stride_;
    args.out = out_.floats() + sequence * length_ * out_stride_ + head * head_dim_;
    args.out_stride = out_stride_;
    args.num_tokens = length_;
    args.query_end = length_;
    args.num_keys = length_;
    args.head_dim = head_dim_;
    args.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_dim_)));
    args.scratch = scratch_.floats() + rank * scratch_floats_;
    kernels_->attention(args);
  }

  const Kernels* kernels_;
  int64_t length_;
  int64_t head_dim_;
  int64_t sequences_;
  ptrdiff_t stride_;
  ptrdiff_t out_stride_;
  int64_t scratch_floats_;
  Buffer qkv_;
  Buffer out_;
  Buffer scratch_;
};

inline void run_attention(const Kernels& kernels, const Settings& settings, bool quick, std::vector<Result>& results) {
  const std::vector<int64_t> lengths = quick ? std::vector<int64_t>{16, 128} : std::vector<int64_t>{16, 128, 384, 512};
  const Sampler peak = fma_peak(kernels, settings);
  for (const int64_t head_dim : {int64_t{32}, int64_t{64}}) {
    for (const int64_t length : lengths) {
      const AttentionCase attention(kernels, length, head_dim, quick ? 256 : 1024, settings);
      results.push_back({"attention",
                         {{"len", std::to_string(length)}, {"head_dim", std::to_string(head_dim)}},
                         "GFLOP/s",
                         "fma_peak",
                         measure(attention.work(), peak, settings)});
    }
  }
}

inline constexpr int64_t kBlock = 16;

// Rows that lie end to end, in tasks of kBlock rows. Bytes are counted once read and once written.
inline Work over_rows(int64_t rows, int64_t n, std::function<void(int64_t row, int64_t count)> body) {
  return {2.0 * sizeof(float) * static_cast<double>(rows * n), [rows, body = std::move(body)](Team& team, int64_t) {
            team.for_each((rows + kBlock - 1) / kBlock,
                          [&](int64_t task) { body(task * kBlock, std::min(kBlock, rows - task * kBlock)); });
          }};
}

// In place, against multiplying the same rows by 1 in place.
inline void run_layer_norm(const Kernels& kernels, const Settings& settings, bool quick, std::vector<Result>& results) {
  const int64_t rows = quick ? 64 : 1024;
  for (const int64_t n : {int64_t{384}, int64_t{768}, int64_t{1024}}) {
    const Buffer x = uniform_buffer(rows * n, -1.0f, 1.0f);
    const Buffer weight = uniform_buffer(n, 0.9f, 1.1f);
    const Buffer bias = uniform_buffer(n, -0.1f, 0.1f);
    const Sampler pass(
        over_rows(rows, n, [&](int64_t row, int64_t count) { kernels.scale(x.floats() + row * n, count * n, 1.0f); }),
        settings.threads, settings.reference_seconds);
    const Work norm = over_rows(rows, n, [&](int64_t row, int64_t count) {
      float* first = x.floats() + row * n;
      kernels.layer_norm(first, n, weight.floats(), bias.floats(), 1e-12f, count, n, first, n);
    });
    results.push_back({"layer_norm",
                       {{"rows", std::to_string(rows)}, {"n", std::to_string(n)}},
                       "GB/s",
                       "scale in place",
                       measure(norm, pass, settings)});
  }
}

inline constexpr int64_t kColumns = 3072;
inline constexpr int64_t kFloats = 2048;

// Blocks that are copied into L1 and activated there, as the epilogue of a product finds its values near by; against
// copying and multiplying by 1. Never in place on its own result: repeated, an activation ends in denormal numbers.
inline void run_activations(const Kernels& kernels, const Settings& settings, bool quick,
                            std::vector<Result>& results) {
  const int64_t rows = quick ? 32 : 512;
  const Buffer source = uniform_buffer(rows * kColumns, -3.0f, 3.0f);
  const auto blocks = [&](const std::function<void(float*, int64_t)>& body) {
    return over_rows(rows, kColumns, [&source, body](int64_t row, int64_t count) {
      alignas(64) float block[kFloats];
      for (int64_t i = 0; i < count * kColumns; i += kFloats) {
        const int64_t n = std::min(kFloats, count * kColumns - i);
        std::memcpy(block, source.floats() + row * kColumns + i, static_cast<size_t>(n) * sizeof(float));
        body(block, n);
      }
    });
  };
  const Sampler pass(blocks([&](float* x, int64_t n) { kernels.scale(x, n, 1.0f); }), settings.threads,
                     settings.reference_seconds);
  const std::vector<std::pair<const char*, Activation>> activations = {{"gelu", Activation::kGelu},
                                                                       {"gelu_tanh", Activation::kGeluTanh},
                                                                       {"silu", Activation::kSilu},
                                                                       {"tanh", Activation::kTanh},
                                                                       {"relu", Activation::kRelu}};
  for (const auto& [name, activation] : activations) {
    const Work work =
        blocks([&kernels, activation = activation](float* x, int64_t n) { kernels.activate(x, n, activation); });
    results.push_back(
        {"activation", {{"name", name}}, "GB/s", "scale of the same blocks", measure(work, pass, settings)});
  }
}

// Reading several times what the caches hold, or 32 MB where it must be quick. Returns bytes per second.
inline Spread memory_read(const Settings& settings, bool quick) {
  const int64_t bytes = quick ? int64_t{32} << 20 : uncached_bytes();
  const Sampler sampler = read_sampler(bytes, settings.threads, settings.sample_seconds);
  std::vector<double> rates;
  for (int i = 0; i < settings.repeat; ++i) rates.push_back(sampler.rate());
  return spread(rates);
}

}  // namespace bertcpp::bench
