"""The table of tokenizer families: what each calls its files and special tokens, and how it joins texts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FAMILIES", "TokenizerFamily", "family_of_model_type"]

Algorithm = Literal["wordpiece", "byte_level_bpe", "sentencepiece", "any"]

BERT_TOKENS = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
ROBERTA_TOKENS = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "cls_token": "<s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "mask_token": "<mask>",
}
BERT_OPTIONS = {"do_lower_case": True, "tokenize_chinese_chars": True, "strip_accents": None}


@dataclass(frozen=True)
class TokenizerFamily:
    """One family of tokenizers.

    Attributes:
        name: the class name, without "Fast".
        model_types: the values of config.json's ``model_type`` that mean this family.
        algorithm: how words become tokens; decides what is built from files without a tokenizer.json.
        vocabulary_files: names of those files by the argument that takes them.
        options: defaults of the constructor's options and special tokens.
        model_input_names: what a call returns, unless it is told otherwise.
        doubled_separator: whether two separators stand between the texts of a pair.
        type_ids_of_pair: whether ``create_token_type_ids_from_sequences`` gives a pair's second text the type 1.
        mask_takes_space: whether the mask token swallows the space before it.
    """

    name: str
    model_types: tuple[str, ...]
    algorithm: Algorithm
    vocabulary_files: Mapping[str, str]
    options: Mapping[str, Any] = field(default_factory=dict)
    model_input_names: tuple[str, ...] = ("input_ids", "attention_mask")
    doubled_separator: bool = False
    type_ids_of_pair: bool = False
    mask_takes_space: bool = False


def _bert_like(name: str, *model_types: str, token_type_ids: bool) -> TokenizerFamily:
    inputs = ("input_ids", "token_type_ids", "attention_mask") if token_type_ids else ("input_ids", "attention_mask")
    return TokenizerFamily(
        name=name,
        model_types=model_types,
        algorithm="wordpiece",
        vocabulary_files={"vocab_file": "vocab.txt"},
        options={**BERT_OPTIONS, **BERT_TOKENS},
        model_input_names=inputs,
        type_ids_of_pair=True,
    )


def _sentencepiece_like(name: str, model_type: str, **options: Any) -> TokenizerFamily:
    return TokenizerFamily(
        name=name,
        model_types=(model_type,),
        algorithm="sentencepiece",
        vocabulary_files={"vocab_file": "sentencepiece.bpe.model"},
        options={**ROBERTA_TOKENS, **options},
        doubled_separator=True,
        mask_takes_space=True,
    )


FAMILIES: Mapping[str, TokenizerFamily] = {
    family.name: family
    for family in (
        _bert_like("BertTokenizer", "bert", "ernie", token_type_ids=True),
        _bert_like("ElectraTokenizer", "electra", token_type_ids=True),
        _bert_like("DistilBertTokenizer", "distilbert", token_type_ids=False),
        TokenizerFamily(
            name="MPNetTokenizer",
            model_types=("mpnet",),
            algorithm="wordpiece",
            vocabulary_files={"vocab_file": "vocab.txt"},
            options={**BERT_OPTIONS, **ROBERTA_TOKENS, "unk_token": "[UNK]"},
            doubled_separator=True,
            mask_takes_space=True,
        ),
        TokenizerFamily(
            name="RobertaTokenizer",
            model_types=("roberta", "data2vec-text"),
            algorithm="byte_level_bpe",
            vocabulary_files={"vocab_file": "vocab.json", "merges_file": "merges.txt"},
            options={**ROBERTA_TOKENS, "errors": "replace", "add_prefix_space": False, "trim_offsets": True},
            doubled_separator=True,
            mask_takes_space=True,
        ),
        _sentencepiece_like("XLMRobertaTokenizer", "xlm-roberta"),
        _sentencepiece_like(
            "CamembertTokenizer",
            "camembert",
            additional_special_tokens=["<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED"],
        ),
        # Whatever its tokenizer.json says; newer checkpoints of every family name this class.
        TokenizerFamily(
            name="PreTrainedTokenizer",
            model_types=(),
            algorithm="any",
            vocabulary_files={},
            model_input_names=("input_ids", "token_type_ids", "attention_mask"),
            type_ids_of_pair=True,
        ),
    )
}


def family_of_model_type(model_type: str | None) -> TokenizerFamily | None:
    """The family that a config.json's ``model_type`` asks for, or None."""
    return next((family for family in FAMILIES.values() if model_type in family.model_types), None)
