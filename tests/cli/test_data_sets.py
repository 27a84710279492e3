"""`adamem data` for people: lists that fit their terminal, and advice that helps with one's own files."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

import numpy as np
import pytest

from adamem.data import card, dataset_names


def _on_a_terminal(columns: int, cache) -> list[str]:
    """The lines of `adamem data list` on a terminal of that width, without colours."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-P", "-c", "from adamem.cli import main; main()", "data", "list"]
    told = b""
    environment = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm", "ADAMEM_CACHE": str(cache)}
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        try:
            while piece := os.read(ours, 1 << 16):
                told += piece
        except OSError:  # how Linux says that the other end was closed
            pass
        finally:
            os.close(ours)
    assert process.returncode == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", told.decode()).splitlines()


@pytest.mark.parametrize("columns", [40, 80, 110])
def test_a_narrow_terminal_cuts_titles_only(columns, tmp_path, monkeypatch):
    """Name, kind, shape, metric and whether it is here stay whole at any width; what it is gives way, on one line."""
    monkeypatch.setenv("ADAMEM_CACHE", str(tmp_path))  # sets that other tests imported are known to neither side
    heading, *lines = _on_a_terminal(columns, tmp_path)
    assert re.match(r"data set +kind +rows x dim +metric +here\b", heading)
    assert len(lines) == len(dataset_names())
    for line in lines:
        known = card(line.split()[0])
        shape = r"\S+( x \d+)?"
        assert re.match(rf"{known.name} +{known.kind} +{shape} +{known.metric or '-'} +(yes|no)( |$)", line), line
    if columns >= 80:
        assert max(map(len, lines)) <= columns


def test_a_pipe_gets_the_list_uncut(adamem):
    """However narrow the terminal around it: every title is whole."""
    told = adamem("data", "list", COLUMNS="40").stdout
    assert "…" not in told
    for name in dataset_names():
        assert card(name).title in told


def test_advice_about_ones_own_files_can_be_followed(adamem, tmp_path):
    """A check names what is absent and only that, and offers an import, as a fetch could do nothing."""
    rows = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    np.save(tmp_path / "v.npy", rows)
    np.save(tmp_path / "q.npy", rows[:9] + 1)
    imported = ("data", "import", "own-two", "v.npy", "--metric", "cosine", "--queries", "q.npy")
    assert adamem(*imported).returncode == 0
    (tmp_path / "q.npy").unlink()
    done = adamem("data", "check", "own-two")
    assert done.returncode == 2
    assert re.sub(r"\s+", " ", done.stdout).strip() == f"ok {tmp_path / 'v.npy'} absent {tmp_path / 'q.npy'}"
    assert "1 of 2 files of own-two are absent or altered" in done.stderr
    assert "data fetch" not in done.stderr
    assert f"`adamem data import own-two {tmp_path / 'v.npy'} --replace`" in done.stderr
    np.save(tmp_path / "q.npy", rows[:9] + 2)
    assert adamem("data", "check", "own-two").returncode == 2
    assert adamem(*imported, "--replace").returncode == 0
    assert adamem("data", "check", "own-two").returncode == 0


def test_a_check_of_a_known_set_offers_a_fetch(adamem, tmp_path):
    """Where there is a public address, that is the way."""
    done = adamem("data", "check", "glove-25-angular", ADAMEM_DATA="", ADAMEM_CACHE=str(tmp_path / "empty"))
    assert done.returncode == 2
    assert "`adamem data fetch glove-25-angular`" in done.stderr


def test_vectors_too_long_for_float32_are_a_mistake_to_mend(adamem, tmp_path):
    """One sentence and status 2 before anything is built, as for NaN."""
    rows = np.random.default_rng(0).normal(size=(60, 4)) * 1e30
    np.save(tmp_path / "huge.npy", rows.astype(np.float32))
    done = adamem("compare", "--dataset", "huge.npy", "--metric", "l2", "--index", "hnsw")
    assert done.returncode == 2
    assert "error: huge.npy: row 0 is so long" in done.stderr
    assert not (tmp_path / "reports").exists() or not list((tmp_path / "reports").rglob("*.npz"))


def test_a_deep_check_from_another_directory_says_so(adamem, tmp_path):
    """A run of a relative path is consulted from where it was made; elsewhere the sentence says to go there."""
    rows = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    np.save(tmp_path / "v.npy", rows)
    options = ("--metric", "l2", "--index", "hnsw", "--rounds", "1", "--threads", "1", "--queries", "20", "-k", "5")
    done = adamem("compare", "--dataset", "v.npy", *options, "--out", "made")
    assert done.returncode == 0, done.stderr
    assert adamem("verify", "--deep", "made").returncode == 0
    (tmp_path / "v.npy").unlink()
    done = adamem("verify", "--deep", "made")
    assert done.returncode == 2
    assert "no file or folder v.npy: a path is looked up from the current directory" in done.stderr
    assert "go to the directory where the run that names it was made" in done.stderr
