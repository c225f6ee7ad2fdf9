"""Embed a few sentences with all-MiniLM-L6-v2 and show how similar they are, and how long it took.

Run by `make demo`; by hand: python examples/demo.py [model]
"""

from __future__ import annotations

import sys
import time

started = time.perf_counter()

import bertcpp  # noqa: E402  (the clock starts before the import, which is part of what is timed)
from bertcpp import SentenceTransformer  # noqa: E402

SENTENCES = [
    "A man is eating a slice of bread.",
    "Someone is having a meal.",
    "The orchestra rehearses a symphony.",
    "Musicians practise for tonight's concert.",
    "The central bank raised interest rates.",
    "Borrowing money has become more expensive.",
]
REPEATED_TEXTS = 300


def shade(similarity: float) -> str:
    """A block of the terminal's colours, darker for less similar."""
    return f"\033[48;5;{232 + round(max(0.0, min(1.0, similarity)) * 20)}m\033[97m" if sys.stdout.isatty() else ""


def print_similarities(sentences: list[str], similarities: list[list[float]]) -> None:
    width = max(map(len, sentences))
    reset = "\033[0m" if sys.stdout.isatty() else ""
    print(" " * (width + 5) + "".join(f"{column + 1:>6}" for column in range(len(sentences))))
    for row, (sentence, values) in enumerate(zip(sentences, similarities, strict=True)):
        cells = "".join(f"{shade(value)}{value:6.2f}{reset}" for value in values)
        print(f"  {row + 1}  {sentence:<{width}}{cells}")


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "all-MiniLM-L6-v2"
    loading = time.perf_counter()
    model = SentenceTransformer(name)
    loaded = time.perf_counter()
    embeddings = model.encode(SENTENCES[:1])
    first = time.perf_counter()

    embeddings = model.encode(SENTENCES)
    similarities = model.similarity(embeddings, embeddings).tolist()
    print(f"\nCosine similarities of {len(SENTENCES)} sentences, embedded in {embeddings.shape[1]} dimensions\n")
    print_similarities(SENTENCES, similarities)

    texts = [f"{sentence} ({i})" for i in range(REPEATED_TEXTS // len(SENTENCES)) for sentence in SENTENCES]
    begin = time.perf_counter()
    model.encode(texts)
    per_text = (time.perf_counter() - begin) / len(texts)

    threads = bertcpp.get_num_threads()
    noun = "thread" if threads == 1 else "threads"
    print(f"\nbertcpp {bertcpp.__version__}: {bertcpp.instruction_set()} kernels, {threads} {noun}")
    print(f"  import                     {1e3 * (loading - started):8.1f} ms")
    print(f"  load the model             {1e3 * (loaded - loading):8.1f} ms")
    print(f"  first embedding            {1e3 * (first - loaded):8.1f} ms")
    print(f"  each of {len(texts)} short texts    {1e3 * per_text:8.2f} ms   ({1 / per_text:,.0f} texts a second)\n")


if __name__ == "__main__":
    main()
