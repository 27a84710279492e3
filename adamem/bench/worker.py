"""The process that holds one index: it builds it once, then waits for the token and measures.

Run as ``python -m adamem.bench.worker``; speaks JSON lines on the pipes that it was started with. One request, one
reply; while another worker is measured this one blocks in a read and costs nothing.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import IO, Any

import numpy as np
import psutil
from threadpoolctl import threadpool_limits

from adamem.bench.orphans import die_with_parent
from adamem.errors import AdaMemError
from adamem.index import index_class
from adamem.types import AnyArray, FloatArray

MIN_QUERIES = 50
"""Single queries that even a slow point asks a round."""
_WARM_UP = 30
_FEW = 256


def main() -> None:
    """Answer requests until the pipe closes."""
    die_with_parent()
    # Native libraries print to file descriptor 1; replies must not drown in that.
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    state = _State()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = getattr(state, f"do_{request.pop('op')}")(**request)
        except AdaMemError as error:
            reply = {"error": str(error)}
        except MemoryError:
            reply = {"error": "it ran out of memory"}
        except Exception as error:  # noqa: BLE001 -- whatever a foreign index throws is a result, not our crash
            traceback.print_exc()
            reply = {"error": f"{type(error).__name__}: {error}"}
        _send(replies, reply)


def _send(stream: IO[str], reply: dict[str, Any]) -> None:
    stream.write(json.dumps(reply) + "\n")
    stream.flush()


class _State:
    """One index and the queries it is asked."""

    def __init__(self) -> None:
        self.index: Any = None
        self.queries: dict[str, FloatArray] = {}

    def do_build(
        self,
        *,
        index: str,
        metric: Any,
        base: dict[str, Any],
        build: dict[str, Any],
        seed: int,
        threads: int,
        queries: str,
    ) -> dict[str, Any]:
        """Load the library, map the vectors, build, and ask the first queries."""
        vectors = map_vectors(base)
        started = time.perf_counter()
        kind = index_class(index)
        # A throw-away build on a handful of rows loads the library and compiles what is compiled on first use, so
        # that neither is counted as the build's own time. Some builds need more rows than that: let them be.
        with threadpool_limits(limits=threads), contextlib.suppress(Exception):
            few = np.array(vectors[:_FEW])
            kind.build(few, np.arange(len(few)), metric=metric, params=build, seed=seed, threads=threads).search(
                few[:1], 10
            )
        import_seconds = time.perf_counter() - started

        _touch(vectors)
        rows = np.arange(vectors.shape[0], dtype=np.int64)
        asked = np.load(queries)
        gc.collect()
        _reset_peak()
        before = _memory()
        with threadpool_limits(limits=threads):
            started = time.perf_counter()
            self.index = kind.build(vectors, rows, metric=metric, params=build, seed=seed, threads=threads)
            build_seconds = time.perf_counter() - started
        after = _memory()
        # From here on one search uses one thread; the CPU time of the calls shows whether it does. Holding the process
        # to one core besides was tried and taken back: the quick start then took over 9 minutes, without it about 2
        # (embeddings cached).
        threadpool_limits(limits=1)

        times = []
        for row in asked[: _WARM_UP + 1]:
            started = time.perf_counter()
            self.index.search(row[None, :], 10)
            times.append(time.perf_counter() - started)
        return {
            "build_seconds": build_seconds,
            "import_seconds": import_seconds,
            "first_query_seconds": times[0],
            "warm_query_seconds": float(np.median(times[len(times) // 2 :])),
            "nbytes": {name: int(size) for name, size in self.index.nbytes().items()},
            "resident_bytes": after["RssAnon"] - before["RssAnon"],
            "peak_bytes": max(after["VmHWM"] - before["VmRSS"], 0),
        }

    def do_measure(
        self, *, queries: str, points: list[dict[str, Any]], order_seed: int, query_seconds: float, out: str
    ) -> dict[str, Any]:
        """One turn: every point once, in a new order of points and of queries; arrays go to the file `out`."""
        if queries not in self.queries:
            self.queries[queries] = np.load(queries)
        asked = self.queries[queries]
        rng = np.random.default_rng(order_seed)
        arrays: dict[str, AnyArray] = {}
        replies: list[dict[str, Any]] = [{} for _ in points]
        gc.collect()
        gc.disable()
        try:
            for number in rng.permutation(len(points)):
                order = rng.permutation(asked.shape[0])
                replies[number] = self._measure_point(
                    asked, order, points[number], query_seconds, f"p{number}_", arrays
                )
        finally:
            gc.enable()
        np.savez(out, allow_pickle=False, **arrays)
        return {"points": replies}

    def _measure_point(
        self,
        asked: FloatArray,
        order: AnyArray,
        point: dict[str, Any],
        query_seconds: float,
        prefix: str,
        arrays: dict[str, AnyArray],
    ) -> dict[str, Any]:
        search, k, params = self.index.search, point["k"], point["search"]
        clock = time.perf_counter_ns
        rows = [asked[i : i + 1] for i in order]
        warm = []
        for row in rows[-_WARM_UP:]:
            started = clock()
            search(row, k, params=params)
            warm.append(clock() - started)

        shuffled = np.ascontiguousarray(asked[order])
        counted = self.index.counters()
        started, cpu_started = clock(), time.process_time_ns()
        answer = search(shuffled, k, params=params)
        batch_ns, batch_cpu_ns = clock() - started, time.process_time_ns() - cpu_started
        counters = {name: (value - counted.get(name, 0)) / len(rows) for name, value in self.index.counters().items()}

        # A slow point asks the same few queries in every round, so that each has as many times as those of a fast one.
        asked_count = point["asked"] or _affordable(warm, query_seconds, asked.shape[0])
        chosen = np.random.default_rng(0).permutation(asked.shape[0])[:asked_count]
        place_of = np.empty(asked.shape[0], dtype=np.int64)
        place_of[order] = np.arange(order.size)
        one_ns = np.zeros(asked.shape[0], dtype=np.int64)
        agreeing = 0
        for query in order[np.isin(order, chosen)]:
            row = asked[query : query + 1]
            started = clock()
            alone = search(row, k, params=params)
            one_ns[query] = max(clock() - started, 1)
            agreeing += np.array_equal(alone.ids[0], answer.ids[place_of[query]])

        ids = np.empty_like(answer.ids)
        ids[order] = answer.ids
        arrays[f"{prefix}one_ns"] = one_ns
        arrays[f"{prefix}batch_ns"] = np.array([batch_ns], dtype=np.int64)
        if point["answers"]:
            distances = np.empty_like(answer.distances)
            distances[order] = answer.distances
            arrays[f"{prefix}ids"] = ids
            arrays[f"{prefix}distances"] = distances
        return {
            "asked": asked_count,
            "batch_cpu_ns": batch_cpu_ns,
            "agreement": agreeing / asked_count,
            "counters": counters,
            "ids_sha256": hashlib.sha256(np.ascontiguousarray(ids).tobytes()).hexdigest(),
        }


def _affordable(warm: list[int], query_seconds: float, queries: int) -> int:
    """How many single queries fit in the time, by the warm-up's median; at least `MIN_QUERIES`, at most all."""
    fitting = int(query_seconds * 1e9 / max(float(np.median(warm)), 1.0))
    return min(queries, max(MIN_QUERIES, fitting))


def map_vectors(base: dict[str, Any]) -> FloatArray:
    """The vectors that the coordinator mapped, mapped here too: one copy in the page cache serves all workers."""
    mapped = np.memmap(
        base["path"], dtype=np.float32, mode="r", offset=base["offset"], shape=(base["rows"], base["dim"])
    )
    return mapped.view(np.ndarray)


def _touch(vectors: FloatArray) -> None:
    """Read every page once, so that the build's time and memory are the index's own."""
    step = max(1, (1 << 24) // vectors.shape[1])
    for start in range(0, vectors.shape[0], step):
        vectors[start : start + step].max()


def _memory() -> dict[str, int]:
    """VmRSS, VmHWM and RssAnon of this process in bytes; only the resident size where there is no /proc."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        size = int(psutil.Process().memory_info().rss)
        return {"VmRSS": size, "VmHWM": size, "RssAnon": size}
    fields = dict(line.split(":", 1) for line in lines)
    return {name: int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM", "RssAnon")}


def _reset_peak() -> None:
    """Set VmHWM back to VmRSS, where that exists. `ru_maxrss` would not do: a child inherits its parent's."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


if __name__ == "__main__":
    main()
