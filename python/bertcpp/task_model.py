"""What all task models share: a family's encoder with the heads of a task, called padded or packed."""

from __future__ import annotations

from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .arguments import checked_threads
from .arrays import as_array
from .configuration import AutoConfig
from .engine_pass import INPUTS
from .errors import InputError, SequenceTooLongError, UnknownArchitectureError
from .gpu_arrays import host_array
from .head_layers import load_heads
from .packed_batch import packed_positions
from .pretrained_model import PreTrainedModel
from .recurrent_layers import FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from os import PathLike
    from pathlib import Path

    from numpy.typing import NDArray

    from . import _core
    from .arrays import AnyArray, FloatArray, Int32Array
    from .batching import Tokens
    from .configuration import PretrainedConfig
    from .engine_pass import EnginePass
    from .head_layers import HeadLayers

__all__ = ["TaskModel"]

_DECODERS = ("encoder_hidden_states", "encoder_attention_mask")
_BERT_LIKE = frozenset({"bert", "ernie"})
_ROBERTA_LIKE = frozenset({"roberta", "xlm-roberta", "camembert", "data2vec-text"})
_LABELS = ("labels", "start_positions", "end_positions", "next_sentence_label")


class TaskModel(PreTrainedModel):
    """What all task models share.

    They are loaded and called as transformers' classes of the same names: see `PreTrainedModel.from_pretrained` and
    `forward`. Two arguments of `from_pretrained` are theirs:

    - ``head``: tensors that come before those of the checkpoint, for a head that was trained on its own: a safetensors
      file or one of PyTorch's, by its path or its name in the checkpoint's folder, or arrays by name, as
      ``model.state_dict()`` gives them;
    - ``allow_missing_head``: a checkpoint that lacks the head is refused; True draws it at random instead, from a fixed
      seed, and warns.

    Example:
        >>> from bertcpp import AutoModelForSequenceClassification
        >>> model = AutoModelForSequenceClassification.from_pretrained("all-MiniLM-L6-v2")
        Traceback (most recent call last):
          ...
        bertcpp.errors.MissingHeadError: ...
    """

    _own_options: ClassVar[frozenset[str]] = frozenset({"allow_missing_head", "head"})
    _task: ClassVar[str] = ""  # the end of the class's name, as in `heads.TASKS`
    _arguments: ClassVar[tuple[str, ...]] = ()  # of forward, in order
    _named_only: ClassVar[tuple[str, ...]] = ()  # arguments of forward that are given by name alone
    _recurrent: ClassVar[bool] = False  # a GRU runs over the encoder's states

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        family = cls.config_class.model_type
        if family and "config_class" in vars(cls):
            cls._also_reads = cls.config_class._same_fields
            cls._arguments = _arguments(cls._task, family)
            cls._named_only = (*cls._named_only, *(["token_type_ids"] if family == "mpnet" else []))
            cls.forward = _forward(cls)  # type: ignore[method-assign]  # with the family's arguments

    def __init__(
        self,
        config: PretrainedConfig,
        folder: Path | None = None,
        *,
        use_safetensors: bool | None = None,
        head: str | PathLike[str] | Mapping[str, Any] | None = None,
        allow_missing_head: bool = False,
        **options: Any,
    ) -> None:
        self._head_options = {"head": head, "allow_missing_head": allow_missing_head}
        self._heads: list[HeadLayers] = []
        if folder is not None:  # before the encoder, which takes longer: a head that is missing is refused at once
            self._heads = load_heads(
                folder,
                config,
                self._task,
                use_safetensors=use_safetensors,
                head=head,
                allow_missing_head=allow_missing_head,
            )
        # The pooler, where a head has one, is a layer of it.
        super().__init__(config, folder, use_safetensors=use_safetensors, **{**options, "add_pooling_layer": False})

    @classmethod
    def _class_for(cls, config: PretrainedConfig) -> type[PreTrainedModel]:
        families: Mapping[str, type[PreTrainedModel]] = cls._families
        if getattr(config, "gru_hidden_size", None) is not None and not cls._recurrent:
            from . import modeling_gru

            families = modeling_gru.KINDS.get(cls._task, families)
            if families is not cls._families and cls.config_class is not AutoConfig:
                raise UnknownArchitectureError(
                    f"{config.name_or_path}: config.json speaks of a GRU, which {cls.__name__} does not have; use "
                    f"{families[config.model_type].__name__} or {cls._auto}"
                )
        own = families.get(config.model_type)
        return own if own is not None and cls.config_class is AutoConfig else super()._class_for(config)

    @classmethod
    def _read_config(
        cls, source: PretrainedConfig | str | PathLike[str], overrides: dict[str, Any]
    ) -> PretrainedConfig:
        if not cls._recurrent:
            return super()._read_config(source, overrides)
        own = {name: overrides.pop(name) for name in FIELDS if name in overrides}
        config = super()._read_config(source, overrides)
        for name, value in own.items():
            setattr(config, name, value)
        return config

    def _load_options(self) -> dict[str, Any]:
        return super()._load_options() | self._head_options

    def _decoder(self) -> _core.Linear | None:
        return next((head.decoder for head in self._heads if head.decoder is not None), None)

    def num_parameters(self) -> int:
        """How many weights the model has, its head's included; a matrix that two layers share counts once."""
        return super().num_parameters() + sum(head.num_parameters for head in self._heads)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute logits.

        The arguments, and their order, are those of the class of this name in transformers: ``input_ids``,
        ``attention_mask``, ``token_type_ids`` and so on mean what they mean for `BertModel.forward`. What asks for a
        loss (``labels``, ``start_positions``, ``end_positions``, ``next_sentence_label``) is refused: bertcpp computes
        no losses.

        Returns:
            The output class of the task, see `bertcpp.outputs`; float32. A tuple with ``return_dict=False``.

        Raises:
            InputError: a shape or a dtype is wrong, the batch is empty, or an argument is not supported.
            MaskError: the mask has a wrong shape or values, or leaves nothing of a row.
            TokenIdError: a token, position or token type id is outside its table.
            SequenceTooLongError: a row has more tokens than the model has positions.
            TypeError: an argument is none of the class's.
        """
        raise NotImplementedError(f"{type(self).__name__} has no forward(); use a family's class, or {self._auto}")

    def packed_logits(
        self, tokens: Tokens, *, positions: AnyArray | None = None, num_threads: int | None = None
    ) -> Any:
        """Compute logits of sequences that lie end to end, without padding anywhere.

        Args:
            tokens: the sequences; ``token_type_ids`` are not looked at where the model has no token types.
            positions: of a masked language model: the tokens whose logits are wanted, integers ``[P]`` that count the
                packed tokens from 0; None wants all.
            num_threads: threads of this call; None takes the model's.

        Returns:
            float32, by task: ``[B, num_labels]`` for sequences (``[B, 1]`` for a choice, ``[B, 2]`` for the next
            sentence), ``[T, num_labels]`` for tokens, ``[T, 2]`` for answers' starts and ends, ``[P, vocab_size]`` for
            masked words, ``[T, 1]`` for replaced tokens; for a pretraining model of BERT's the pair of words' and
            sentences'.

        Raises:
            InputError: a shape or a dtype is wrong, or `positions` is given to a model that takes none.
            TokenIdError: a token or token type id is outside its table.
            SequenceTooLongError: a sequence has more tokens than the model has positions.
        """
        if positions is not None and "positions" not in self._named_only:
            raise InputError(f"{type(self).__name__} computes all logits; leave positions out")
        answers = self._packed_answers(tokens, positions, self._threads(num_threads))
        return answers[0] if len(answers) == 1 else answers

    def packed_states(self, tokens: Tokens, *, num_threads: int | None = None) -> FloatArray:
        """Compute the encoder's last hidden states of sequences that lie end to end, float32 ``[T, hidden_size]``.

        With `head_logits` for a part of them after the other, a vocabulary-wide answer is never held whole.
        """
        threads = self._threads(num_threads)
        states: FloatArray = self._core.forward(*self._packed_batch(tokens), pooler=False, num_threads=threads)[
            "last_hidden_state"
        ]
        return states

    def head_logits(self, states: FloatArray, *, num_threads: int | None = None) -> FloatArray:
        """Compute the (first) head's logits, float32 ``[N, width]``, of states ``[N, hidden_size]`` that it reads."""
        return self._heads[0].of_rows(states, self._threads(num_threads))

    def _threads(self, num_threads: int | None) -> int:
        """Threads of a call, 0 for the engine's default."""
        return checked_threads(self._num_threads if num_threads is None else num_threads or None) or 0

    def _packed_batch(self, tokens: Tokens) -> tuple[Any, ...]:
        """What the engine takes of packed tokens."""
        types = tokens.token_type_ids if self._packer.limits.type_vocab_size else None
        return tokens.input_ids, tokens.cu_seqlens, self._packed_places(tokens), types

    def _packed_answers(self, tokens: Tokens, positions: AnyArray | None, num_threads: int) -> tuple[FloatArray, ...]:
        """Every head's logits of packed tokens."""
        if all(head.reads == "first" for head in self._heads):
            rows = self._core.embed(*self._packed_batch(tokens), pooling=["cls"], num_threads=num_threads)
            return tuple(head.of_rows(rows, num_threads) for head in self._heads)
        states = self.packed_states(tokens, num_threads=num_threads)
        if positions is not None:
            chosen = states[_packed_tokens(positions, len(states))]
        firsts = tokens.cu_seqlens[:-1].astype(np.intp)
        answers: list[FloatArray] = []
        for head in self._heads:
            if head.reads != "every":
                answers.append(head.of_sequences(states, tokens.cu_seqlens, firsts, num_threads))
            elif positions is not None:
                answers.append(head.of_rows(chosen, num_threads))
            else:
                answers.append(head.of_tokens(states, tokens.cu_seqlens, num_threads))
        return tuple(answers)

    def _packed_places(self, tokens: Tokens) -> Int32Array:
        """The positions of packed tokens, which the table must have."""
        limits, offsets = self._packer.limits, tokens.cu_seqlens
        if offsets.ndim != 1 or offsets.size < 2 or offsets[0] or offsets[-1] != tokens.input_ids.size:
            raise InputError(f"cu_seqlens must run from 0 to {tokens.input_ids.size}, the number of input_ids")
        if not (np.diff(offsets) > 0).all():
            raise InputError("cu_seqlens must rise: every sequence has at least one token")
        places = packed_positions(tokens.input_ids, tokens.cu_seqlens, limits.padding_idx)
        over = np.flatnonzero(places >= limits.max_position_embeddings)
        if over.size:
            row = int(np.searchsorted(tokens.cu_seqlens, over[0], side="right")) - 1
            length = int(tokens.cu_seqlens[row + 1] - tokens.cu_seqlens[row])
            raise SequenceTooLongError(
                f"sequence {row} has {length} tokens and goes past the model's limit of {limits.max_length}; cut it or "
                "split the text"
            )
        return places

    def _compute_task(self, given: dict[str, Any]) -> Any:
        """Answer `forward`'s arguments, by name."""
        for name in _LABELS:
            if given.get(name) is not None:
                raise InputError(
                    f"{name} asks for a loss, which bertcpp does not compute; leave it out and take the loss from the "
                    "logits, as by torch.nn.functional.cross_entropy"
                )
        for name in ("head_mask", *_DECODERS):
            if given.get(name) is not None:
                raise InputError(f"{name} is not supported: bertcpp runs encoders whole; leave it out")
        self._check_task_types(given.get("task_type_ids"))
        done = self._call_engine(
            tuple(given.get(name) for name in INPUTS),
            given.get("output_attentions"),
            given.get("output_hidden_states"),
            keep_first=any(head.reads == "first" for head in self._heads),
        )
        fields = {name: done.wrap(value) for name, value in self._answers(done, given).items()}
        fields |= self._layers(done)
        if self.config.use_return_dict if given.get("return_dict") is None else given["return_dict"]:
            return self._output_class(**fields)
        return tuple(fields.values())

    def _answers(self, done: EnginePass, given: dict[str, Any]) -> dict[str, FloatArray]:
        """The task's fields of the output."""
        raise NotImplementedError

    def _of_sequences(self, head: HeadLayers, done: EnginePass) -> FloatArray:
        """A head's answer for each sequence, ``[B, width]``."""
        batch = done.batch
        states = done.answer["last_hidden_state"]
        return head.of_sequences(states, batch.cu_seqlens, batch.first_tokens(), self._num_threads or 0)

    def _of_tokens(self, head: HeadLayers, done: EnginePass) -> FloatArray:
        """A head's answer for each token, ``[B, S, width]``, zeros where the mask was 0."""
        states = done.answer["last_hidden_state"]
        return done.batch.pad(head.of_tokens(states, done.batch.cu_seqlens, self._num_threads or 0))

    def _of_words(self, head: HeadLayers, done: EnginePass, positions: Any) -> FloatArray:
        """A head's answer for each token, or ``[P, width]`` for those at `positions`."""
        if positions is None:
            return self._of_tokens(head, done)
        places = _padded_tokens(positions, done, self._core)
        return head.of_rows(done.answer["last_hidden_state"][places], self._num_threads or 0)


