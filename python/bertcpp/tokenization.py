"""Tokenizers: text to token ids and back, by the names and with the results of transformers' tokenizers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .batch_encoding import BatchEncoding
from .errors import InputError, TokenizerError
from .pretrained_tokenizer import PreTrainedTokenizer
from .text_encoding import EncodedIds
from .tokenizer_families import FAMILIES, family_of_model_type
from .tokenizer_files import read_json_object

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from pathlib import Path

__all__ = [
    "AutoTokenizer",
    "BatchEncoding",
    "BertTokenizer",
    "BertTokenizerFast",
    "CamembertTokenizer",
    "CamembertTokenizerFast",
    "DistilBertTokenizer",
    "DistilBertTokenizerFast",
    "ElectraTokenizer",
    "ElectraTokenizerFast",
    "EncodedIds",
    "MPNetTokenizer",
    "MPNetTokenizerFast",
    "PreTrainedTokenizer",
    "PreTrainedTokenizerFast",
    "RobertaTokenizer",
    "RobertaTokenizerFast",
    "XLMRobertaTokenizer",
    "XLMRobertaTokenizerFast",
]


class BertTokenizer(PreTrainedTokenizer):
    """BERT's WordPiece tokenizer: ``[CLS] text [SEP]`` and ``[CLS] text [SEP] pair [SEP]``."""

    family = FAMILIES["BertTokenizer"]


class ElectraTokenizer(PreTrainedTokenizer):
    """ELECTRA's tokenizer, the same as BERT's."""

    family = FAMILIES["ElectraTokenizer"]


class DistilBertTokenizer(PreTrainedTokenizer):
    """DistilBERT's tokenizer: BERT's without token types."""

    family = FAMILIES["DistilBertTokenizer"]


class MPNetTokenizer(PreTrainedTokenizer):
    """MPNet's tokenizer: BERT's WordPiece in RoBERTa's frame ``<s> text </s></s> pair </s>``."""

    family = FAMILIES["MPNetTokenizer"]


class RobertaTokenizer(PreTrainedTokenizer):
    """RoBERTa's byte-level BPE tokenizer: ``<s> text </s></s> pair </s>``, spaces belonging to the words after them."""

    family = FAMILIES["RobertaTokenizer"]


class XLMRobertaTokenizer(PreTrainedTokenizer):
    """XLM-RoBERTa's Unigram tokenizer in RoBERTa's frame."""

    family = FAMILIES["XLMRobertaTokenizer"]


class CamembertTokenizer(PreTrainedTokenizer):
    """CamemBERT's Unigram tokenizer in RoBERTa's frame."""

    family = FAMILIES["CamembertTokenizer"]


# Every tokenizer here is "fast": both names that transformers has mean the same class.
BertTokenizerFast = BertTokenizer
CamembertTokenizerFast = CamembertTokenizer
DistilBertTokenizerFast = DistilBertTokenizer
ElectraTokenizerFast = ElectraTokenizer
MPNetTokenizerFast = MPNetTokenizer
PreTrainedTokenizerFast = PreTrainedTokenizer
RobertaTokenizerFast = RobertaTokenizer
XLMRobertaTokenizerFast = XLMRobertaTokenizer

CLASSES: Mapping[str, type[PreTrainedTokenizer]] = {
    cls.family.name: cls
    for cls in (
        PreTrainedTokenizer,
        BertTokenizer,
        ElectraTokenizer,
        DistilBertTokenizer,
        MPNetTokenizer,
        RobertaTokenizer,
        XLMRobertaTokenizer,
        CamembertTokenizer,
    )
}


class AutoTokenizer:
    """Loads a checkpoint's tokenizer with the class that its files name."""

    def __init__(self) -> None:
        raise InputError("AutoTokenizer has no instances: use AutoTokenizer.from_pretrained(name)")

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
        **options: Any,
    ) -> PreTrainedTokenizer:
        """Load the tokenizer of a checkpoint, with the class that tokenizer_config.json or else config.json names.

        Args:
            pretrained_model_name_or_path: a folder, a name on the Hugging Face hub, or of an installed model package.
            cache_dir: where downloads are kept, as huggingface_hub has it.
            force_download: download again what is there.
            local_files_only: download nothing.
            token: for the hub's private models.
            revision: a branch, tag or commit of the hub's.
            subfolder: the folder inside the checkpoint.
            options: settings that take the place of the checkpoint's own; ``use_fast``, ``trust_remote_code`` and the
                like have no effect: every tokenizer is fast, and no code of a checkpoint is run.

        Raises:
            CheckpointError: there is no such checkpoint.
            TokenizerError: its tokenizer files are missing or damaged, or of a family that is not known.

        Example:
            >>> from bertcpp import AutoTokenizer
            >>> tokenizer = AutoTokenizer.from_pretrained("all-MiniLM-L6-v2")
            >>> type(tokenizer).__name__, tokenizer.model_max_length
            ('BertTokenizer', 512)
        """
        from .checkpoints import locate

        folder = locate(
            pretrained_model_name_or_path,
            revision=revision,
            cache_dir=cache_dir,
            token=token,
            local_files_only=local_files_only,
            force_download=force_download,
            subfolder=subfolder,
        )
        found = _class_of(folder)
        return found._from_folder(folder, str(pretrained_model_name_or_path), options)


def _class_of(folder: Path) -> type[PreTrainedTokenizer]:
    """The class that a checkpoint's files name.

    Raises:
        TokenizerError: none is named, or none that is known.
    """
    named = None
    for name in ("tokenizer_config.json", "config.json"):
        if named is None and (folder / name).is_file():
            named = read_json_object(folder / name).get("tokenizer_class")
    if named is not None:
        found = CLASSES.get(str(named).removesuffix("Fast"))
        if found is not None:
            return found
        raise TokenizerError(
            f"{folder}: tokenizer_class {named!r} is not known ({', '.join(sorted(CLASSES))} are); if its "
            "tokenizer.json is all there is to it, load it with PreTrainedTokenizer.from_pretrained"
        )
    config = folder / "config.json"
    model_type = read_json_object(config).get("model_type") if config.is_file() else None
    family = family_of_model_type(model_type)
    if family is not None:
        return CLASSES[family.name]
    what = "no model_type" if model_type is None else f"model_type {model_type!r}, which is not known"
    raise TokenizerError(
        f"{folder}: neither tokenizer_config.json nor config.json names a tokenizer ({what}): "
        "load it with its own class, such as BertTokenizer.from_pretrained"
    )
