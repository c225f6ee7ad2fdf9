# csrc/cuda: the sources, the library of its own that is made of them where a CUDA compiler is found, and the one for
# the emulated GPU of the tests.
set(BERTCPP_CUDA_SOURCES
    csrc/cuda/array.cpp
    csrc/cuda/batch.cpp
    csrc/cuda/delivery.cpp
    csrc/cuda/encoder.cpp
    csrc/cuda/engine.cpp
    csrc/cuda/errors.cpp
    csrc/cuda/matmul.cpp
    csrc/cuda/memory.cpp
    csrc/cuda/transfer.cpp
    csrc/cuda/weights.cpp)
set(BERTCPP_CUDA_KERNELS
    csrc/cuda/attention.cu
    csrc/cuda/padded.cu
    csrc/cuda/plain_attention.cu
    csrc/cuda/pooling.cu
    csrc/cuda/rows.cu)

# A static library of csrc/cuda for the host, where CUDA's headers are those of tests/native/cuda_emulation.
function(bertcpp_add_emulated_cuda target)
  set(emulation "${PROJECT_SOURCE_DIR}/tests/native/cuda_emulation")
  set(sources ${BERTCPP_CUDA_SOURCES} ${emulation}/cublas_lt.cpp ${emulation}/runtime.cpp ${emulation}/threads.cpp)
  # The kernels are the compiler's as C++ only under such a name.
  foreach(kernel IN LISTS BERTCPP_CUDA_KERNELS)
    get_filename_component(name "${kernel}" NAME_WE)
    set(source "${PROJECT_BINARY_DIR}/emulated_cuda/${name}.cpp")
    file(CONFIGURE OUTPUT "${source}" CONTENT "#include \"${kernel}\"\n" @ONLY)
    list(APPEND sources "${source}")
  endforeach()
  add_library(${target} STATIC ${sources})
  target_include_directories(${target} BEFORE PUBLIC "${emulation}" PRIVATE "${PROJECT_SOURCE_DIR}")
  target_link_libraries(${target} PUBLIC bertcpp_engine)
endfunction()

# Sets BERTCPP_CUDA_FOUND and what the library needs, or says why it is not built. cuBLASLt comes from the toolkit, else
# from the packages nvidia-cublas and nvidia-cuda-runtime of the Python that is built for, or BERTCPP_CUDA_PACKAGES, the
# folder that has them.
macro(bertcpp_find_cuda)
  set(BERTCPP_CUDA_FOUND OFF)
  set(missing "")
  include(CheckLanguage)
  check_language(CUDA)
  if(NOT CMAKE_CUDA_COMPILER)
    set(missing "no CUDA compiler (nvcc) is found")
  else()
    if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
      set(CMAKE_CUDA_ARCHITECTURES 80-real 90-real 90-virtual)
    endif()
    enable_language(CUDA)
    find_package(CUDAToolkit)
    if(NOT BERTCPP_CUDA_PACKAGES AND Python_EXECUTABLE)
      execute_process(
        COMMAND "${Python_EXECUTABLE}" -c "import sysconfig; print(sysconfig.get_paths()['purelib'], end='')"
        OUTPUT_VARIABLE BERTCPP_CUDA_PACKAGES)
    endif()
    set(major ${CUDAToolkit_VERSION_MAJOR})
    set(packages "${BERTCPP_CUDA_PACKAGES}/nvidia/cu${major}")
    find_path(BERTCPP_CUBLASLT_INCLUDE cublasLt.h HINTS ${CUDAToolkit_INCLUDE_DIRS} "${packages}/include")
    find_library(BERTCPP_CUBLASLT NAMES cublasLt libcublasLt.so.${major} HINTS ${CUDAToolkit_LIBRARY_DIR}
                                                                               "${packages}/lib")
    if(BERTCPP_CUBLASLT_INCLUDE AND BERTCPP_CUBLASLT)
      set(BERTCPP_CUDA_FOUND ON)
    else()
      set(missing "nvcc is found, but not cuBLASLt (pip install nvidia-cublas nvidia-cuda-runtime)")
    endif()
  endif()
  if(BERTCPP_CUDA_FOUND)
    message(STATUS "The CUDA part is built by nvcc ${CUDAToolkit_VERSION} with ${BERTCPP_CUBLASLT}")
  elseif(BERTCPP_CUDA STREQUAL "ON")
    message(FATAL_ERROR "BERTCPP_CUDA is ON, but ${missing}.")
  else()
    message(STATUS "The CUDA part is not built: ${missing}")
  endif()
endmacro()

# The extension bertcpp._cuda. Python loads it only when a GPU is asked for.
function(bertcpp_add_cuda_module target)
  pybind11_add_module(
    ${target} MODULE NO_EXTRAS csrc/bindings/arrays.cpp csrc/bindings/config.cpp csrc/bindings/cuda_module.cpp
    csrc/bindings/dlpack.cpp csrc/bindings/errors.cpp ${BERTCPP_CUDA_SOURCES} ${BERTCPP_CUDA_KERNELS})
  # The warnings of bertcpp_options are the host's compiler's; nvcc passes on what both know.
  set_target_properties(${target} PROPERTIES CUDA_STANDARD 20 CUDA_STANDARD_REQUIRED ON)
  target_include_directories(${target} SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS} "${BERTCPP_CUBLASLT_INCLUDE}")
  # The runtime is linked in; of cuBLASLt the one is taken that is installed where the module runs: the toolkit's, or
  # the package's beside this one.
  target_link_libraries(${target} PRIVATE bertcpp_engine CUDA::cudart_static "${BERTCPP_CUBLASLT}")
  set_target_properties(${target} PROPERTIES BUILD_WITH_INSTALL_RPATH ON
                                             INSTALL_RPATH "$ORIGIN/../nvidia/cu${CUDAToolkit_VERSION_MAJOR}/lib")
endfunction()
