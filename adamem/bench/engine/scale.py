"""What much takes: a million memories in one namespace, and ten thousand namespaces; each in a process of its own."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from adamem.bench.engine.config import NamespacesConfig, ScaleConfig
from adamem.bench.engine.sets import encoder_for
from adamem.bench.engine.watched import timed
from adamem.bench.orphans import die_with_parent
from adamem.data import load, load_texts
from adamem.encoders import open_encoder
from adamem.memory import MemoryEngine, Timings
from adamem.types import AnyArray

INDEX = "spiral"
"""The index underneath, with what the engine makes of no parameters at all."""
_PIECE = 10_000
_AGAIN = 300
"""So many single adds, reads, updates and deletions are timed."""
_TRUE = 200
"""So many queries are compared with exact search."""
Measured = tuple[dict[str, AnyArray], dict[str, Any]]


def in_a_process(work: Callable[..., Measured], *arguments: object) -> Measured:
    """What `work` gives, done by a fresh process: its peak of memory is its own, and it ends with this one."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=die_with_parent) as pool:
        return pool.submit(work, *arguments).result()


def measure_scale(config: ScaleConfig, size: int, encoder: str, folder: str, seed: int) -> Measured:
    """`size` memories in one namespace.

    Nanoseconds, int64: ``acknowledged_ns``, a batch of 10,000 each; ``vector_ns``, ``lexical_ns``, ``hybrid_ns``, whole
    searches; ``add_ns``, ``get_ns``, ``supersede_ns``, ``delete_ns``. ``rows`` and ``true_rows`` int64 (q, 10): what
    the search by vector found, and what exact search finds. Words are asked in the collection's own questions, of which
    the vectors that are asked beside them know nothing.
    """
    by = open_encoder(encoder)
    data = load(config.dataset, encoder=encoder_for(config.dataset, by), limit=size)
    collection = load_texts(config.texts)
    texts = collection.rows
    random = np.random.default_rng([seed, 4])
    chosen = random.permutation(data.queries.shape[0])[: config.queries]
    queries = np.asarray(data.queries[chosen], np.float32)
    path = Path(folder) / "memory.db"
    out: dict[str, AnyArray] = {}
    facts: dict[str, Any] = {"memories": size, "dim": int(data.base.shape[1])}
    begun_with = _peak()
    acknowledged = []
    with MemoryEngine(path, encoder=by, index=INDEX, threads=config.threads) as engine:
        begun = time.perf_counter()
        for start in range(0, size, _PIECE):
            stop = min(start + _PIECE, size)
            some = [f"{texts[row % len(texts)]} ({row // len(texts)})" for row in range(start, stop)]
            vectors = np.asarray(data.base[start:stop], np.float32)
            asked = time.perf_counter_ns()
            engine.add_many(some, vectors=vectors)
            acknowledged.append(time.perf_counter_ns() - asked)
        facts["add_seconds"] = time.perf_counter() - begun
        engine.flush()
        facts["ready_seconds"] = time.perf_counter() - begun
    out["acknowledged_ns"] = np.array(acknowledged, np.int64)
    facts["file_bytes"] = path.stat().st_size
    with timed(facts, "open_seconds"):
        engine = MemoryEngine(path, index=INDEX, threads=config.threads)
        engine.search(vector=queries[0])
    with engine:
        found = np.full((queries.shape[0], 10), -1, np.int64)
        spent = np.zeros(queries.shape[0], np.int64)
        for place, vector in enumerate(queries):
            asked = time.perf_counter_ns()
            hits = engine.search(vector=vector, top_k=10)
            spent[place] = time.perf_counter_ns() - asked
            found[place, : len(hits)] = [hit.memory.id - 1 for hit in hits]
        out["vector_ns"], out["rows"] = spent, found[:_TRUE]
        out["true_rows"] = _nearest(data.base, size, queries[:_TRUE])
        asked_texts = [collection.queries[number % len(collection.queries)] for number in chosen.tolist()]
        with timed(facts, "first_words_seconds"):
            engine.search(asked_texts[0], mode="lexical")
        for mode in ("lexical", "hybrid"):
            times = []
            for place in range(1, min(_AGAIN, queries.shape[0])):
                asked = time.perf_counter_ns()
                engine.search(asked_texts[place], mode=mode, vector=None if mode == "lexical" else queries[place])
                times.append(time.perf_counter_ns() - asked)
            out[f"{mode}_ns"] = np.array(times, np.int64)
        for name, verb in _verbs(engine, queries).items():
            times = []
            for place in range(min(_AGAIN, queries.shape[0])):
                asked = time.perf_counter_ns()
                verb(place)
                times.append(time.perf_counter_ns() - asked)
            out[f"{name}_ns"] = np.array(times, np.int64)
        stats = engine.stats()
        facts |= {"index_bytes": stats.index_bytes, "open_bytes": stats.open_bytes}
        facts |= {"held": stats.memories, "history": stats.history, "deleted": stats.deleted}
    facts["begun_with_bytes"], facts["peak_bytes"] = begun_with, _peak()
    return out, facts


