#include "runtime/errors.h"

#include <exception>

#include "bindings/bindings.h"

namespace bertcpp::bindings {
namespace {

namespace py = pybind11;

void raise(const char* name, const std::exception& error) {
  const py::object type = py::module_::import("bertcpp.errors").attr(name);
  PyErr_SetString(type.ptr(), error.what());
}

}  // namespace

void translate_errors() {
  // What is not ours, std::bad_alloc among it, is left to pybind11.
  py::register_local_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const TokenIdError& error) {
      raise("TokenIdError", error);
    } catch (const InputError& error) {
      raise("InputError", error);
    } catch (const ConfigError& error) {
      raise("ConfigError", error);
    } catch (const WeightError& error) {
      raise("WeightMismatchError", error);
    } catch (const InstructionSetError& error) {
      raise("InstructionSetError", error);
    } catch (const DeviceMemoryError& error) {
      raise("DeviceMemoryError", error);
    } catch (const DeviceError& error) {
      raise("DeviceError", error);
    }
  });
}

}  // namespace bertcpp::bindings
