// The encoder of models/encoder.h on an NVIDIA GPU: the same configuration, weights, batches and results.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "models/encoder.h"

namespace bertcpp::cuda {

// What products are computed in; they are summed in float, and LayerNorm and the residual stream are float, always.
enum class Compute {
  kFloat32,
  kTf32,  // float32 whose factors tensor cores round to 10 bits of mantissa
  kFloat16,
  kBFloat16,
};

class Engine;
struct ByteRows;
struct Padding;

class Encoder {
 public:
  // The weights are copied to the device and not looked at again. Throws ConfigError, WeightError, DeviceError,
  // DeviceMemoryError.
  Encoder(const EncoderConfig& config, const WeightMap& weights, Compute compute, int device);
  ~Encoder();
  Encoder(const Encoder&) = delete;
  Encoder& operator=(const Encoder&) = delete;

  // Any number of threads may call this; they wait for each other. After an exception the encoder works as before,
  // unless it was a DeviceError of the device itself, which no later call in the process survives.
  // Throws InputError, TokenIdError, DeviceError, DeviceMemoryError.
  void forward(const EncoderBatch& batch, const EncoderOutputs& outputs) const;
  // The same for arrays that stay on the device, where results are complete when it returns. `require` must have let
  // the batch pass: it is not looked at again.
  void forward(const EncoderBatch& batch, const EncoderOutputs& outputs, const Padding& padding) const;

  // What `forward` refuses, before memory is taken for its results. Throws InputError, TokenIdError, DeviceError.
  void require(const EncoderBatch& batch, const Padding& padding) const;
  void refuse_after_fork() const;  // throws DeviceError

  int device() const { return device_; }
  // The stream that it computes on, as DLPack passes it: what is put on it before a call is done before the call
  // begins.
  uintptr_t stream() const;
  // Bytes of the device's memory, and back, on that stream.
  void download(const ByteRows& from, void* to) const;
  void upload(const void* from, size_t bytes, void* to) const;

  const EncoderConfig& config() const { return config_; }
  // Of a layer: num_attention_heads, or fewer where some were pruned.
  int64_t heads(int64_t layer) const;
  size_t nbytes() const;  // of the weights on the device

 private:
  void compute(const EncoderBatch& batch, const EncoderOutputs& outputs, const Padding* padding) const;

  EncoderConfig config_;
  int device_;
  pid_t process_;
  mutable std::mutex mutex_;
  std::unique_ptr<Engine> engine_;
};

// The GPUs that the driver offers. Throws DeviceError where there is no driver that works.
int device_count();
// "NVIDIA H100 80GB HBM3, 81559 MiB, compute capability 9.0".
std::string device_text(int device);

}  // namespace bertcpp::cuda
