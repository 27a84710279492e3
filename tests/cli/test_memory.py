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


def test_a_life_of_a_file(adamem_here):
    """Added, superseded, found, listed, deleted and restored; the encoder is named once."""
    assert adamem_here("memory", "add", "m.db", "Anna lives in Boston", "--slot", "city", *HASHING).stdout == "1\n"
    assert adamem_here("memory", "add", "m.db", "Anna lives in Dallas", "--slot", "city").stdout == "2\n"
    assert adamem_here("memory", "update", "m.db", "Who keeps bees?", "Ben does").stdout == "3\n"
    found = adamem_here("memory", "search", "m.db", "Anna lives where?", "-k", "1").stdout
    assert "Anna lives in Dallas" in found
    assert "Boston" not in found
    past = adamem_here("memory", "history", "m.db", "city").stdout.splitlines()
    assert [line.split()[-1] for line in past] == ["Boston", "Dallas"]
    assert adamem_here("memory", "delete", "m.db", "2").returncode == 0
    listed = adamem_here("memory", "list", "m.db", "--json").stdout.splitlines()
    assert [json.loads(line)["text"] for line in listed] == ["Ben does"]
    shown = json.loads(adamem_here("memory", "get", "m.db", "2").stdout)
    assert (shown["slot"], shown["deleted"] is None) == ("city", False)
    assert adamem_here("memory", "restore", "m.db", "2").returncode == 0
    (line,) = adamem_here("memory", "search", "m.db", "Anna lives where?", "-k", "1", "--json").stdout.splitlines()
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


def test_lsa_is_an_encoder_like_others(adamem_here, tmp_path):
    """Fitted to the lines of standard input, or by reembed; one text alone is refused with the way out."""
    lines = [
        f"{who} {what}"
        for who in ("Anna", "Ben", "the cat", "a dog", "it")
        for what in ("sleeps", "eats", "runs", "sits")
    ]
    command = [sys.executable, "-P", "-c", "from adamem.cli import main; main()", "memory", "add", "m.db", "-"]
    subprocess.run([*command, "--encoder", "lsa"], input="\n".join(lines), text=True, check=True, cwd=tmp_path)
    assert "the cat eats" in adamem_here("memory", "search", "m.db", "cat eats", "-k", "1").stdout
    assert "20 memories embedded by lsa:4" in adamem_here("memory", "reembed", "m.db", "lsa:4").stdout
    assert json.loads(adamem_here("memory", "stats", "m.db", "--json").stdout)["encoder"] == "lsa:4"
    _sentence(adamem_here("memory", "add", "new.db", "one text", "--encoder", "lsa"), "at least 20 of them, not 1")


def test_namespaces_are_named(adamem_here):
    """By the option, else by the environment."""
    adamem_here("memory", "add", "m.db", "of a", "-n", "a", *HASHING)
    adamem_here("memory", "add", "m.db", "of b", DEFAULT_NS="b")
    assert "of a" in adamem_here("memory", "list", "m.db", "--namespace", "a").stdout
    assert "of b" in adamem_here("memory", "list", "m.db", DEFAULT_NS="b").stdout
    assert adamem_here("memory", "search", "m.db", "anything").stdout == "nothing found\n"


def test_mistakes_are_sentences(adamem_here, tmp_path):
    """With the way out, and exit status 2."""
    _sentence(adamem_here("memory", "search", "none.db", "x"), "there is no memory file")
    for verb in ("delete", "restore"):
        _sentence(adamem_here("memory", verb, "none.db", "1"), "there is no memory file none.db")
    assert list(tmp_path.iterdir()) == []
    _sentence(adamem_here("memory", "add", "m.db", "x", "--metadata", "[" * 50_000, *HASHING), "--metadata is no JSON")
    _sentence(adamem_here("memory", "add", "m.db", "  ", *HASHING), "there is nothing to remember")
    _sentence(
        adamem_here("memory", "add", "m.db", "x", "--metadata", "[1]", *HASHING), "must be a JSON object, not [1]"
    )
    _sentence(adamem_here("memory", "add", "m.db", "x", "--metadata", "{", *HASHING), "--metadata is no JSON")
    adamem_here("memory", "add", "m.db", "x", *HASHING)
    _sentence(adamem_here("memory", "get", "m.db", "9"), "there is no memory 9")
    _sentence(adamem_here("memory", "add", "m.db", "y", "--encoder", "hashing:32"), "open it with encoder='hashing:64'")
    (tmp_path / "text.db").write_text("not a database" * 100)
    _sentence(adamem_here("memory", "list", "text.db"), "is not a whole memory file")


