"""Experiment files: what is refused, and in which words."""

from __future__ import annotations

import copy

import pytest

from adamem.bench import Experiment, override, read, validate
from adamem.bench.plan import expand
from adamem.errors import ConfigError

GOOD = {
    "name": "try",
    "title": "A try",
    "dataset": {"name": "fashion-mnist"},
    "measure": {"k": [10], "rounds": 2},
    "contestant": [
        {"name": "exact", "index": "exact"},
        {"name": "graph", "index": "hnsw", "build": {"M": [8, 16]}, "search": {"ef": [10, 20]}},
    ],
}


def _spoilt(path: str, value: object) -> dict:
    tables = copy.deepcopy(GOOD)
    *way, last = path.split(".")
    here = tables
    for part in way:
        here = here[int(part)] if part.isdigit() else here[part]
    here[int(last) if last.isdigit() else last] = value
    return tables


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        ("measure.round", 3, "x.toml: measure.round is not a key here; did you mean 'rounds'? expected one of build_seeds, build_threads, "),
        ("datasett", {}, "x.toml: datasett is not a key here; did you mean 'dataset'? expected one of contestant, dataset, "),
        ("dataset", {}, "x.toml: dataset.name is missing; add it"),
        ("dataset", {"nmae": "x"}, "x.toml: dataset.nmae is not a key here; did you mean 'name'? expected one of encoder, limit, "),
        ("dataset.name", "", "x.toml: dataset.name = '': string should have at least 1 character"),
        ("measure.rounds", True, "x.toml: measure.rounds = True: should be a valid integer"),
        ("measure.k", [10, 10], "x.toml: measure.k = [10, 10]: names a number twice; give each once"),
        ("measure.rounds", 0, "x.toml: measure.rounds = 0: should be greater than or equal to 1"),
        ("measure.rounds", "many", "x.toml: measure.rounds = 'many': should be a valid integer"),
        ("measure.k", [1000], "x.toml: measure.k[0] = 1000: should be less than or equal to 100"),
        ("name", "Not/A Name", "x.toml: name = 'Not/A Name': string should match pattern '^[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)?$'"),
        ("targets", [0.99, 0.9], "x.toml: targets = [0.99, 0.9]: must rise from one to the next"),
        ("targets", [1.5], "x.toml: targets[0] = 1.5: should be less than 1"),
        ("contestant", [], "x.toml: contestant = []: list should have at least 1 item after validation, not 0"),
        ("contestant.1.name", "exact", "x.toml: two contestants are called 'exact'; give each a name of its own"),
        ("contestant.1.colour", "red", "x.toml: contestant['graph'].colour is not a key here; expected one of build, build_seeds, environment, index, name, python, "),
        ("dataset.metric", "manhattan", "x.toml: dataset.metric = 'manhattan': should be 'l2', 'cosine' or 'ip'"),
    ],
)  # fmt: skip
def test_a_bad_config_is_refused_in_these_words(path, value, text):
    """File, key, value and what was expected; the nearest known key is suggested."""
    with pytest.raises(ConfigError) as caught:
        validate(Experiment, _spoilt(path, value), source="x.toml")
    assert str(caught.value).startswith(text)


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        ("contestant.1.index", "hnws", "x.toml: contestant['graph'].index = 'hnws': unknown index 'hnws'; did you mean 'hnsw'? known: chroma, exact, "),
        ("contestant.1.build", {"m": 8}, "x.toml: contestant['graph'].build.m = 8: unknown build parameter of hnsw 'm'; known: M, ef_construction"),
        ("contestant.1.build", {"M": [8, 0]}, "x.toml: contestant['graph'].build.M = 0: hnsw's parameter M is 0, expected a whole number from 2 to 512"),
        ("contestant.1.search", {"ef": "fast"}, "x.toml: contestant['graph'].search.ef = 'fast': hnsw's parameter ef is 'fast', expected a whole number; its default is 64"),
        ("contestant.1.search", {"ef": []}, "x.toml: contestant['graph'].search.ef = []: expected at least one value"),
        ("contestant.1.search", {"ef": [10, 10]}, "x.toml: contestant['graph'].search.ef = [10, 10]: names a value twice"),
    ],
)  # fmt: skip
def test_a_grid_that_the_index_cannot_take_is_refused_in_these_words(path, value, text):
    """Names and ranges come from the registry, before anything is built."""
    experiment = validate(Experiment, _spoilt(path, value), source="x.toml")
    with pytest.raises(ConfigError) as caught:
        expand(experiment, metric="l2", source="x.toml")
    assert str(caught.value).startswith(text)


