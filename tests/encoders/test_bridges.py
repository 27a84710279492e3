"""Bridges from a new space to the old one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ortho_group

from adamem.encoders import Encoder, open_encoder
from adamem.encoders.bridges import Bridge, bridged, low_rank_affine, mean_drift, procrustes
from adamem.encoders.query_map import QueryMap, unit
from adamem.encoders.sealed import seal
from adamem.errors import CorruptResult, InvalidInput

DIM = 24


def _vectors(n: int, *, seed: int = 0):
    return unit(np.random.default_rng(seed).standard_normal((n, DIM)).astype(np.float32))


def _cosines(bridge: Bridge, new, old):
    return (bridge(new) * old).sum(axis=1)


def test_procrustes_recovers_a_rotation():
    """Of other vectors than it was fitted to, within float error; it bears no scale."""
    rotation = ortho_group.rvs(DIM, random_state=1).astype(np.float32)
    new, held = _vectors(200), _vectors(50, seed=1)
    bridge = procrustes(new, 3 * new @ rotation)
    np.testing.assert_allclose(bridge(held), held @ rotation, atol=1e-6)


def test_low_rank_affine_recovers_a_low_rank_map_and_its_bias():
    """As far as the ridge lets it; a rank too low and the mean alone do worse."""
    random = np.random.default_rng(2)
    matrix = random.standard_normal((DIM, 3)) @ random.standard_normal((3, DIM)) * 0.3
    bias = random.standard_normal(DIM) * 0.3
    new, held = _vectors(500), _vectors(50, seed=1)

    def drifted(vectors):
        return (vectors + vectors @ matrix + bias).astype(np.float32)

    exact = low_rank_affine(new, drifted(new), rank=3, ridge=1e-9)
    np.testing.assert_allclose(exact(held), unit(drifted(held)), atol=1e-5)
    worse = low_rank_affine(new, drifted(new), rank=1), mean_drift(new, drifted(new))
    assert all(_cosines(bridge, held, unit(drifted(held))).min() < 0.99 for bridge in worse)


def test_of_one_rank_no_other_map_is_better():
    """The closed form against a hundred thousandth of a step in random directions of the same rank."""
    random = np.random.default_rng(3)
    new, old = _vectors(60), _vectors(60, seed=1)
    ridge = 0.5
    bridge = low_rank_affine(new, old, rank=2, ridge=ridge)
    left, right = (bridge._parts[side].astype(np.float64) for side in ("left", "right"))
    x, y = new - new.mean(axis=0), (old - new) - (old - new).mean(axis=0)
    penalty = ridge * (x**2).sum() / DIM

    def loss(u, v):
        return ((y - x @ u @ v.T) ** 2).sum() + penalty * ((u @ v.T) ** 2).sum()

    best = loss(left, right)
    for _ in range(50):
        du, dv = random.standard_normal((2, DIM, 2)) * 1e-2
        assert loss(left + du, right + dv) > best


def test_rank_0_is_the_mean_drift():
    """Which adds the mean of old - new."""
    new, old = _vectors(60), _vectors(60, seed=1)
    expected = unit(new + (old - new).mean(axis=0))
    np.testing.assert_allclose(mean_drift(new, old)(new), expected, atol=1e-6)
    np.testing.assert_allclose(low_rank_affine(new, old, rank=0)(new), expected, atol=1e-6)


@pytest.mark.parametrize("fit", [procrustes, low_rank_affine, mean_drift])
def test_every_bridge_is_kept_whole_and_refused_when_damaged(fit):
    """Unit float32 out, the same bytes after opening, the identity where nothing has drifted."""
    new = _vectors(60)
    bridge = fit(new, _vectors(60, seed=1))
    opened = Bridge.from_bytes(bridge.to_bytes())
    assert (opened.method, opened.fingerprint, opened.nbytes) == (bridge.method, bridge.fingerprint, bridge.nbytes)
    assert opened(new).tobytes() == bridge(new).tobytes()
    assert opened(new).dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(opened(new), axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(fit(new, new)(new), new, atol=1e-6)
    with pytest.raises(CorruptResult, match="SHA-256 differs"):
        Bridge.from_bytes(bridge.to_bytes()[:-1])


def test_other_kept_bytes_are_no_bridge():
    """A query map is whole and still none."""
    nothing = np.zeros((4, 1), dtype=np.float32)
    with pytest.raises(CorruptResult, match="hold a query-map, expected a bridge"):
        Bridge.from_bytes(QueryMap("00", nothing, nothing).to_bytes())


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"rotation": np.ones((2, 3))}, r"not \{'rotation': \(2, 3\)\}"),
        ({"rotation": np.ones(2)}, "takes a rotation"),
        ({"rotation": np.eye(2), "bias": np.ones(2)}, "takes a rotation"),
        ({"left": np.ones((2, 1)), "right": np.ones((3, 1)), "bias": np.ones(2)}, "takes a rotation"),
        ({"left": np.ones((2, 1)), "right": np.ones((2, 1)), "bias": np.ones(3)}, "takes a rotation"),
        ({"left": np.ones((2, 1)), "right": np.ones((2, 1))}, "takes a rotation"),
        ({}, r"not \{\}"),
        ({"rotation": np.full((2, 2), np.inf)}, "all finite"),
    ],
)
def test_parts_that_make_no_bridge_are_refused(parts: dict, sentence: str):
    """And where they come in kept bytes, these are damaged."""
    with pytest.raises(InvalidInput, match=sentence):
        Bridge("any", **parts)
    with pytest.raises(CorruptResult, match=f"a kept bridge is incomplete or breaks its rules.*{sentence}"):
        Bridge.from_bytes(seal({"kind": "bridge", "method": "any"}, parts))


def test_vectors_of_another_dimension_do_not_go_over_a_bridge():
    """A sentence, and not numpy's."""
    with pytest.raises(InvalidInput, match="this bridge is of 24 dimensions, and the vectors have 25"):
        procrustes(_vectors(60), _vectors(60, seed=1))(np.ones((1, 25), np.float32))


