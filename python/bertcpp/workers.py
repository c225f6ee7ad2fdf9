"""Worker processes that embed side by side, each with a model of its own over the same mapped weights.

One process with all threads is the faster way on one processor; a pool serves callers who ask for it, and machines with
several sockets, where a process per socket keeps memory near.
"""

from __future__ import annotations

import itertools
import multiprocessing
import pickle
import queue
import signal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .sentence_encoder import Cuts, Request, SentenceEncoder

__all__ = ["run", "start", "stop"]

_POLL_S = 1.0
_calls = itertools.count()


def start(build: Callable[[], SentenceEncoder], count: int, threads: int) -> dict[str, Any]:
    """Start `count` processes, each of which loads its encoder with `build()` and computes with `threads` threads.

    Returns:
        the pool: a dictionary of `"input"` and `"output"` queues and the list of `"processes"`.
    """
    # Spawned, not forked: the parent's threads, which a fork does not copy, may hold locks.
    context = multiprocessing.get_context("spawn")
    inbox, outbox = context.Queue(), context.Queue()
    processes = [
        context.Process(target=_work, args=(build, threads, inbox, outbox), daemon=True, name=f"bertcpp-worker-{index}")
        for index in range(count)
    ]
    for process in processes:
        process.start()
    return {"input": inbox, "output": outbox, "processes": processes}


def stop(pool: dict[str, Any]) -> None:
    """End the processes of a pool and close its queues; a pool that is stopped already is left alone."""
    processes, pool["processes"] = pool["processes"], []
    for process in processes:
        process.terminate()
    for process in processes:
        process.join()
        process.close()
    for name in ("input", "output"):
        pool[name].close()
        pool[name].join_thread()


def run(pool: dict[str, Any], chunks: Iterable[list[Any]], request: Request) -> Iterator[tuple[Any, Cuts]]:
    """Yield, in order, what `SentenceEncoder.encode_chunk` gave for each chunk in a worker.

    At most two chunks for each worker are under way, so `chunks` may be endless.

    Raises:
        RuntimeError: if the pool was stopped or one of its processes died.
        Exception: whatever a worker raised.
    """
    room = 2 * len(pool["processes"])
    if not room:
        raise RuntimeError("the pool was stopped; start another with start_multi_process_pool()")
    call = next(_calls)
    source = iter(chunks)
    sent = received = first = 0
    done: dict[int, tuple[Any, Cuts]] = {}
    more = True
    while more or received < sent:
        while more and sent - received < room:
            chunk = next(source, None)
            if chunk is None:
                more = False
                break
            pool["input"].put((call, sent, first, chunk, request))
            sent, first = sent + 1, first + len(chunk)
        while received < sent and received not in done:
            number, result = _receive(pool, call)
            done[number] = result
        if received in done:
            yield done.pop(received)
            received += 1


def _receive(pool: dict[str, Any], call: int) -> tuple[int, Any]:
    while True:
        try:
            of_call, number, result, error = pool["output"].get(timeout=_POLL_S)
        except queue.Empty:
            dead = [process for process in pool["processes"] if process.exitcode is not None]
            if dead:
                raise RuntimeError(
                    f"{dead[0].name} ended with exit code {dead[0].exitcode}; a script that starts a pool must guard "
                    "its entry with `if __name__ == '__main__':`"
                ) from None
            continue
        if of_call != call:
            continue  # left over from a call that was interrupted
        if error is not None:
            raise error
        return number, result


def _work(build: Callable[[], SentenceEncoder], threads: int, inbox: Any, outbox: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's; it ends the workers
    encoder: SentenceEncoder | None = None
    while True:
        call, number, first, chunk, request = inbox.get()
        try:
            encoder = encoder or build()
            answer: tuple[Any, Exception | None] = (
                encoder.encode_chunk(chunk, request, first=first, num_threads=threads),
                None,
            )
        except Exception as error:  # handed to the caller, whatever it is, instead of a pool that hangs
            answer = None, _picklable(error)
        outbox.put((call, number, *answer))


def _picklable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # an exception with arguments of its own; its text survives
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