def test_a_metric_that_an_index_does_not_support_is_refused_before_anything_runs():
    """The contestant, its index and the metrics that it does support are named."""
    experiment = validate(Experiment, _spoilt("contestant.1", {"name": "nsg", "index": "faiss_nsg"}), source="x.toml")
    from adamem.index import index_class

    missing = {"l2", "cosine", "ip"} - set(index_class("faiss_nsg").capabilities.metrics)
    for metric in missing:
        with pytest.raises(
            ConfigError, match=rf"contestant\['nsg'\]\.index = 'faiss_nsg': does not support .* {metric!r}"
        ):
            expand(experiment, metric=metric, source="x.toml")


def test_several_problems_are_counted():
    """One sentence about the first, and how many more there are."""
    tables = _spoilt("measure.rounds", 0)
    tables["measure"]["k"] = []
    tables["nonsense"] = 1
    with pytest.raises(ConfigError, match=r"\(and \d more\)$"):
        validate(Experiment, tables, source="x.toml")


def test_a_missing_file_suggests_the_nearest_one(tmp_path):
    """A slip of the finger costs one look."""
    (tmp_path / "quickstart.toml").write_text("")
    with pytest.raises(
        ConfigError, match=r"quickstrat\.toml: there is no such file; did you mean .*quickstart\.toml\?"
    ):
        read(tmp_path / "quickstrat.toml")


def test_text_that_is_not_toml_is_refused_with_the_line(tmp_path):
    """The parser's own words say where."""
    path = tmp_path / "broken.toml"
    path.write_text('name = "try"\ntitle = \n')
    with pytest.raises(ConfigError, match=r"broken\.toml: is not valid TOML: .*line 2"):
        read(path)


def test_settings_override_values_and_name_members_of_lists():
    """Numbers, lists and bare words are understood; the given tables stay as they are."""
    changed = override(
        GOOD, ["measure.rounds=7", "contestant.graph.build.M=[4, 6]", "dataset.name=pydocs", "dataset.limit=50"]
    )
    assert changed["measure"]["rounds"] == 7
    assert changed["contestant"][1]["build"]["M"] == [4, 6]
    assert changed["dataset"] == {"name": "pydocs", "limit": 50}
    assert GOOD["dataset"] == {"name": "fashion-mnist"}


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ("rounds", "--set rounds: expected key=value"),
        ("contestant.nobody.index=hnsw", "contestant.nobody leads nowhere; the names there are exact, graph"),
        ("title.length=3", "title is a value, not a table"),
    ],
)
def test_a_setting_that_leads_nowhere_is_refused(setting, text):
    """The place where the path breaks is named."""
    with pytest.raises(ConfigError, match=text):
        override(GOOD, [setting])


def test_efforts_rise_and_grids_are_crossed():
    """Whatever order the file gives, the effort varies fastest and rises; defaults fill the rest; the build that ratios
    refer to is swept with the others."""
    tables = _spoilt(
        "contestant.1",
        {
            "name": "graph",
            "index": "hnsw",
            "build": {"M": [16, 8], "ef_construction": [50, 100]},
            "search": {"ef": [40, 10, 20]},
        },
    )
    plan = expand(validate(Experiment, tables, source="x"), metric="l2", source="x")[1]
    assert [(build["M"], build["ef_construction"]) for build in plan.builds] == [
        (16, 50),
        (16, 100),
        (8, 50),
        (8, 100),
        (16, 200),
    ]
    assert [search["ef"] for search in plan.searches] == [10, 20, 40]
    assert plan.effort == "ef"
    assert plan.default_build == {"M": 16, "ef_construction": 200}
