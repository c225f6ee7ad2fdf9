#include "cuda/encoder.h"

#include <unistd.h>

#include "cuda/engine.h"
#include "cuda/errors.h"
#include "cuda/memory.h"
#include "models/checks.h"

namespace bertcpp::cuda {
namespace {

std::unique_ptr<Engine> engine(const EncoderConfig& config, const WeightMap& weights, Compute compute) {
  switch (compute) {
    case Compute::kFloat16:
      return make_engine<__half>(config, weights, false);
    case Compute::kBFloat16:
      return make_engine<__nv_bfloat16>(config, weights, false);
    case Compute::kFloat32:
    case Compute::kTf32:
      break;
  }
  return make_engine<float>(config, weights, compute == Compute::kTf32);
}

int checked_device(int device) {
  const int count = device_count();
  if (device >= 0 && device < count) return device;
  throw DeviceError("there is no GPU " + std::to_string(device) + "; the driver offers " + std::to_string(count) +
                    ", numbered from 0");
}

}  // namespace

int device_count() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaErrorNoDevice) {
    static_cast<void>(cudaGetLastError());
    return 0;
  }
  check(status, "asking the driver for its GPUs");
  return count;
}

std::string device_text(int device) {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, checked_device(device)), "asking for the GPU's properties");
  return std::string(properties.name) + ", " + std::to_string(properties.totalGlobalMem >> 20) +
         " MiB, compute capability " + std::to_string(properties.major) + "." + std::to_string(properties.minor);
}

Encoder::Encoder(const EncoderConfig& config, const WeightMap& weights, Compute compute, int device)
    : config_(check(config)), device_(checked_device(device)), process_(getpid()) {
  const DeviceScope scope(device_);
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, device_), "asking for the GPU's properties");
  if (properties.major < 8) {
    throw DeviceError("GPU " + std::to_string(device_) + " is a " + device_text(device_) +
                      "; bertcpp needs 8.0 or later (Ampere)");
  }
  engine_ = engine(config_, weights, compute);
}

Encoder::~Encoder() {
  // A forked child has no use of the parent's device; to touch it there is an error.
  if (getpid() != process_) static_cast<void>(engine_.release());
}

void Encoder::refuse_after_fork() const {
  if (getpid() == process_) return;
  throw DeviceError(
      "this model was loaded on a GPU before the process forked, and CUDA does not survive a fork; load "
      "it in the child, or start children with the method \"spawn\"");
}

void Encoder::forward(const EncoderBatch& batch, const EncoderOutputs& outputs) const {
  refuse_after_fork();
  check(config_, batch, outputs);
  compute(batch, outputs, nullptr);
}

void Encoder::forward(const EncoderBatch& batch, const EncoderOutputs& outputs, const Padding& padding) const {
  compute(batch, outputs, &padding);
}

void Encoder::require(const EncoderBatch& batch, const Padding& padding) const {
  refuse_after_fork();
  check(config_, batch, {});
  check(batch, padding);
}

void Encoder::compute(const EncoderBatch& batch, const EncoderOutputs& outputs, const Padding* padding) const {
  const std::lock_guard lock(mutex_);
  const DeviceScope scope(device_);
  engine_->forward(batch, outputs, padding);
}

uintptr_t Encoder::stream() const { return reinterpret_cast<uintptr_t>(engine_->stream()); }

void Encoder::download(const ByteRows& from, void* to) const {
  refuse_after_fork();
  const std::lock_guard lock(mutex_);
  const DeviceScope scope(device_);
  engine_->transfer().download(engine_->stream(), from, to);
}

void Encoder::upload(const void* from, size_t bytes, void* to) const {
  refuse_after_fork();
  const std::lock_guard lock(mutex_);
  const DeviceScope scope(device_);
  engine_->transfer().upload(engine_->stream(), from, bytes, to);
}

int64_t Encoder::heads(int64_t layer) const { return engine_->heads(layer); }

size_t Encoder::nbytes() const { return engine_->nbytes(); }

}  // namespace bertcpp::cuda