def test_a_search_is_narrowed_from_the_command_line(adamem_here):
    """By words, type, condition and time."""
    adamem_here(
        "memory", "add", "m.db", "Anna lives in Boston", "--slot", "city", "--metadata", '{"page": 3}', *HASHING
    )
    adamem_here("memory", "add", "m.db", "the office closes", "--type", "event")

    def found(*options: str) -> list[str]:
        lines = adamem_here("memory", "search", "m.db", "Boston office", "--json", *options).stdout.splitlines()
        return [json.loads(line)["text"] for line in lines]

    assert found("--mode", "lexical", "--type", "event") == ["the office closes"]
    assert found("--where", '{"page": {"gte": 3}}') == ["Anna lives in Boston"]
    assert found("--as-of", "2001-01-01") == []
    assert len(found("--as-of", "2100-01-01T00:00:00+02:00", "--mode", "hybrid")) == 2
    _sentence(adamem_here("memory", "search", "m.db", "x", "--where", "[1]"), "--where must be a JSON object")
    _sentence(adamem_here("memory", "search", "m.db", "x", "--as-of", "today"), "--as-of is no date")
    _sentence(adamem_here("memory", "search", "m.db", "x", "--mode", "lexicl"), "did you mean 'lexical'")


def test_a_file_is_kept_in_order_from_the_command_line(adamem_here, tmp_path):
    """Superseded, purged, defragmented, embedded anew, kept as a version and brought back."""
    adamem_here("memory", "add", "m.db", "the key is here", *HASHING)
    assert adamem_here("memory", "supersede", "m.db", "1", "the key is there").stdout == "2\n"
    adamem_here("memory", "add", "m.db", "a secret xylophone", "-n", "b")
    assert adamem_here("memory", "snapshot", "m.db", "first").stdout == "first\n"
    assert adamem_here("memory", "purge", "m.db", "3").returncode == 0
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"xylophone" in path.read_bytes()]
    adamem_here("memory", "add", "m.db", "the key is there")
    assert "1 double ones taken out" not in adamem_here("memory", "defrag", "m.db").stdout  # one of them has a history
    adamem_here("memory", "add", "m.db", "twice")
    adamem_here("memory", "add", "m.db", "twice")
    assert "0 expired and 1 double ones taken out" in adamem_here("memory", "defrag", "m.db", "--near", "0").stdout
    assert "memories embedded by hashing:32" in adamem_here("memory", "reembed", "m.db", "hashing:32").stdout
    stats = json.loads(adamem_here("memory", "stats", "m.db", "--json").stdout)
    assert (stats["memories"], stats["history"], stats["encoder"]) == (3, 1, "hashing:32")
    assert "encoder      hashing:32" in adamem_here("memory", "stats", "m.db").stdout
    assert "first" in adamem_here("memory", "versions", "m.db").stdout
    assert adamem_here("memory", "rollback", "m.db", "first").returncode == 0
    listed = adamem_here("memory", "namespaces", "m.db", "--json").stdout.splitlines()
    assert [(json.loads(line)["name"], json.loads(line)["memories"]) for line in listed] == [("b", 0), ("global", 1)]
    _sentence(adamem_here("memory", "rollback", "m.db", "frist"), "did you mean 'first'")


def test_memories_are_handed_on_from_the_command_line(adamem, tmp_path):
    """By `adamem memory export` and `import`, and by the same under the name of `adapmem`."""
    adamem("memory", "add", "m.db", "a stone", *HASHING)
    assert "1 memories written to p.zip" in adamem("memory", "export", "m.db", "p.zip", "--licence", "CC0-1.0").stdout
    assert "1 memories taken in" in adamem("memory", "import", "other.db", "p.zip", "-n", "new", *HASHING).stdout
    assert "a stone" in adamem("memory", "list", "other.db", "-n", "new").stdout

    def adapmem(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-c", "from adamem.cli import adapmem; adapmem()", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    assert adapmem("export", "m.db", "q.zip", "--licence", "CC0-1.0").returncode == 0
    assert (tmp_path / "q.zip").read_bytes() == (tmp_path / "p.zip").read_bytes()
    assert adapmem("import", "other.db", "q.zip").returncode == 0
    _sentence(adapmem("import", "other.db", "m.db"), "is no package of memories")
