"""The faiss adapters in every form: the contract suite sees their defaults only."""

from __future__ import annotations

import numpy as np
import pytest

from adamem.errors import InvalidInput
from adamem.index import IdFilter, index_class

FORMS = [
    ("faiss_hnsw", {"storage": "fp32"}, 0.9, True),
    ("faiss_hnsw", {"storage": "sq8"}, 0.9, False),
    ("faiss_hnsw", {"storage": "sq8-refine"}, 0.9, True),
    ("faiss_pq", {"form": "ivfpqfs-refine"}, 0.9, True),
    ("faiss_pq", {"form": "ivfpq", "m": 12}, 0.7, False),
    ("faiss_pq", {"form": "pq", "m": 12}, 0.7, False),
    ("faiss_nsg", {"R": 16}, 0.9, True),
]


@pytest.fixture(scope="module", params=["l2", "cosine", "ip"])
def metric(request):
    return request.param


@pytest.fixture(params=FORMS, ids=["-".join(map(str, [form[0], *form[1].values()])) for form in FORMS])
def form(request):
    """Name, parameters, recall that the codes allow, and whether distances are exact."""
    return request.param


def check(index, form, metric, data, rows, oracle, admitted=None):
    name, _, floor, exact = form
    vectors, ids = data.vectors[rows], data.ids[rows]
    found = index.search(data.queries, 10, filter=admitted)
    assert (found.ids >= 0).all()
    assert oracle.recall(metric, found, data.queries, vectors, ids, 10) >= floor, name
    order = np.argsort(ids)
    positions = order[np.searchsorted(ids[order], found.ids)]
    truth = np.take_along_axis(oracle.distances(metric, data.queries, vectors), positions, axis=1)
    if exact:
        np.testing.assert_allclose(found.distances, truth, rtol=1e-5, atol=1e-4)
    else:
        assert np.corrcoef(found.distances.ravel(), truth.ravel())[0, 1] > 0.9


def test_every_form_meets_its_floor_through_a_life(form, metric, data, oracle, tmp_path):
    """Built, filtered, half deleted, maintained, refilled, saved and loaded: recall and distances hold at each step."""
    name, params, _, _ = form
    cls = index_class(name)
    index = cls.build(data.vectors, data.ids, metric=metric, params=params)
    order = np.random.default_rng(1).permutation(2000)
    gone, left = order[:1000], order[1000:]
    check(index, form, metric, data, np.arange(2000), oracle)
    for share in (1000, 200, 30):
        check(index, form, metric, data, order[:share], oracle, IdFilter(data.ids[order[:share]]))
    index.delete(data.ids[gone])
    check(index, form, metric, data, left, oracle)
    check(index, form, metric, data, left[:300], oracle, IdFilter(data.ids[np.concatenate([gone, left[:300]])]))
    assert index.needs_maintenance()
    index.maintain()
    assert not index.needs_maintenance()
    check(index, form, metric, data, left, oracle)
    if cls.capabilities.insert:
        index.insert(data.vectors[gone], data.ids[gone])
        left = order
        check(index, form, metric, data, left, oracle)
    index.save(tmp_path)
    loaded = cls.load(tmp_path)
    check(loaded, form, metric, data, left, oracle)
    assert (loaded.search(data.queries, 10).ids == index.search(data.queries, 10).ids).all()


@pytest.mark.parametrize("n", [1, 2, 30, 129, 300])
def test_small_collections_build_silently_in_every_form(form, n, make_data, capfd):
    """One vector or three hundred: all are found, and the library prints nothing."""
    name, params, _, _ = form
    small = make_data(n=n, dim=13, queries=4, seed=n)
    for metric in ("l2", "cosine", "ip"):
        found = index_class(name).build(small.vectors, small.ids, metric=metric, params=params).search(small.queries, n)
        assert (np.sort(found.ids, axis=1) == np.sort(small.ids)).all()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("metric", ["l2", "ip"])
