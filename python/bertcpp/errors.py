"""What can go wrong, one class for each cause.

All of them are `BertcppError`, and also the built-in exception that fits, which is what transformers raises in the same
place: code that catches `OSError` around `from_pretrained` or `ValueError` around a call works unchanged.

    BertcppError
      CheckpointError (OSError)
        CheckpointNotFoundError (FileNotFoundError)
        CheckpointExistsError (FileExistsError)
        CorruptCheckpointError (ValueError)
        UnsupportedFormatError (ValueError)
        TokenizerError (ValueError)
      WeightMismatchError (ValueError)
        MissingTensorError (KeyError)
          MissingHeadError
      ConfigError (ValueError)
        UnknownArchitectureError
      InputError (ValueError)
        InputTypeError (TypeError)
        TokenIdError (IndexError)
        SequenceTooLongError
        MaskError
      InstructionSetError (RuntimeError)
      DeviceError (RuntimeError)
        DeviceMemoryError (MemoryError)
      MissingDependencyError (ImportError)
"""

from __future__ import annotations

__all__ = [
    "BertcppError",
    "CheckpointError",
    "CheckpointExistsError",
    "CheckpointNotFoundError",
    "ConfigError",
    "CorruptCheckpointError",
    "DeviceError",
    "DeviceMemoryError",
    "InputError",
    "InputTypeError",
    "InstructionSetError",
    "MaskError",
    "MissingDependencyError",
    "MissingHeadError",
    "MissingTensorError",
    "SequenceTooLongError",
    "TokenIdError",
    "TokenizerError",
    "UnknownArchitectureError",
    "UnsupportedFormatError",
    "WeightMismatchError",
]


class BertcppError(Exception):
    """Whatever bertcpp raises about what it was given. The message names the thing and the remedy."""


class CheckpointError(BertcppError, OSError):
    """Something about a checkpoint's files."""


class CheckpointNotFoundError(CheckpointError, FileNotFoundError):
    """No checkpoint of that name, or one of its files is missing."""


class CheckpointExistsError(CheckpointError, FileExistsError):
    """A checkpoint is to be written where something lies already."""


class CorruptCheckpointError(CheckpointError, ValueError):
    """A file is damaged, cut off, or was made to look like a checkpoint."""


class UnsupportedFormatError(CheckpointError, ValueError):
    """A file or a setting in it is sound, but of a kind that bertcpp does not read."""


class TokenizerError(CheckpointError, ValueError):
    """The files of a tokenizer are missing, damaged, or of a kind that is not known."""


class WeightMismatchError(BertcppError, ValueError):
    """A tensor's shape or dtype contradicts the configuration."""


class MissingTensorError(WeightMismatchError, KeyError):
    """Tensors that the configuration asks for are not in the checkpoint; the message names them."""

    def __str__(self) -> str:
        # KeyError would show its message as a quoted literal.
        return str(self.args[0]) if len(self.args) == 1 else super().__str__()


class MissingHeadError(MissingTensorError):
    """The checkpoint has no head for the task that it is loaded for; the message says for which ones it has."""


class ConfigError(BertcppError, ValueError):
    """A configuration that no engine can be built from."""


class UnknownArchitectureError(ConfigError):
    """A model of a family that bertcpp does not compute."""


class InputError(BertcppError, ValueError):
    """An argument of a call: its type, shape, dtype or values."""


class InputTypeError(InputError, TypeError):
    """An argument of a type that cannot be read, such as bytes or None in a list of texts."""


class TokenIdError(InputError, IndexError):
    """A token, position or token type id outside its table."""


class SequenceTooLongError(InputError):
    """More tokens than the model has positions."""


class MaskError(InputError):
    """An attention mask that cannot be applied."""


class InstructionSetError(BertcppError, RuntimeError):
    """An instruction set was asked for that this build or this processor does not have."""


class DeviceError(BertcppError, RuntimeError):
    """A GPU that is not there, or that did not do what it was asked for; the message says what is missing."""


class DeviceMemoryError(DeviceError, MemoryError):
    """The memory of a GPU is used up; the model still works, with smaller batches."""


class MissingDependencyError(BertcppError, ImportError):
    """An optional package is needed and not installed."""
