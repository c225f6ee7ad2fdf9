"""What all configurations share: fields, defaults, reading and writing config.json."""

from __future__ import annotations

import copy
import json
import os
import reprlib
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from .checkpoints import locate, read_json
from .errors import CheckpointNotFoundError, ConfigError, InputError, UnknownArchitectureError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PretrainedConfig"]

Config = TypeVar("Config", bound="PretrainedConfig")

_COMMON: Mapping[str, Any] = {
    "add_cross_attention": False,
    "architectures": None,
    "bos_token_id": None,
    "chunk_size_feed_forward": 0,
    "cross_attention_hidden_size": None,
    "decoder_start_token_id": None,
    "dtype": None,
    "eos_token_id": None,
    "finetuning_task": None,
    "is_decoder": False,
    "is_encoder_decoder": False,
    "label2id": None,
    "output_attentions": False,
    "output_hidden_states": False,
    "pad_token_id": None,
    "prefix": None,
    "problem_type": None,
    "return_dict": True,
    "sep_token_id": None,
    "task_specific_params": None,
    "tie_encoder_decoder": False,
    "tie_word_embeddings": True,
    "tokenizer_class": None,
    "torchscript": False,
    "transformers_version": None,
}
_PROBLEM_TYPES = ("regression", "single_label_classification", "multi_label_classification")
# Arguments of transformers' from_pretrained that say how to compute or download, not what the model is.
_ELSEWHERE = frozenset({"attn_implementation", "proxies", "resume_download", "use_auth_token", "code_revision"})