def test_codes_alone_are_ranked_as_their_decoded_vectors(metric, data, oracle):
    """The form pq answers what brute force over the decoded codes answers, deleted and filtered rows left out."""
    index = index_class("faiss_pq").build(data.vectors, data.ids, metric=metric, params={"form": "pq"})
    decoded = index._native.reconstruct_n(0, 2000)
    index.delete(data.ids[:500])
    distances = oracle.distances(metric, data.queries, decoded)
    for rows, admitted in (
        (np.arange(500, 2000), None),
        (np.arange(500, 600), IdFilter(data.ids[400:600])),
        (np.arange(500, 505), IdFilter(data.ids[:505])),
    ):
        k = min(10, rows.size)
        found = index.search(data.queries, 10, filter=admitted)
        assert (found.ids[:, k:] == -1).all()
        expected = np.sort(distances[:, rows], axis=1)[:, :k]
        np.testing.assert_allclose(found.distances[:, :k], expected, rtol=1e-3, atol=1e-3)


def test_upkeep_of_8_bit_codes_does_not_blur_them(data):
    """Dropping the dead again and again leaves the codes of the living as they were."""
    index = index_class("faiss_hnsw").build(data.vectors, data.ids, metric="l2", params={"storage": "sq8"})
    before = index._native.reconstruct_n(1500, 500)
    for start in (0, 500, 1000):
        index.delete(data.ids[start : start + 500])
        index.maintain()
    assert (index._native.reconstruct_n(0, 500) == before).all()


def test_an_outgrown_inverted_file_is_trained_anew(make_data):
    """Built on 100 vectors and grown to 2,000, the index asks for upkeep, and then has as many lists as a fresh one."""
    data = make_data(n=2000, dim=24, queries=60)
    cls = index_class("faiss_pq")
    index = cls.build(data.vectors[:100], data.ids[:100], metric="l2")
    assert not index.needs_maintenance()
    index.insert(data.vectors[100:], data.ids[100:])
    assert index.needs_maintenance()
    index.maintain()
    assert not index.needs_maintenance()
    fresh = cls.build(data.vectors, data.ids, metric="l2")
    assert index._inverted().nlist == fresh._inverted().nlist > 10


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"m": 9}, "parameter m is 9, expected at most the 8 dimensions"),
        ({"nbits": 8}, "parameter nbits is 8, expected 4 for the form ivfpqfs-refine"),
        ({"nlist": 500}, "parameter nlist is 500, expected at most the 300 vectors"),
        ({"form": "opq"}, "expected one of 'ivfpqfs-refine', 'ivfpq', 'pq'"),
    ],
)
def test_pq_parameters_that_do_not_fit_the_data_are_refused(params, message, make_data):
    """With the parameter, its value and what was expected."""
    small = make_data(n=300, dim=8, queries=2, seed=50)
    with pytest.raises(InvalidInput, match=message):
        index_class("faiss_pq").build(small.vectors, small.ids, metric="l2", params=params)


@pytest.mark.parametrize(("name", "params"), [("faiss_hnsw", {"M": 8}), ("faiss_pq", {"form": "pq", "m": 4})])
def test_the_seed_decides_the_build(name, params, make_data):
    """Equal seeds give equal graphs or codes, another seed other ones: the index is declared as seeded."""
    small = make_data(n=600, dim=8, queries=2, seed=51)

    def built(seed: int) -> bytes:
        import faiss

        index = index_class(name).build(small.vectors, small.ids, metric="l2", params=params, seed=seed)
        return faiss.serialize_index(index._native).tobytes()

    assert built(1) == built(1)
    assert built(1) != built(2)


def test_nsg_has_one_build_whatever_the_seed(make_data):
    """It is declared as not seeded: the graphs of two seeds are equal."""
    small = make_data(n=600, dim=8, queries=30, seed=52)
    cls = index_class("faiss_nsg")
    first, second = (cls.build(small.vectors, small.ids, metric="l2", seed=seed) for seed in (1, 2))
    params = {"search_L": 10}
    assert (
        first.search(small.queries, 9, params=params).ids == second.search(small.queries, 9, params=params).ids
    ).all()
