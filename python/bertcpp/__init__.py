"""BERT-family encoders at the speed of the processor.

    from bertcpp import BertModel, BertTokenizer
    tokenizer = BertTokenizer.from_pretrained("all-MiniLM-L6-v2")
    model = BertModel.from_pretrained("all-MiniLM-L6-v2")
    outputs = model(**tokenizer("This is an example sentence.", return_tensors="np"))
    outputs.last_hidden_state  # [1, 8, 384]

Importing this loads nothing else: each name below is imported when it is first used.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers know the name; importing typing would take longer than all the rest here

if TYPE_CHECKING:
    from . import errors as errors
    from ._core import get_num_threads, instruction_set, instruction_sets, set_num_threads
    from .configuration import (
        AutoConfig,
        BertConfig,
        CamembertConfig,
        Data2VecTextConfig,
        DistilBertConfig,
        ElectraConfig,
        ErnieConfig,
        MPNetConfig,
        PretrainedConfig,
        RobertaConfig,
        XLMRobertaConfig,
    )
    from .embedding import SentenceTransformer
    from .late_interaction import MultiVectorEncoder
    from .modeling import (
        AutoModel,
        BertModel,
        CamembertModel,
        Data2VecTextModel,
        DistilBertModel,
        ElectraModel,
        ErnieModel,
        MPNetModel,
        PreTrainedModel,
        RobertaModel,
        XLMRobertaModel,
    )
    from .modeling_gru import (
        BertGruForSequenceClassification,
        BertGruForTokenClassification,
        CamembertGruForSequenceClassification,
        CamembertGruForTokenClassification,
        Data2VecTextGruForSequenceClassification,
        Data2VecTextGruForTokenClassification,
        DistilBertGruForSequenceClassification,
        DistilBertGruForTokenClassification,
        ElectraGruForSequenceClassification,
        ElectraGruForTokenClassification,
        ErnieGruForSequenceClassification,
        ErnieGruForTokenClassification,
        MPNetGruForSequenceClassification,
        MPNetGruForTokenClassification,
        RobertaGruForSequenceClassification,
        RobertaGruForTokenClassification,
        XLMRobertaGruForSequenceClassification,
        XLMRobertaGruForTokenClassification,
    )
    from .modeling_tasks import (
        AutoModelForMaskedLM,
        AutoModelForMultipleChoice,
        AutoModelForNextSentencePrediction,
        AutoModelForPreTraining,
        AutoModelForQuestionAnswering,
        AutoModelForSequenceClassification,
        AutoModelForTokenClassification,
        BertForMaskedLM,
        BertForMultipleChoice,
        BertForNextSentencePrediction,
        BertForPreTraining,
        BertForQuestionAnswering,
        BertForSequenceClassification,
        BertForTokenClassification,
        CamembertForMaskedLM,
        CamembertForMultipleChoice,
        CamembertForQuestionAnswering,
        CamembertForSequenceClassification,
        CamembertForTokenClassification,
        Data2VecTextForMaskedLM,
        Data2VecTextForMultipleChoice,
        Data2VecTextForQuestionAnswering,
        Data2VecTextForSequenceClassification,
        Data2VecTextForTokenClassification,
        DistilBertForMaskedLM,
        DistilBertForMultipleChoice,
        DistilBertForQuestionAnswering,
        DistilBertForSequenceClassification,
        DistilBertForTokenClassification,
        ElectraForMaskedLM,
        ElectraForMultipleChoice,
        ElectraForPreTraining,
        ElectraForQuestionAnswering,
        ElectraForSequenceClassification,
        ElectraForTokenClassification,
        ErnieForMaskedLM,
        ErnieForMultipleChoice,
        ErnieForNextSentencePrediction,
        ErnieForPreTraining,
        ErnieForQuestionAnswering,
        ErnieForSequenceClassification,
        ErnieForTokenClassification,
        MPNetForMaskedLM,
        MPNetForMultipleChoice,
        MPNetForQuestionAnswering,
        MPNetForSequenceClassification,
        MPNetForTokenClassification,
        RobertaForMaskedLM,
        RobertaForMultipleChoice,
        RobertaForQuestionAnswering,
        RobertaForSequenceClassification,
        RobertaForTokenClassification,
        XLMRobertaForMaskedLM,
        XLMRobertaForMultipleChoice,
        XLMRobertaForQuestionAnswering,
        XLMRobertaForSequenceClassification,
        XLMRobertaForTokenClassification,
    )
    from .reranking import CrossEncoder
    from .sparse_encoding import SparseEncoder
    from .tasks import pipeline
    from .tokenization import (
        AutoTokenizer,
        BatchEncoding,
        BertTokenizer,
        BertTokenizerFast,
        CamembertTokenizer,
        CamembertTokenizerFast,
        DistilBertTokenizer,
        DistilBertTokenizerFast,
        ElectraTokenizer,
        ElectraTokenizerFast,
        MPNetTokenizer,
        MPNetTokenizerFast,
        PreTrainedTokenizer,
        PreTrainedTokenizerFast,
        RobertaTokenizer,
        RobertaTokenizerFast,
        XLMRobertaTokenizer,
        XLMRobertaTokenizerFast,
    )

    __version__: str

__all__ = [
    "AutoConfig",
    "AutoModel",
    "AutoModelForMaskedLM",
    "AutoModelForMultipleChoice",
    "AutoModelForNextSentencePrediction",
    "AutoModelForPreTraining",
    "AutoModelForQuestionAnswering",
    "AutoModelForSequenceClassification",
    "AutoModelForTokenClassification",
    "AutoTokenizer",
    "BatchEncoding",
    "BertConfig",
    "BertForMaskedLM",
    "BertForMultipleChoice",
    "BertForNextSentencePrediction",
    "BertForPreTraining",
    "BertForQuestionAnswering",
    "BertForSequenceClassification",
    "BertForTokenClassification",
    "BertGruForSequenceClassification",
    "BertGruForTokenClassification",
    "BertModel",
    "BertTokenizer",
    "BertTokenizerFast",
    "CamembertConfig",
    "CamembertForMaskedLM",
    "CamembertForMultipleChoice",
    "CamembertForQuestionAnswering",
    "CamembertForSequenceClassification",
    "CamembertForTokenClassification",
    "CamembertGruForSequenceClassification",
    "CamembertGruForTokenClassification",
    "CamembertModel",
    "CamembertTokenizer",
    "CamembertTokenizerFast",
    "CrossEncoder",
    "Data2VecTextConfig",
    "Data2VecTextForMaskedLM",
    "Data2VecTextForMultipleChoice",
    "Data2VecTextForQuestionAnswering",
    "Data2VecTextForSequenceClassification",
    "Data2VecTextForTokenClassification",
    "Data2VecTextGruForSequenceClassification",
    "Data2VecTextGruForTokenClassification",
    "Data2VecTextModel",
    "DistilBertConfig",
    "DistilBertForMaskedLM",
    "DistilBertForMultipleChoice",
    "DistilBertForQuestionAnswering",
    "DistilBertForSequenceClassification",
    "DistilBertForTokenClassification",
    "DistilBertGruForSequenceClassification",
    "DistilBertGruForTokenClassification",
    "DistilBertModel",
    "DistilBertTokenizer",
    "DistilBertTokenizerFast",
    "ElectraConfig",
    "ElectraForMaskedLM",
    "ElectraForMultipleChoice",
    "ElectraForPreTraining",
    "ElectraForQuestionAnswering",
    "ElectraForSequenceClassification",
    "ElectraForTokenClassification",
    "ElectraGruForSequenceClassification",
    "ElectraGruForTokenClassification",
    "ElectraModel",
    "ElectraTokenizer",
    "ElectraTokenizerFast",
    "ErnieConfig",
    "ErnieForMaskedLM",
    "ErnieForMultipleChoice",
    "ErnieForNextSentencePrediction",
    "ErnieForPreTraining",
    "ErnieForQuestionAnswering",
    "ErnieForSequenceClassification",
    "ErnieForTokenClassification",
    "ErnieGruForSequenceClassification",
    "ErnieGruForTokenClassification",
    "ErnieModel",
    "MPNetConfig",
    "MPNetForMaskedLM",
    "MPNetForMultipleChoice",
    "MPNetForQuestionAnswering",
    "MPNetForSequenceClassification",
    "MPNetForTokenClassification",
    "MPNetGruForSequenceClassification",
    "MPNetGruForTokenClassification",
    "MPNetModel",
    "MPNetTokenizer",
    "MPNetTokenizerFast",
    "MultiVectorEncoder",
    "PreTrainedModel",
    "PreTrainedTokenizer",
    "PreTrainedTokenizerFast",
    "PretrainedConfig",
    "RobertaConfig",
    "RobertaForMaskedLM",
    "RobertaForMultipleChoice",
    "RobertaForQuestionAnswering",
    "RobertaForSequenceClassification",
    "RobertaForTokenClassification",
    "RobertaGruForSequenceClassification",
    "RobertaGruForTokenClassification",
    "RobertaModel",
    "RobertaTokenizer",
    "RobertaTokenizerFast",
    "SentenceTransformer",
    "SparseEncoder",
    "XLMRobertaConfig",
    "XLMRobertaForMaskedLM",
    "XLMRobertaForMultipleChoice",
    "XLMRobertaForQuestionAnswering",
    "XLMRobertaForSequenceClassification",
    "XLMRobertaForTokenClassification",
    "XLMRobertaGruForSequenceClassification",
    "XLMRobertaGruForTokenClassification",
    "XLMRobertaModel",
    "XLMRobertaTokenizer",
    "XLMRobertaTokenizerFast",
    "__version__",
    "errors",
    "get_num_threads",
    "instruction_set",
    "instruction_sets",
    "pipeline",
    "set_num_threads",
]

_MODULES = {
    "CrossEncoder": "reranking",
    "MultiVectorEncoder": "late_interaction",
    "SentenceTransformer": "embedding",
    "SparseEncoder": "sparse_encoding",
}

if not TYPE_CHECKING:  # a type checker would take a module's __getattr__ to mean that every name exists

    def _module_of(name: str) -> str:
        """The module that defines a public name; the ends of the names tell."""
        if name in _MODULES:
            return _MODULES[name]
        if name.endswith("Config"):
            return "configuration"
        if "For" in name:
            return "modeling_gru" if "GruFor" in name else "modeling_tasks"
        if name.endswith("Model"):
            return "modeling"
        if name.endswith(("Tokenizer", "TokenizerFast", "BatchEncoding")):
            return "tokenization"
        if name == "pipeline":
            return "tasks"
        return "_core"

    def _version() -> str:
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("bertcpp")
        except PackageNotFoundError:  # run from a source tree
            return "0+unknown"

    def __getattr__(name: str) -> object:
        from importlib import import_module

        if name not in __all__:
            # Submodules too: `import bertcpp; bertcpp.outputs` works, as if they had been imported here.
            if not name.startswith("_"):
                try:
                    return import_module(f"{__name__}.{name}")
                except ModuleNotFoundError as error:
                    if error.name != f"{__name__}.{name}":
                        raise
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        if name == "errors":
            value = import_module(f"{__name__}.errors")
        elif name == "__version__":
            value = _version()
        else:
            value = getattr(import_module(f"{__name__}.{_module_of(name)}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
