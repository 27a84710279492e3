"""A worker seen from the coordinator: started, asked, watched, and killed when it outgrows its limits."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from adamem.errors import TrialFailed

_PINNED = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
_POLL_SECONDS = 0.25


def pinned(build_threads: int) -> dict[str, str]:
    """The environment variables that every worker gets, whatever its contestant: nobody is given more threads."""
    # Libraries size their pools when they load: as many as the build may use. A search is held to one thread.
    pools = dict.fromkeys((*_PINNED, "NUMBA_NUM_THREADS"), str(build_threads))
    return {**pools, "PYTHONHASHSEED": "0"}


class WorkerProcess:
    """One fresh process that holds one index.

    `ask` sends a request and waits for the reply. A worker that takes too long, needs too much memory, or dies raises
    `TrialFailed` with the reason and is gone, together with whatever it started. The process begins with `launch`, or
    with the first question.
    """

    def __init__(self, *, log: Path, build_threads: int, memory_limit: int, timeout: float) -> None:
        self._log = log
        self._build_threads = build_threads
        self._memory_limit = memory_limit
        self._timeout = timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._watched: psutil.Process | None = None
        self._pending = b""

    def launch(self, *, python: str = sys.executable, environment: Mapping[str, str] | None = None) -> None:
        """Begin the process, with an interpreter and variables of its own where given. Raises `TrialFailed`."""
        try:
            with open(self._log, "ab") as errors:
                self._process = subprocess.Popen(
                    # -P: a module in the current folder is none of ours
                    [python, "-P", "-m", "adamem.bench.worker"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env={**os.environ, **(environment or {}), **pinned(self._build_threads)},
                    start_new_session=True,  # its own group: Ctrl-C reaches the coordinator alone, a kill all of it
                )
        except OSError as error:
            raise TrialFailed(f"its process could not be started: {error}") from error
        self._watched = psutil.Process(self._process.pid)

    def ask(self, op: str, **request: Any) -> dict[str, Any]:
        """Send one request and return the reply. Raises `TrialFailed`."""
        if self._process is None:
            self.launch()
        assert self._process is not None
        assert self._process.stdin is not None
        line = json.dumps({"op": op, **request}).encode() + b"\n"
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._died() from None
        reply: dict[str, Any] = json.loads(self._read_line())
        if "error" in reply:
            raise TrialFailed(str(reply["error"]))
        return reply

    def cpu_seconds(self) -> float:
        """CPU time that the worker has used; 0 before it began and once it is gone."""
        if self._watched is None:
            return 0.0
        try:
            times = self._watched.cpu_times()
        except psutil.Error:
            return 0.0
        return float(times.user + times.system)

    def close(self) -> None:
        """End the worker and everything it started; harmless if it is gone or never began."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _read_line(self) -> bytes:
        assert self._process is not None
        assert self._process.stdout is not None
        handle = self._process.stdout.fileno()
        deadline = time.monotonic() + self._timeout
        while b"\n" not in self._pending:
            ready, _, _ = select.select([handle], [], [], _POLL_SECONDS)
            if ready:
                piece = os.read(handle, 1 << 16)
                if not piece:
                    raise self._died()
                self._pending += piece
                continue
            held = self._memory()
            if held > self._memory_limit:
                self.close()
                raise TrialFailed(
                    f"it took {held / 2**20:.0f} MB, more than the limit of {self._memory_limit / 2**20:.0f} MB "
                    "(measure.memory_limit_mb)"
                )
            if time.monotonic() > deadline:
                self.close()
                raise TrialFailed(f"it took longer than {self._timeout:g} s (measure.timeout_seconds)")
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def _memory(self) -> int:
        """The process's own memory, bytes: pages of the mapped vectors are shared and do not count."""
        assert self._watched is not None
        try:
            info = self._watched.memory_info()
        except psutil.Error:
            return 0
        return int(info.rss - getattr(info, "shared", 0))

    def _died(self) -> TrialFailed:
        assert self._process is not None
        self.close()
        status = self._process.returncode
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        return TrialFailed(f"its process {how}{_last_words(self._log)}")


def _last_words(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return ""
    return f"; its last line was: {lines[-1][:200]}" if lines else ""
