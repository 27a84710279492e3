"""Hashed words and n-grams."""

from __future__ import annotations

import numpy as np

from adamem.encoders.hashing import HashingEncoder


def test_texts_that_are_spelt_alike_are_near():
    """A misspelling and an inflection keep most n-grams, in Russian too; other words keep none."""
    encoder = HashingEncoder(dim=2048)
    near = encoder.encode_query(["benchmark", "память"])
    far = encoder.encode_document(["benchmarks", "памятью", "soup"])
    cosines = near @ far.T
    assert cosines[0, 0] > 0.4
    assert cosines[1, 1] > 0.3
    assert np.abs(cosines[:, 2]).max() < 0.15


def test_a_text_without_a_word_has_its_own_direction():
    """It is a unit vector at cosine 0 to every text that says something."""
    encoder = HashingEncoder(dim=64)
    empty, blank = encoder.encode_query(["", "  "])
    np.testing.assert_array_equal(empty, np.eye(64, dtype=np.float32)[-1])
    np.testing.assert_array_equal(blank, empty)
    assert encoder.encode_document(["a text"])[0] @ empty == 0.0


def test_the_same_text_gives_the_same_vector_in_every_version():
    """Caches are keyed by the fingerprint, which names the settings only: the vectors may not drift under it."""
    vector = HashingEncoder(dim=9).encode_document(["fox лиса"])[0]
    expected = [-0.3738, 0.0, -0.3738, -0.1869, 0.0, -0.1869, 0.0, -0.8067, 0.0]
    np.testing.assert_allclose(vector, expected, atol=1e-4)


def test_pieces_give_the_bytes_of_the_whole():
    """Many texts are encoded in pieces to bound the memory; at 65,536 dimensions a piece is 32 texts."""
    encoder = HashingEncoder(dim=65_536)
    texts = [f"text number {number}" for number in range(40)]
    apart = np.concatenate([encoder.encode_document([text]) for text in texts])
    assert encoder.encode_document(texts).tobytes() == apart.tobytes()


def test_the_fingerprint_follows_the_dimension():
    """It is all there is to set."""
    assert HashingEncoder(dim=32).fingerprint == HashingEncoder(dim=32).fingerprint
    assert HashingEncoder(dim=32).fingerprint != HashingEncoder(dim=33).fingerprint
