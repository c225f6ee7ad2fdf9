// The kernels of csrc/cuda on the emulated GPU of cuda_emulation/, against the naive reference.
#pragma once

#include <string>

#include "cuda/kernels.h"
#include "cuda/memory.h"
#include "cuda_emulation/emulated.h"
#include "kernel_case.h"
#include "kernels/reference.h"
#include "models/encoder.h"

namespace bertcpp::testing {

// Conversions, and how far a result in this type may be from the truth, relative to the largest magnitude.
template <class T>
struct Type;
template <>
struct Type<float> {
  static constexpr const char* kName = "float32";
  static constexpr double kTolerance = 2e-5;
  static float round(float x) { return x; }
  static float from(float x) { return x; }
};
template <>
struct Type<__half> {
  static constexpr const char* kName = "float16";
  static constexpr double kTolerance = 2e-3;
  static __half round(float x) { return __float2half_rn(x); }
  static float from(__half x) { return __half2float(x); }
};
template <>
struct Type<__nv_bfloat16> {
  static constexpr const char* kName = "bfloat16";
  static constexpr double kTolerance = 1e-2;
  static __nv_bfloat16 round(float x) { return __float2bfloat16_rn(x); }
  static float from(__nv_bfloat16 x) { return __bfloat162float(x); }
};

// A matrix on the device between pages that cannot be touched, and what it holds as floats.
template <class T>
class DeviceRows {
 public:
  // Random, or NaN, which everything that is read must have been written over.
  DeviceRows(Random& random, int64_t rows, int64_t n, bool filled)
      : n_(n),
        stride_(random.stride(n)),
        memory_((rows - 1) * stride_ + n, random.place()),
        floats_(rows, n, n, Place::kBegin) {
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < n; ++c) set(r, c, filled ? random.uniform() : std::numeric_limits<float>::quiet_NaN());
    }
  }
  void set(int64_t r, int64_t c, float x) {
    memory_[r * stride_ + c] = Type<T>::round(x);
    floats_.at(r, c) = Type<T>::from(memory_[r * stride_ + c]);
  }
  float get(int64_t r, int64_t c) const { return Type<T>::from(memory_[r * stride_ + c]); }
  cuda::Matrix<T> matrix() { return {memory_.data(), stride_}; }
  cuda::Matrix<const T> reading() const { return {memory_.data(), stride_}; }
  // As they were set, stride n.
  reference::Matrix floats() const { return {floats_.row(0), n_}; }

 private:
  int64_t n_;
  int64_t stride_;
  Guarded<T> memory_;
  GuardedRows floats_;
};

