"""A set of many vectors made of fewer real ones: nested, reproducible, and honest about what is real."""

from __future__ import annotations

import numpy as np
import pytest

from adamem.data import card, load
from adamem.data.formats.npy import open_npy
from adamem.data.multiplied import multiplied
from adamem.errors import DataError

DIM = 48


@pytest.fixture
def source(tmp_path):
    """A file of 1,500 unit vectors in float16."""
    random = np.random.default_rng(5)
    rows = random.normal(size=(1500, DIM))
    np.save(tmp_path / "base.npy", (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16))
    return open_npy(tmp_path / "base.npy")


def rows_of(part, count=700):
    return np.concatenate(list(part.blocks(count)))


def test_a_prefix_is_the_set_of_that_size(source):
    """Whatever the size and the blocks it is read in, row r is row r."""
    large = rows_of(multiplied(source, 5000, queries=100, noise=0.5, metric="cosine").base)
    assert large.shape == (5000, DIM)
    for size, count in ((300, 64), (1400, 1000), (3333, 4096)):
        assert np.array_equal(
            rows_of(multiplied(source, size, queries=100, noise=0.5, metric="cosine").base, count), large[:size]
        )


def test_real_vectors_come_first_and_queries_are_none_of_them(source):
    """1,400 originals as they are, each once; the 100 queries are the rest."""
    parts = multiplied(source, 5000, queries=100, noise=0.5, metric="cosine")
    base, queries, real = rows_of(parts.base), rows_of(parts.queries), rows_of(source).astype(np.float32)
    both = np.concatenate([base[:1400], queries])
    assert np.array_equal(np.unique(both, axis=0), np.unique(real, axis=0))
    assert not (base[:, None, 0] == queries[None, :, 0]).all(axis=1).any()
    assert "the first 1,400 of 5,000 are real embeddings, the other 3,600 are copies" in parts.made
    assert multiplied(source, 1400, queries=100, noise=0.5, metric="cosine").made == ""


def test_copies_are_displaced_by_the_noise_and_of_unit_length(source):
    """Each round copies every original once; its nearest original is about so far away."""
    base = rows_of(multiplied(source, 2800, queries=100, noise=0.5, metric="cosine").base).astype(np.float64)
    real, copies = base[:1400], base[1400:]
    assert np.allclose(np.linalg.norm(copies, axis=1), 1.0, atol=2e-3)
    nearest = (copies @ real.T).argmax(axis=1)
    assert len(np.unique(nearest)) > 1390
    moved = np.linalg.norm(copies - real[nearest], axis=1)
    expected = np.sqrt(2 - 2 / np.sqrt(1 + 0.5**2))  # noise across a vector, brought back to the sphere
    assert abs(moved.mean() - expected) < 0.02


def test_too_small_a_source_is_refused(source):
    """No base would be left."""
    with pytest.raises(DataError, match="has 1500 rows, from which 1500 queries cannot be held out"):
        multiplied(source, 10, queries=1500, noise=0.5, metric="cosine")


def test_the_multiplied_card_makes_what_it_says(real_data):
    """Nested prefixes of real passages, then copies; both say in the provenance which rows are real."""
    small, large = (load("minilm-medquad384-multiplied", limit=n) for n in (3000, 51000))
    assert np.array_equal(small.base, large.base[:3000])
    assert np.array_equal(small.queries, large.queries)
    assert large.base.shape == (51000, 384)
    assert large.queries.shape == (2000, 384)
    assert "made" not in small.provenance
    assert large.provenance["made"].startswith("the first 50,176 of 51,000 are real embeddings, the other 824 are")
    assert small.fingerprint != large.fingerprint
    assert card("minilm-medquad384-multiplied").noise == 0.614


def test_the_noise_is_the_passages_mean_distance_to_the_nearest(real_data):
    """The number on the card, measured again over a sample."""
    base = np.asarray(load("minilm-medquad384").base, dtype=np.float32)
    base = base / np.linalg.norm(base, axis=1, keepdims=True)
    rows = np.random.default_rng(1).choice(len(base), 1000, replace=False)
    products = base[rows] @ base.T
    products[np.arange(len(rows)), rows] = -1.0
    mean = float(np.sqrt(2 - 2 * products.max(axis=1)).mean())
    assert abs(mean - card("minilm-medquad384-multiplied").noise) < 0.02


def test_passages_as_queries_leave_the_base(real_data):
    """The same files as minilm-medquad384, with queries drawn from the base and taken out of it."""
    questions = load("minilm-medquad384", queries=2000)
    passages = load("minilm-medquad384-passages", queries=2000)
    assert passages.queries.shape == (2000, 384)
    assert passages.base.shape == (len(questions.base) - 2000, 384)
    known = {row.tobytes() for row in np.asarray(questions.base)}
    left = {row.tobytes() for row in np.asarray(passages.base)}
    asked = [row.tobytes() for row in np.asarray(passages.queries)]
    assert set(asked) <= known
    assert len(set(asked)) == 2000
    assert len(left) == len(known) - 2000
