#include "cuda/array.h"

#include <unistd.h>

#include <exception>
#include <utility>

#include "runtime/sizes.h"

namespace bertcpp::cuda {

Array::Array(int device, std::vector<int64_t> shape) : device_(device), process_(getpid()), shape_(std::move(shape)) {
  int64_t count = 1;
  for (const int64_t size : shape_) count = checked_mul(count, size);
  const DeviceScope scope(device_);
  block_ = Block(Place::kDevice, checked_bytes(count, sizeof(float)));
}

Array::~Array() {
  if (getpid() != process_) {
    block_.forget();  // a forked child has no use of the parent's device; to touch it there is an error
    return;
  }
  try {
    const DeviceScope scope(device_);
    // Waits for whatever kernels still read it, on whatever stream.
    block_ = Block();
  } catch (const std::exception&) {
    block_.forget();  // the driver is gone, at the end of the process, and its memory with it
  }
}

}  // namespace bertcpp::cuda