template <class T>
class GpuCase {
 public:
  explicit GpuCase(uint64_t seed) : random_(seed) { cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking); }
  ~GpuCase() { cudaStreamDestroy(stream_); }
  GpuCase(const GpuCase&) = delete;
  GpuCase& operator=(const GpuCase&) = delete;

  void test_map() {
    for (int i = 0; i < static_cast<int>(Activation::kCount); ++i) check_map(static_cast<Activation>(i));
  }
  void test_norms() {
    for (const int64_t n : {1, 31, 39, 128, 384, 1025}) check_norms(n);
  }
  void test_attention() {
    for (const int64_t head_dim : {1, 13, 16, 32, 33, 64, 96, 128, 131}) {
      check_attention(head_dim, head_dim % 2 == 0, head_dim % 3 == 0);
    }
    check_attention(64, true, true);
  }
  void test_pool() {
    check_pool(true);
    check_pool(false);
  }

 private:
  // Runs twice, with the threads in either order, and compares the bits: where they differ, a barrier is missing.
  template <class Run, class Get>
  void in_both_orders(Run run, int64_t rows, int64_t n, Get get) {
    std::vector<float> first;
    for (const emulated::Order order : {emulated::Order::kRising, emulated::Order::kFalling}) {
      emulated::set_order(order);
      run();
      std::vector<float> all;
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t c = 0; c < n; ++c) all.push_back(get(r, c));
      }
      const bool same = first.empty() || std::memcmp(first.data(), all.data(), all.size() * sizeof(float)) == 0;
      CHECK(same, "%s: the order of threads changes the result", current_case());
      first = all;
    }
    emulated::set_order(emulated::Order::kRising);
  }

  template <class Get>
  void compare(const std::vector<double>& expected, int64_t rows, int64_t n, double tolerance, Get get) {
    const double largest = largest_magnitude(expected);
    double error = 0.0;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < n; ++c) {
        const double off = std::abs(static_cast<double>(get(r, c)) - expected[static_cast<size_t>(r * n + c)]);
        error = std::isnan(off) ? off : std::max(error, off);
      }
    }
    CHECK(error <= tolerance * largest, "%s: off by %.2e of the largest magnitude", current_case(), error / largest);
  }

  void check_map(Activation activation) {
    const int64_t rows = random_.integer(1, 4);
    const int64_t n = random_.integer(1, 300);
    describe("cuda map %s activation %d rows %ld n %ld", Type<T>::kName, static_cast<int>(activation), long{rows},
             long{n});
    DeviceRows<T> x(random_, rows, n, true);
    for (int64_t c = 0; c < n; ++c) x.set(0, c, x.get(0, c) * 12.0f);
    const Guarded<float> bias = random_.floats(n);
    DeviceRows<T> y(random_, rows, n, false);
    std::vector<double> expected;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < n; ++c) {
        expected.push_back(reference::activation(static_cast<double>(x.get(r, c) + bias[c]), activation));
      }
    }
    const auto get = [&](int64_t r, int64_t c) { return y.get(r, c); };
    in_both_orders([&] { cuda::map<T, T>(stream_, x.reading(), bias.data(), activation, rows, n, y.matrix()); }, rows,
                   n, get);
    compare(expected, rows, n, Type<T>::kTolerance, get);
    // In place and without a bias, as weights are converted: the same values.
    cuda::map<T, T>(stream_, y.reading(), nullptr, Activation::kIdentity, rows, n, y.matrix());
    compare(expected, rows, n, Type<T>::kTolerance, get);
  }

  void check_norms(int64_t n) {
    const int64_t rows = random_.integer(2, 5);
    const float eps = 1e-5f;
    const Guarded<float> weight = random_.floats(n);
    const Guarded<float> bias = random_.floats(n);
    const cuda::Norm norm{weight.data(), bias.data(), eps};
    check_embed(rows, n, norm);
    describe("cuda add_norm %s rows %ld n %ld", Type<T>::kName, long{rows}, long{n});
    const DeviceRows<float> y(random_, rows, n, true);
    const DeviceRows<float> before(random_, rows, n, true);
    const Guarded<float> added = random_.floats(n);
    GuardedRows sum(rows, n, n, Place::kBegin);
    DeviceRows<float> x(random_, rows, n, false);
    DeviceRows<T> low(random_, rows, n, false);
    const auto run = [&] {
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t c = 0; c < n; ++c) {
          x.set(r, c, before.get(r, c));
          sum.at(r, c) = y.get(r, c) + added[c] + before.get(r, c);
        }
      }
      cuda::add_norm<T>(stream_, {y.reading(), added.data(), norm, rows, n, x.matrix(), low_of(low)});
    };
    check_normed(sum, norm, rows, n, run, x, low);
  }

  void check_embed(int64_t rows, int64_t n, const cuda::Norm& norm) {
    const bool embeds = random_.coin();
    const bool typed = random_.coin();
    describe("cuda embed %s rows %ld n %ld embeds %d types %d", Type<T>::kName, long{rows}, long{n}, embeds, typed);
    const DeviceRows<T> word(random_, 7, n, true);
    const DeviceRows<T> position(random_, 9, n, true);
    const DeviceRows<T> type(random_, 2, n, true);
    const Guarded<float> given = random_.floats(rows * n);
    Guarded<int32_t> ids(3 * rows, random_.place());
    GuardedRows sum(rows, n, n, Place::kBegin);
    for (int64_t r = 0; r < rows; ++r) {
      ids[r] = static_cast<int32_t>(random_.integer(0, 6));
      ids[rows + r] = static_cast<int32_t>(random_.integer(0, 8));
      ids[2 * rows + r] = static_cast<int32_t>(random_.integer(0, 1));
      for (int64_t c = 0; c < n; ++c) {
        sum.at(r, c) = (embeds ? given[r * n + c] : word.get(ids[r], c)) + position.get(ids[rows + r], c) +
                       (typed ? type.get(ids[2 * rows + r], c) : 0.0f);
      }
    }
    DeviceRows<float> x(random_, rows, n, false);
    DeviceRows<T> low(random_, rows, n, false);
    cuda::EmbedArgs<T> args{
        word.reading(), position.reading(), {}, nullptr, ids.data(), ids.data() + rows, nullptr, norm, rows, n,
        x.matrix(),     low_of(low)};
    if (embeds) args.inputs_embeds = given.data();
    if (embeds) args.input_ids = nullptr;
    if (typed) args.token_type = type.reading();
    if (typed) args.type_ids = ids.data() + 2 * rows;
    check_normed(sum, norm, rows, n, [&] { cuda::embed<T>(stream_, args); }, x, low);
  }

  cuda::Matrix<T> low_of(DeviceRows<T>& low) { return std::is_same_v<T, float> ? cuda::Matrix<T>{} : low.matrix(); }

  template <class Run>
  void check_normed(const GuardedRows& sum, const cuda::Norm& norm, int64_t rows, int64_t n, Run run,
                    const DeviceRows<float>& x, const DeviceRows<T>& low) {
    const auto get = [&](int64_t r, int64_t c) { return x.get(r, c); };
    in_both_orders(run, rows, n, get);
    const std::vector<double> expected = reference::layer_norm({sum.row(0), sum.stride()}, norm.weight, norm.bias,
                                                               static_cast<double>(norm.eps), rows, n);
    compare(expected, rows, n, 2e-5, get);
    if (std::is_same_v<T, float>) return;
    compare(expected, rows, n, Type<T>::kTolerance, [&](int64_t r, int64_t c) { return low.get(r, c); });
  }

  // Three sequences in one batch, of which one asks more than it attends to.
  void check_attention(int64_t head_dim, bool biased, bool with_columns) {
    const int64_t heads = 2;
    const int32_t lengths[] = {static_cast<int32_t>(random_.integer(65, 150)), 1,
                               static_cast<int32_t>(random_.integer(2, 64))};
    describe("cuda attention %s head_dim %ld lengths %d 1 %d bias %d columns %d", Type<T>::kName, long{head_dim},
             lengths[0], lengths[2], biased, with_columns);
    const int32_t cu_seqlens[] = {0, lengths[0], lengths[0] + 1, lengths[0] + 1 + lengths[2]};
    const int32_t key_lens[] = {lengths[0], 1, lengths[2] - 1};
    const int64_t tokens = cu_seqlens[3];
    const int64_t far = 2 * tokens;
    DeviceRows<T> qkv(random_, tokens, 3 * heads * head_dim, true);
    DeviceRows<T> context(random_, tokens, heads * head_dim, false);
    Guarded<int32_t> columns(tokens, random_.place());
    for (int b = 0; b < 3; ++b) {
      int32_t column = 0;
      for (int64_t t = cu_seqlens[b]; t < cu_seqlens[b + 1]; ++t) {
        columns[t] = column;
        column += static_cast<int32_t>(random_.integer(1, 2));
      }
    }
    // What is not attended to is NaN.
    for (int64_t c = heads * head_dim; c < 3 * heads * head_dim; ++c) {
      qkv.set(tokens - 1, c, std::numeric_limits<float>::quiet_NaN());
    }
    const Guarded<float> bias = random_.floats(heads * (2 * far + 1));
    std::vector<cuda::QueryTile> tiles;
    std::vector<int64_t> offsets;
    int64_t probabilities = 0;
    for (int32_t b = 0; b < 3; ++b) {
      for (int32_t query = 0; query < lengths[b]; query += cuda::kTileQueries) tiles.push_back({b, query});
      offsets.push_back(probabilities);
      probabilities += int64_t{lengths[b]} * lengths[b];
    }
    const cuda::AttentionArgs<T> args{{cu_seqlens, key_lens, with_columns ? columns.data() : nullptr, tiles.data(),
                                       static_cast<int64_t>(tiles.size())},
                                      qkv.reading(),
                                      context.matrix(),
                                      biased ? bias.data() : nullptr,
                                      far,
                                      static_cast<int32_t>(heads),
                                      static_cast<int32_t>(head_dim),
                                      2.0f / std::sqrt(static_cast<float>(head_dim))};
    std::vector<double> expected(static_cast<size_t>(tokens * heads * head_dim));
    std::vector<double> expected_probabilities;
    for (int b = 0; b < 3; ++b) {
      for (int64_t h = 0; h < heads; ++h) expect_attention(args, b, h, qkv, expected, expected_probabilities);
    }
    const auto get = [&](int64_t r, int64_t c) { return context.get(r, c); };
    in_both_orders([&] { cuda::attention<T>(stream_, args); }, tokens, heads * head_dim, get);
    compare(expected, tokens, heads * head_dim, Type<T>::kTolerance, get);
    cuda::plain_attention<T>(stream_, args);
    compare(expected, tokens, heads * head_dim, Type<T>::kTolerance, get);
    const Guarded<float> out(heads * probabilities, random_.place());
    const auto probability = [&](int64_t, int64_t i) { return out[i]; };
    in_both_orders(
        [&] { cuda::attention_probabilities<T>(stream_, args, offsets.data(), const_cast<float*>(out.data())); }, 1,
        heads * probabilities, probability);
    compare(expected_probabilities, 1, heads * probabilities, 2e-5, probability);
  }

  void expect_attention(const cuda::AttentionArgs<T>& args, int b, int64_t head, const DeviceRows<T>& qkv,
                        std::vector<double>& out, std::vector<double>& probabilities) {
    const int32_t begin = args.sequences.cu_seqlens[b];
    const int64_t width = args.heads * args.head_dim;
    AttentionArgs one{};
    one.q = qkv.floats().row(begin) + head * args.head_dim;
    one.k = one.q + width;
    one.v = one.q + 2 * width;
    one.stride = 3 * width;
    one.num_tokens = args.sequences.cu_seqlens[b + 1] - begin;
    one.num_keys = args.sequences.key_lens[b];
    one.head_dim = args.head_dim;
    one.scale = args.scale;
    if (args.position_bias != nullptr) {
      one.position_bias = args.position_bias + head * (2 * args.max_distance + 1) + args.max_distance;
    }
    if (args.sequences.columns != nullptr) one.columns = args.sequences.columns + begin;
    const reference::Attention expected = reference::attention(one);
    for (int64_t t = 0; t < one.num_tokens; ++t) {
      for (int64_t d = 0; d < args.head_dim; ++d) {
        out[static_cast<size_t>((begin + t) * width + head * args.head_dim + d)] =
            expected.out[static_cast<size_t>(t * args.head_dim + d)];
      }
    }
    probabilities.insert(probabilities.end(), expected.probabilities.begin(), expected.probabilities.end());
  }

  // Against sums in double; every mode at once, of two sequences.
  void check_pool(bool weighted) {
    const int64_t n = random_.integer(1, 300);
    describe("cuda pool n %ld weights %d", long{n}, weighted);
    const DeviceRows<float> x(random_, 9, n, true);
    const int32_t cu_seqlens[] = {0, 3, 9};
    const int32_t key_lens[] = {3, 5};
    const int32_t first_rows[] = {0, 8};
    const int32_t modes[] = {0, 1, 2, 3, 4, 5};
    const float weights[] = {0.0f, 1.0f, 1.0f, 0.0f, 1.0f, 1.0f, 1.0f, 0.0f, 1.0f};
    const Guarded<float> out(2 * 6 * n, random_.place());
    std::vector<double> expected;
    for (int b = 0; b < 2; ++b) {
      std::vector<std::vector<double>> columns;
      for (int64_t c = 0; c < n; ++c)
        columns.push_back(pooled(x, cu_seqlens[b], key_lens[b], first_rows[b], c, weighted ? weights : nullptr));
      for (size_t mode = 0; mode < 6; ++mode) {
        for (const std::vector<double>& column : columns) expected.push_back(column[mode]);
      }
    }
    const auto get = [&](int64_t, int64_t i) { return out[i]; };
    in_both_orders(
        [&] {
          cuda::pool(stream_, {x.reading(), cu_seqlens, key_lens, first_rows, weighted ? weights : nullptr, modes, 6, 2,
                               n, const_cast<float*>(out.data())});
        },
        1, 12 * n, get);
    compare(expected, 1, 12 * n, 2e-5, get);
  }

  // One element in every mode, in the order of Pooling.
  static std::vector<double> pooled(const DeviceRows<float>& x, int64_t begin, int64_t count, int64_t first, int64_t c,
                                    const float* weights) {
    double sum = 0.0;
    double factors = 0.0;
    double placed = 0.0;
    double places = 0.0;
    double top = -1e9;
    double last = 0.0;
    for (int64_t t = 0; t < count; ++t) {
      if (weights != nullptr && weights[begin + t] == 0.0f) continue;
      const auto value = static_cast<double>(x.get(begin + t, c));
      const auto place = static_cast<double>(t + 1);
      sum += value;
      factors += 1.0;
      placed += place * value;
      places += place;
      top = std::max(top, value);
      last = value;
    }
    return {static_cast<double>(x.get(first, c)), sum / factors, top, sum / std::sqrt(factors), placed / places, last};
  }

  Random random_;
  cudaStream_t stream_ = nullptr;
};

}  // namespace bertcpp::testing
