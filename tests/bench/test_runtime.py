"""Contestants with an interpreter and an environment of their own, in a real second virtual environment."""

from __future__ import annotations

import shutil
import site
import sys
import venv
from pathlib import Path
from textwrap import dedent

import pytest

import adamem
from adamem.bench import Experiment, RunFolder, forecast, validate
from adamem.bench.runtime import runtime_of
from adamem.errors import ConfigError
from adamem.index import index_names
from adamem.report import render, write

THERE = dedent('''
    """An index that only one interpreter has."""

    import os
    import numpy as np
    import hnswlib
    from adamem.index import Capabilities, IndexBase, Param, SearchResult


    class There(IndexBase):
        """Scans a share of the rows; its bytes are what the environment says."""
        name = "there"
        summary = "a scan of a share of the rows"
        capabilities = Capabilities(metrics=("l2",))
        search_params = (Param("share", 1.0, "share of the rows", low=0.1, high=1.0, effort=True),)

        @classmethod
        def _build(cls, vectors, ids, *, metric, params, seed, threads):
            self = cls()
            self.vectors, self.ids = vectors.copy(), ids.copy()
            return self

        def _search(self, queries, k, *, params, filter):
            n = round(params["share"] * len(self.ids))
            d = ((queries[:, None, :] - self.vectors[None, :n]) ** 2).sum(axis=2)
            order = np.argsort(d, axis=1, kind="stable")[:, :k]
            return SearchResult(self.ids[order], np.take_along_axis(d, order, axis=1).astype(np.float32))

        def _contains(self, ids):
            return np.isin(ids, self.ids)

        def nbytes(self):
            return {"told": int(os.environ.get("THERE_BYTES", "1"))}

        def __len__(self):
            return len(self.ids)
''')


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory) -> Path:
    """A folder for configs, with a virtual environment `venv` in it that has an index more than this one."""
    folder = tmp_path_factory.mktemp("elsewhere")
    venv.create(folder / "venv", symlinks=True, with_pip=False)
    packages = next((folder / "venv" / "lib").glob("python*/site-packages"))
    seen = [path for path in site.getsitepackages() if Path(path).is_dir()]
    (packages / "ours.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in seen))
    (packages / "there_index.py").write_text(THERE)
    info = packages / "there_index-2.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: there-index\nVersion: 2.5\n")
    (info / "entry_points.txt").write_text("[adamem.indexes]\nthere = there_index:There\n")
    return folder


@pytest.fixture
def run_there(elsewhere, run_experiment_of):
    """`run_there(tables, out)`: run an experiment whose config lies beside the virtual environment."""
    return lambda tables, out, reporter: run_experiment_of(tables, out, reporter, source=elsewhere / "small.toml")


@pytest.fixture
def run_experiment_of():
    """`run_experiment_of(tables, out, reporter, source=...)`."""
    from adamem.bench import run_experiment

    def run(tables, out, reporter, *, source):
        experiment = validate(Experiment, tables, source=str(source))
        return run_experiment(experiment, out, source=str(source), reporter=reporter)

    return run


def _small(tables_of, vectors, *more: dict) -> dict:
    tables = tables_of(vectors, rounds=1, build_seeds=1, k=[10], recall_at=[10])
    return {**tables, "contestant": [*tables["contestant"], *more]}


def _there(**keys) -> dict:
    return {"name": "there", "index": "there", "python": "venv/bin/python", "search": {"share": [0.5, 1.0]}, **keys}


def _sweep(out) -> dict:
    folder = RunFolder(out)
    blocks = [folder.block("sweep", key) for key in folder.run().sweep]
    return {(block.workers[0].contestant, str(block.workers[0].build)): block for block in blocks}


def test_an_index_that_only_another_interpreter_has_is_measured(
    vectors, cache, tmp_path, reporter, tables_of, run_there
):
    """Its parameters are checked, its workers run there, its figures and its report stand beside the others'."""
    assert "there" not in index_names()
    there = _there(environment={"THERE_BYTES": "4711"})
    out = run_there(_small(tables_of, vectors, there), tmp_path / "run", reporter)
    folder = RunFolder(out)
    run = folder.run()
    workers = {worker.contestant: worker for key in run.blocks for worker in folder.block("measure", key).workers}
    assert workers["there"].status == "ok"
    assert workers["there"].nbytes == {"told": 4711}  # the variable reached the process
    assert run.config["runtimes"]["there"]["interpreter"] == "venv/bin/python"
    assert run.config["runtimes"]["there"]["libraries"].items() >= {"hnswlib": run.versions["hnswlib"]}.items()
    write(out)
    pages = render(out)
    assert b"THERE_BYTES=4711, Python" in pages["report.html"]
    assert b"of venv/bin/python" in pages["tables/sweep.csv"]
    assert b"runtime" not in pages["tables/headline.csv"]


def test_the_others_keep_their_keys_and_results(vectors, cache, tmp_path, reporter, tables_of, run_there):
    """A run without such a contestant is found again by one with it, and its keys are made of what they always were."""
    run_there(_small(tables_of, vectors), tmp_path / "run", reporter)
    before = _sweep(tmp_path / "run")
    assert all("runtimes" not in block.spec for block in before.values())
    run_there(_small(tables_of, vectors, _there()), tmp_path / "run", reporter)
    assert any("5 builds on the calibration queries, 4 already measured" in stage for stage in reporter.stages)
    after = _sweep(tmp_path / "run")
    assert {name: block.key for name, block in before.items()}.items() <= {n: b.key for n, b in after.items()}.items()


