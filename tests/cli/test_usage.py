"""Commands that cannot be carried out as they were typed: what is said, the exit status, and what is left behind."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import typer

USAGE = [
    (("frobnicate",), "No such command 'frobnicate'"),
    (("--bogus",), "--bogus"),
    (("run",), "Missing argument"),
    (("run", "--bogus"), "--bogus"),
    (("run", "t.toml", "extra"), "(extra)"),
    (("run", "t.toml", "--debug"), "--debug goes before the command"),
    (("compare",), "--dataset"),
    (("compare", "--dataset", "v.npy"), "--index"),
    (("compare", "--dataset", "v.npy", "--index", "hnsw", "--rounds", "x"), "--rounds"),
    (("verify",), "Missing argument"),
    (("data", "frob"), "No such command 'frob'"),
    (("--debug", "frobnicate"), "No such command 'frobnicate'"),
    (("--debug", "run", "--bogus"), "--bogus"),
    (("--debug",), "Missing command"),
]
COMPARE = ("--metric", "l2", "--index", "hnsw", "--rounds", "1", "--threads", "1", "--queries", "40", "-k", "5")


@pytest.mark.parametrize(("typed", "told"), USAGE, ids=[" ".join(typed) for typed, _ in USAGE])
def test_a_mistyped_command_is_the_callers_to_mend(adamem, adamem_here, typed, told):
    """Status 2 and what is wrong with it; never called a defect of ours, nor shown a traceback, asked for or not."""
    done = (adamem if "--debug" in typed else adamem_here)(*typed)
    assert done.returncode == 2, done.stderr
    assert told in done.stderr
    assert "should not have" not in done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout


@pytest.mark.parametrize("typed", [(), ("data",), ("index",)], ids=["adamem", "data", "index"])
def test_a_command_that_only_holds_others_shows_them(adamem_here, typed):
    """Its help and nothing else. Whether that is status 0 or 2 differs between the versions of click."""
    done = adamem_here(*typed)
    assert done.returncode in (0, 2)
    told = done.stdout + done.stderr
    assert "Usage:" in told
    assert "list" in told
    assert "rror: " not in told


@pytest.mark.parametrize("typed", [("run", "t.toml"), ("data", "list")], ids=" ".join)
def test_a_late_debug_is_told_its_place(adamem, typed):
    """The command is given back with --debug where it belongs."""
    assert f"--debug {' '.join(word for word in typed if '.' not in word)} ..." in adamem(*typed, "--debug").stderr


def test_usage_errors_are_known_by_the_click_that_typer_stands_on(monkeypatch):
    """Older typers use the package, later ones a copy of their own: the root of either family is caught."""
    from adamem.cli import entry

    click = pytest.importorskip("click")
    assert issubclass(typer.BadParameter, entry._refusals())
    monkeypatch.setattr(typer, "BadParameter", click.BadParameter)
    assert entry._refusals() is click.ClickException


def _interrupt():
    raise KeyboardInterrupt


def _abort():
    raise typer.Abort


@pytest.mark.parametrize("command", [_interrupt, _abort, lambda: 130], ids=["interrupt", "abort", "status"])
def test_an_interrupt_is_said_in_a_line(command, monkeypatch, capsys):
    """However typer hands it on: status 130 and what became of the work."""
    import adamem.cli.commands  # noqa: F401 -- they register on the app that is replaced here
    from adamem.cli import main

    monkeypatch.setattr("adamem.cli.app.app", lambda **_: command())
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "\ninterrupted; what was finished is kept, the same command goes on from there\n"


@pytest.mark.parametrize("module", ["typer", "rich.console", "numpy", "adamem.cli.commands.verify"])
def test_an_interrupt_while_modules_load_is_one_too(tmp_path, module):
    """Ctrl-C in the first moments of any command leaves no traceback."""
    early = f"""
import os, signal, sys
class Early:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Early())
from adamem.cli import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", early, "index", "list"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=120,
        env={**os.environ, "ADAMEM_CACHE": str(tmp_path)},
    )
    assert done.returncode == 130, done.stderr
    assert done.stderr == "\ninterrupted; what was finished is kept, the same command goes on from there\n"
    assert not done.stdout


def test_a_refused_command_leaves_no_folder(adamem_here, clusters, tmp_path):
    """An unknown set, an absent file, a k beyond the data, a wrong value: nothing of the run that never began."""
    ok = ("--metric", "l2", "--index", "hnsw")
    for typed in (
        ("--dataset", "nope", *ok),
        ("--dataset", "nope.npy", *ok),
        ("--dataset", clusters, *ok, "--limit", "8"),
        ("--dataset", clusters, *ok, "--threads", "0"),
        ("--dataset", clusters, *ok, "--encoder", "hashing"),
        ("--dataset", clusters, *ok, "--limit", "8", "--out", "a/b/c"),
    ):
        done = adamem_here("compare", *typed)
        assert done.returncode == 2, done.stderr
        assert list(tmp_path.iterdir()) == []


def test_a_refused_command_leaves_the_callers_own_folder(adamem_here, clusters, tmp_path):
    """Only what the command made itself goes again."""
    (tmp_path / "mine").mkdir()
    done = adamem_here(
        "compare", "--dataset", clusters, "--metric", "l2", "--index", "hnsw", "--limit", "8", "--out", "mine/run"
    )
    assert done.returncode == 2, done.stderr
    assert list(tmp_path.rglob("*")) == [tmp_path / "mine"]


def test_runs_that_cannot_be_paired_are_refused(adamem, clusters, tmp_path):
    """Other data, or no point in common: status 2, a sentence, and no empty comparison is written."""
    np.save(tmp_path / "other.npy", np.load(clusters)[::-1][:500])
    for out, dataset, more in (("a", clusters, ()), ("b", tmp_path / "other.npy", ()), ("c", clusters, ("-k", "4"))):
        done = adamem("compare", "--dataset", dataset, *COMPARE, *more, "--out", out)
        assert done.returncode == 0, done.stderr
    for other, why in (("b", "different data"), ("c", "only in the first run")):
        done = adamem("diff", "a", other, "--csv", "diff.csv")
        assert done.returncode == 2, done.stdout
        (said,) = done.stderr.splitlines()
        assert said.startswith(f"error: a and {other} cannot be compared: ")
        assert why in said
        assert not done.stdout
        assert not (tmp_path / "diff.csv").exists()
