"""Each instruction set's object exports one symbol, and no other object contains wide instructions.

The linker keeps one copy of a function that several objects define. If an object compiled for AVX-512 exported an
inline function, that copy could be the one that an older processor runs, and dies of.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BUILDS = {
    "release": ["-DCMAKE_BUILD_TYPE=Release"],
    "debug": ["-DCMAKE_BUILD_TYPE=Debug"],
    "sanitizer": ["-DCMAKE_BUILD_TYPE=None", "-DCMAKE_CXX_FLAGS=-O1 -g", "-DBERTCPP_SANITIZE=address,undefined"],
}
# What a compiler calls on its own, and nothing of the C++ standard library.
ALLOWED_UNDEFINED = re.compile(r"mem(cpy|set|move|cmp)|__(asan|ubsan)_\w+|_GLOBAL_OFFSET_TABLE_|__stack_chk_fail")
TILE = r"%tmm|\b(?:ld|st)tilecfg|\btilerelease"
WIDE = re.compile(TILE + r"|%[yz]mm|%k[1-7]\b|\bv(?:fn?m|add|mul|sub|mov)\w*\s+%xmm|\bv(?:movups|movss|addss)\s")
WIDE_OBJECTS = ("isa_avx", "isa_amx")


def run(*command: str | Path) -> str:
    arguments = [str(part) for part in command]
    completed = subprocess.run(arguments, capture_output=True, text=True, timeout=280, check=False)
    assert completed.returncode == 0, f"{command}:\n{completed.stdout[-4000:]}\n{completed.stderr[-4000:]}"
    return completed.stdout


@pytest.fixture(scope="module", params=BUILDS)
def build(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of CMake's object folders, after a build of this kind."""
    missing = [tool for tool in ("cmake", "ninja", "nm", "objdump") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not found; `make test` brings cmake and ninja, a compiler brings binutils")
    folder = tmp_path_factory.mktemp(request.param)
    options = ["-DBERTCPP_BUILD_PYTHON=OFF", *BUILDS[request.param]]
    run("cmake", "-S", ROOT, "-B", folder, "-G", "Ninja", *options)
    target = "instruction_sets" if request.param == "sanitizer" else "bertcpp_engine"
    run("cmake", "--build", folder, "-j", "2", "--target", target)
    return folder / "CMakeFiles"


def instruction_set_objects(build: Path) -> dict[str, Path]:
    found = {path.parents[2].name: path for path in build.glob("isa_*.dir/csrc/kernels/isa.cpp.o")}
    return {name.removeprefix("isa_").removesuffix(".dir"): path for name, path in found.items()}


def test_exactly_one_symbol_is_exported(build: Path) -> None:
    objects = instruction_set_objects(build)
    assert "scalar" in objects
    assert len(objects) >= 2, "a build without any vector instruction set"
    for name, path in objects.items():
        lines = run("nm", "--defined-only", "--extern-only", path).splitlines()
        exported = {line.split()[-1] for line in lines if line}
        assert exported - {f"__odr_asan.bertcpp_kernels_{name}"} == {f"bertcpp_kernels_{name}"}


def test_nothing_of_the_standard_library_is_used(build: Path) -> None:
    for path in instruction_set_objects(build).values():
        undefined = [line.split()[-1] for line in run("nm", "--undefined-only", path).splitlines() if line]
        foreign = [symbol for symbol in undefined if not ALLOWED_UNDEFINED.fullmatch(symbol)]
        assert foreign == [], path


def test_wide_instructions_stay_in_their_objects(build: Path) -> None:
    if "avx2" not in instruction_set_objects(build):
        pytest.skip("the objects of this processor family do not differ in their baseline")
    portable = [path for path in build.rglob("*.o") if not path.parents[2].name.startswith(WIDE_OBJECTS)]
    assert portable
    for path in portable:
        assert WIDE.findall(run("objdump", "--disassemble", "--no-show-raw-insn", path)) == [], path


def test_the_search_for_wide_instructions_finds_them(build: Path) -> None:
    for name in ("avx2", "avx512", "amx"):
        path = instruction_set_objects(build).get(name)
        if path is None:
            pytest.skip("not an x86-64 build")
        assert WIDE.search(run("objdump", "--disassemble", "--no-show-raw-insn", path))


def test_tiles_are_multiplied_where_there_are_tiles(build: Path) -> None:
    """No processor of the tests may have them: that the instructions are there is what can be seen."""
    path = instruction_set_objects(build).get("amx")
    if path is None:
        pytest.skip("not an x86-64 build")
    code = run("objdump", "--disassemble", "--no-show-raw-insn", path)
    for instruction in ("ldtilecfg", "tileloadd", "tdpbf16ps", "tdpbusd", "tilestored", "tilerelease"):
        assert re.search(rf"\b{instruction}\b", code), instruction
