"""A process of its own in which an encoder learns and embeds: at a low priority, on one thread, so that searches go on.

It is started by a command and not forked or spawned by `multiprocessing`, which would run the caller's main module a
second time. Requests and answers are pickles over its standard streams, between two ends that are both ours.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any, Protocol

from adamem.adapt.exam import Exam
from adamem.adapt.pairs import Pair
from adamem.adapt.protocol import Adapter
from adamem.encoders.adaptation import open_adaptation
from adamem.encoders.protocol import Encoder
from adamem.errors import AdaMemError, InvalidInput, LearningFailed
from adamem.types import FloatArray

_COMMAND = "from adamem.adapt.workshop import work; work()"
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
_PATIENCE = 5.0
_LOOK = 1.0
"""Seconds between two looks at who has started the process."""


class ProcessFailed(LearningFailed):
    """The process in which an encoder was learning failed by no fault of the pairs.

    No memory or disk was to be had, or an encoder or a recipe of one's own raised what is no error of AdaMem's.
    """


class ProcessEnded(ProcessFailed):
    """It has ended: killed, out of memory, or closed."""


@dataclass(frozen=True)
class Learnt:
    """What came of some pairs."""

    kept: bytes
    """An adaptation, for `open_adaptation`."""
    before: float | None
    """The exam's mark of the encoder as it was, None without an exam; see `Exam.mark`."""
    after: float | None
    seconds: float
    """That learning took, without the exam."""
    exam_seconds: float = 0.0
    """That the exam took, before and after."""


