// attention: every head_dim from 1 to 130, lengths up to 600, masks, position biases, cuts through the queries.
#pragma once

#include "kernel_case.h"
#include "kernels/reference.h"

namespace bertcpp::testing {

struct AttentionShape {
  int64_t tokens;
  int64_t keys;
  int64_t head_dim;
  float sharpness;  // of the scores: at 1 they are small; at 8 sqrt(head_dim) one key takes nearly all
  bool bias;
  bool columns;
  bool probabilities;
  bool bfloat16 = false;
  bool large = false;  // scores of 1e11 and more, exact in float32: one key, or those that tie, take all
};

class AttentionProblem {
 public:
  AttentionProblem(Case& test, const AttentionShape& shape)
      : test_(test),
        shape_(shape),
        stride_(test.random.stride(shape.head_dim)),
        q_(shape.tokens, shape.head_dim, stride_, test.random.place()),
        k_(shape.tokens, shape.head_dim, stride_, test.random.place()),
        v_(shape.tokens, shape.head_dim, stride_, test.random.place()),
        columns_(shape.tokens, test.random.place()) {
    // Keys and values of tokens that are not attended to stay NaN.
    for (int64_t t = 0; t < shape.tokens; ++t) {
      for (int64_t d = 0; d < shape.head_dim; ++d) {
        q_.at(t, d) = query_or_key() * shape.sharpness;
        if (t < shape.keys) k_.at(t, d) = query_or_key();
        if (t < shape.keys) v_.at(t, d) = test.random.uniform();
      }
    }
    int64_t column = 0;
    for (int64_t t = 0; t < shape.tokens; ++t) {
      columns_[t] = static_cast<int32_t>(column);
      column += test.random.integer(1, 3);
    }
    // The biases of all distances between any token and one that is attended to, and none beyond.
    const int64_t back = shape.columns ? columns_[shape.tokens - 1] : shape.tokens - 1;
    const int64_t ahead = shape.columns ? columns_[shape.keys - 1] : shape.keys - 1;
    bias_ = test.random.floats(back + ahead + 1);
    distance_zero_ = back;
  }

  void check() {
    const GuardedRows whole = attend(0, shape_.tokens);
    const reference::Attention expected = reference::attention(arguments());
    check_rows(whole, expected);
    if (shape_.tokens > 1) check_cut(whole);
  }

 private:
  float query_or_key() {
    return shape_.large ? 65536.0f * static_cast<float>(test_.random.integer(-8, 8)) : test_.random.uniform();
  }

  AttentionArgs arguments() const {
    AttentionArgs args{};
    args.q = q_.row(0);
    args.k = k_.row(0);
    args.v = v_.row(0);
    args.stride = stride_;
    args.num_tokens = shape_.tokens;
    args.query_begin = 0;
    args.query_end = shape_.tokens;
    args.num_keys = shape_.keys;
    args.head_dim = shape_.head_dim;
    args.scale = 1.0f / std::sqrt(static_cast<float>(shape_.head_dim));
    args.position_bias = shape_.bias ? bias_.data() + distance_zero_ : nullptr;
    args.columns = shape_.columns ? columns_.data() : nullptr;
    args.bfloat16 = shape_.bfloat16;
    return args;
  }

  // The queries [begin, end), into rows of their own.
  GuardedRows attend(int64_t begin, int64_t end) {
    describe(
        "%s attention tokens %ld keys %ld head_dim %ld queries [%ld, %ld) stride %ld sharpness %g bias %d columns %d "
        "bfloat16 %d",
        test_.kernels.name, long{shape_.tokens}, long{shape_.keys}, long{shape_.head_dim}, long{begin}, long{end},
        long{stride_}, static_cast<double>(shape_.sharpness), shape_.bias, shape_.columns, shape_.bfloat16);
    GuardedRows out(shape_.tokens, shape_.head_dim, test_.random.stride(shape_.head_dim), test_.random.place());
    Guarded<float> scratch(test_.kernels.attention_scratch(shape_.tokens, shape_.keys, shape_.head_dim),
                           Place::kBuffer);
    probabilities_ = GuardedRows(shape_.tokens, shape_.tokens, shape_.tokens, test_.random.place());
    AttentionArgs args = arguments();
    args.query_begin = begin;
    args.query_end = end;
    args.out = out.row(0);
    args.out_stride = out.stride();
    args.probabilities = shape_.probabilities ? probabilities_.row(0) : nullptr;
    args.scratch = scratch.data();
    test_.kernels.attention(args);
    CHECK_CASE(out.untouched_outside(begin, end - begin, shape_.head_dim));
    CHECK_CASE(probabilities_.untouched_outside(begin, shape_.probabilities ? end - begin : 0, shape_.tokens));
    CHECK_CASE(scratch.untouched_behind());
    return out;
  }

