"""The engine: packed batches of tokens in, hidden states and vectors out.

Letters: T tokens of B sequences that lie end to end, H hidden_size, E embedding_size, L layers, A heads.
Whatever is wrong raises an exception of `bertcpp.errors`.
"""

from typing import Any, TypedDict, final

import numpy as np
from numpy.typing import NDArray

class _Caches(TypedDict):
    l1d: int
    l2: int
    l3: int

class _CpuInfo(TypedDict):
    model_name: str
    caches: _Caches
    features: list[str]

def instruction_set() -> str:
    """The instruction set in use: the best that the processor runs, or the one that BERTCPP_ISA names.

    Raises InstructionSetError where BERTCPP_ISA names one that this build lacks or the processor cannot run.
    """

def instruction_sets() -> list[str]:
    """The instruction sets that this build carries and this processor runs, best first.

    `amx` leads where it is, but is used only where BERTCPP_ISA names it.
    """

def panel_columns(instruction_set: str) -> int:
    """The columns of the panels that weights are packed in for this instruction set; 0 if this build lacks it."""

def available_cpus() -> int:
    """The processors this process may use: its affinity mask, cut by its control groups' quota (rounded up)."""

def set_num_threads(n: int) -> None:
    """Sets how many threads calls use that name no number. Raises InputError outside 1 to 1024."""

def get_num_threads() -> int:
    """How many threads calls use that name no number: at first OMP_NUM_THREADS, else available_cpus()."""

def cpu_info() -> _CpuInfo:
    """The processor's model_name, the sizes of its caches in bytes, and those of its features that matter here."""

def measure_peak(dtype: str = "float32", *, num_threads: int = 0, seconds: float = 0.005) -> float:
    """Operations per second that the arithmetic units do in a dtype at this moment, all threads together.

    A loop of independent multiply-adds in registers, which every share of the peak is taken of: the median of three
    samples of `seconds` each. Raises InputError for a dtype that has no such loop.
    """

def measure_read_bandwidth(*, num_threads: int = 0, seconds: float = 0.02, bytes: int = 0) -> float:
    """Bytes per second that all threads together read from memory at this moment.

    Each reads a part of its own of a buffer of so many bytes, which it has written first; 0 stands for eight times the
    third-level caches of all processors that may be used, from 256 MiB to 2 GiB. The median of three samples of
    `seconds` each, or of one reading where that takes longer.
    Raises InputError, MemoryError.
    """

def packed_layout() -> int:
    """The version of what `Encoder.packed` gives: another one cannot be loaded."""

