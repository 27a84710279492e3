"""SpiralGraph's kernels: each path of the 8-bit product equals numpy, and the wanted instructions are in the code."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import textwrap
from functools import cache

import numba
import numpy as np
import pytest

from adamem.index import index_class
from adamem_indexes.spiral import _kernels as kernels
from adamem_indexes.spiral._lattice import fibonacci_sphere
from adamem_indexes.spiral._memory import aligned

DRIVER = textwrap.dedent(
    """
    import sys
    import numba
    import numpy as np
    from numba import types
    from adamem_indexes.spiral._kernels import ABREAST, COLUMNS, dot, dot_path, products

    @numba.njit
    def product(row, query):
        return dot(np.uint64(row.ctypes.data), np.uint64(query.ctypes.data), np.uint64(row.size))

    @numba.njit
    def many(rows, columns, out):
        products(np.uint64(rows.ctypes.data), np.uint64(rows.shape[1]), np.uint64(columns.ctypes.data),
                 np.uint64(columns.shape[0]), np.uint64(out.ctypes.data))

    product.compile((types.uint8[::1], types.int8[::1]))
    many.compile((types.int8[:, ::1], types.uint8[:, :, ::1], types.int32[:, ::1]))
    (code,) = product.inspect_asm().values()
    (others,) = many.inspect_asm().values()
    for name in ("vpdpbusd", "vpmaddwd", "pmaddwd", "zmm", "ymm"):
        print(name, name in code and name in others)
    if sys.argv[1] == "run":
        random = np.random.default_rng(0)
        for width in (64, 128, 192, 448, 4096):
            row = random.integers(0, 256, width).astype(np.uint8)
            query = random.integers(-128, 128, width).astype(np.int8)
            assert product(row, query) == int(row.astype(np.int64) @ query.astype(np.int64)), width
        for groups in (1, 2, 45, 1024):
            rows = random.integers(-128, 128, (ABREAST, 4 * groups + 64)).astype(np.int8)
            columns = random.integers(0, 256, (groups, COLUMNS, 4)).astype(np.uint8)
            rows[0, : 4 * groups], columns[:, 0] = -127, 255
            found = np.empty((ABREAST, COLUMNS), np.int32)
            many(rows, columns, found)
            flat = columns.transpose(1, 0, 2).reshape(COLUMNS, -1).astype(np.int64)
            assert (found == rows[:, : 4 * groups].astype(np.int64) @ flat.T).all(), groups
        extreme = np.full(65536, 255, np.uint8), np.full(65536, -127, np.int8)
        assert product(*extreme) == -255 * 127 * 65536
        print("equal True")
    """
)


def compiled_for(name: str, features: str, *, run: bool) -> dict[str, bool]:
    """Which instructions the product has when compiled for a processor; with `run` it is also compared with numpy."""
    target = {"NUMBA_DISABLE_JIT": "0"}
    if name:
        target |= {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features}
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, "run" if run else "show"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **target},
    )
    assert done.returncode == 0, done.stderr
    return {line.split()[0]: line.split()[1] == "True" for line in done.stdout.splitlines()}


@pytest.mark.parametrize("width", [64, 128, 192, 256, 832, 4096])
def test_the_product_of_bytes_is_numpys(width):
    """On this processor, with guard bytes around both rows that would show in the sum if they were read."""
    random = np.random.default_rng(width)
    for _ in range(20):
        around = np.full(width + 256, 255, dtype=np.uint8)
        beside = np.full(width + 256, 127, dtype=np.int8)
        around[128:-128] = random.integers(0, 256, width)
        beside[128:-128] = random.integers(-128, 128, width)
        row, query = around[128:-128], beside[128:-128]
        found = product(row, query)
        assert found == int(row.astype(np.int64) @ query.astype(np.int64))


def test_the_product_saturates_nowhere():
    """The largest values there are, in the widest row."""
    row, query = np.full(65_536, 255, dtype=np.uint8), np.full(65_536, -127, dtype=np.int8)
    assert product(row, query) == -255 * 127 * 65_536


@pytest.mark.parametrize(
    ("processor", "features", "instruction", "register"),
    [
        ("znver4", "+avx512f,+avx512bw,+avx512vl,+avx512vnni,+avx2,+fma", "vpdpbusd", "zmm"),
        ("alderlake", "+avx2,+fma,+avxvnni", "vpdpbusd", "ymm"),
        ("haswell", "+avx2,+fma", "vpmaddwd", "ymm"),
        ("nehalem", "+sse4.2,+ssse3", "pmaddwd", ""),
    ],
)
def test_each_processor_gets_its_instructions(processor, features, instruction, register):
    """Chosen by the target that is compiled for, whatever processor compiles."""
    found = compiled_for(processor, features, run=False)
    assert found[instruction]
    if register:
        assert found[register]
    assert found["vpdpbusd"] == (instruction == "vpdpbusd")


@pytest.mark.skipif(platform.machine() not in {"x86_64", "AMD64"}, reason="other processors call it otherwise")
def test_searches_fetch_ahead():
    """The prefetching instruction is in the code of the walk, and in that of the last comparisons."""
    vectors = np.random.default_rng(0).normal(size=(300, 20)).astype(np.float32)
    index = index_class("spiral").build(vectors, np.arange(300), metric="l2", params={"scan_below": 0})
    index.search(vectors[:2], 3, params={"ef": 4})
    (signature,) = kernels.search.signatures
    numba.njit(kernels.search.py_func).compile(signature)  # for what comes from the cache does not name its parts
    for part in (kernels._beam, kernels._settle):
        assert part.signatures
        anew = numba.njit(part.py_func)  # for code from the cache cannot be looked at
        anew.compile(part.signatures[0])
        (code,) = anew.inspect_asm().values()
        assert "prefetcht0" in code


def test_products_with_columns_are_numpys():
    """By this processor's own instructions."""
    assert compiled_for("", "", run=True)["equal"]


