#!/usr/bin/env bash
# Cross compiles for aarch64 and runs the native programs on an emulated processor. Run by `make neon`.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=$(realpath -s "${PYTHON:-.venv/bin/python}")
JOBS=${JOBS:-$(nproc)}
PATH="$(cd "$(dirname "$PYTHON")" && pwd):$PATH"
build=build-neon
root=/usr/aarch64-linux-gnu

for tool in aarch64-linux-gnu-g++ qemu-aarch64; do
  if ! command -v $tool >/dev/null; then
    echo "SKIPPED: $tool not found (on Debian: apt-get install qemu-user g++-aarch64-linux-gnu)"
    exit 0
  fi
done

cmake -S . -B $build -G Ninja -DCMAKE_TOOLCHAIN_FILE=cmake/aarch64-linux-gnu.cmake -DBERTCPP_BUILD_PYTHON=OFF \
  -DBERTCPP_BUILD_TESTS=ON >/dev/null
cmake --build $build -j "$JOBS"
qemu-aarch64 -L $root $build/kernel_tests --list | grep -q '^neon matmul$' || { echo 'No NEON kernels' >&2; exit 1; }
PYTHON=$PYTHON tests/run_native.sh $build qemu-aarch64 -L $root
