"""A shelf: whatever moves between tail and index, a search finds what is there and nothing else."""

from __future__ import annotations

import contextlib
import threading

import numpy as np
import pytest

from adamem.index import index_class
from adamem.memory import shelf as shelf_module
from adamem.memory.indexed import Indexed, IndexKind
from adamem.memory.shelf import Shelf
from adamem.memory.store import Drift

DIM = 24
KINDS = {
    "spiral": IndexKind("spiral", {"scan_below": 50, "R": 16}, {"ef": 400}),
    "hnsw": IndexKind("hnsw", {"M": 12}, {"ef": 400}),
    "exact": IndexKind("exact"),
    "faiss_pq": IndexKind("faiss_pq", {"form": "pq", "m": 12}),
    "faiss_nsg": IndexKind("faiss_nsg", {}, {}),
}
"""With and without inserts, deletes, filters and exact distances."""


class Owner:
    """What the store and the engine are to a shelf: the truth, and who tells it."""

    def __init__(self, kind: IndexKind, *, room: int = 10_000) -> None:
        self.vectors: dict[int, np.ndarray] = {}
        self.sequence = 0
        self.shelf = Shelf(DIM, kind, room=room, reread=self.reread)

    def reread(self) -> Drift:
        return self.drift(sorted(self.vectors), [])

    def drift(self, ids, gone) -> Drift:
        rows = np.array([self.vectors[one] for one in ids], dtype=np.float32).reshape(-1, DIM)
        return Drift(self.sequence, np.array(ids, dtype=np.int64), rows, np.array(gone, dtype=np.int64))

    def add(self, ids, vectors) -> None:
        self.sequence += 1
        self.vectors |= dict(zip(ids, vectors, strict=True))
        self.shelf.apply(self.drift(ids, []))

    def drop(self, ids) -> None:
        self.sequence += 1
        for one in ids:
            del self.vectors[one]
        self.shelf.apply(self.drift([], ids))

    def tend(self) -> None:
        self.shelf.tend(lambda: False, threads=1)

    def nearest(self, query, k):
        ids = np.array(sorted(self.vectors), dtype=np.int64)
        rows = np.array([self.vectors[one] for one in ids.tolist()], dtype=np.float32).reshape(-1, DIM)
        distances = np.float32(1) - rows @ query
        return ids[np.lexsort((ids, distances))[:k]]

    def check(self, random, *, share: float = 1.0) -> None:
        """Nothing is found that is not there or twice, each finds itself, and so many of the true nearest are found."""
        assert len(self.shelf) == len(self.vectors)
        for one in random.choice(sorted(self.vectors), size=min(12, len(self.vectors)), replace=False).tolist():
            query = self.vectors[one]
            found = self.shelf.search(query, 10)[0].tolist()
            assert len(found) == len(set(found)) == min(10, len(self.vectors))
            assert set(found) <= set(self.vectors)
            wanted = self.nearest(query, 10).tolist()
            assert len(set(found) & set(wanted)) >= share * len(wanted)


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch):
    """The same turns in a life of hundreds of vectors that thousands would take."""
    monkeypatch.setattr(shelf_module, "_INDEXED_FROM", 300)
    monkeypatch.setattr(shelf_module, "_MOVED_FROM", 60)
    monkeypatch.setattr(shelf_module, "_PIECE", 40)