class PretrainedConfig:
    """A model's configuration: one attribute for each field.

    Args:
        fields: values that differ from the family's defaults, by transformers' names. Unknown ones are kept.

    Raises:
        ConfigError: a field cannot be what it is set to.

    Example:
        >>> from bertcpp import BertConfig, DistilBertConfig
        >>> BertConfig(hidden_size=384).hidden_size, BertConfig().vocab_size
        (384, 30522)
        >>> DistilBertConfig(dim=384).hidden_size
        384
    """

    model_type: ClassVar[str] = ""
    attribute_map: ClassVar[Mapping[str, str]] = MappingProxyType({})  # other families' name of a field: this one's
    defaults: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    _same_fields: ClassVar[frozenset[str]] = frozenset()  # families that read each other's configurations
    _families: ClassVar[dict[str, type[PretrainedConfig]]] = {}  # by model_type

    if TYPE_CHECKING:
        vocab_size: int
        hidden_size: int
        num_hidden_layers: int
        num_attention_heads: int
        max_position_embeddings: int
        pad_token_id: int | None
        output_attentions: bool
        output_hidden_states: bool
        id2label: dict[int, str]
        label2id: dict[str, int] | None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.model_type:
            cls._families[cls.model_type] = cls

    def __init__(self, **fields: Any) -> None:
        named = {self.attribute_map.get(name, name): value for name, value in fields.items()}
        named.pop("model_type", None)
        if named.get("dtype") is None and named.get("torch_dtype") is not None:
            named["dtype"] = named["torch_dtype"]  # the name in checkpoints before transformers 4.56
        named.pop("torch_dtype", None)
        self._name_or_path = str(named.pop("_name_or_path", "") or named.pop("name_or_path", ""))
        num_labels = named.pop("num_labels", None)
        id2label = named.pop("id2label", None)
        for name, value in {**_COMMON, **self.defaults, **named}.items():
            self._set(name, value)
        self._set_labels(id2label, num_labels)
        self._check_problem_type()

    def _check_problem_type(self) -> None:
        if self.problem_type not in (None, *_PROBLEM_TYPES):
            raise self._wrong("problem_type", f"must be one of {', '.join(_PROBLEM_TYPES)}")

    def _set(self, name: Any, value: Any) -> None:
        if not isinstance(name, str) or hasattr(type(self), name):
            raise ConfigError(f"{self._where}{name!r} cannot be the name of a configuration's field; remove it")
        try:
            self.__dict__[name] = copy.deepcopy(value) if isinstance(value, (dict, list)) else value
        except RecursionError:
            raise ConfigError(f"{self._where}{name} is nested too deep; remove it") from None

    def _set_labels(self, id2label: Any, num_labels: Any) -> None:
        if self.label2id is not None and not isinstance(self.label2id, dict):
            raise self._wrong("label2id", "must be an object")
        if id2label is None:
            self.num_labels = 2 if num_labels is None else num_labels
            return
        if not isinstance(id2label, dict):
            raise ConfigError(f"{self._where}id2label is {reprlib.repr(id2label)}, but must be an object")
        try:
            self.id2label = {int(key): value for key, value in id2label.items()}  # JSON has strings for keys
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{self._where}id2label has a key that is no integer: {error}") from None

    @property
    def num_labels(self) -> int:
        """How many labels there are; setting another number gives them new names, ``LABEL_0`` and so on."""
        return len(self.id2label)

    @num_labels.setter
    def num_labels(self, value: int) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 2**20:
            raise ConfigError(f"{self._where}num_labels is {reprlib.repr(value)}, but must be a number of labels")
        if len(self.__dict__.get("id2label", ())) != value or "id2label" not in self.__dict__:
            self.__dict__["id2label"] = {index: f"LABEL_{index}" for index in range(value)}
            self.__dict__["label2id"] = {name: index for index, name in self.id2label.items()}

    @property
    def name_or_path(self) -> str:
        """What `from_pretrained` was given; empty if the configuration was made otherwise."""
        return self._name_or_path

    @property
    def use_return_dict(self) -> bool:
        """Whether models answer with output classes, not tuples."""
        return bool(self.return_dict) and not self.torchscript

    @property
    def _where(self) -> str:
        """The beginning of a message: where this configuration is from."""
        name = self.__dict__.get("_name_or_path")
        return f"{name}: " if name else ""

    def _wrong(self, name: str, rule: str) -> ConfigError:
        return ConfigError(f"{self._where}{name} is {reprlib.repr(getattr(self, name))}, but {rule}")

    def __getattr__(self, name: str) -> Any:
        # Reached only where there is no such attribute.
        own = type(self).attribute_map.get(name)
        if own is not None and own in self.__dict__:
            return self.__dict__[own]
        raise AttributeError(f"{type(self).__name__} has no field {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(type(self).attribute_map.get(name, name), value)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        cache_dir: str | os.PathLike[str] | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        revision: str | None = None,
        subfolder: str = "",
        return_unused_kwargs: bool = False,
        **overrides: Any,
    ) -> Any:
        """Read a checkpoint's config.json.

        Args:
            pretrained_model_name_or_path: a folder, a config.json itself, a name on the Hugging Face hub, or of an
                installed model package.
            cache_dir: the folder of the Hugging Face cache; None takes the environment's.
            force_download: ask the hub even if the cache has the checkpoint.
            local_files_only: never ask the hub.
            token: for the hub; True or None takes the one of ``hf auth login``.
            revision: a branch, tag or commit of the hub.
            subfolder: the folder inside the checkpoint.
            return_unused_kwargs: return ``(configuration, those of overrides that are no fields)``.
            overrides: fields to change.

        Raises:
            CheckpointError: there is no such checkpoint, or it has no config.json.
            ConfigError: the file is not a JSON object, or of another family than this class.
            InputError: an override is no field, and ``return_unused_kwargs`` is False.

        Example:
            >>> from bertcpp import BertConfig
            >>> BertConfig.from_pretrained("all-MiniLM-L6-v2", output_attentions=True).num_hidden_layers
            6
        """
        path = _config_file(
            pretrained_model_name_or_path,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
            token=token,
            revision=revision,
            subfolder=subfolder,
        )
        fields = read_json(path)
        config = cls._class_for(fields, path).from_dict({**fields, "_name_or_path": str(pretrained_model_name_or_path)})
        unused = {}
        for name, value in overrides.items():
            if name in config or name in ("num_labels", "torch_dtype"):
                setattr(config, "dtype" if name == "torch_dtype" else name, value)
            elif name not in _ELSEWHERE:
                unused[name] = value
        config._check_problem_type()
        if return_unused_kwargs:
            return config, unused
        if unused:
            raise InputError(
                f"{', '.join(unused)}: no field of {type(config).__name__}; correct the name or leave it out"
            )
        return config

    @classmethod
    def _class_for(cls, fields: Mapping[str, Any], path: Path | None) -> type[PretrainedConfig]:
        """This class, once `fields` are known to be of its family or of one that shares its code."""
        named = fields.get("model_type", cls.model_type)
        if named == cls.model_type or (named in cls._same_fields and cls.model_type in cls._same_fields):
            return cls
        other = cls._families.get(named) if isinstance(named, str) else None
        remedy = f"use {other.__name__} or AutoConfig" if other else f"known are {', '.join(sorted(cls._families))}"
        where = "" if path is None else f"{path}: "
        raise UnknownArchitectureError(
            f"{where}model_type is {reprlib.repr(named)}, which {cls.__name__} does not describe; {remedy}"
        )

    @classmethod
    def from_dict(cls: type[Config], config_dict: Mapping[str, Any], **overrides: Any) -> Config:
        """Make a configuration from a dictionary such as `to_dict` gives.

        Raises:
            ConfigError: a field cannot be what it is set to.
        """
        fields = {**config_dict, **overrides}
        for name in fields:
            if not isinstance(name, str):
                raise ConfigError(f"the names of fields are strings, not {name!r}")
        return cls(**fields)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, and ``model_type``, as a dictionary of copies."""
        fields = {name: copy.deepcopy(value) for name, value in self.__dict__.items() if not name.startswith("_")}
        return {"model_type": self.model_type, **fields} if self.model_type else fields

    def to_json_string(self) -> str:
        """Return `to_dict` as JSON, keys sorted, with a line feed at the end."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"

    def save_pretrained(self, save_directory: str | os.PathLike[str]) -> None:
        """Write config.json, which transformers reads too.

        Raises:
            OSError: the folder cannot be written to.
        """
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(self.to_json_string(), encoding="utf-8")

    def __contains__(self, name: object) -> bool:
        return name in self.__dict__ or name in self.attribute_map

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PretrainedConfig) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]  # equal by value and open to change

    def __repr__(self) -> str:
        return f"{type(self).__name__} {self.to_json_string().strip()}"


def _config_file(name: str | os.PathLike[str], **options: Any) -> Path:
    """The path of a checkpoint's config.json.

    Raises:
        CheckpointNotFoundError: there is none.
    """
    if isinstance(name, (str, os.PathLike)) and os.path.isfile(name):
        return Path(name)
    folder = locate(name, **options)
    path = folder / "config.json"
    if not path.is_file():
        raise CheckpointNotFoundError(f"{folder} has no config.json; copy the checkpoint whole, or name the subfolder=")
    return path