def _arguments(task: str, family: str) -> tuple[str, ...]:
    """The arguments of a class's `forward` in transformers, in order."""
    start = ["input_ids", "attention_mask"]
    places = [] if family == "distilbert" else ["position_ids"]
    types = [] if family in ("distilbert", "mpnet") else ["token_type_ids"]
    if family == "ernie":
        types.append("task_type_ids")
    labels = {
        "QuestionAnswering": ["start_positions", "end_positions"],
        "PreTraining": ["labels", "next_sentence_label"] if family in _BERT_LIKE else ["labels"],
    }.get(task, ["labels"])
    end = ["output_attentions", "output_hidden_states", "return_dict"]
    if task == "MultipleChoice" and family in _ROBERTA_LIKE:
        return ("input_ids", *types, "attention_mask", *labels, *places, "head_mask", "inputs_embeds", *end)
    decoders = _DECODERS if task == "MaskedLM" and family in _BERT_LIKE | _ROBERTA_LIKE else ()
    return (*start, *types, *places, "head_mask", "inputs_embeds", *decoders, *labels, *end)


def _forward(cls: type[TaskModel]) -> Callable[..., Any]:
    """A `forward` with the arguments of the class."""
    names, by_name = cls._arguments, frozenset(cls._arguments + cls._named_only)

    def forward(self: TaskModel, *args: Any, **named: Any) -> Any:
        if len(args) > len(names):
            raise TypeError(
                f"{cls.__name__}.forward() takes {len(names)} arguments in order, but {len(args)} are given"
            )
        given = dict(zip(names, args, strict=False))
        for name, value in named.items():
            if name not in by_name:
                raise TypeError(f"{cls.__name__}.forward() has no argument {name!r}; it has {', '.join(names)}")
            if name in given:
                raise TypeError(f"{cls.__name__}.forward() is given {name!r} twice")
            given[name] = value
        return self._compute_task(given)

    forward.__doc__ = cls.forward.__doc__
    forward.__qualname__ = f"{cls.__qualname__}.forward"
    ordered = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=None) for name in ("self", *names)]
    ordered[0] = Parameter("self", Parameter.POSITIONAL_OR_KEYWORD)
    keyword = [Parameter(name, Parameter.KEYWORD_ONLY, default=None) for name in cls._named_only]
    forward.__signature__ = Signature([*ordered, *keyword])  # type: ignore[attr-defined]
    return forward