@pytest.mark.parametrize("name", KINDS)
def test_a_life_of_adds_drops_and_returns(name, unit):
    """With the index tended now and then; with indexes that cannot insert or delete, it is built anew."""
    random = np.random.default_rng(1)
    owner = Owner(KINDS[name])
    vectors = unit(1_500, DIM)
    share = 0.5 if name == "faiss_pq" else 0.9
    dropped: list[int] = []
    added = 0
    for turn in range(40):
        count = int(random.choice([1, 5, 90]))
        ids = list(range(added, min(added + count, 1_500)))
        added += len(ids)
        if ids:
            owner.add(ids, vectors[ids])
        if turn % 3 == 2:
            gone = random.choice(sorted(owner.vectors), size=len(owner.vectors) // 10, replace=False).tolist()
            owner.drop(gone)
            dropped += gone
        if turn % 5 == 4 and dropped:
            back = dropped[::2]
            dropped = dropped[1::2]
            owner.add(back, vectors[back])
        if turn % 4 == 1:
            owner.tend()
            assert not owner.shelf.needs_tending()
        owner.check(random, share=share)
    assert owner.shelf.base is not None
    assert added > 800


@pytest.mark.parametrize("name", KINDS)
def test_all_may_go_and_come_again(name, unit):
    """An index that nothing is left in is given up, and another one is built later."""
    owner = Owner(KINDS[name])
    vectors = unit(400, DIM)
    ids = list(range(400))
    for _ in range(2):
        owner.add(ids, vectors)
        owner.tend()
        assert owner.shelf.base is not None
        owner.check(np.random.default_rng(0), share=0.5)
        owner.drop(ids)
        assert owner.shelf.search(vectors[0], 5)[0].size == 0
        owner.tend()
        assert len(owner.shelf) == 0
        assert owner.shelf.search(vectors[0], 5)[0].size == 0


@pytest.mark.parametrize("name", ["spiral", "hnsw", "faiss_nsg"])
@pytest.mark.parametrize("step", ["build", "insert", "purge_hidden"])
def test_what_changes_while_vectors_are_on_their_way_is_not_lost(name, step, unit, monkeypatch):
    """Dropped, added, dropped and restored in the middle of a build, a move or a clearing: all come out right."""
    owner = Owner(KINDS[name])
    vectors = unit(900, DIM)
    owner.add(list(range(400)), vectors[:400])
    if step != "build":
        if not index_class(name).capabilities.insert:
            pytest.skip(f"{name} is always built anew")
        owner.tend()
        if step == "insert":
            owner.add(list(range(400, 480)), vectors[400:480])
        else:
            owner.drop(list(range(100, 140)))
    happened = []

    def meddle() -> None:
        happened.append(True)
        owner.drop([3, 4, 5, 6])
        owner.add([4, 5], vectors[[4, 5]])
        owner.drop([5])
        owner.add([600, 601], vectors[[600, 601]])
        owner.drop([601])
        if step == "insert":
            owner.drop([401, 402, 403])
            owner.add([402], vectors[[402]])
        if step == "purge_hidden":
            owner.add([101, 102], vectors[[101, 102]])
            owner.drop([102])

    def then(real):
        def within(*args, **kwargs):
            out = real(*args, **kwargs)
            if not happened:
                meddle()
            return out

        return within

    if step == "build":
        monkeypatch.setattr(Indexed, "build", then(Indexed.build))
    else:
        index = owner.shelf.base._index
        verb = "insert" if step == "insert" else "delete"
        monkeypatch.setattr(index, verb, then(getattr(index, verb)))
    owner.tend()
    assert happened == [True]
    for number in range(700):
        if number in owner.vectors:
            assert owner.shelf.search(vectors[number], 3)[0][0] == number
        else:
            assert number not in owner.shelf.search(vectors[number], 5)[0]
    owner.tend()
    owner.check(np.random.default_rng(0), share=0.9)


def test_what_comes_back_during_a_build_that_did_not_see_it_is_there_afterwards(unit, monkeypatch):
    """The index in use has it, and the one that takes its place does not."""
    owner = Owner(KINDS["faiss_nsg"])
    vectors = unit(500, DIM)
    owner.add(list(range(400)), vectors[:400])
    owner.tend()
    owner.drop([7])
    owner.add(list(range(400, 480)), vectors[400:480])
    build, built = Indexed.build, []

    def meddled(*args, **kwargs):
        if not built:
            owner.add([7], vectors[[7]])
        built.append(True)
        return build(*args, **kwargs)

    monkeypatch.setattr(Indexed, "build", meddled)
    owner.tend()
    assert built
    assert owner.shelf.search(vectors[7], 1)[0][0] == 7


@pytest.mark.parametrize("left", [0, 20])
def test_what_the_store_has_no_more_is_not_tried_for_ever(left, unit):
    """Vectors of an encoder that is not in use any more are deleted, and nobody tells the shelf that had them."""
    owner = Owner(KINDS["spiral"])
    owner.add(list(range(400)), unit(400, DIM))
    for number in range(left, 400):
        del owner.vectors[number]
    tending = threading.Thread(target=owner.tend, daemon=True)
    tending.start()
    tending.join(20)
    assert not tending.is_alive()
    assert owner.shelf.tail_length == 400 - left


def test_a_full_tail_makes_the_writer_wait_until_it_is_moved(unit):
    """And no longer; nor where nobody would move it."""
    owner = Owner(KINDS["spiral"], room=100)
    vectors = unit(300, DIM)
    owner.add(list(range(90)), vectors[:90])
    owner.shelf.wait_for_room(10, lambda: True)
    owner.shelf.wait_for_room(50, lambda: False)
    owner.add(list(range(90, 110)), vectors[90:110])
    waiting = threading.Thread(target=owner.shelf.wait_for_room, args=(50, lambda: True))
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive()
    owner.tend()
    waiting.join(60)
    assert not waiting.is_alive()
    assert owner.shelf.tail_length <= 50


def test_an_index_that_fails_leaves_all_in_the_tail(unit, monkeypatch):
    """The failure is told, nobody waits for it, and searches find everything."""
    owner = Owner(KINDS["hnsw"], room=500)
    vectors = unit(700, DIM)
    owner.add(list(range(400)), vectors[:400])

    def fails(*args, **kwargs):
        raise MemoryError("no room for the graph")

    monkeypatch.setattr(Indexed, "build", fails)
    with pytest.raises(MemoryError, match="no room for the graph"):
        owner.tend()
    assert not owner.shelf.needs_tending()
    owner.shelf.wait_for_room(400, lambda: True)
    owner.add(list(range(400, 700)), vectors[400:])
    owner.check(np.random.default_rng(0))


def test_a_search_for_all_beside_a_move_finds_all(unit, monkeypatch):
    """What is in the tail and in the index for a moment crowds nothing out."""
    owner = Owner(KINDS["hnsw"])
    vectors = unit(400, DIM)
    owner.add(list(range(320)), vectors[:320])
    owner.tend()
    owner.add(list(range(320, 400)), vectors[320:])
    index = owner.shelf.base._index
    real, found = index.insert, []

    def insert(*args):
        real(*args)
        monkeypatch.setattr(owner.shelf.base, "_turn", contextlib.nullcontext())  # as where the index bears it
        found.append(set(owner.shelf.search(vectors[0], 1_000)[0].tolist()))

    monkeypatch.setattr(index, "insert", insert)
    owner.tend()
    assert found
    assert all(one == set(range(400)) for one in found)


def test_searches_beside_tending_never_miss_what_stays(unit):
    """Threads search for what is never dropped, while the rest comes, goes and moves."""
    owner = Owner(KINDS["hnsw"])
    vectors = unit(4_000, DIM)
    owner.add(list(range(200)), vectors[:200])
    missed: list[int] = []
    stop = threading.Event()

    def ask(seed: int) -> None:
        random = np.random.default_rng(seed)
        while not stop.is_set():
            one = int(random.integers(200))
            if one not in owner.shelf.search(vectors[one], 3)[0]:
                missed.append(one)

    def tend() -> None:
        while not stop.is_set():
            owner.tend()

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(2)] + [threading.Thread(target=tend)]
    for thread in threads:
        thread.start()
    try:
        for start in range(200, 3_000, 50):
            owner.add(list(range(start, start + 50)), vectors[start : start + 50])
            if start > 600:
                owner.drop(list(range(start - 300, start - 280)))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert missed == []
