// A forward pass on one stream of one device, for each type that products are computed in.
#pragma once

#include <memory>

#include "layers/tensor.h"
#include "models/encoder.h"

namespace bertcpp::cuda {

// Not to be used by two threads at once, and only in the scope of the device that it was made in.
class Engine {
 public:
  virtual ~Engine() = default;
  // The batch must have been checked. Throws InputError (sizes), DeviceError, DeviceMemoryError.
  virtual void forward(const EncoderBatch& batch, const EncoderOutputs& outputs) = 0;
  virtual size_t nbytes() const = 0;
  virtual int64_t heads(int64_t layer) const = 0;
};

// T: float, __half or __nv_bfloat16.
template <class T>
std::unique_ptr<Engine> make_engine(const EncoderConfig& config, const WeightMap& weights, bool tf32);

}  // namespace bertcpp::cuda