def _verbs(engine: MemoryEngine, queries: AnyArray) -> dict[str, Callable[[int], object]]:
    """What is done to one memory at a time, in this order; what is deleted is what holds."""
    added: list[int] = []
    holding: list[int] = []

    def add(place: int) -> None:
        added.append(engine.add(f"added later, number {place}", slot=f"later.{place}", vector=queries[place]).id)

    def supersede(place: int) -> None:
        holding.append(engine.add(f"said anew {place}", slot=f"later.{place}", vector=queries[place]).id)

    return {
        "add": add,
        "get": lambda place: engine.get(added[place]),
        "supersede": supersede,
        "delete": lambda place: engine.delete(holding[place]),
    }


def measure_namespaces(config: NamespacesConfig, folder: str, seed: int) -> Measured:
    """Many namespaces of few memories: opening the file, the first question to a namespace, and what is held then."""
    random = np.random.default_rng([seed, 5])
    path = Path(folder) / "memory.db"
    facts: dict[str, Any] = {"namespaces": config.count, "each": config.each, "dim": config.dim}
    texts = [f"memory {number} of a small namespace" for number in range(config.each)]
    with MemoryEngine(path, encoder=f"hashing:{config.dim}", index=INDEX) as engine, timed(facts, "add_seconds"):
        for number in range(config.count):
            vectors = random.normal(size=(config.each, config.dim)).astype(np.float32)
            engine.add_many(texts, namespace=f"agent {number}", vectors=vectors)
    asked = random.permutation(config.count)[: config.asked].tolist()
    queries = random.normal(size=(config.asked, config.dim)).astype(np.float32)
    facts["file_bytes"] = path.stat().st_size
    facts["before_bytes"] = _resident()
    with timed(facts, "open_seconds"):
        engine = MemoryEngine(path, index=INDEX)
    out: dict[str, AnyArray] = {}
    with engine:
        for name in ("cold", "warm"):
            spent = np.zeros((config.asked, 3), np.int64)
            for place, number in enumerate(asked):
                timings = Timings()
                begun = time.perf_counter_ns()
                engine.search(namespace=f"agent {number}", vector=queries[place], timings=timings)
                spent[place] = time.perf_counter_ns() - begun, 1e9 * timings.search, 1e9 * timings.fetch
            out[f"{name}_ns"] = spent
        facts["open_bytes"] = engine.stats().open_bytes
        facts["resident_bytes"] = _resident()
    facts["peak_bytes"] = _peak()
    return out, facts


def _nearest(base: AnyArray, size: int, queries: AnyArray) -> AnyArray:
    """int64 (q, 10): the rows of largest cosine."""
    scores = np.full((queries.shape[0], 0), 0, np.float32)
    rows = np.full((queries.shape[0], 0), 0, np.int64)
    unit = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    for start in range(0, size, 50_000):
        some = np.asarray(base[start : min(start + 50_000, size)], np.float32)
        some = some / np.linalg.norm(some, axis=1, keepdims=True)
        scores = np.concatenate([scores, unit @ some.T], axis=1)
        rows = np.concatenate([rows, np.broadcast_to(np.arange(start, start + len(some)), (len(unit), len(some)))], 1)
        best = np.argsort(-scores, axis=1, kind="stable")[:, :10]
        scores, rows = np.take_along_axis(scores, best, axis=1), np.take_along_axis(rows, best, axis=1)
    return rows


def _peak() -> int:
    """Bytes that this process held at most. `ru_maxrss` only where there is no /proc: on Linux a child inherits it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    with contextlib.suppress(ImportError):  # not on Windows
        import resource  # noqa: PLC0415 -- not everywhere

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
    return _resident()


def _resident() -> int:
    return int(psutil.Process(os.getpid()).memory_info().rss)
