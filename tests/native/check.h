// The smallest test frame that serves: a failed CHECK prints where and what, and the program's exit status says so.
#pragma once

#include <cstdio>

namespace bertcpp::testing {

inline int& failures() {
  static int count = 0;
  return count;
}

}  // namespace bertcpp::testing

#define CHECK(condition, ...)                                              \
  do {                                                                     \
    if (!(condition)) {                                                    \
      ++bertcpp::testing::failures();                                      \
      std::fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition); \
      std::fprintf(stderr, __VA_ARGS__);                                   \
      std::fprintf(stderr, "\n");                                          \
    }                                                                      \
  } while (false)

// The expression throws an exception of this type whose message contains the text.
#define CHECK_THROWS(expression, Type, text)                                                         \
  do {                                                                                               \
    bool thrown = false;                                                                             \
    try {                                                                                            \
      static_cast<void>(expression);                                                                 \
    } catch (const Type& error) {                                                                    \
      thrown = true;                                                                                 \
      CHECK(std::string(error.what()).find(text) != std::string::npos, "it says: %s", error.what()); \
    }                                                                                                \
    CHECK(thrown, "%s", "no " #Type);                                                                \
  } while (false)