@final
class Encoder:
    """A BERT-family encoder over packed batches. Any number of threads may call one at once."""

    def __init__(
        self, config: dict[str, Any], weights: dict[str, NDArray[Any]], *, decoder: Linear | None = None
    ) -> None:
        """Packs the matrices for the instruction set in use; the embedding tables are read where they lie.

        weights: float32, float16, or uint16 holding the bits of bfloat16. What `packed` gives of an Encoder of the same
        configuration, dtype and instruction set may stand for the matrices; it is read where it lies.
        decoder: a Linear over the word embeddings, which are then read out of it, not of embeddings.word.weight.
        Raises ConfigError, WeightMismatchError, InstructionSetError, MemoryError.
        """

    def packed(self) -> dict[str, NDArray[np.uint8]]:
        """What the constructor takes in place of the matrices: bytes by name, read-only views of the engine's memory.

        Each must lie at a multiple of 64 bytes when it is read.
        """

    def forward(
        self,
        input_ids: NDArray[np.integer[Any]] | None,
        cu_seqlens: NDArray[np.integer[Any]],
        position_ids: NDArray[np.integer[Any]],
        token_type_ids: NDArray[np.integer[Any]] | None = None,
        *,
        inputs_embeds: NDArray[np.floating[Any]] | None = None,
        key_lens: NDArray[np.integer[Any]] | None = None,
        columns: NDArray[np.integer[Any]] | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        pooler: bool = True,
        num_threads: int = 0,
    ) -> dict[str, Any]:
        """Hidden states of a packed batch.

        input_ids, position_ids, token_type_ids, columns: [T]; cu_seqlens: [B + 1] from 0 to T, rising strictly;
        key_lens: [B], how many first tokens of each sequence are attended to; inputs_embeds: [T, E] in place of
        input_ids.
        Returns last_hidden_state [T, H]; pooler_output [B, H] or None; hidden_states, None or L + 1 of [T, H], the last
        of which is last_hidden_state itself; attentions, None or L flat arrays with each sequence's block
        [A, length, length] in turn.
        Raises InputError, TokenIdError, MemoryError.
        """

    def embed(
        self,
        input_ids: NDArray[np.integer[Any]],
        cu_seqlens: NDArray[np.integer[Any]],
        position_ids: NDArray[np.integer[Any]],
        token_type_ids: NDArray[np.integer[Any]] | None = None,
        *,
        pooling: list[str],
        pooling_weights: NDArray[np.floating[Any]] | None = None,
        num_threads: int = 0,
    ) -> NDArray[np.float32]:
        """One vector per sequence, pooled inside the engine: [B, H * len(pooling)].

        pooling: of cls, mean, max, mean_sqrt_len, weightedmean, lasttoken; pooling_weights: [T], 0 leaves a token out.
        Raises InputError, TokenIdError, MemoryError.
        """

    @property
    def config(self) -> dict[str, Any]:
        """The configuration as it was given, defaults filled in."""

    @property
    def nbytes(self) -> int:
        """Bytes of the weights that the encoder reads."""

@final
class Linear:
    """A dense head: y[M, N] = activation(x[M, K] weight[N, K]^T + bias[N]). No row changes the bits of another."""

    def __init__(self, weight: NDArray[Any], bias: NDArray[Any] | None = None, activation: str = "identity") -> None:
        """Raises WeightMismatchError for shapes or dtypes that do not fit, ConfigError for an unknown activation."""

    def __call__(self, x: NDArray[np.floating[Any]], *, num_threads: int = 0) -> NDArray[np.float32]:
        """float32 [M, K] -> float32 [M, N]. Raises InputError."""

    @property
    def nbytes(self) -> int:
        """Bytes of the packed weight and bias."""

@final
class LayerNorm:
    """Rows y[M, N] = (x - mean) / sqrt(variance + eps) * weight[N] + bias[N]. No row changes the bits of another."""

    def __init__(self, weight: NDArray[Any], bias: NDArray[Any], eps: float) -> None:
        """Raises WeightMismatchError for shapes or dtypes that do not fit, ConfigError for an impossible eps."""

    def __call__(self, x: NDArray[np.floating[Any]], *, num_threads: int = 0) -> NDArray[np.float32]:
        """float32 [M, N] -> float32 [M, N]. Raises InputError."""

    @property
    def nbytes(self) -> int:
        """Bytes of the weight and bias."""

@final
class GRU:
    """Gated recurrent units over packed sequences: torch.nn.GRU's equations, weights and results.

    No sequence changes the bits of another, and neither does the number of threads.
    """

    def __init__(self, weights: dict[str, NDArray[Any]], *, num_layers: int = 1, bidirectional: bool = False) -> None:
        """Packs torch.nn.GRU's state: weight_ih_l0 [3 hidden, input], weight_hh_l0, bias_ih_l0, bias_hh_l0 and so on.

        Biases may all be left out. Raises WeightMismatchError, ConfigError.
        """

    def __call__(
        self, x: NDArray[np.floating[Any]], cu_seqlens: NDArray[np.integer[Any]], *, num_threads: int = 0
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The states of the last layer, and what every layer and direction ends with.

        x: float32 [T, input]; cu_seqlens: [B + 1] from 0 to T, rising strictly. Returns [T, directions * hidden] and
        [layers * directions, B, hidden]. Raises InputError.
        """

    @property
    def nbytes(self) -> int:
        """Bytes of the packed weights and biases."""
