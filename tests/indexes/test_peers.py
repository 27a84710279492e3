"""What is peculiar to the indexes of other libraries (extras `peers`, `chroma`); the contract suite asks the rest."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from adamem.errors import MissingExtra
from adamem.index import index_class, index_names
from adamem_indexes.peers import _kernels
from adamem_indexes.peers._library import library, require

PEERS = {
    "chroma": "chromadb",
    "ngt": "ngtpy",
    "pynndescent": "pynndescent",
    "scann": "scann",
    "svs": "svs",
    "usearch": "usearch.index",
    "voyager": "voyager",
    "vsag": "pyvsag",
}


@pytest.fixture
def peer(request):
    """The class of one peer, where its library is installed."""
    try:
        return index_class(request.param)
    except MissingExtra as error:
        pytest.skip(str(error))


def each(*names: str):
    return pytest.mark.parametrize("peer", names, indirect=True)


def test_every_peer_is_registered():
    """The eight are in the registry whether their libraries are installed or not."""
    assert set(PEERS) <= set(index_names())


@pytest.mark.parametrize(("name", "module"), PEERS.items())
def test_a_peer_whose_library_is_missing_says_how_to_get_it(name, module):
    """Its class raises MissingExtra with the pip line; the list of indexes still stands, and says the same."""
    top, extra = module.partition(".")[0], "chroma" if name == "chroma" else "peers"
    hide = f"import sys, importlib.abc\nclass Hide(importlib.abc.MetaPathFinder):\n    def find_spec(self, name, *rest):\n        if name.partition('.')[0] == {top!r}:\n            raise ModuleNotFoundError(name, name={top!r})\nsys.meta_path.insert(0, Hide())\n"  # noqa: E501
    code = hide + (
        "from adamem.errors import MissingExtra\nfrom adamem.index import index_class\n"
        f"try:\n    index_class({name!r})\nexcept MissingExtra as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"this index needs {top}, which is not installed: pip install 'adamem[{extra}]'\n"


def test_a_missing_library_is_told_from_one_that_is_there():
    """Both doors refuse what is absent with the pip line, and let through what is there."""
    assert library("json").dumps([1]) == "[1]"
    require("json")
    for door in (library, require):
        with pytest.raises(MissingExtra, match=r"needs no_such_library, which is not installed: .*adamem\[peers\]"):
            door("no_such_library")


@pytest.fixture
def answer():
    """Six vectors, two queries, and the whole true answer to them: rows and squared distances, nearest first."""
    rng = np.random.default_rng(3)
    matrix, queries = (rng.standard_normal((n, 5)).astype(np.float32) for n in (6, 2))
    exact = ((queries[:, None, :] - matrix[None]) ** 2).sum(axis=2)
    rows = np.argsort(exact, axis=1)[:, :4]
    return rows, np.take_along_axis(exact, rows, axis=1), matrix, queries


def test_a_whole_answer_is_left_as_it_is(answer):
    """Nothing in a right answer is touched."""
    rows, distances, matrix, queries = answer
    before = rows.copy(), distances.copy()
    assert _kernels.verify(rows, distances, matrix, queries, False) == 0
    assert (rows == before[0]).all()
    assert (distances == before[1]).all()


@pytest.mark.parametrize("junk", [(0, 0.0), (94_032_734_463_339, 1.0), (-1, 9.0), (2, np.nan), (3, 1e30)])
def test_what_a_library_left_unwritten_is_dropped(answer, junk):
    """A tail of zeros, of rows that do not exist, or of former answers goes; what was found before it stays."""
    rows, distances, matrix, queries = answer
    rows[1, 2:], distances[1, 2:] = junk
    found = rows[1, :2].tolist()
    assert _kernels.verify(rows, distances, matrix, queries, False) == 1
    assert rows[1].tolist() == [*found, -1, -1]
    assert (rows[0] >= 0).all()


def test_a_row_that_stands_twice_counts_once(answer):
    """A repeated row is dropped by the check and by the settling."""
    for kernel in (_kernels.verify, _kernels.settle):
        rows, distances, matrix, queries = (part.copy() for part in answer)
        rows[0, 3], distances[0, 3] = rows[0, 2], distances[0, 2]
        if kernel is _kernels.verify:
            rows[0, 3], distances[0, 3] = rows[0, 2], distances[0, 2] * 0.5  # a descending tail is looked at
        kernel(rows, distances, matrix, queries, False)
        assert rows[0, 3] == -1
        assert (rows[0, :3] >= 0).all()


@pytest.mark.parametrize("ip", [False, True])
def test_settled_distances_are_those_of_the_vectors(answer, ip):
    """Whatever the library reported, distances are computed again."""
    rows, distances, matrix, queries = answer
    distances[:] = 7.0
    _kernels.settle(rows, distances, matrix, queries, ip)
    picked = matrix[rows].astype(np.float64)
    dots = -np.einsum("qkd,qd->qk", picked, queries)
    squares = ((picked - queries[:, None, :]) ** 2).sum(axis=2)
    np.testing.assert_allclose(distances, dots if ip else squares, rtol=1e-5, atol=1e-5)


@each("svs", "usearch", "vsag")
@pytest.mark.parametrize("metric", ["l2", "cosine", "ip"])
def test_each_storage_answers_truly(peer, metric, data, oracle):
    """Every kind of code a peer offers finds nine tenths (4 bits eight), and its distances are the vectors' own."""
    for param in peer.build_params:
        for choice in param.choices:
            index = peer.build(data.vectors, data.ids, metric=metric, params={param.name: choice})
            found = index.search(data.queries, 10, params={"ef": 200})
            vectors, floor = data.vectors, 0.8 if choice == "sq4_uniform" else 0.9
            assert oracle.recall(metric, found, data.queries, vectors, data.ids, 10) >= floor, choice
            case = type("Case", (), {"metric": metric, "capabilities": peer.capabilities})
            oracle.assert_valid(case, found, data.queries, vectors, data.ids)


