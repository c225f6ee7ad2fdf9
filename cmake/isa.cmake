# One row per instruction set: name, then the flags that csrc/kernels/isa.cpp is compiled with.
# A new instruction set is one row here, one section of csrc/kernels/simd.h and one entry of csrc/kernels/dispatch.cpp.
#
# Every row becomes an object library `isa_<name>` that exports one symbol, `bertcpp_kernels_<name>`, and defines
# BERTCPP_HAVE_<NAME> for csrc/kernels/dispatch.cpp. The rows are never given the flags of another row, and link-time
# optimization stays off for them: code compiled for one instruction set must not be merged into another's.
include_guard()
include(CheckCXXCompilerFlag)

if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(BERTCPP_ISA_ROWS
      "scalar"
      "avx2         -mavx2 -mfma -mf16c"
      "avx2_vnni    -mavx2 -mfma -mf16c -mavxvnni"
      "avx512       -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c -mprefer-vector-width=512"
      "avx512_vnni  -mavx512vnni -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c -mprefer-vector-width=512"
      "avx512_bf16  -mavx512bf16 -mavx512vnni -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c -mprefer-vector-width=512"
      "amx          -mamx-tile -mamx-bf16 -mamx-int8 -mavx512bf16 -mavx512vnni -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c -mprefer-vector-width=512")
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
  set(BERTCPP_ISA_ROWS
      "scalar"
      "neon"  # Advanced SIMD belongs to the baseline of aarch64
      "neon_dotprod  -march=armv8.2-a+dotprod")
else()
  set(BERTCPP_ISA_ROWS "scalar")
endif()

# Flags of every row. No exceptions and no run-time type information: either would bring in symbols of the standard
# library, compiled for this instruction set, that the linker may share with code that runs on any processor.
set(BERTCPP_ISA_COMMON_FLAGS $<$<CONFIG:Release>:-O3> -ffp-contract=off -fno-math-errno -fvisibility=hidden -fno-exceptions -fno-rtti)

# The object library `isa_<name>`: the kernels by the section of simd.h of the row `section`, compiled with the flags that
# follow.
function(bertcpp_add_kernels name section)
  string(TOUPPER "${section}" section)
  set(library "isa_${name}")
  add_library(${library} OBJECT "${PROJECT_SOURCE_DIR}/csrc/kernels/isa.cpp")
  target_include_directories(${library} PRIVATE "${PROJECT_SOURCE_DIR}/csrc")
  target_compile_definitions(${library} PRIVATE "BERTCPP_ISA_${section}=1" "BERTCPP_ISA_NAME=\"${name}\""
                                                "BERTCPP_ISA_TABLE=bertcpp_kernels_${name}")
  target_compile_options(${library} PRIVATE ${BERTCPP_ISA_COMMON_FLAGS} ${ARGN})
  target_link_libraries(${library} PRIVATE bertcpp_options)
  set_target_properties(${library} PROPERTIES POSITION_INDEPENDENT_CODE ON INTERPROCEDURAL_OPTIMIZATION OFF)
endfunction()

# Adds the object libraries of all rows to `target`, and the definitions that its dispatch.cpp reads.
function(bertcpp_add_instruction_sets target)
  add_custom_target(instruction_sets)
  foreach(row IN LISTS BERTCPP_ISA_ROWS)
    separate_arguments(flags UNIX_COMMAND "${row}")
    list(POP_FRONT flags name)
    string(TOUPPER "${name}" upper)
    foreach(flag IN LISTS flags)
      string(MAKE_C_IDENTIFIER "BERTCPP_COMPILES${flag}" variable)
      check_cxx_compiler_flag("${flag}" ${variable})
      if(NOT ${variable})
        message(FATAL_ERROR "The compiler ${CMAKE_CXX_COMPILER} does not know ${flag}, which the ${name} kernels need. "
                            "Use GCC 11 or later, or Clang 14 or later (set the environment variable CXX).")
      endif()
    endforeach()
    bertcpp_add_kernels(${name} ${name} ${flags})
    add_dependencies(instruction_sets isa_${name})
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:isa_${name}>)
    target_compile_definitions(${target} PUBLIC "BERTCPP_HAVE_${upper}=1")
  endforeach()
endfunction()

# A static library with the kernels of the row amx, where tests/native/amx_emulation has functions in place of its tile
# instructions: the row amx_emulated, for tests alone. Of a processor that has no such row nothing.
function(bertcpp_add_emulated_amx target)
  set(rows "${BERTCPP_ISA_ROWS}")
  list(FILTER rows INCLUDE REGEX "^amx ")
  if(NOT rows)
    return()
  endif()
  separate_arguments(flags UNIX_COMMAND "${rows}")
  list(FILTER flags EXCLUDE REGEX "amx")
  set(emulation "${PROJECT_SOURCE_DIR}/tests/native/amx_emulation")
  bertcpp_add_kernels(amx_emulated amx ${flags} -include "${emulation}/tiles.h")
  add_library(${target} STATIC "${emulation}/tiles.cpp" $<TARGET_OBJECTS:isa_amx_emulated>)
  target_compile_definitions(${target} INTERFACE BERTCPP_EMULATED_AMX=1)
  target_link_libraries(${target} PRIVATE bertcpp_options)
endfunction()
