#include "layers/format.h"

#include <algorithm>

namespace bertcpp {

std::vector<int64_t> segment_ends(int64_t k, int64_t first, int64_t second) {
  constexpr int64_t kLine = 64;
  std::vector<int64_t> ends;
  for (const int64_t end : {std::max(first, kLine) / kLine * kLine, second / kLine * kLine}) {
    if (end < k && end > (ends.empty() ? 0 : ends.back())) ends.push_back(end);
  }
  ends.push_back(k);
  return ends;
}

}  // namespace bertcpp
