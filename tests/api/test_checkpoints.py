"""Finding checkpoints: folders, the cache, installed packages, the hub."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import reference_models as reference
from bertcpp import checkpoints, hub_cache
from bertcpp.architectures import load_encoder
from bertcpp.checkpoints import inside, locate
from bertcpp.errors import (
    CheckpointError,
    CheckpointNotFoundError,
    CorruptCheckpointError,
    MissingDependencyError,
)
from bertcpp.installed_models import find_installed_model, installed_models

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def tiny(seed: int, tmp_path: Path) -> Path:
    return reference.save(reference.random_model("bert", seed, num_hidden_layers=1), tmp_path / "tiny")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hugging Face cache, and no environment that names another."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path / "hf" / "hub"


def put_in_cache(cache: Path, name: str, source: Path, ref: str = "main") -> Path:
    """Lay a folder out as huggingface_hub does: snapshots are links into blobs."""
    repository = cache / f"models--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / COMMIT
    for index, file in enumerate(path for path in source.rglob("*") if path.is_file()):
        blob = repository / "blobs" / f"blob{index}"
        blob.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, blob)
        link = snapshot / file.relative_to(source)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    (repository / "refs" / ref).parent.mkdir(parents=True, exist_ok=True)
    (repository / "refs" / ref).write_text(COMMIT)
    return snapshot


class TestLocate:
    def test_a_folder(self, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert locate(tiny) == tiny
        assert locate(str(tiny)) == tiny
        monkeypatch.chdir(tiny.parent)
        assert locate("tiny") == Path("tiny")
        monkeypatch.setenv("HOME", str(tiny.parent))
        assert locate("~/tiny") == tiny

    def test_a_subfolder(self, tiny: Path) -> None:
        assert locate(tiny.parent, subfolder="tiny") == tiny.parent / "tiny"
        with pytest.raises(CheckpointNotFoundError, match="has no folder 'tine'; correct subfolder="):
            locate(tiny.parent, subfolder="tine")
        with pytest.raises(CorruptCheckpointError, match=r"'\.\./tiny' leads out of the checkpoint's folder"):
            locate(tiny, subfolder="../tiny")

    def test_the_cache(self, tiny: Path, cache: Path) -> None:
        snapshot = put_in_cache(cache, "someone/something", tiny)
        assert locate("someone/something") == snapshot
        assert locate("someone/something", revision=COMMIT) == snapshot
        assert locate("someone/something", local_files_only=True) == snapshot
        # Through the links of the cache too.
        assert load_encoder(snapshot)[1].vocab_size == reference.TINY["vocab_size"]
        with pytest.raises(CheckpointNotFoundError, match="someone/something"):
            locate("someone/something", revision="v2")

    def test_the_cache_needs_no_network_and_no_huggingface_hub(
        self, tiny: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        snapshot = put_in_cache(cache, "someone/something", tiny)
        monkeypatch.delenv("HF_HUB_OFFLINE")
        monkeypatch.setattr(checkpoints, "download_snapshot", None)  # calling it would raise
        assert locate("someone/something") == snapshot

    def test_names_of_sentence_transformers_need_no_organization(self, tiny: Path, cache: Path) -> None:
        snapshot = put_in_cache(cache, "sentence-transformers/own-name-v1", tiny)
        assert locate("own-name-v1") == snapshot

    @pytest.mark.parametrize("variable", ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME", "argument"])
    def test_where_the_cache_is(
        self, variable: str, tiny: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place = tmp_path / "elsewhere"
        folder = place / "huggingface" / "hub" if variable == "XDG_CACHE_HOME" else place
        if variable == "XDG_CACHE_HOME":
            monkeypatch.delenv("HF_HOME")
        if variable != "argument":
            monkeypatch.setenv(variable, str(place))
        snapshot = put_in_cache(folder, "a/b", tiny)
        assert locate("a/b", cache_dir=folder if variable == "argument" else None) == snapshot

    @pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "local_files_only"])
    def test_offline_does_not_call_home(self, variable: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("HF_HUB_OFFLINE")
        if variable != "local_files_only":
            monkeypatch.setenv(variable, "yes")
        monkeypatch.setattr(checkpoints, "download_snapshot", None)
        with pytest.raises(CheckpointNotFoundError) as caught:
            locate("someone/absent", local_files_only=variable == "local_files_only")
        message = str(caught.value)
        assert str(cache) in message
        assert variable in message
        assert "no installed package carries it" in message

    def test_an_incomplete_snapshot_is_completed_or_used_as_it_is(
        self, tiny: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        snapshot = put_in_cache(cache, "someone/something", tiny)
        (snapshot / "model.safetensors").unlink()
        assert locate("someone/something") == snapshot  # offline: what is missing may not be needed
        monkeypatch.delenv("HF_HUB_OFFLINE")
        asked: list[dict[str, Any]] = []

        def download(name: str, **options: Any) -> Path:
            asked.append(options)
            return tiny

        monkeypatch.setattr(checkpoints, "download_snapshot", download)
        assert locate("someone/something", token="secret") == tiny
        assert asked[0]["token"] == "secret"

        def unreachable(name: str, **options: Any) -> Path:
            asked.append(options)
            raise CheckpointError("the hub is down")

        monkeypatch.setattr(checkpoints, "download_snapshot", unreachable)
        assert locate("someone/something") == snapshot
        with pytest.raises(CheckpointNotFoundError, match=r"'other/thing' was not found: .*; and the hub is down"):
            locate("other/thing")
        asked.clear()
        with pytest.raises(CheckpointNotFoundError, match="the hub is down"):
            locate("neither-name")
        assert len(asked) == 1

    def test_force_download_asks_the_hub(self, tiny: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        put_in_cache(cache, "someone/something", tiny)
        monkeypatch.delenv("HF_HUB_OFFLINE")
        monkeypatch.setattr(checkpoints, "download_snapshot", lambda name, **options: tiny)
        assert locate("someone/something", force_download=True) == tiny

    def test_a_sharded_snapshot_is_complete_with_all_its_shards(self, tiny: Path, cache: Path) -> None:
        snapshot = put_in_cache(cache, "someone/sharded", tiny)
        (snapshot / "model.safetensors").rename(snapshot / "model-00001-of-00002.safetensors")
        index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
        (snapshot / "model.safetensors.index.json").write_text(json.dumps(index))
        assert not checkpoints._is_complete(snapshot)
        shutil.copy(tiny / "model.safetensors", snapshot / "model-00002-of-00002.safetensors")
        assert checkpoints._is_complete(snapshot)

    @pytest.mark.parametrize(
        "name", ["nowhere/at/all", "-x", "a--b", "a b", "a/b.git", "x" * 97, "a/../b", "/no/such/folder", "./none"]
    )
    def test_what_is_no_name(self, name: str) -> None:
        with pytest.raises(CheckpointNotFoundError, match="there is no such folder, and it is no hub name"):
            locate(name)


class TestInstalledModels:
    @pytest.fixture(autouse=True)
    def site(self, tiny: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A folder of installed distributions of its own."""
        site = tmp_path / "site"
        site.mkdir()
        monkeypatch.setattr(sys, "path", [str(site), *(entry for entry in sys.path if "site-packages" not in entry)])
        return site

    def install(self, site: Path, tiny: Path, distribution: str, folder: str) -> Path:
        shutil.copytree(tiny, site / folder)
        module = folder.split("/")[0]
        (site / module / "__init__.py").write_text("raise AssertionError('a model package must not be imported')")
        info = site / f"{distribution}-1.0.dist-info"
        info.mkdir()
        files = [path.relative_to(site).as_posix() for path in (site / module).rglob("*") if path.is_file()]
        (info / "RECORD").write_text("".join(f'"{file}",sha256=x,1\n' for file in files))
        return site / folder

    def test_by_the_names_of_the_distribution_and_the_module(self, site: Path, tiny: Path) -> None:
        folder = self.install(site, tiny, "Some_Model.pkg", "some_module/data")
        for name in ("some-model-pkg", "Some_Model.pkg", "some_module", "some-module"):
            assert locate(name) == folder
        assert find_installed_model("model-pkg") is not None
        assert find_installed_model("someone/some-model-pkg") is None

    @pytest.mark.parametrize("name", ["all-Tiny-L1", "sentence-transformers/all-Tiny-L1"])
    @pytest.mark.parametrize(
        ("distribution", "folder"),
        [
            ("xyz", "xyz/sentence-transformers__all-Tiny-L1"),
            ("xyz", "xyz/models/sentence-transformers--all-Tiny-L1"),
            ("xyz", "xyz/all-Tiny-L1"),
            ("my_all_tiny_l1", "my_all_tiny_l1/model"),
        ],
    )
    def test_by_the_name_of_the_model(self, name: str, distribution: str, folder: str, site: Path, tiny: Path) -> None:
        installed = self.install(site, tiny, distribution, folder)
        assert locate(name) == installed

    def test_another_organizations_model_is_another_model(self, site: Path, tiny: Path) -> None:
        self.install(site, tiny, "xyz", "xyz/sentence-transformers__all-Tiny-L1")
        self.install(site, tiny, "my_all_tiny_l1", "my_all_tiny_l1/model")
        with pytest.raises(CheckpointNotFoundError, match="someone/all-Tiny-L1"):
            locate("someone/all-Tiny-L1")

    def test_the_best_fit_wins(self, site: Path, tiny: Path) -> None:
        self.install(site, tiny, "aaa_tiny", "aaa_tiny/model")
        by_folder = self.install(site, tiny, "bbb", "bbb/tiny")
        assert locate("tiny") == by_folder
        exact = self.install(site, tiny, "tiny", "ccc/model")
        assert locate("tiny") == exact

    def test_a_revision_or_a_forced_download_is_not_taken_from_a_package(self, site: Path, tiny: Path) -> None:
        self.install(site, tiny, "tiny", "tiny/model")
        for options in ({"revision": "v1"}, {"force_download": True}):
            with pytest.raises(CheckpointNotFoundError):
                locate("tiny", **options)

    def test_damaged_and_hostile_records_are_passed_over(self, site: Path, tiny: Path, tmp_path: Path) -> None:
        shutil.copytree(tiny, tmp_path / "outside")
        records = {
            "a-1.dist-info": b'"../outside/config.json",,\n"../outside/model.safetensors",,\n',
            "b-1.dist-info": f"{tmp_path}/outside/config.json,,\n{tmp_path}/outside/model.safetensors,,\n".encode(),
            "c-1.dist-info": b"\xff\xfe/model.safetensors,\0",
            "nodash.dist-info": b"x/config.json,,\nx/model.safetensors,,\n",
            "d-1.dist-info": b"gone/config.json,,\ngone/model.safetensors,,\n",
        }
        for name, record in records.items():
            (site / name).mkdir()
            (site / name / "RECORD").write_bytes(record)
        (site / "empty-1.dist-info").mkdir()
        assert installed_models() == []

    def test_looking_is_fast(self) -> None:
        code = (
            "import time; from bertcpp.checkpoints import find_installed_model; start = time.perf_counter();"
            "find_installed_model('x/y'); print(time.perf_counter() - start)"
        )

        def seconds() -> float:
            return float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)

        assert min(seconds() for _ in range(3)) < 0.1


