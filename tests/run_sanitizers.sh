#!/usr/bin/env bash
# Runs the native programs, and the parts of the suite that reach the engine, under AddressSanitizer and
# UndefinedBehaviorSanitizer. Run by `make sanitize`; builds into build-asan/.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=$(realpath -s "${PYTHON:-.venv/bin/python}")
JOBS=${JOBS:-$(nproc)}
build=build-asan

make native PYTHON="$PYTHON" JOBS="$JOBS" BUILD=$build WERROR=OFF CMAKE_ARGS="-DCMAKE_BUILD_TYPE=RelWithDebInfo \
  '-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O1 -g' -DBERTCPP_SANITIZE=address,undefined -DBERTCPP_BUILD_BENCHMARKS=OFF"

export UBSAN_OPTIONS=print_stacktrace=1
export ASAN_OPTIONS=abort_on_error=1:strict_string_checks=1:detect_stack_use_after_return=1
tests/run_native.sh $build

# The interpreter is not built with the sanitizers, so their run-time library is loaded before it; the C++ library too,
# or its exceptions would be thrown before they are watched. What Python never frees is not our leak.
package=$build/package
rm -rf $package
mkdir -p $package
cp -r python/bertcpp $package/
rm -f $package/bertcpp/_core*.so
cp $build/_core*.so $package/bertcpp/
preloaded="$(${CXX:-c++} -print-file-name=libasan.so) $(${CXX:-c++} -print-file-name=libstdc++.so)"
echo 'Python under the sanitizers ...'
ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0 LD_PRELOAD=$preloaded PYTHONMALLOC=malloc PYTHONPATH=$PWD/$package \
  "$PYTHON" -m pytest -q -p no:cacheprovider --timeout=600 -k "not base_size and not long_sequences and not real_text and not processes_share and not the_command" \
  tests/models/test_agreement.py tests/models/test_gru.py tests/models/test_same_bits.py tests/models/test_storage.py \
  tests/models/test_task_models.py tests/robustness \
  tests/api/test_modeling.py tests/api/test_packed_checkpoints.py tests/api/test_damaged_packed_weights.py tests/api/test_threads_and_processes.py "$@"
