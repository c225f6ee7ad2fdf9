// A forward pass on one stream of one device, for each type that products are computed in.
#pragma once

#include <memory>

#include "cuda/batch.h"
#include "cuda/transfer.h"
#include "layers/tensor.h"

namespace bertcpp::cuda {

// Not to be used by two threads at once, and only in the scope of the device that it was made in.
class Engine {
 public:
  virtual ~Engine() = default;
  // The batch, and the padding where there is one, must have been checked. Results are complete when it returns, on the
  // host or on the device. Throws InputError (sizes), DeviceError, DeviceMemoryError.
  virtual void forward(const EncoderBatch& batch, const EncoderOutputs& outputs, const Padding* padding) = 0;
  virtual cudaStream_t stream() const = 0;
  virtual Transfer& transfer() = 0;
  virtual size_t nbytes() const = 0;
  virtual int64_t heads(int64_t layer) const = 0;
};

// T: float, __half or __nv_bfloat16.
template <class T>
std::unique_ptr<Engine> make_engine(const EncoderConfig& config, const WeightMap& weights, bool tf32);

}  // namespace bertcpp::cuda