class TestDownload:
    FILES = (
        "config.json",
        "model.safetensors",
        "pytorch_model.bin",
        "tf_model.h5",
        "tokenizer.json",
        "vocab.txt",
        "modules.json",
        "1_Pooling/config.json",
        "2_Dense/config.json",
        "2_Dense/pytorch_model.bin",
        "onnx/model.onnx",
        "onnx/config.json",
        "openvino/openvino_model.bin",
        "README.md",
        "train_script.py",
        "data_config.json",
        ".gitattributes",
    )

    def test_only_what_is_read_is_downloaded(self) -> None:
        assert hub_cache.needed_files(self.FILES) == [
            "1_Pooling/config.json",
            "2_Dense/config.json",
            "2_Dense/pytorch_model.bin",
            "config.json",
            "model.safetensors",
            "modules.json",
            "tokenizer.json",
            "vocab.txt",
        ]

    def test_shards_and_their_index(self) -> None:
        shards = [
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json",
        ]
        pickles = ["pytorch_model-00001-of-00001.bin", "pytorch_model.bin.index.json"]
        assert hub_cache.needed_files(["config.json", *shards, *pickles]) == sorted(["config.json", *shards])
        assert hub_cache.needed_files(["config.json", *pickles]) == sorted(["config.json", *pickles])

    def test_a_subfolder(self) -> None:
        assert hub_cache.needed_files(["config.json", "a/config.json", "a/model.safetensors"], "a") == [
            "a/config.json",
            "a/model.safetensors",
        ]

    def test_files_are_fetched_through_huggingface_hub(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import huggingface_hub

        asked: dict[str, Any] = {}

        class Api:
            def __init__(self, token: object) -> None:
                asked["token"] = token

            def list_repo_files(self, name: str, revision: str | None) -> list[str]:
                return ["config.json", "model.safetensors", "rust_model.ot"]

        def snapshot_download(name: str, **options: Any) -> str:
            asked.update(options, name=name)
            return str(tmp_path / "snapshot")

        monkeypatch.setattr(huggingface_hub, "HfApi", Api)
        monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
        options: dict[str, Any] = {"token": "t", "force_download": True, "subfolder": ""}
        found = hub_cache.download_snapshot("a/b", revision="v1", cache=tmp_path, **options)
        assert found == tmp_path / "snapshot"
        assert asked == {
            "name": "a/b",
            "revision": "v1",
            "cache_dir": tmp_path,
            "token": "t",
            "force_download": True,
            "allow_patterns": ["config.json", "model.safetensors"],
        }

    def test_failures_are_explained(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import huggingface_hub

        def fail(*_: object, **__: object) -> None:
            raise ConnectionError("no route to host")

        monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", fail)
        options: dict[str, Any] = {"token": None, "force_download": False, "subfolder": ""}
        with pytest.raises(CheckpointError, match="'a/b' cannot be downloaded: no route to host"):
            hub_cache.download_snapshot("a/b", revision=None, cache=tmp_path, **options)

        class OfAnotherLibrary(Exception):  # noqa: N818
            """As recent HTTP libraries have them: no OSError."""

        said = 'Pool(Max retries (Caused by NameResolutionError("failed ([Errno -2] Name or service not known)")))'
        for told, match in ((said, r"reached \(\[Errno -2\] Name or service not known\)$"), ("", "OfAnotherLibrary$")):

            def fail_otherwise(*_: object, told: str = told, **__: object) -> None:
                raise OfAnotherLibrary(told)

            monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", fail_otherwise)
            with pytest.raises(CheckpointError, match=match):
                hub_cache.download_snapshot("a/b", revision=None, cache=tmp_path, **options)
        monkeypatch.setitem(sys.modules, "huggingface_hub", None)
        with pytest.raises(MissingDependencyError, match="pip install huggingface_hub"):
            hub_cache.download_snapshot("a/b", revision=None, cache=tmp_path, **options)


class TestInside:
    def test_names_that_stay_inside(self, tmp_path: Path) -> None:
        assert inside(tmp_path, "1_Pooling") == tmp_path / "1_Pooling"
        assert inside(tmp_path, "a/b..c.json") == tmp_path / "a/b..c.json"
        assert inside(tmp_path, "") == tmp_path

    @pytest.mark.parametrize("name", ["..", "../x", "a/../../x", "/etc/passwd", "a\\..\\b", "a\0b", None, 3, ["a"]])
    def test_names_that_lead_out(self, tmp_path: Path, name: object) -> None:
        with pytest.raises(CorruptCheckpointError, match="leads out of the checkpoint's folder"):
            inside(tmp_path, name)
