"""What README.md and CONTRIBUTING.md tell people to type does what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def _blocks(name: str, language: str) -> list[str]:
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def example(tmp_path_factory) -> Path:
    """The package of CONTRIBUTING.md, installed apart from its own two code blocks."""
    here = tmp_path_factory.mktemp("example")
    (here / "source").mkdir()
    (here / "source" / "pyproject.toml").write_text(_blocks("CONTRIBUTING.md", "toml")[0])
    (here / "source" / "my_index.py").write_text(_blocks("CONTRIBUTING.md", "python")[0])
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    command += ["--disable-pip-version-check", "--target", str(here / "site"), str(here / "source")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return here / "site"


def _adamem(site: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-c", "from adamem.cli import main; main()", *arguments],
        env={**os.environ, "PYTHONPATH": str(site), "ADAMEM_CACHE": str(folder / "cache")},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_index_of_contributing_can_be_shown_and_compared(example, tmp_path):
    """Two files, `pip install .`, and it stands beside ours with its own sweep."""
    np.save(tmp_path / "my-vectors.npy", np.random.default_rng(0).normal(size=(400, 8)).astype(np.float32))
    shown = _adamem(example, tmp_path, "index", "show", "mine")
    assert shown.returncode == 0, shown.stderr
    assert "share of the rows to scan" in shown.stdout
    command = ["compare", "--dataset", "my-vectors.npy", "--metric", "l2", "--index", "mine"]
    done = _adamem(example, tmp_path, *command, "--rounds", "1", "-k", "5")
    assert done.returncode == 0, done.stderr
    assert "mine" in done.stdout


def test_the_data_set_of_contributing_gets_its_name_and_card(example, tmp_path):
    """`adamem data import my-set my-vectors.npy --metric cosine`, then show and check."""
    np.save(tmp_path / "my-vectors.npy", np.random.default_rng(0).normal(size=(400, 8)).astype(np.float32))
    assert (
        _adamem(example, tmp_path, "data", "import", "my-set", "my-vectors.npy", "--metric", "cosine").returncode == 0
    )
    assert 'metric = "cosine"' in _adamem(example, tmp_path, "data", "show", "my-set").stdout
    assert _adamem(example, tmp_path, "data", "check", "my-set").returncode == 0


@pytest.mark.parametrize("name", sorted(path.name for path in (REPOSITORY / "experiments").glob("*.toml")))
def test_every_experiment_is_valid_and_says_what_it_owes(name):
    """Expected result, machine, wall time and launch line; grids that the registry takes, of at most six builds each.

    A suite says the wall time of each data set once a report of it is committed, an adaptation or a drift that of its
    default.
    """
    from adamem.bench import Experiment, Suite, experiments_of, read, validate
    from adamem.bench.plan import expand
    from adamem.data import card

    path = REPOSITORY / "experiments" / name
    tables = read(path)
    if tables.get("study") == "engine":
        from adamem.bench.engine import EngineExperiment
        from adamem.bench.engine.runner import check as check_engine

        whole = validate(EngineExperiment, tables, source=name)
        check_engine(whole, source=name)
        experiments = {}
        assert whole.wall_minutes is not None
    elif tables.get("study") == "adaptation":
        from adamem.bench.adaptation.config import AdaptationExperiment

        whole = validate(AdaptationExperiment, tables, source=name)
        experiments = {}
        assert whole.quick is not None
        assert whole.full is not None
        assert whole.wall_minutes or not (REPOSITORY / "reports" / "reference" / path.stem).is_dir()
    elif tables.get("study") == "drift":
        from adamem.bench.drift.config import DriftExperiment

        whole = validate(DriftExperiment, tables, source=name)
        experiments = {}
        assert whole.quick is not None
        assert whole.full is not None
        assert whole.wall_minutes or not (REPOSITORY / "reports" / "reference" / path.stem).is_dir()
    elif tables.get("study") == "suite":
        whole = validate(Suite, tables, source=name)
        experiments = experiments_of(whole, source=name)
        for one in whole.dataset:
            assert one.wall_minutes or not (REPOSITORY / "reports" / "reference" / path.stem / one.key).is_dir()
    else:
        whole = validate(Experiment, tables, source=name)
        experiments = {"": whole}
        assert whole.wall_minutes is not None
    assert whole.expected.strip()
    assert whole.machine
    assert whole.launch == f"adamem run experiments/{name}"
    assert whole.name == path.stem
    for experiment in experiments.values():
        for plan in expand(experiment, metric=card(experiment.dataset.name).metric or "cosine", source=name):
            assert len(plan.builds) <= (7 if plan.config.reference else 6)


def test_the_library_lines_of_the_readme_run():
    """Build by name, search with an effort: shapes as promised."""
    scope: dict = {}
    exec(_blocks("README.md", "python")[1], scope)
    assert scope["ids"].shape == scope["distances"].shape == (5, 10)
    assert scope["ids"][:, 0].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.minilm
def test_the_memory_lines_of_the_readme_run(tmp_path, monkeypatch):
    """The newer fact is found, the older one is history."""
    monkeypatch.chdir(tmp_path)
    scope: dict = {}
    exec(_blocks("README.md", "python")[0], scope)
    assert [hit.memory.text for hit in scope["hits"]] == ["Anna moved to Dallas in May"]
    assert [one.text for one in scope["past"]] == ["Anna lives in San Francisco", "Anna moved to Dallas in May"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["memory.db", "memory.db.lock"]


def test_every_command_of_the_readme_exists():
    """No line of the README names a command or an option that is not there."""
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"adamem (run|compare|report|verify|diff|data \w+|index \w+|memory \w+)", text))
    assert {"run", "compare", "report", "verify", "diff"} <= {one.split()[0] for one in named}
    for command in named:
        done = _adamem(REPOSITORY / "nowhere", REPOSITORY, *command.split(), "--help")
        assert done.returncode == 0, command
        for option in re.findall(rf"adamem {command}[^\n`#]*", text):
            for flag in re.findall(r"--[a-z-]+", option):
                assert flag in done.stdout, f"{command} has no {flag}"