def test_a_bridged_encoder_speaks_the_old_space():
    """Its queries and its documents; it has a fingerprint of its own."""
    new = open_encoder("hashing:24")
    texts = ["the cat sat", "a dog ran home", "shares fell on Monday"]
    rotation = ortho_group.rvs(DIM, random_state=1).astype(np.float32)
    bridge = procrustes(_vectors(100), _vectors(100) @ rotation)
    encoder = bridged(new, bridge)
    assert isinstance(encoder, Encoder)
    for verb in ("encode_query", "encode_document"):
        np.testing.assert_allclose(getattr(encoder, verb)(texts), getattr(new, verb)(texts) @ rotation, atol=1e-5)
    assert encoder.name == "hashing:24+procrustes"
    assert encoder.fingerprint != new.fingerprint


def test_a_bridge_that_knows_its_ends_joins_no_others():
    """Not even after it was kept; what is said of its ends is part of what it is."""
    new, old, other = (open_encoder(f"hashing:{dim}") for dim in (24, 25, 26))
    unknown = procrustes(_vectors(60), _vectors(60, seed=1))
    unknown.require(other, other)
    known = Bridge.from_bytes(unknown.joining(new, old).to_bytes())
    assert known.joins == (new.fingerprint, old.fingerprint)
    assert known.fingerprint != unknown.fingerprint == Bridge.from_bytes(unknown.to_bytes()).fingerprint
    assert known(_vectors(5)).tobytes() == unknown(_vectors(5)).tobytes()
    known.require(new, old)
    assert bridged(new, known).name == "hashing:24+procrustes"
    with pytest.raises(InvalidInput, match=f"leads from the encoder {new.fingerprint[:12]}, and hashing:26 is"):
        bridged(other, known)
    with pytest.raises(InvalidInput, match=f"leads to the encoder {old.fingerprint[:12]}, and hashing:26 is"):
        known.require(new, other)


@pytest.mark.parametrize("fit", [procrustes, low_rank_affine, mean_drift])
def test_what_is_not_paired_or_not_finite_is_refused(fit):
    """The message has both shapes."""
    new = _vectors(5)
    with pytest.raises(InvalidInput, match=r"new is \(5, 24\) and old is \(4, 24\)"):
        fit(new, new[:4])
    with pytest.raises(InvalidInput, match=r"n at least 1"):
        fit(new[:0], new[:0])
    with pytest.raises(InvalidInput, match="NaN or infinite"):
        fit(new, new * np.float32(np.inf))


def test_a_rank_or_ridge_out_of_range_is_refused():
    """Without a ridge, texts fewer than axes would leave the map undetermined."""
    with pytest.raises(InvalidInput, match=r"not rank 2 and ridge 0"):
        low_rank_affine(_vectors(5), _vectors(5), rank=2, ridge=0)