@each(*PEERS)
def test_the_bytes_of_the_adapter_are_told_apart(peer, data):
    """`nbytes` names the vectors that the adapter keeps for itself; without a native index they are all there is."""
    index = peer.build(data.vectors, data.ids, metric="l2")
    parts = index.nbytes()
    assert parts["adapter"] >= data.vectors.nbytes
    assert parts["vectors"] > 0
    assert set(peer.build(data.vectors[:1], [5], metric="l2").nbytes()) == {"ids", "filter", "adapter"}


@each("chroma", "usearch", "voyager")
def test_inserting_into_what_was_scanned_builds(peer, data):
    """An index that began with one vector, and has no native part, gets one with the second batch."""
    index = peer.build(data.vectors[:1], data.ids[:1], metric="l2")
    index.insert(data.vectors[1:500], data.ids[1:500])
    assert "graph" in index.nbytes()
    assert (index.search(data.vectors[:500], 1).ids[:, 0] == data.ids[:500]).mean() > 0.95


@each("ngt")
def test_a_build_by_ngt_says_nothing_and_leaves_stderr_open(peer, data, capfd):
    """Its optimizer's report is swallowed; what is written afterwards comes through."""
    peer.build(data.vectors, data.ids, metric="l2")
    assert capfd.readouterr() == ("", "")
    sys.stderr.write("still here\n")
    assert capfd.readouterr().err == "still here\n"


@each("ngt")
@pytest.mark.parametrize("fill", [1, 64, 128, 190, 255])
def test_ngt_drops_short_cuts_whatever_memory_held(peer, tmp_path, fill):
    """Its optimizer reads a number that it never sets: each new process, with other bytes there, builds the same graph.

    The bytes are what glibc writes into memory that is given out: the fill's complement, 0 among them.
    """
    code = (
        "import numpy as np\nfrom adamem.index import index_class\n"
        "vectors = np.random.default_rng(0).standard_normal((1000, 24)).astype(np.float32)\n"
        "for _ in range(2):\n"
        "    built = index_class('ngt').build(vectors, np.arange(1000), metric='l2')\n"
        "    print(built.nbytes()['graph'])\n"
    )
    environment = {**os.environ, "MALLOC_PERTURB_": str(fill), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True, env=environment
    )
    first, second = map(int, done.stdout.split())
    assert first == second
    assert first < 1000 * 8 * 40  # 35 links of 8 bytes a vector; with short-cuts there are 118
    assert list(tmp_path.iterdir()) == []
