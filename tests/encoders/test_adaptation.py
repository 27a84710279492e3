"""Adaptations as values: kept, opened, applied."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from adamem.encoders import Encoder, open_encoder
from adamem.encoders.adaptation import Adaptation, open_adaptation
from adamem.encoders.lora import LoraWeights
from adamem.encoders.query_map import QueryMap
from adamem.encoders.sealed import seal
from adamem.errors import CorruptResult, InvalidInput

TEXTS = ["the cat sat on a mat", "a dog ran home", ""]
BASE = open_encoder("hashing:64")


def _map(*, base: str = BASE.fingerprint, scale: float = 0.02, seed: int = 0) -> QueryMap:
    a, b = np.random.default_rng(seed).standard_normal((2, 64, 4)).astype(np.float32)
    return QueryMap(base, scale * a, b * np.float32(0.5))


def test_a_query_map_moves_queries_as_its_formula_says_and_no_document():
    """(q + A Bᵀ q) scaled to norm 1."""
    learnt = _map()
    encoder = learnt.applied_to(BASE)
    queries = BASE.encode_query(TEXTS)
    matrix = np.eye(64) + learnt._a.astype(np.float64) @ learnt._b.T
    expected = queries @ matrix.T
    np.testing.assert_allclose(
        encoder.encode_query(TEXTS), expected / np.linalg.norm(expected, axis=1)[:, None], atol=1e-6
    )
    assert np.abs(encoder.encode_query(TEXTS) - queries).max() > 0.01
    assert encoder.encode_document(TEXTS).tobytes() == BASE.encode_document(TEXTS).tobytes()
    assert (learnt.moves, learnt.rank, learnt.nbytes) == ("queries", 4, 2 * 64 * 4 * 4)
    assert learnt.norm == pytest.approx(np.linalg.norm(matrix - np.eye(64), ord=2), rel=1e-5)


def test_an_adapted_encoder_is_an_encoder_of_its_own():
    """float32, unit norm, the base's dimension, and a fingerprint of base and adaptation."""
    encoder = _map().applied_to(BASE)
    assert isinstance(encoder, Encoder)
    vectors = encoder.encode_query(TEXTS)
    assert (encoder.name, encoder.dim, vectors.shape, vectors.dtype) == (
        "hashing:64+query-map",
        64,
        (3, 64),
        np.float32,
    )
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert encoder.encode_query([]).shape == (0, 64)
    prints = {BASE.fingerprint, encoder.fingerprint, _map(seed=1).applied_to(BASE).fingerprint}
    assert len(prints) == 3
    assert all(len(bytes.fromhex(each)) == 32 for each in prints)
    assert _map().applied_to(BASE).fingerprint == encoder.fingerprint


def test_a_query_map_is_kept_and_opened_whole():
    """Same fingerprint, same vectors to the last bit."""
    learnt = _map()
    opened = open_adaptation(learnt.to_bytes())
    assert isinstance(opened, QueryMap)
    assert isinstance(opened, Adaptation)
    assert (opened.fingerprint, opened.base) == (learnt.fingerprint, BASE.fingerprint)
    queries = BASE.encode_query(TEXTS)
    assert opened(queries).tobytes() == learnt(queries).tobytes()


def test_its_arrays_cannot_be_changed():
    """Nor do they follow the arrays that it was given."""
    a = np.zeros((4, 1), dtype=np.float32)
    learnt = QueryMap("00", a, a)
    a[0] = 1
    assert learnt.norm == 0
    with pytest.raises(ValueError, match="read-only"):
        learnt._a[0] = 1


@pytest.mark.parametrize("place", [0, 40, -1])
def test_damaged_bytes_are_refused(place: int):
    """One flipped bit anywhere."""
    kept = bytearray(_map().to_bytes())
    kept[place] ^= 1
    with pytest.raises(CorruptResult, match=r"not what was written: their SHA-256 differs"):
        open_adaptation(bytes(kept))


@pytest.mark.parametrize("cut", [0, 10, 32, 500])
def test_truncated_bytes_are_refused(cut: int):
    """Wherever they end."""
    with pytest.raises(CorruptResult, match=r"expected|SHA-256 differs"):
        open_adaptation(_map().to_bytes()[:cut])


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"kind": "spell"}, "of kind 'spell', expected one of bridged-lora, lora, query-map"),
        ({"kind": "query-map", "base": "00"}, "a kept query-map is incomplete"),
        ({"kind": "lora", "base": "00"}, "a kept lora is incomplete"),
    ],
)
def test_whole_bytes_that_are_no_adaptation_are_refused(said: dict, sentence: str):
    """An unknown kind, or a known one with parts missing."""
    with pytest.raises(CorruptResult, match=sentence):
        open_adaptation(seal(said, {}))


