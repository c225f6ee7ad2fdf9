#include <pybind11/stl.h>

#include <limits>
#include <string>
#include <vector>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "bindings/gil.h"
#include "kernels/kernels.h"
#include "kernels/peak.h"
#include "runtime/cpu.h"
#include "runtime/errors.h"
#include "runtime/threads.h"

namespace bertcpp::bindings {
namespace {

namespace py = pybind11;

std::vector<std::string> instruction_sets() {
  size_t count = 0;
  const KernelsEntry* entries = kernel_entries(&count);
  std::vector<std::string> names;
  for (size_t i = 0; i < count; ++i) {
    if (entries[i].supported) names.emplace_back(entries[i].kernels->name);
  }
  return names;
}

int64_t panel_columns(const std::string& name) {
  size_t count = 0;
  const KernelsEntry* entries = kernel_entries(&count);
  for (size_t i = 0; i < count; ++i) {
    if (entries[i].kernels->name == name) return entries[i].kernels->nr;
  }
  return 0;
}

// Python's integers have no end: one that an int64_t cannot hold is refused as any other that is too large.
void set_threads(const py::object& n) {
  if (PyIndex_Check(n.ptr()) == 0 || PyBool_Check(n.ptr())) {
    throw py::type_error("set_num_threads takes an integer, not " + py::repr(n).cast<std::string>());
  }
  const auto index = py::reinterpret_steal<py::object>(PyNumber_Index(n.ptr()));
  if (!index) throw py::error_already_set();
  int overflow = 0;
  const long long threads = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
  set_num_threads(overflow == 0 ? static_cast<int64_t>(threads) : overflow * std::numeric_limits<int64_t>::max());
}

void check_seconds(double seconds) {
  if (!(seconds > 0 && seconds <= 60)) throw InputError("seconds must lie above 0 and be at most 60");
}

double peak(const std::string& dtype, int64_t num_threads, double seconds) {
  const int threads = checked_num_threads(num_threads);
  check_seconds(seconds);
  const Kernels& kernels = active_kernels();
  const GilRelease release;
  return measure_peak(kernels, dtype, threads, seconds);
}

double read_bandwidth(int64_t num_threads, double seconds, int64_t bytes) {
  const int threads = checked_num_threads(num_threads);
  check_seconds(seconds);
  if (bytes < 0) throw InputError("bytes must be 0, for several times what the caches hold, or more");
  const GilRelease release;
  return measure_read_bandwidth(bytes, threads, seconds);
}

py::dict cpu_info() {
  const CpuCaches& caches = cpu_caches();
  py::dict sizes;
  sizes["l1d"] = caches.l1d;
  sizes["l2"] = caches.l2;
  sizes["l3"] = caches.l3;
  py::dict info;
  info["model_name"] = cpu_model_name();
  info["caches"] = sizes;
  info["features"] = cpu_feature_names();
  return info;
}

}  // namespace

void bind_processor(py::module_& module) {
  module.def(
      "panel_columns", panel_columns, py::arg("instruction_set"),
      "The columns of the panels that weights are packed in for this instruction set; 0 if this build lacks it.");
  module.def(
      "instruction_set", [] { return std::string(active_kernels().name); },
      "The instruction set in use: the best that the processor runs, or the one that BERTCPP_ISA names.");
  module.def("instruction_sets", &instruction_sets,
             "The instruction sets that this build carries and this processor runs, best first. "
             "`amx` leads where it is, but is used only where BERTCPP_ISA names it.");
  module.def("available_cpus", &available_cpus,
             "The processors this process may use: its affinity mask, cut by its control groups' quota.");
  module.def("set_num_threads", &set_threads, py::arg("n"), "Sets how many threads calls use that name no number.");
  module.def("get_num_threads", &get_num_threads, "How many threads calls use that name no number.");
  module.def("cpu_info", &cpu_info,
             "The processor's model_name, the sizes of its caches in bytes (l1d, l2, l3), and its features.");
  module.def("measure_peak", &peak, py::arg("dtype") = "float32", py::kw_only(), py::arg("num_threads") = 0,
             py::arg("seconds") = 0.005,
             "Operations per second that the arithmetic units do in a dtype, measured now.");
  module.def("measure_read_bandwidth", &read_bandwidth, py::kw_only(), py::arg("num_threads") = 0,
             py::arg("seconds") = 0.02, py::arg("bytes") = 0,
             "Bytes per second that are read from memory, measured now.");
}

}  // namespace bertcpp::bindings
