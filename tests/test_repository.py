"""What must stay true of the sources themselves: arrows between rooms, names, lengths, dependencies."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ["runtime", "kernels", "layers", "models", "cuda", "bindings"]  # a room includes itself and those before it
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_TRACKED_BYTES = 1_000_000
CPP_SUFFIXES = (".cpp", ".cu", ".h", ".inc")


def _project_files() -> list[Path]:
    """Tracked and new files; in an unpacked sdist, which has no git, all files."""
    if (ROOT / ".git").exists():
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        return sorted(ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file())
    ignored = re.compile(r"(^|/)(\.venv[^/]*|build[^/]*|dist|wheelhouse|__pycache__|\.\w+_cache|\.hypothesis)/|\.so$")
    files = (path for path in ROOT.rglob("*") if path.is_file())
    return sorted(path for path in files if not ignored.search(path.relative_to(ROOT).as_posix()))


FILES = _project_files()
CPP_FILES = [path for path in FILES if path.suffix in CPP_SUFFIXES]
ENGINE_FILES = [path for path in CPP_FILES if path.is_relative_to(ROOT / "csrc")]
PACKAGE_FILES = [path for path in FILES if path.is_relative_to(ROOT / "python") and path.suffix in (".py", ".pyi")]
PYTHON_FILES = [path for path in FILES if path.suffix == ".py"]


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def without_comments(source: str) -> str:
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", source, flags=re.DOTALL)


def matches(files: list[Path], pattern: str, allowed: tuple[str, ...] = ()) -> list[str]:
    """`path: text` of every match outside comments and outside the allowed files."""
    return [
        f"{relative(path)}: {found.group(0).strip()}"
        for path in files
        if relative(path) not in allowed
        for found in re.finditer(pattern, without_comments(path.read_text()), flags=re.MULTILINE)
    ]


def test_the_tree_is_the_one_that_these_checks_expect() -> None:
    assert {path.relative_to(ROOT / "csrc").parts[0] for path in ENGINE_FILES} == set(ROOMS)
    assert len(PACKAGE_FILES) >= 10
    assert (ROOT / "csrc/kernels/isa.cpp") in ENGINE_FILES


@pytest.mark.parametrize("path", ENGINE_FILES, ids=relative)
def test_arrows_between_rooms(path: Path) -> None:
    room = ROOMS.index(path.relative_to(ROOT / "csrc").parts[0])
    for included in re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(), flags=re.MULTILINE):
        assert (ROOT / "csrc" / included).is_file(), f"{included}: includes are written from csrc/"
        assert ROOMS.index(included.split("/")[0]) <= room, f"{relative(path)} must not know {included}"


def test_only_bindings_know_python() -> None:
    outside = [path for path in ENGINE_FILES if not path.is_relative_to(ROOT / "csrc/bindings")]
    assert matches(outside, r"pybind11|\bPy[A-Z]\w+|Python\.h") == []


def test_only_threads_names_openmp() -> None:
    assert matches(CPP_FILES, r"omp\.h|#\s*pragma\s+omp|\bomp_\w+|_OPENMP", allowed=("csrc/runtime/threads.cpp",)) == []


def test_instruction_sets_are_named_in_few_places() -> None:
    names = r"__(AVX|SSE|F16C|FMA|ARM_NEON|ARM_FEATURE)\w*|BERTCPP_ISA_(SCALAR|AVX|AMX|NEON)\w*"
    assert matches(ENGINE_FILES, rf"^\s*#\s*(el)?if.*({names})", allowed=("csrc/kernels/simd.h",)) == []
    assert matches(ENGINE_FILES, r"\b_mm\d*_\w+|\bv(ld|st)1q_\w+|\bvfmaq?_\w+", allowed=("csrc/kernels/simd.h",)) == []
    assert matches(ENGINE_FILES, r"\b_tile_\w+|\btmm\d", allowed=("csrc/kernels/tiles.inc",)) == []
    assert matches(ENGINE_FILES, r"BERTCPP_HAVE_\w+", allowed=("csrc/kernels/dispatch.cpp",)) == []


def test_kernels_include_nothing_that_instantiates_code() -> None:
    compiled_per_set = [path for path in ENGINE_FILES if path.suffix == ".inc" or path.name in ("isa.cpp", "simd.h")]
    compiled_per_set.append(ROOT / "csrc/kernels/kernels.h")
    allowed = {"cstddef", "cstdint", "immintrin.h", "arm_neon.h"}
    for path in compiled_per_set:
        for header in re.findall(r"^\s*#\s*include\s+<([^>]+)>", path.read_text(), flags=re.MULTILINE):
            assert header in allowed, f"{relative(path)} includes <{header}>"


def test_the_engine_knows_no_checkpoint_names() -> None:
    assert (
        matches(ENGINE_FILES, r"attention\.self|LayerNorm\.weight|safetensors|pytorch_model|model_type|roberta") == []
    )


def lines_of(node: ast.AST) -> int:
    return node.end_lineno - node.lineno + 1  # type: ignore[attr-defined]


def docstring_lines(node: ast.AST) -> int:
    documentable = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    return lines_of(node.body[0]) if documentable and ast.get_docstring(node) is not None else 0


@pytest.mark.parametrize("path", [*CPP_FILES, *PYTHON_FILES], ids=relative)
def test_files_can_be_held_in_mind(path: Path) -> None:
    """Docstrings do not count: a signature with its explanation is read on its own."""
    source = path.read_text()
    documented = sum(map(docstring_lines, ast.walk(ast.parse(source)))) if path.suffix == ".py" else 0
    assert len(source.splitlines()) - documented <= MAX_FILE_LINES


def python_function_lengths(source: str) -> dict[str, int]:
    """Lines of each function, its docstring left out."""
    functions = [
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return {f"{node.name}:{node.lineno}": lines_of(node) - docstring_lines(node) for node in functions}


def cpp_function_lengths(source: str) -> dict[str, int]:
    """Lines of each function at the level of a namespace, which clang-format starts and ends in the first column."""
    lengths, start = {}, None
    for number, line in enumerate(source.splitlines(), 1):
        if re.match(r"[A-Za-z].*\)[^;]*\{$", line) and not re.match(r"(namespace|struct|class|enum)\b", line):
            start = number
        elif line == "}" and start is not None:
            lengths[f"line {start}"] = number - start + 1
            start = None
    return lengths


@pytest.mark.parametrize("path", [*CPP_FILES, *PYTHON_FILES], ids=relative)
def test_functions_can_be_held_in_mind(path: Path) -> None:
    lengths = (python_function_lengths if path.suffix == ".py" else cpp_function_lengths)(path.read_text())
    assert {name: lines for name, lines in lengths.items() if lines > MAX_FUNCTION_LINES} == {}


def test_the_measures_of_length_measure() -> None:
    assert python_function_lengths('def f():\n    """Do.\n\n    More.\n    """\n    return 1\n') == {"f:1": 2}
    assert cpp_function_lengths("int f(int a) {\n  return a;\n}\n") == {"line 1": 3}


def test_class_paths_keep_clear_of_other_libraries_words() -> None:
    for path in PACKAGE_FILES:
        classes = [node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)]
        for name in [relative(path).removeprefix("python/"), *classes]:
            assert "pipeline" not in name.lower(), name
            assert "sentence_transformers" not in name.lower(), name


def test_nothing_is_vendored_and_nothing_large_is_tracked() -> None:
    foreign = re.compile(r"(^|/)(third[-_]?party|vendor(ed)?|_vendor|extern(al)?|deps|submodules?)/", re.IGNORECASE)
    assert [relative(path) for path in FILES if foreign.search(relative(path))] == []
    assert not (ROOT / ".gitmodules").exists()
    assert [relative(path) for path in FILES if path.stat().st_size > MAX_TRACKED_BYTES] == []


def test_every_source_is_built() -> None:
    built = "".join(path.read_text() for path in [ROOT / "CMakeLists.txt", *(ROOT / "cmake").glob("*.cmake")])
    sources = [path for path in ENGINE_FILES if path.suffix in (".cpp", ".cu")]
    assert [relative(path) for path in sources if relative(path) not in built] == []


def test_only_the_cuda_part_knows_cuda() -> None:
    rooms = (ROOT / "csrc/cuda", ROOT / "tests/native")
    elsewhere = [path for path in CPP_FILES if not any(path.is_relative_to(room) for room in rooms)]
    allowed = ("csrc/bindings/cuda_module.cpp", "csrc/bindings/dlpack.cpp", "csrc/bindings/dlpack.h")
    assert matches(elsewhere, r'cuda_runtime\.h|cublas\w*|\bcuda[A-Z]\w+|"cuda/\w+\.h"', allowed=allowed) == []


def test_the_installed_package_is_tested_where_make_test_says_so() -> None:
    if "BERTCPP_INSTALLED" not in os.environ:
        pytest.skip("only `make test` tests the installed package; PYTHONPATH may name the sources")
    import bertcpp

    assert not Path(bertcpp.__file__).is_relative_to(ROOT / "python")


def test_names_say_what_things_are() -> None:
    vague = re.compile(r"(^|[/_])(utils?|helpers?|managers?|impl|misc|common)([._/]|$)")
    assert [relative(path) for path in FILES if vague.search(relative(path))] == []


def test_nothing_is_left_unfinished_and_no_machine_is_named() -> None:
    unfinished = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    machine = re.compile(r"(?<![\w./$}])/(work|home|root|Users)/")
    for path in FILES:
        if path == Path(__file__) or path.suffix in (".png", ".svg", ".npy", ".bin", ".safetensors", ".json"):
            continue
        text = path.read_text(errors="replace")
        assert not unfinished.search(text), relative(path)
        assert not machine.search(text), relative(path)


def imported(tree: ast.AST) -> set[str]:
    """The packages that code imports when it runs, which leaves out what only type checkers read."""
    names: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
        elif not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            names |= imported(node)
    return names


def test_dependencies_are_declared_where_they_are_used() -> None:
    declared = (ROOT / "pyproject.toml").read_text()
    required = re.search(r"^dependencies = \[(.*?)\]", declared, flags=re.DOTALL | re.MULTILINE)
    assert required is not None
    always = set(re.findall(r'"([A-Za-z_]+)', required.group(1)))
    optional = {"torch", "tqdm", "IPython", "pyarrow", "h5py"}  # imported where a caller asks for them
    optional |= {"ctranslate2", "matplotlib", "onnxruntime", "openvino", "transformers"}  # where it is benchmarked
    optional |= {
        "chromadb",
        "haystack",
        "langchain_core",
        "llama_index",
        "mteb",
        "pydantic",
    }  # by the adapter for it alone
    used = {name for path in PACKAGE_FILES if path.suffix == ".py" for name in imported(ast.parse(path.read_text()))}
    third_party = used - set(sys.stdlib_module_names) - {"bertcpp"}
    assert third_party - optional == always
