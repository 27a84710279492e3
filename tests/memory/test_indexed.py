"""What the engine makes of an index's name and parameters."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from adamem.errors import InvalidInput, MissingExtra, UnknownName
from adamem.index import check_params, index_class, index_names
from adamem.memory import MemoryEngine
from adamem.memory.indexed import index_kind


@pytest.mark.parametrize("name", index_names())
def test_an_index_is_asked_for_eight_times_its_default_effort(name):
    """Where that is a count, within its bounds; what is given stands, and all of it is what the index takes."""
    try:
        known = index_class(name).search_params
    except MissingExtra as error:
        pytest.skip(str(error))
    kind = index_kind(name, None, None)
    taken = check_params(kind.search, known, index=name, stage="search")
    for param in known:
        counts = param.effort and type(param.default) is int
        most = np.inf if param.high is None else param.high
        assert taken[param.name] == (min(8 * param.default, most) if counts else param.default)
        assert index_kind(name, None, {param.name: param.default}).search[param.name] == param.default


def test_an_effort_stays_within_its_bounds(monkeypatch):
    """Some take no more than so much."""
    cls = index_class("hnsw")
    low = [dataclasses.replace(param, high=100) for param in cls.search_params]
    monkeypatch.setattr(cls, "search_params", tuple(low))
    assert index_kind("hnsw", None, None).search == {"ef": 100}


def test_more_is_found_than_by_the_index_left_to_itself():
    """Of vectors without any structure, where its default effort is far from enough."""
    random = np.random.default_rng(0)
    vectors = random.normal(size=(16_000, 64)).astype(np.float32)
    queries = random.normal(size=(200, 64)).astype(np.float32)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    true = np.argsort(-(queries @ unit.T), axis=1)[:, :10]
    index = index_class("spiral").build(vectors, np.arange(len(vectors)), metric="cosine")
    alone = index.search(queries, 10).ids
    with MemoryEngine(":memory:", encoder="hashing:64") as engine:
        engine.add_many([f"memory {number}" for number in range(len(vectors))], vectors=vectors)
        engine.flush()
        hits = [engine.search(vector=query, top_k=10) for query in queries]
    found = np.array([[hit.memory.id - 1 for hit in some] for some in hits])

    def recall(rows):
        return np.mean([len(set(a) & set(b)) / 10 for a, b in zip(rows.tolist(), true.tolist(), strict=True)])

    assert recall(alone) < 0.9
    assert recall(found) > 0.97


def test_mistakes_are_sentences():
    """An index that is none, parameters that it does not have or that are out of its bounds."""
    with pytest.raises(UnknownName, match="spirall"):
        index_kind("spirall", None, None)
    with pytest.raises(UnknownName, match="efs"):
        index_kind("spiral", None, {"efs": 3})
    with pytest.raises(InvalidInput, match="ef"):
        index_kind("spiral", None, {"ef": 0})
