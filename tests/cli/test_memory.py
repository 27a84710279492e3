"""Memories from the command line, as a person or a script uses them."""

from __future__ import annotations

import json
import subprocess
import sys

HASHING = ("--encoder", "hashing:64")


def _sentence(done, said):
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert said in done.stderr


def test_a_life_of_a_file(adamem):
    """Added, superseded, found, listed, deleted and restored; the encoder is named once."""
    assert adamem("memory", "add", "m.db", "Anna lives in Boston", "--slot", "city", *HASHING).stdout == "1\n"
    assert adamem("memory", "add", "m.db", "Anna lives in Dallas", "--slot", "city").stdout == "2\n"
    assert adamem("memory", "update", "m.db", "Who keeps bees?", "Ben does").stdout == "3\n"
    found = adamem("memory", "search", "m.db", "Anna lives where?", "-k", "1").stdout
    assert "Anna lives in Dallas" in found
    assert "Boston" not in found
    past = adamem("memory", "history", "m.db", "city").stdout.splitlines()
    assert [line.split()[-1] for line in past] == ["Boston", "Dallas"]
    assert adamem("memory", "delete", "m.db", "2").returncode == 0
    listed = adamem("memory", "list", "m.db", "--json").stdout.splitlines()
    assert [json.loads(line)["text"] for line in listed] == ["Ben does"]
    shown = json.loads(adamem("memory", "get", "m.db", "2").stdout)
    assert (shown["slot"], shown["deleted"] is None) == ("city", False)
    assert adamem("memory", "restore", "m.db", "2").returncode == 0
    (line,) = adamem("memory", "search", "m.db", "Anna lives where?", "-k", "1", "--json").stdout.splitlines()
    assert (json.loads(line)["id"], json.loads(line)["rank"]) == (2, 1)


def test_lines_come_from_standard_input(tmp_path):
    """One memory a line, all in one write; empty ones are passed over."""
    command = [
        sys.executable,
        "-P",
        "-c",
        "from adamem.cli import main; main()",
        "memory",
        "add",
        "m.db",
        "-",
        *HASHING,
    ]
    done = subprocess.run(command, input="first\n\nвторая\n", capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "1\n2\n"


def test_namespaces_are_named(adamem):
    """By the option, else by the environment."""
    adamem("memory", "add", "m.db", "of a", "-n", "a", *HASHING)
    adamem("memory", "add", "m.db", "of b", DEFAULT_NS="b")
    assert "of a" in adamem("memory", "list", "m.db", "--namespace", "a").stdout
    assert "of b" in adamem("memory", "list", "m.db", DEFAULT_NS="b").stdout
    assert adamem("memory", "search", "m.db", "anything").stdout == "nothing found\n"


def test_mistakes_are_sentences(adamem, tmp_path):
    """With the way out, and exit status 2."""
    _sentence(adamem("memory", "search", "none.db", "x"), "there is no memory file")
    for verb in ("delete", "restore"):
        _sentence(adamem("memory", verb, "none.db", "1"), "there is no memory file none.db")
    assert list(tmp_path.iterdir()) == []
    _sentence(adamem("memory", "add", "m.db", "x", "--metadata", "[" * 50_000, *HASHING), "--metadata is no JSON")
    _sentence(adamem("memory", "add", "m.db", "  ", *HASHING), "there is nothing to remember")
    _sentence(adamem("memory", "add", "m.db", "x", "--metadata", "[1]", *HASHING), "must be a JSON object, not [1]")
    _sentence(adamem("memory", "add", "m.db", "x", "--metadata", "{", *HASHING), "--metadata is no JSON")
    adamem("memory", "add", "m.db", "x", *HASHING)
    _sentence(adamem("memory", "get", "m.db", "9"), "there is no memory 9")
    _sentence(adamem("memory", "add", "m.db", "y", "--encoder", "hashing:32"), "open it with encoder='hashing:64'")
    (tmp_path / "text.db").write_text("not a database" * 100)
    _sentence(adamem("memory", "list", "text.db"), "is not a whole memory file")
