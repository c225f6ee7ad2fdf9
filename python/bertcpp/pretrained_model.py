"""What all models share: loading a checkpoint, the call into the engine, and the way back."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from . import architectures, checkpoints, devices
from .arguments import checked_threads
from .configuration import AutoConfig, PretrainedConfig
from .engine_pass import run_engine
from .errors import InputError, UnknownArchitectureError
from .gpu_arrays import host_array
from .outputs import BaseModelOutput, ModelOutput
from .packed_weights import target_for
from .packing import Packer

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

    from . import _core
    from .engine_pass import EnginePass
    from .packed_batch import InputLimits

__all__ = ["PreTrainedModel"]

# Arguments of transformers' from_pretrained that say how PyTorch should load and compute: they change nothing here.
_WITHOUT_EFFECT = frozenset({"attn_implementation", "low_cpu_mem_usage", "trust_remote_code", "weights_only"})


class PreTrainedModel:
    """What all models share: loading, the call into the engine and the way back.

    Models compute on the CPU or on a GPU (see docs/cuda.md), return float32, and are safe to call from any number of
    threads at once. NumPy arrays and nested lists in give NumPy arrays out; if any input is a PyTorch tensor, tensors
    come out, on the GPU if it lies on the model's. Pickling a model keeps where its checkpoint lies, not the weights.
    """

    config_class: ClassVar[type[PretrainedConfig]] = PretrainedConfig
    _output_class: ClassVar[type[ModelOutput]] = BaseModelOutput
    _pools: ClassVar[bool] = False  # the family has a pooler
    _also_reads: ClassVar[frozenset[str]] = frozenset()  # other families' model_type whose checkpoints are the same
    _families: ClassVar[dict[str, type[PreTrainedModel]]] = {}  # by model_type
    _auto: ClassVar[str] = "AutoModel"  # the class that finds the family's
    _own_options: ClassVar[frozenset[str]] = frozenset()  # arguments of __init__ that from_pretrained passes on

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        # A class that names its family is the family's; one that a user derives from it is not.
        if "config_class" in vars(cls) and cls.config_class.model_type:
            cls._families[cls.config_class.model_type] = cls

    def __init__(
        self,
        config: PretrainedConfig,
        folder: Path | None = None,
        *,
        use_safetensors: bool | None = None,
        add_pooling_layer: bool = True,
        num_threads: int | None = None,
        where: devices.Target | None = None,
    ) -> None:
        if folder is None:
            raise TypeError(
                f"{type(self).__name__} is made by {type(self).__name__}.from_pretrained(name): bertcpp computes with "
                "trained weights and makes no random ones"
            )
        self.num_threads = num_threads
        self.config = config
        self._source = (folder, use_safetensors)
        self._where = where or devices.Target()
        self._core, limits = self._load_core(self._where, add_pooling_layer and self._pools)
        self._packer = Packer(limits)
        self._settings = self._core.config
        self._has_pooler = bool(self._settings["has_pooler"])
        if self._pools and add_pooling_layer and not self._has_pooler:
            warnings.warn(
                f"{config.name_or_path or folder} has no pooler, so pooler_output will be None; pass "
                "add_pooling_layer=False if it is not wanted",
                stacklevel=3,
            )

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        config: PretrainedConfig | str | os.PathLike[str] | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        revision: str | None = None,
        subfolder: str = "",
        use_safetensors: bool | None = None,
        dtype: Any = None,
        torch_dtype: Any = None,
        device: Any = None,
        num_threads: int | None = None,
        add_pooling_layer: bool = True,
        **overrides: Any,
    ) -> Any:
        """Load a checkpoint.

        Args:
            pretrained_model_name_or_path: a folder, a name on the Hugging Face hub, or of an installed model package.
            config: a configuration, or where its file lies; None reads the checkpoint's config.json.
            cache_dir: the folder of the Hugging Face cache; None takes the environment's.
            force_download: ask the hub even if the cache has the checkpoint.
            local_files_only: never ask the hub.
            token: for the hub; True or None takes the one of `hf auth login`.
            revision: a branch, tag or commit of the hub.
            subfolder: the folder inside the checkpoint.
            use_safetensors: True takes only safetensors, False only PyTorch's files, None the former where they exist.
            dtype: the dtype to compute in, whatever the weights are stored in: float32, which None means too, bfloat16,
                int8, or "auto" for the fastest of them here; on a GPU float32, "tf32", float16 and bfloat16. Results
                are float32. docs/precision.md tells what each loses. A folder of `bertcpp quantize` has one dtype,
                which None and "auto" mean then.
            torch_dtype: the older name of `dtype`.
            device: "cpu", "cuda", "cuda:1" ..., or "auto" for a GPU where one works; None is the processor. See
                docs/cuda.md.
            num_threads: threads of one call; None takes what `bertcpp.set_num_threads` says.
            add_pooling_layer: False leaves the pooler out.
            overrides: fields of the configuration to change, such as ``output_hidden_states=True``. Arguments of
                transformers that tell PyTorch how to load (``attn_implementation``, ``low_cpu_mem_usage``,
                ``trust_remote_code``, ``weights_only``) have no effect.

        Raises:
            CheckpointError: there is no such checkpoint, or its files are missing, damaged or of an unknown kind.
            ConfigError: the configuration is impossible, or of a family that bertcpp does not compute.
            UnknownArchitectureError: the checkpoint is of another family than this class.
            WeightMismatchError: the tensors do not fit the configuration.
            InputError: a dtype or a device is asked for that bertcpp does not compute in.
            DeviceError: a GPU is asked for, and it, its driver or the part of bertcpp that computes on it is missing.
            DeviceMemoryError: the GPU's memory is used up.
            TypeError: an argument is not one of those above, and no field of the configuration.

        Example:
            >>> from bertcpp import BertModel
            >>> model = BertModel.from_pretrained("all-MiniLM-L6-v2")
            >>> model([[101, 7592, 102]]).last_hidden_state.shape
            (1, 3, 384)
        """
        devices.target(device, torch_dtype if dtype is None else dtype)  # refused before anything is downloaded
        folder = checkpoints.locate(
            pretrained_model_name_or_path,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
            token=token,
            revision=revision,
            subfolder=subfolder,
        )
        where = target_for(folder, device, torch_dtype if dtype is None else dtype, use_safetensors)
        options = {name: overrides.pop(name) for name in cls._own_options & overrides.keys()}
        overrides = {name: value for name, value in overrides.items() if name not in _WITHOUT_EFFECT}
        loaded = cls._read_config(folder if config is None else config, overrides)
        if config is None:
            loaded._name_or_path = str(pretrained_model_name_or_path)
        return cls._class_for(loaded)(
            loaded,
            folder,
            use_safetensors=use_safetensors,
            add_pooling_layer=add_pooling_layer,
            num_threads=num_threads,
            where=where,
            **options,
        )

    @classmethod
    def _read_config(
        cls, source: PretrainedConfig | str | os.PathLike[str], overrides: dict[str, Any]
    ) -> PretrainedConfig:
        """A configuration of this class's family, with changes."""
        unused = overrides
        if isinstance(source, PretrainedConfig):
            config = source
        elif isinstance(source, (str, os.PathLike)):
            try:
                config, unused = cls.config_class.from_pretrained(source, return_unused_kwargs=True, **overrides)
            except UnknownArchitectureError:
                cls._class_for(AutoConfig.from_pretrained(source))  # names the class to use, if it knows one
                raise
        else:
            raise InputError(f"config must be a configuration of bertcpp or a path, not a {type(source).__name__}")
        if unused:
            raise TypeError(
                f"{cls.__name__}.from_pretrained() got {', '.join(map(repr, unused))}, no argument of it and "
                f"no field of {type(config).__name__}{' that may be changed beside config=' * (config is source)}"
            )
        return config

    @classmethod
    def _class_for(cls, config: PretrainedConfig) -> type[PreTrainedModel]:
        """The class that computes a configuration's model: this one, if it is of the family.

        Raises:
            UnknownArchitectureError: it is of another family.
        """
        own = cls._families.get(config.model_type)
        if (own is not None and issubclass(cls, own)) or config.model_type in cls._also_reads:
            return cls
        remedy = (
            f"use {own.__name__} or {cls._auto}" if own is not None else f"known are {', '.join(sorted(cls._families))}"
        )
        where = f"{config.name_or_path}: " if config.name_or_path else ""
        raise UnknownArchitectureError(
            f"{where}model_type is {config.model_type!r}, which {cls.__name__} does not compute; {remedy}"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _load, (type(self), self.config, self._source[0], self._load_options())

    def _load_options(self) -> dict[str, Any]:
        """What `__init__` was called with, beside the configuration and the folder."""
        return {
            "use_safetensors": self._source[1],
            "add_pooling_layer": self._has_pooler,
            "num_threads": self._num_threads,
            "where": self._where,
        }

    def _load_core(self, where: devices.Target, add_pooling_layer: bool) -> tuple[_core.Encoder, InputLimits]:
        folder, use_safetensors = self._source
        return architectures.load_encoder(
            folder,
            self.config,
            add_pooling_layer=add_pooling_layer,
            use_safetensors=use_safetensors,
            where=where,
            decoder=self._decoder(),
        )

    def _decoder(self) -> _core.Linear | None:
        """A head's layer over the encoder's word embeddings."""
        return None

    def num_parameters(self) -> int:
        """How many weights the model has, its tables and its pooler included."""
        size = {name: int(value) for name, value in self._settings.items() if isinstance(value, int)}
        hidden, width, inner = size["hidden_size"], size["embedding_size"], size["intermediate_size"]
        rows = size["vocab_size"] + size["max_position_embeddings"] + size["type_vocab_size"] + 2
        projection = (width + 1) * hidden if width != hidden else 0
        layer = (4 * hidden + 9 + 2 * inner) * hidden + inner
        relative = size["relative_attention_num_buckets"] * size["num_attention_heads"]
        pooler = (hidden + 1) * hidden if self._has_pooler else 0
        gone = sum(map(len, architectures.pruned_heads(self.config).values()))
        pruned = gone * (4 * hidden + 3) * (hidden // size["num_attention_heads"])
        return rows * width + projection + size["num_hidden_layers"] * layer + relative + pooler - pruned

    @property
    def num_threads(self) -> int | None:
        """Threads of one call; None takes what `bertcpp.set_num_threads` says, by default what the process may use.

        Results do not depend on it.
        """
        return self._num_threads

    @num_threads.setter
    def num_threads(self, value: int | None) -> None:
        self._num_threads = checked_threads(value)

    @property
    def device(self) -> devices.Device:
        """Where the model computes: ``"cpu"`` or ``"cuda:0"``, with the attributes of a ``torch.device``."""
        return self._where.device

    @property
    def dtype(self) -> np.dtype[np.float32]:
        """The dtype of every result: float32."""
        return np.dtype(np.float32)

    def eval(self) -> Self:
        """Return the model: it is always ready to compute, and never drops anything at random."""
        return self

    def train(self, mode: bool = True) -> Self:
        """Return the model for ``mode=False``.

        Raises:
            NotImplementedError: for ``mode=True``, as bertcpp computes no gradients.
        """
        if mode:
            raise NotImplementedError("bertcpp computes no gradients; train with transformers and load the checkpoint")
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Move the model to a device, a dtype, or both, as strings or as torch's objects, and return it.

        The checkpoint is read again where that is another one. Calls that are under way end where they began.

        Raises:
            InputError, DeviceError, DeviceMemoryError: as `from_pretrained`; the model stays as it is.
        """
        wanted = [value for value in (*args, *kwargs.values()) if value is not None and not isinstance(value, bool)]
        dtypes = [value for value in wanted if devices.is_dtype(value)]
        places = [value for value in wanted if not devices.is_dtype(value)]
        where = devices.target(places[0] if places else None, dtypes[0] if dtypes else None, self._where)
        if where != self._where:
            self._core, _ = self._load_core(where, self._has_pooler)
            self._where = where
        return self

    def cpu(self) -> Self:
        """Move the model to the processor, where it computes in float32 if it comes from a GPU, and return it."""
        return self if self.device.type == "cpu" else self.to("cpu", "float32")

    def cuda(self, device: int | None = None) -> Self:
        """Move the model to a GPU and return it; see `to`."""
        return self.to("cuda" if device is None else f"cuda:{device}")

    def float(self) -> Self:
        """Let the model compute in float32, and return it."""
        return self.to("float32")

    def half(self) -> Self:
        """Let the model compute in float16, and return it; see `to`."""
        return self.to("float16")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compute hidden states; see `forward`."""
        return self.forward(*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute hidden states; each family has the arguments of its class in transformers, in their order."""
        raise NotImplementedError(f"{type(self).__name__} has no forward(); use a family's class, or AutoModel")

    def _compute(
        self,
        input_ids: Any,
        attention_mask: Any,
        token_type_ids: Any,
        position_ids: Any,
        inputs_embeds: Any,
        output_attentions: bool | None,
        output_hidden_states: bool | None,
        return_dict: bool | None,
    ) -> Any:
        """Pack, call the engine once, and restore what was packed."""
        inputs = (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        done = self._call_engine(
            inputs, output_attentions, output_hidden_states, keep_first=self._has_pooler, stay_on_gpu=True
        )
        fields = {"last_hidden_state": done.states(done.answer["last_hidden_state"])}
        if self._has_pooler:
            fields["pooler_output"] = done.wrap(done.answer["pooler_output"])
        fields |= self._layers(done, fields["last_hidden_state"])
        if self.config.use_return_dict if return_dict is None else return_dict:
            return self._output_class(**fields)
        if self._pools:  # transformers keeps the pooler's place in the tuple
            fields = {"last_hidden_state": fields["last_hidden_state"], "pooler_output": None} | fields
        return tuple(fields.values())

    def _call_engine(
        self,
        inputs: tuple[Any, ...],
        output_attentions: bool | None,
        output_hidden_states: bool | None,
        *,
        keep_first: bool,
        stay_on_gpu: bool = False,
    ) -> EnginePass:
        """Call the engine; see `run_engine`."""
        config = self.config
        attentions = config.output_attentions if output_attentions is None else output_attentions
        hidden_states = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        options = {
            "output_hidden_states": bool(hidden_states),
            "output_attentions": bool(attentions),
            "pooler": self._has_pooler,
        }
        return run_engine(
            self._core,
            self._packer,
            inputs,
            options,
            keep_first=keep_first,
            stay_on_gpu=stay_on_gpu,
            num_threads=self._num_threads or 0,
        )

    def _check_task_types(self, task_type_ids: Any) -> None:
        """Refuse ERNIE's other tasks."""
        if task_type_ids is not None and np.any(host_array(task_type_ids, "task_type_ids", self._core)):
            raise InputError("task_type_ids must be 0: bertcpp computes ERNIE's first task alone")

    def _layers(self, done: EnginePass, last: Any = None) -> dict[str, Any]:
        """The hidden states and attentions that were asked for, padded; `last` is the padded last hidden state."""
        fields = {}
        if done.answer["hidden_states"] is not None:
            *before, final = done.answer["hidden_states"]
            fields["hidden_states"] = (*map(done.states, before), done.states(final) if last is None else last)
        if done.answer["attentions"] is not None:
            fields["attentions"] = tuple(map(done.attentions, done.answer["attentions"]))
        return fields


def _load(
    model: type[PreTrainedModel], config: PretrainedConfig, folder: Path, options: dict[str, Any]
) -> PreTrainedModel:
    """Load a model again where it was unpickled."""
    return model(config, folder, **options)