  // How far float32 arithmetic may move a score: four roundings of the largest sum of magnitudes. The products of large
  // scores are exact.
  double score_error() const {
    if (shape_.large) return 0.0;
    double largest = 0.0;
    for (int64_t t = 0; t < shape_.tokens; ++t) {
      for (int64_t j = 0; j < shape_.keys; ++j) {
        double sum = 0.0;
        for (int64_t d = 0; d < shape_.head_dim; ++d) {
          sum += std::abs(static_cast<double>(q_.at(t, d)) * static_cast<double>(k_.at(j, d)));
        }
        largest = std::max(largest, sum);
      }
    }
    return 4.0 * 0x1p-24 * largest / std::sqrt(static_cast<double>(shape_.head_dim));
  }

  void check_rows(const GuardedRows& out, const reference::Attention& expected) {
    // Rounding in a score moves its probability by as much again in proportion, and large scores round coarsely.
    const double softmax_error = 2.0 * score_error();
    // Values are at most 1; the probabilities that multiply them are rounded to bfloat16 or not.
    const double rounded = shape_.bfloat16 ? 0x1p-8 : 0.0;
    const double tolerance = (kTolerance + softmax_error) * std::max(largest_magnitude(expected.out), 1e-3) +
                             (shape_.keys > 1 ? rounded : 0.0);
    bool right = true;
    bool probabilities_right = true;
    for (int64_t t = 0; t < shape_.tokens; ++t) {
      for (int64_t d = 0; d < shape_.head_dim; ++d) {
        right = right && close(out.at(t, d), expected.out[static_cast<size_t>(t * shape_.head_dim + d)], tolerance);
      }
      for (int64_t j = 0; shape_.probabilities && j < shape_.tokens; ++j) {
        const float p = probabilities_.at(t, j);
        const bool zero = j < shape_.keys || same_bits(p, 0.0f);
        probabilities_right =
            probabilities_right && zero &&
            close(p, expected.probabilities[static_cast<size_t>(t * shape_.tokens + j)], kTolerance + softmax_error);
      }
    }
    CHECK_CASE(right);
    CHECK_CASE(probabilities_right);
  }

  // Queries computed apart from the others have the same bits.
  void check_cut(const GuardedRows& whole) {
    const int64_t begin = test_.random.integer(0, shape_.tokens - 1);
    const int64_t end = test_.random.integer(begin + 1, shape_.tokens);
    const GuardedRows part = attend(begin, end);
    bool same = true;
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t d = 0; d < shape_.head_dim; ++d) same = same && same_bits(part.at(t, d), whole.at(t, d));
    }
    CHECK_CASE(same);
  }

  Case& test_;
  AttentionShape shape_;
  int64_t stride_;
  GuardedRows q_;
  GuardedRows k_;
  GuardedRows v_;
  Guarded<int32_t> columns_;
  Guarded<float> bias_;
  int64_t distance_zero_ = 0;
  GuardedRows probabilities_{0, 0, 0, Place::kEnd};
};

inline void check_attention(Case& test, int64_t tokens, int64_t head_dim) {
  Random& random = test.random;
  const bool bias = random.integer(0, 2) == 0;
  const float sharpness = random.integer(0, 3) == 0 ? 8.0f * std::sqrt(static_cast<float>(head_dim)) : 1.0f;
  AttentionProblem(test, {.tokens = tokens,
                          .keys = random.coin() ? tokens : random.integer(1, tokens),
                          .head_dim = head_dim,
                          .sharpness = sharpness,
                          .bias = bias,
                          .columns = bias && random.coin(),
                          .probabilities = random.coin(),
                          .bfloat16 = random.coin()})
      .check();
}

inline void test_attention(Case& test) {
  for (int64_t head_dim = 1; head_dim <= 130; ++head_dim) {
    for (int i = 0; i < 3; ++i) check_attention(test, test.random.integer(1, 50), head_dim);
  }
  for (int64_t tokens = 1; tokens <= 70; ++tokens) {
    for (int i = 0; i < 3; ++i) check_attention(test, tokens, test.random.integer(1, 40));
  }
  for (int64_t tokens = 71; tokens <= 600; tokens += test.random.integer(5, 30)) {
    check_attention(test, tokens, test.random.integer(1, 24));
  }
  for (const int64_t tokens : {127, 128, 129, 256, 511, 512, 513, 600}) check_attention(test, tokens, 64);
  for (const int64_t head_dim : {5, 24, 32, 48, 80}) {
    for (const bool bfloat16 : {false, true})
      AttentionProblem(test, {.tokens = 40,
                              .keys = 37,
                              .head_dim = head_dim,
                              .sharpness = 1.0f,
                              .bias = false,
                              .columns = false,
                              .probabilities = true,
                              .bfloat16 = bfloat16,
                              .large = true})
          .check();
  }
}

}  // namespace bertcpp::testing
