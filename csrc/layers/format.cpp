#include "layers/format.h"

#include <algorithm>

namespace bertcpp {

std::vector<int64_t> segment_ends(int64_t k, const std::vector<int64_t>& ends) {
  constexpr int64_t kLine = 64;
  std::vector<int64_t> result;
  for (const int64_t end : ends) {
    const int64_t whole = std::max(end, kLine) / kLine * kLine;
    if (whole < k && whole > (result.empty() ? 0 : result.back())) result.push_back(whole);
  }
  result.push_back(k);
  return result;
}

}  // namespace bertcpp