class Workshop:
    """Learns and embeds in another process, which is started when it is first needed; one request at a time.

    Parameters
    ----------
    base
        The encoder that learns; it is sent as a pickle.
    nice
        How low its priority is, from 0, everybody's, to 19, which may wait for ever on a machine that is never idle.
    """

    def __init__(self, base: Encoder, *, nice: int = 10) -> None:
        self._base = base
        self._nice = nice
        self._process: subprocess.Popen[bytes] | None = None
        self._turn = threading.Lock()
        self._closed = threading.Event()

    def learn(
        self,
        adapter: Adapter,
        pairs: Sequence[Pair],
        *,
        since: bytes | None = None,
        replay: Sequence[Pair] = (),
        exam: Exam | None = None,
    ) -> Learnt:
        """What the base learns from the pairs, and how it does in the exam before and after.

        Raises
        ------
        InvalidInput
            if the recipe does not fit the encoder, or the pairs teach nothing.
        LearningFailed
            if the weights are not finite any more; `ProcessFailed` by no fault of the pairs.
        """
        learnt: Learnt = self._ask(_Learn(adapter, tuple(pairs), since, tuple(replay), exam))
        return learnt

    def documents(self, adaptation: bytes | None, texts: Sequence[str]) -> FloatArray:
        """Documents as float32 (len(texts), dim), unit norm, by the base with an adaptation, or by itself."""
        vectors: FloatArray = self._ask(_Embed(adaptation, tuple(texts)))
        return vectors

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._closed.set()
        self._end()

    def _ask(self, request: _Request) -> Any:
        sent = _sent(request, "the recipe")
        with self._turn:
            if self._closed.is_set():
                raise _closed()
            process = self._process or self._start()
            try:
                assert process.stdin is not None
                assert process.stdout is not None
                pickle.dump(sent, process.stdin)
                process.stdin.flush()
                is_well, answer = pickle.load(process.stdout)
            except (EOFError, OSError, ValueError, pickle.UnpicklingError) as error:  # or its streams were closed
                code = self._end(patience=_PATIENCE)
                if self._closed.is_set():
                    raise _closed() from error
                raise ProcessEnded(
                    f"the process that learns ended with {_exit(code)}; what had been learnt before is as it was"
                ) from error
            except BaseException:  # an interrupt: the answer to this would be taken for the next one's
                self._end()
                raise
        if not is_well:
            raise answer
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        base = _sent(self._base, f"the encoder {self._base.name}")
        process = subprocess.Popen(
            [sys.executable, "-c", _COMMAND, str(self._nice)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **_ONE_THREAD, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        assert process.stdin is not None
        with contextlib.suppress(OSError):  # what is wrong with it shows in its first answer
            pickle.dump(base, process.stdin)
        self._process = process
        if self._closed.is_set():  # meanwhile, when there was no process yet that could be ended
            self._end()
            raise _closed()
        return process

    def _end(self, *, patience: float = 0.0) -> int | None:
        """End the process, if there is one, and say its code; it has so many seconds to end by itself."""
        process, self._process = self._process, None
        if process is None:
            return None
        try:
            code = process.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        # Not before it is gone: whoever waits for its answer holds them. Nor would it hear of that, where a child that
        # was forked meanwhile holds the same pipes open.
        for stream in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                assert stream is not None
                stream.close()
        return code


def _sent(one: object, what: str) -> bytes:
    """As bytes, which arrive whatever is in them: what cannot be opened there can be told."""
    try:
        return pickle.dumps(one)
    except Exception as error:  # whatever a class of one's own raises
        raise InvalidInput(
            f"{what} cannot be sent to the process that learns ({error}); "
            "make it a class of a module of its own, without open files or locks"
        ) from error


# -- in the process ----------------------------------------------------------------------------------------------------


class _Request(Protocol):
    def done(self, base: Encoder) -> Any: ...


@dataclass(frozen=True)
class _Learn:
    adapter: Adapter
    pairs: tuple[Pair, ...]
    since: bytes | None
    replay: tuple[Pair, ...]
    exam: Exam | None

    def done(self, base: Encoder) -> Learnt:
        since = None if self.since is None else open_adaptation(self.since)
        begun = time.perf_counter()
        # What is of another kind is no beginning for this one; it is what this one has to be better than, all the same.
        former = since if since is not None and since.kind == self.adapter.kind else None
        learnt = self.adapter.learn(base, self.pairs, since=former, replay=self.replay)
        seconds = time.perf_counter() - begun
        if self.exam is None:
            return Learnt(learnt.to_bytes(), None, None, seconds)
        was = base if since is None else since.applied_to(base)
        documents = self.exam.embedded(was)
        before = self.exam.mark(was, documents=documents)
        stay = learnt.moves == "queries" and (since is None or since.moves == "queries")
        after = self.exam.mark(learnt.applied_to(base), documents=documents if stay else None)
        return Learnt(learnt.to_bytes(), before, after, seconds, time.perf_counter() - begun - seconds)


@dataclass(frozen=True)
class _Embed:
    adaptation: bytes | None
    texts: tuple[str, ...]

    def done(self, base: Encoder) -> FloatArray:
        return _applied(self.adaptation, base).encode_document(list(self.texts))


_last: tuple[bytes, Encoder] | None = None
"""In the process: what documents were embedded by, which takes a moment to make."""


def _applied(adaptation: bytes | None, base: Encoder) -> Encoder:
    global _last  # noqa: PLW0603 -- the process's own
    if adaptation is None:
        return base
    if _last is None or _last[0] != adaptation:
        _last = adaptation, open_adaptation(adaptation).applied_to(base)
    return _last[1]


def work() -> None:
    """Serve requests until the other end is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; whoever asked decides
    if hasattr(os, "nice"):
        with contextlib.suppress(OSError):
            os.nice(int(sys.argv[1]))
    out: IO[bytes] = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(requests,), daemon=True).start()
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()
    base: Encoder | None = None
    sent = requests.get()
    while True:
        request = requests.get()
        try:
            if base is None:
                base, sent = _received(sent, "the encoder"), b""  # a model is large
            answer: tuple[bool, Any] = True, _received(request, "the recipe").done(base)
        except AdaMemError as error:
            answer = False, error
        except Exception as error:  # noqa: BLE001 -- of whatever library; a sentence, for not every error can be sent
            answer = False, ProcessFailed(f"the process that learns failed with {type(error).__name__}: {error}")
        pickle.dump(answer, out)
        out.flush()


def _received(sent: bytes, what: str) -> Any:
    try:
        return pickle.loads(sent)
    except Exception as error:
        raise InvalidInput(
            f"{what} cannot be opened in the process that learns ({type(error).__name__}: {error}); "
            "make it a class of a module of its own"
        ) from error


def _read(requests: queue.SimpleQueue[bytes]) -> None:
    """Take in requests while one is being served, and end with whoever sends them, even in the middle of one."""
    stream = os.fdopen(os.dup(0), "rb")
    while True:
        try:
            requests.put(pickle.load(stream))
        except EOFError:
            os._exit(0)
        except Exception:  # noqa: BLE001 -- broken off in the middle
            os._exit(1)


def _watch(parent: int) -> None:
    """End with whoever has started this, if the pipe stays open: a child that was forked may outlive a killed one."""
    while os.getppid() == parent:
        time.sleep(_LOOK)
    os._exit(0)


def _closed() -> ProcessEnded:
    return ProcessEnded("the memory was closed while its encoder was learning; nothing is lost")


def _exit(code: int | None) -> str:
    if code is not None and code < 0:
        return f"the signal {-code}"
    return f"the code {code}"