def test_what_a_record_says_of_plain_contestants_is_unchanged(vectors, tables_of):
    """No new key stands in the resolved config where nothing was asked."""
    plain = validate(Experiment, tables_of(vectors), source="small.toml").resolved()
    names = {"name", "index", "build", "search", "reference", "reference_build"}
    assert all(set(one) == names for one in plain["contestant"])
    own = {"name": "own", "index": "hnsw", "environment": {"A": "b"}}
    told = validate(Experiment, _small(tables_of, vectors, own), source="small.toml").resolved()
    assert told["contestant"][-1]["environment"] == {"A": "b"}
    assert "python" not in told["contestant"][-1]


def test_another_environment_is_another_measurement(vectors, cache, tmp_path, reporter, tables_of, run_there):
    """Of that contestant alone: the same index without it keeps its results."""

    def tuned(value):
        one = {"name": "tuned", "index": "hnsw", "environment": {"GLIBC_TUNABLES": f"glibc.malloc.hugetlb={value}"}}
        return _small(tables_of, vectors, {**one, "build": {"M": 4, "ef_construction": 20}, "search": {"ef": [8, 16]}})

    run_there(tuned(0), tmp_path / "run", reporter)
    first = _sweep(tmp_path / "run")
    run_there(tuned(1), tmp_path / "run", reporter)
    second = _sweep(tmp_path / "run")
    changed = {name for name, _ in first if any(first[key].key != second[key].key for key in first if key[0] == name)}
    assert changed == {"tuned"}


def test_a_forecast_probes_in_the_other_interpreter(vectors, cache, elsewhere, reporter, tables_of):
    """The plan names its builds; nothing of the index is needed here."""
    experiment = validate(Experiment, _small(tables_of, vectors, _there()), source="small.toml")
    told = forecast(experiment, source=str(elsewhere / "small.toml"), reporter=reporter)
    assert "there: 1 builds x 2 points" in told
    assert reporter.said == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"python": "nowhere/bin/python"}, r"there'\]\.python = 'nowhere/bin/python': there is no file /.*expected"),
        ({"python": "there.txt"}, r"there\.txt could not be run .*expected a Python interpreter"),
        ({"python": "venv-bare/bin/python"}, r"has no adamem that answers \(.*No module named 'adamem'.*installed"),
        ({"index": "their"}, r"there'\]\.index = 'their': in .*unknown index 'their'; did you mean 'there'\?"),
        ({"search": {"share": [2.0]}}, r"search\.share = 2\.0: .*"),
        ({"environment": {"OMP_NUM_THREADS": "8"}}, r"the run itself sets OMP_NUM_THREADS"),
        ({"environment": {"NUMBA_NUM_THREADS": "8"}}, r"the run itself sets NUMBA_NUM_THREADS"),
        ({"environment": {"A=B": "8"}}, r"'A=B' with '8' is no environment variable"),
        ({"environment": {"A": 8}}, r"environment\.A = 8: should be a valid string"),
    ],
)
def test_what_cannot_run_is_said_before_anything_is_measured(
    vectors, cache, tmp_path, reporter, tables_of, elsewhere, run_there, changes, sentence
):
    """With the contestant, the key and the way out; no result folder is left behind."""
    (elsewhere / "there.txt").write_text("no interpreter")
    if not (elsewhere / "venv-bare").exists():
        venv.create(elsewhere / "venv-bare", symlinks=True, with_pip=False)
    with pytest.raises(ConfigError, match=sentence):
        run_there(_small(tables_of, vectors, _there(**changes)), tmp_path / "run", reporter)
    assert reporter.stages == []
    assert not (tmp_path / "run").exists()


def test_an_adamem_that_measures_otherwise_is_refused(tmp_path, elsewhere):
    """Figures of two ways of measuring must not stand in one table."""
    shutil.copytree(Path(adamem.__file__).parent, tmp_path / "adamem")
    with (tmp_path / "adamem" / "bench" / "trial.py").open("a") as stream:
        stream.write("# another way\n")
    one = validate(
        Experiment,
        {
            "name": "x",
            "title": "x",
            "dataset": {"name": "y"},
            "contestant": [{"name": "n", "index": "exact", "environment": {"PYTHONPATH": str(tmp_path)}}],
        },
        source="x.toml",
    ).contestant[0]
    with pytest.raises(ConfigError, match=r"n\.environment: the adamem of .* measures by other code than this one"):
        runtime_of(one, source="x.toml", where="n")


def test_an_environment_alone_keeps_the_interpreter(tmp_path):
    """It is still told apart, by the variables."""
    tables = {"name": "n", "index": "exact", "environment": {"A": "b"}}
    told = runtime_of(
        validate(
            Experiment, {"name": "x", "title": "x", "dataset": {"name": "y"}, "contestant": [tables]}, source="x.toml"
        ).contestant[0],
        source="x.toml",
        where="n",
    )
    assert told is not None
    assert told.python == sys.executable
    assert told.spec()["interpreter"] is None
    assert told.kind.capabilities.exact