def _padded_tokens(positions: Any, done: EnginePass, core: Any) -> NDArray[np.intp]:
    """Where among the packed tokens `positions` of the padded array are."""
    batch, length = done.batch.shape
    if isinstance(positions, tuple) and len(positions) == 2:
        rows, columns = (host_array(part, "positions", core) for part in positions)
        if (
            rows.ndim != 1
            or rows.shape != columns.shape
            or rows.dtype.kind not in "iu"
            or columns.dtype.kind not in "iu"
        ):
            raise InputError("positions must be a pair of equally long arrays of integers: the rows and the columns")
    else:
        chosen = host_array(positions, "positions", core)
        if chosen.dtype != np.bool_ or chosen.shape != (batch, length):
            raise InputError(
                f"positions must be booleans of the shape {[batch, length]}, as input_ids == mask_token_id, or a pair "
                f"of arrays (rows, columns), not {chosen.dtype} of the shape {list(chosen.shape)}"
            )
        rows, columns = np.nonzero(chosen)
    outside = (rows < 0) | (rows >= batch) | (columns < 0) | (columns >= length)
    if outside.any():
        place = int(np.argmax(outside))
        raise InputError(
            f"positions has ({rows[place]}, {columns[place]}), which is not in a batch of {[batch, length]}"
        )
    tokens = done.batch.tokens_at(rows, columns)
    if (tokens < 0).any():
        place = int(np.argmax(tokens < 0))
        raise InputError(
            f"positions has ({rows[place]}, {columns[place]}), where attention_mask is 0; ask for tokens that it keeps"
        )
    return tokens


def _packed_tokens(positions: Any, count: int) -> NDArray[np.intp]:
    chosen = as_array(positions, "positions")
    if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
        raise InputError(f"positions must be integers [P], not {chosen.dtype} of the shape {list(chosen.shape)}")
    if chosen.size and not 0 <= int(chosen.min()) <= int(chosen.max()) < count:
        raise InputError(f"positions reach from {chosen.min()} to {chosen.max()}, but the tokens from 0 to {count - 1}")
    return chosen.astype(np.intp)
