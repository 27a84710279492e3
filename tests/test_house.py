"""The house's own rules: what is installed, what importing does, what may not exist."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import distribution, entry_points
from pathlib import Path

import pytest

import adamem
import adamem_indexes

REPOSITORY = Path(__file__).resolve().parent.parent


def _modules_after(statement: str) -> set[str]:
    code = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    return set(json.loads(done.stdout))


def test_the_packages_under_test_are_the_installed_ones():
    """pytest never puts the checkout's folders in front of what was installed (a `pythonpath` setting would).

    In an editable installation, which is for trying things out, the installed ones are the checkout's.
    """
    ours = distribution("adamem")
    if '"editable": true' in (ours.read_text("direct_url.json") or ""):
        return
    assert str(REPOSITORY) not in sys.path
    installed = {Path(str(ours.locate_file(path))) for path in ours.files or []}
    assert Path(adamem.__file__) in installed
    assert Path(adamem_indexes.__file__) in installed


def test_a_worker_loads_no_more_than_it_measures_with():
    """What the harness needs besides would be in its memory, and in the time that each of dozens takes to start."""
    loaded = _modules_after("import adamem.bench.worker")
    assert "numpy" in loaded
    assert {"pydantic", "numba", "scipy", "adamem.bench.config", "adamem.data", "adamem.memory"} & loaded == set()


def test_nothing_in_datasets_is_python():
    """A .py file there would shadow Hugging Face's `datasets`, which sentence-transformers imports."""
    assert [path.name for path in (REPOSITORY / "datasets").rglob("*.py*")] == []


def test_indexes_is_a_folder_and_not_a_package():
    """`import indexes` must fail: adamem_indexes is the package's one name."""
    assert not (REPOSITORY / "indexes" / "__init__.py").exists()
    assert "indexes" not in {str(path).partition("/")[0] for path in distribution("adamem").files or []}


def test_the_linter_refuses_the_two_false_names(tmp_path):
    """ruff's banned imports hold the first two traps in code to come."""
    bad = tmp_path / "bad.py"
    bad.write_text("import datasets\nimport indexes\n")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "ruff",
            "check",
            "--config",
            str(REPOSITORY / "pyproject.toml"),
            "--select",
            "TID251",
            str(bad),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.count("TID251") == 2


def test_our_indexes_live_in_their_own_package():
    """No entry point maps an index into the `adamem` namespace, which breaks editors and editable installs."""
    ours = [entry for entry in entry_points(group="adamem.indexes") if entry.dist and entry.dist.name == "adamem"]
    assert len(ours) >= 5
    assert all(entry.value.startswith("adamem_indexes.") for entry in ours)


def test_importing_adamem_does_nothing():
    """No torch, no index library, no plotting, no threads: only what the door itself is made of."""
    loaded = _modules_after("import adamem")
    heavy = {
        "torch",
        "faiss",
        "hnswlib",
        "numba",
        "sklearn",
        "matplotlib",
        "h5py",
        "sentence_transformers",
        "pydantic",
        "rich",
        "sqlalchemy",
    }
    assert loaded & heavy == set()


def test_importing_the_protocol_brings_numpy_and_no_more():
    """A third party's index imports adamem.index and pays for numpy alone."""
    beyond = _modules_after("import adamem.index") - _modules_after(
        "import numpy, pathlib, importlib.metadata, hashlib, dataclasses, typing, difflib, json, tempfile"
    )
    foreign = {name.partition(".")[0] for name in beyond} - {"adamem", "numpy"} - set(sys.stdlib_module_names)
    assert foreign == set()


def test_the_door_is_exact():
    """Everything that `adamem.__all__` promises is there, and nothing public is there besides."""
    assert sorted(adamem.__all__) == sorted(set(adamem.__all__))
    for name in adamem.__all__:
        assert getattr(adamem, name) is not None
    assert set(adamem.__all__) <= set(dir(adamem))


def test_an_unknown_name_at_the_door_is_an_attribute_error():
    """The lazy door answers like any module."""
    with pytest.raises(AttributeError, match="module 'adamem' has no attribute 'nonsense'"):
        _ = adamem.nonsense
