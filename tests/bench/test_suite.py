"""A suite as data, and its folder: one experiment over several data sets, piece by piece."""

from __future__ import annotations

import pytest

from adamem.bench import Suite, begin_suite, experiments_of, override, validate
from adamem.bench.suite import FILE, is_suite, pieces, read_suite, some_of
from adamem.errors import ConfigError, CorruptResult, InvalidInput, UnknownName


def tables(**changes) -> dict:
    """Two data sets, two contestants."""
    return {
        "name": "pair",
        "title": "A pair",
        "study": "suite",
        "launch": "adamem run pair.toml",
        "measure": {"rounds": 4},
        "dataset": [
            {"key": "small", "name": "ngt-sift5k", "limit": 1000, "measure": {"rounds": 2}},
            {"key": "large", "name": "ngt-sift5k", "title": "all of it", "contestants": ["hnsw"]},
        ],
        "contestant": [{"name": "exact", "index": "exact"}, {"name": "hnsw", "index": "hnsw"}],
        **changes,
    }


def suite(**changes) -> Suite:
    return validate(Suite, tables(**changes), source="pair.toml")


def test_each_data_set_is_an_experiment_of_its_own():
    """With the shared keys, its own overrides, its own contestants, and a folder below the suite's."""
    found = experiments_of(suite(), source="pair.toml")
    assert list(found) == ["small", "large"]
    assert [found[key].measure.rounds for key in found] == [2, 4]
    assert [one.name for one in found["large"].contestant] == ["hnsw"]
    assert [found[key].name for key in found] == ["pair/small", "pair/large"]
    assert [found[key].title for key in found] == ["A pair: small", "A pair: all of it"]
    assert found["small"].launch == "adamem run pair.toml --only small"
    assert found["small"].dataset.limit == 1000


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"dataset": []}, r"pair\.toml: dataset = \[\]: .*at least 1 item"),
        ({"dataset": [{"key": "a", "name": "x"}, {"key": "a", "name": "y"}]}, r"two data sets have the key 'a'"),
        (
            {"dataset": [{"key": "a", "name": "x", "contestants": ["hsnw"]}]},
            r"dataset\['a'\]\.contestants names 'hsnw'; expected some of exact, hnsw",
        ),
        ({"dataset": [{"key": "A b", "name": "x"}]}, r"dataset\['A b'\]\.key = 'A b': .*pattern"),
        ({"dataset": [{"name": "x"}]}, r"dataset\['x'\]\.key is missing; add it"),
        ({"dataset": [{"key": "a", "name": "x", "limt": 3}]}, r"dataset\['a'\]\.limt is not a key.*'limit'"),
        (
            {"dataset": [{"key": "a", "name": "x", "measure": {"rouns": 3}}]},
            r"dataset\['a'\]: measure\.rouns is not a key here; did you mean 'rounds'",
        ),
        ({"name": "pair/of"}, r"'pair/of': a suite's own name has no slash"),
    ],
)
def test_what_is_wrong_in_a_suite_is_named_with_its_key(changes, sentence):
    """Before anything is loaded or measured."""
    with pytest.raises(ConfigError, match=sentence):
        experiments_of(suite(**changes), source="pair.toml")


def test_a_grid_may_differ_on_one_data_set():
    """Only the values named; the others stay as the suite has them."""
    data = tables()["dataset"]
    data[0]["grids"] = {"hnsw": {"build": {"M": [4, 8]}}}
    graph = {"name": "hnsw", "index": "hnsw", "build": {"M": 16, "ef_construction": 50}, "search": {"ef": [10]}}
    found = experiments_of(suite(dataset=data, contestant=[{"name": "exact", "index": "exact"}, graph]), source="x")
    assert found["small"].contestant[1].build == {"M": [4, 8], "ef_construction": 50}
    assert found["large"].contestant[0].build == {"M": 16, "ef_construction": 50}
    assert found["small"].contestant[1].search == {"ef": [10]}
    data[0]["grids"] = {"hsnw": {}}
    with pytest.raises(ConfigError, match=r"dataset\['small'\]\.grids names 'hsnw'; expected some of exact, hnsw"):
        suite(dataset=data)
    data[0]["grids"] = {"hnsw": {"builds": {}}}
    with pytest.raises(ConfigError, match=r"contestant\['hnsw'\]\.builds is not a key here; did you mean 'build'"):
        experiments_of(suite(dataset=data), source="x")


def test_a_data_set_is_overridden_by_its_key():
    """Two data sets may have one name; the key tells them apart."""
    found = override(tables(), ["dataset.large.limit=300"])
    assert [one.get("limit") for one in found["dataset"]] == [1000, 300]
    with pytest.raises(ConfigError, match="the names there are small, large"):
        override(tables(), ["dataset.ngt-sift5k.limit=300"])


def test_pieces_are_named_by_their_keys():
    """In the config's order; an unknown one is answered with those that there are."""
    found = experiments_of(suite(), source="pair.toml")
    assert list(some_of(found, ["large"])) == ["large"]
    assert list(some_of(found, ["large", "small"])) == ["small", "large"]
    with pytest.raises(UnknownName, match="unknown data set of this suite 'larg'; did you mean 'large'"):
        some_of(found, ["larg"])


def test_a_suites_folder_keeps_what_was_asked_for(tmp_path):
    """A changed config replaces the former; another suite, or a stranger's file, is never written over."""
    begin_suite(tmp_path / "out", suite())
    assert is_suite(tmp_path / "out")
    assert read_suite(tmp_path / "out") == suite()
    begin_suite(tmp_path / "out", suite(title="Another title"))
    assert read_suite(tmp_path / "out").title == "Another title"
    assert pieces(tmp_path / "out") == []
    with pytest.raises(InvalidInput, match="holds the suite 'pair', and this is 'other'"):
        begin_suite(tmp_path / "out", suite(name="other"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("dear")
    with pytest.raises(InvalidInput, match=r"holds diary\.txt, which is no suite's"):
        begin_suite(tmp_path / "mine", suite())
    (tmp_path / "out" / FILE).write_text("{}")
    with pytest.raises(CorruptResult, match=r"suite\.json is not a suite's record"):
        read_suite(tmp_path / "out")