@pytest.mark.parametrize("processor", ["haswell", "nehalem", "x86-64"])
def test_the_generic_path_is_equal_too(processor):
    """Compiled for older processors, and run here."""
    features = {"haswell": "+avx2", "nehalem": "+sse4.2", "x86-64": ""}[processor]
    assert compiled_for(processor, features, run=True)["equal"]


@pytest.mark.parametrize("shape", ["spread", "equal", "nearly equal", "below zero", "mostly equal"])
@pytest.mark.parametrize("limited", [False, True])
def test_a_sieve_keeps_the_nearest(shape, limited):
    """The nearest of all are kept, few others are, and what the new limit shuts out is none of the nearest."""
    random = np.random.default_rng(5)
    for count, most in ((200, 61), (281, 121), (61, 60), (40, 60), (9, 1)):
        gaps = random.random(count).astype(np.float32) + np.float32(0.2)
        if shape == "equal":
            gaps[:] = 0.5
        elif shape == "nearly equal":
            gaps = np.float32(0.5) + gaps * np.float32(1e-7)
        elif shape == "below zero":
            gaps = (gaps - np.float32(0.3)) * np.float32(1e-6)
        elif shape == "mostly equal":
            gaps[: count // 2] = 0.1
        nodes = np.arange(count, dtype=np.uint32)
        high = np.float32(np.finfo(np.float32).max) if not limited else np.nextafter(gaps.max(), np.float32(9))
        kept_gaps, kept_nodes = gaps.copy(), nodes.copy()
        kept, limit = kernels._sift(kept_gaps, kept_nodes, count, high, most)
        kept_gaps, kept_nodes = kept_gaps[:kept], kept_nodes[:kept]
        assert min(count, most) <= kept <= most + most // 8
        assert (gaps[kept_nodes] == kept_gaps).all()
        assert np.unique(kept_nodes).size == kept
        expected = np.sort(gaps)[: min(count, most)]
        assert np.allclose(np.sort(kept_gaps)[: expected.size], expected, rtol=0, atol=1e-6 * abs(gaps).max())
        assert limit >= expected[-1]


def test_keys_sort_as_distances_do():
    """Negative, zero, tiny and large distances; of equal ones the smaller node first; and both come back whole."""
    distances = np.array([-3e38, -2.5, -1e-38, 0.0, 1e-38, 0.5, 0.5, 7.0, 3e38], dtype=np.float32)
    nodes = np.array([5, 2**31 - 1, 0, 7, 1, 3, 4, 9, 2], dtype=np.uint64)
    keys = [kernels._key(distance, node) for distance, node in zip(distances, nodes, strict=True)]
    assert keys == sorted(keys)
    assert [kernels._key_distance(np.uint64(key)) for key in keys] == distances.tolist()
    assert [kernels._key_node(np.uint64(key)) for key in keys] == nodes.tolist()


@pytest.mark.parametrize("count", [1, 2, 8, 89, 1000])
def test_the_lattice_shares_the_sphere_out_evenly(count):
    """Unit vectors with mean near zero, none nearer to another than a fair share of the sphere allows."""
    points = fibonacci_sphere(count).astype(np.float64)
    assert np.linalg.norm(points, axis=1) == pytest.approx(1, abs=1e-6)
    if count > 2:
        assert np.linalg.norm(points.mean(axis=0)) < 2 / count
        angles = np.arccos(np.clip(points @ points.T - 2 * np.eye(count), -1, 1))
        assert angles.min() > 0.7 * np.sqrt(4 * np.pi / count)


def test_encoding_keeps_what_a_byte_can():
    """Decoded components are within half a step; the tail holds the scale, offset, lift and the decoded square."""
    random = np.random.default_rng(3)
    parts = random.normal(size=(50, 100)).astype(np.float32) * np.geomspace(1e-3, 1e3, 50, dtype=np.float32)[:, None]
    parts[7] = 0
    offsets, lifts = random.normal(size=(2, 50)).astype(np.float32)
    codes = aligned((60, 128), np.uint8)
    tails = codes.view(np.float32)
    kernels.encode(parts, offsets, lifts, codes, tails, 5)
    scale, lift, offset, square = tails[5:55, -4:].T
    decoded = (codes[5:55, :100].astype(np.float32) - 128) * scale[:, None]
    assert (np.abs(decoded - parts) <= 0.501 * scale[:, None]).all()
    assert (codes[5:55, 100:112] == 128).all()
    np.testing.assert_array_equal(lift, lifts)
    np.testing.assert_array_equal(offset, offsets)
    np.testing.assert_allclose(square, (decoded.astype(np.float64) ** 2).sum(axis=1) + lifts**2, rtol=1e-5)
    assert not codes[:5].any()
    assert not codes[55:].any()


@cache
def _compiled():
    dot = kernels.dot

    @numba.njit
    def compiled(row, query):
        return dot(np.uint64(row.ctypes.data), np.uint64(query.ctypes.data), np.uint64(row.size))

    return compiled


def product(row: np.ndarray, query: np.ndarray) -> int:
    return int(_compiled()(row, query))