LORA = {"base": "00", "rank": 1, "alpha": 1, "targets": ["layer"], "sides": "both"}
BRIDGE = {"kind": "bridge", "method": "procrustes"}
WHOLE = {"learnt.a": np.ones((1, 2), np.float32), "bridge.rotation": np.eye(2, dtype=np.float32)}


@pytest.mark.parametrize(
    ("said", "arrays", "sentence"),
    [
        ({"learnt": LORA, "bridge": []}, WHOLE, "has no attribute 'get'"),
        ({"learnt": LORA, "bridge": BRIDGE | {"joins": ["a", "b", "c"]}}, WHOLE, "too many values to unpack"),
        ({"learnt": LORA, "bridge": {"kind": "bridge"}}, WHOLE, "'method'"),
        ({"learnt": LORA, "bridge": BRIDGE}, {5: WHOLE["learnt.a"]}, "has no attribute 'partition'"),
        ({"learnt": LORA, "bridge": BRIDGE}, {"learnt.a": WHOLE["learnt.a"]}, "not {}"),
        (
            {"learnt": LORA, "bridge": BRIDGE},
            WHOLE | {"bridge.rotation": np.full((2, 2), np.nan, np.float32)},
            "parts that are all finite",
        ),
        (
            {"learnt": LORA, "bridge": BRIDGE},
            WHOLE | {"bridge.rotation": np.ones((2, 3), np.float32)},
            r"not \{'rotation': \(2, 3\)\}",
        ),
    ],
)
def test_bytes_that_were_made_to_break_it_are_refused(said: dict, arrays: dict, sentence: str):
    """Their seal is whole; what they say is not what any version has written."""
    opened = open_adaptation(seal({"kind": "bridged-lora", "learnt": LORA, "bridge": BRIDGE}, WHOLE))
    assert opened.moves == "queries"
    with pytest.raises(CorruptResult, match=f"a kept bridged-lora is incomplete or breaks its own rules.*{sentence}"):
        open_adaptation(seal({"kind": "bridged-lora", **said}, arrays))


@pytest.mark.parametrize("head", [b"[" * 200_000, b'{"said": {}, "arrays": [["a", [1%s]]]}' % (b"0" * 30)])
def test_a_head_that_was_made_to_break_its_reader_is_refused(head: bytes):
    """Nested deeper than can be read, or larger than any number of bytes."""
    with pytest.raises(CorruptResult, match="are whole but no kept adaptation"):
        open_adaptation(hashlib.sha256(head).digest() + head)


def test_a_base_that_is_no_fingerprint_is_another_base():
    """Whatever stands there in place of it."""
    part = np.zeros((64, 1), np.float32)
    opened = open_adaptation(seal({"kind": "query-map", "base": 5}, {"a": part, "b": part}))
    with pytest.raises(InvalidInput, match="was learnt on the encoder 5, and hashing:64 is"):
        opened.applied_to(BASE)


def test_another_base_is_refused():
    """By its fingerprint, in a sentence with the way out."""
    with pytest.raises(InvalidInput, match=r"this query-map was learnt on the encoder .*apply it to the encoder that"):
        _map().applied_to(open_encoder("hashing:32"))


def test_a_map_of_other_dimensions_than_its_base_is_refused():
    """Bytes that say of themselves what is not so."""
    base = open_encoder("hashing:64")
    part = np.zeros((128, 2), np.float32)
    with pytest.raises(InvalidInput, match=r"is of 128 dimensions, and hashing:64 has 64"):
        QueryMap(base.fingerprint, part, part).applied_to(base)


def test_a_map_that_could_turn_a_query_round_is_refused():
    """The operator norm stays below 1, and what is not finite has none."""
    one = np.eye(4, 1, dtype=np.float32)
    with pytest.raises(InvalidInput, match=r"must be below 1, not 1"):
        QueryMap("00", one, one)
    with pytest.raises(InvalidInput, match=r"must be below 1, not nan"):
        QueryMap("00", one * np.float32(np.nan), one)
    with pytest.raises(InvalidInput, match=r"expected both to be \(dim, rank\)"):
        QueryMap("00", one, np.eye(3, 1, dtype=np.float32))


def test_a_lora_whose_weights_are_not_finite_is_refused():
    """It would give vectors that are not."""
    weights = {"layer.lora_A.weight": np.full((1, 2), np.inf, dtype=np.float32)}
    with pytest.raises(InvalidInput, match=r"weights that are all finite; learn it anew at a lower rate"):
        LoraWeights("00", rank=1, alpha=1, targets=("layer",), sides="both", weights=weights)
