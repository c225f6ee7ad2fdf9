#!/usr/bin/env bash
# Compiles the CUDA part with the toolkit's nvcc and the cuBLASLt of PyPI, checks what came of it, and runs tests/cuda,
# which skips what needs a GPU where there is none. Run by `make cuda`; builds into build-cuda/.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=$(realpath -s "${PYTHON:-.venv/bin/python}")
JOBS=${JOBS:-$(nproc)}
PATH="$(cd "$(dirname "$PYTHON")" && pwd):$PATH"
build=build-cuda
fail() { echo "$*" >&2; exit 1; }

nvcc=$(command -v "${CUDACXX:-nvcc}" || true)
if [ -z "$nvcc" ]; then
  echo 'No CUDA compiler (nvcc) is found: the CUDA part is not compiled.'
  exit 0
fi
release=$("$nvcc" --version | sed -n 's/.*release \([0-9]*\)\.\([0-9]*\).*/\1.\2/p')
major=${release%%.*}
packages=$build/packages
if [ "$major" -ge 13 ]; then
  names=("nvidia-cublas>=$major,<$((major + 1))" "nvidia-cuda-runtime>=$major,<$((major + 1))")
else
  names=("nvidia-cublas-cu$major" "nvidia-cuda-runtime-cu$major")
fi
if [ ! -e "$packages/complete" ]; then
  echo "Fetching ${names[*]} ..."
  "$PYTHON" -m pip --disable-pip-version-check -q install --target "$packages" "${names[@]}"
  touch "$packages/complete"
fi

echo "Compiling for CUDA with nvcc $release ..."
# Of the native programs none is needed, nor the engine for the processor again.
cmake -S . -B $build -G Ninja -DPython_EXECUTABLE="$PYTHON" -Dpybind11_DIR="$("$PYTHON" -m pybind11 --cmakedir)" \
  -DBERTCPP_CUDA=ON -DBERTCPP_CUDA_PACKAGES="$PWD/$packages" -DBERTCPP_WERROR=ON ${CMAKE_ARGS:-} >$build/cmake.log ||
  { cat $build/cmake.log; exit 1; }
cmake --build $build -j "$JOBS"

module=$(ls $build/_cuda*.so)
# The driver is the user's: the runtime loads it when it is first needed, and must not be linked.
needed=$(readelf -d "$module" | sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p')
grep -q "^libcublasLt\.so\.$major$" <<<"$needed" || fail "$module does not name cuBLASLt: $needed"
grep -qE '^lib(cuda|cudart)\.so' <<<"$needed" && fail "$module is linked to the driver or to a shared runtime: $needed"
images=$(strings -a "$module" | grep -oE '\bsm_[0-9]+\b|compute_[0-9]+' | sort -u | tr '\n' ' ')
echo "$module: $(stat -c %s "$module") bytes; $images"

# A package with both extensions, beside the sources, which stay as they are.
rm -rf $build/package
mkdir -p $build/package
cp -r python/bertcpp $build/package/
rm -f $build/package/bertcpp/*.so
cp $build/_core*.so $build/_cuda*.so $build/package/bertcpp/
export LD_LIBRARY_PATH=$PWD/$packages/nvidia/cu$major/lib:$PWD/$packages/nvidia/cublas/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
PYTHONPATH=$PWD/$build/package BERTCPP_CUDA_BUILT=1 "$PYTHON" -m pytest -q -p no:cacheprovider tests/cuda "$@"
