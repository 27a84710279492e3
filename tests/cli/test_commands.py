"""Every command as a person meets it: help, results, mistakes and their exit status."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

COMMANDS = [
    ("run",), ("compare",), ("report",), ("verify",), ("diff",),
    ("data",), ("index",), ("data", "list"), ("data", "show"), ("data", "fetch"), ("data", "check"), ("data", "import"),
    ("index", "list"), ("index", "show"),
    ("memory",), ("memory", "add"), ("memory", "update"), ("memory", "search"), ("memory", "list"), ("memory", "get"),
    ("memory", "history"), ("memory", "delete"), ("memory", "restore"),
]  # fmt: skip
COMPARE = ("--metric", "l2", "--index", "hnsw", "--rounds", "1", "--threads", "1", "--queries", "40", "-k", "5")


def _sentence(done, *parts, status=2):
    """One sentence on standard error, no traceback, the right status."""
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    for part in parts:
        assert part in lines[0]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_teaches_with_an_example(adamem_here, command):
    """What it does, each option, and a line to copy."""
    done = adamem_here(*command, "--help")
    assert done.returncode == 0
    usage, *told = done.stdout.strip().splitlines()
    assert usage.startswith("Usage:")
    assert any(line.strip().startswith(f"adamem {' '.join(command)}") for line in told)


def test_the_first_help_names_every_command(adamem):
    """And the exit statuses."""
    told = adamem("--help").stdout
    for command in ("run", "compare", "report", "verify", "diff", "data", "index", "memory"):
        assert f"\n  {command} " in told
    assert "Exit status" in told


def test_the_version_is_the_distributions(adamem):
    """One number, in one place for people."""
    from importlib.metadata import version

    assert adamem("--version").stdout.strip() == f"adamem {version('adamem')}"


def test_the_indexes_are_listed_with_what_they_can(adamem_here):
    """Our five at least, each with its metrics."""
    told = adamem_here("index", "list").stdout
    for name in ("exact", "hnsw", "faiss_hnsw", "faiss_pq", "faiss_nsg"):
        assert name in told
    assert "insert delete" in told


def test_an_index_is_shown_with_its_parameters(adamem_here):
    """Names, defaults, ranges, meanings."""
    told = adamem_here("index", "show", "hnsw").stdout
    assert "ef_construction" in told
    assert "200" in told
    assert "metrics: l2, cosine, ip" in told


def test_the_sets_are_listed_and_shown(adamem_here):
    """A card is printed as TOML, which is what one starts one's own from."""
    import tomllib

    assert "fashion-mnist" in adamem_here("data", "list").stdout
    card = tomllib.loads(adamem_here("data", "show", "glove-100-angular").stdout)
    assert card["metric"] == "cosine"


def test_two_indexes_are_compared_on_a_file_of_ones_own(adamem, clusters, tmp_path):
    """No config: a table, a sentence about exact search, the report's path; and the report verifies."""
    done = adamem("compare", "--dataset", clusters, *COMPARE)
    assert done.returncode == 0, done.stderr
    assert "hnsw" in done.stdout
    assert "xact search" in done.stdout
    page = Path(done.stdout.rsplit("report: ", 1)[1].strip())
    assert (tmp_path / page).is_file()
    folder = page.parent
    assert adamem("verify", folder).returncode == 0
    again = adamem("compare", "--dataset", clusters, *COMPARE)
    assert "already measured" in again.stderr
    shown = adamem("report", folder)
    assert shown.returncode == 0, shown.stderr
    compared = adamem("diff", folder, folder, "--csv", tmp_path / "diff.csv")
    assert compared.returncode == 0, compared.stderr
    assert (tmp_path / "diff.csv").read_text().count("\n") > 1


def test_an_altered_report_fails_with_status_one(adamem, clusters, tmp_path):
    """What does not follow is named on standard output, the verdict on standard error."""
    done = adamem("compare", "--dataset", clusters, *COMPARE)
    folder = tmp_path / Path(done.stdout.rsplit("report: ", 1)[1].strip()).parent
    raw = next(iter(sorted(folder.glob("raw/blocks/*/0.npz"))))
    spoilt = bytearray(raw.read_bytes())
    spoilt[len(spoilt) // 2] ^= 1
    raw.write_bytes(bytes(spoilt))
    done = adamem("verify", folder)
    _sentence(done, "1 of 1 reports do not follow", status=1)
    assert "0.npz" in done.stdout


def test_ones_own_data_gets_a_name(adamem, clusters):
    """Import, list, check, and use by that name; a taken name is refused."""
    done = adamem("data", "import", "mine", clusters, "--metric", "l2")
    assert done.returncode == 0, done.stderr
    assert "mine" in adamem("data", "list").stdout
    assert adamem("data", "check", "mine").returncode == 0
    used = adamem("compare", "--dataset", "mine", *COMPARE[2:])
    assert used.returncode == 0, used.stderr
    _sentence(adamem("data", "import", "mine", clusters, "--metric", "l2"), "'mine' is there already")


def test_a_dry_run_tells_the_cost_and_keeps_nothing(adamem_here, clusters, tmp_path):
    """Builds, points and time of both stages; no folder appears."""
    config = tmp_path / "try.toml"
    config.write_text(
        f'name = "try"\ntitle = "Try"\n[dataset]\nname = "{clusters}"\nmetric = "l2"\n'
        '[[contestant]]\nname = "hnsw"\nindex = "hnsw"\nbuild = {M = [4, 8]}\nsearch = {ef = [10, 20, 40]}\n'
    )
    done = adamem_here("run", config, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "hnsw: 3 builds x 3 points" in done.stdout  # the reference build is swept too
    assert "stage 2" in done.stdout
    assert not (tmp_path / "reports").exists()


def test_a_size_is_asked_of_a_study_that_has_sizes(adamem_here, clusters, tmp_path):
    """--quick says what its table says; a study of one size, and both flags at once, are mistakes."""
    small = '{sets = ["invented"], arms = ["none"], seeds = 1}'
    sizes = tmp_path / "sizes.toml"
    sizes.write_text(
        f'name = "try"\ntitle = "Try"\nstudy = "adaptation"\nquick = {small}\n[default]\nsets = ["koziev"]\narms = ["none"]\n'
    )
    assert "quick: embedded by minilm; arms: none" in adamem_here("run", sizes, "--dry-run", "--quick").stdout
    assert "koziev" in adamem_here("run", sizes, "--dry-run").stdout
    done = adamem_here("run", sizes, "--quick", "--full")
    assert done.returncode == 2
    assert "--quick and --full exclude each other" in done.stderr
    one = tmp_path / "one.toml"
    one.write_text(
        f'name = "one"\ntitle = "One"\n[dataset]\nname = "{clusters}"\nmetric = "l2"\n[[contestant]]\nname = "hnsw"\nindex = "hnsw"\n'
    )
    done = adamem_here("run", one, "--full")
    assert done.returncode == 2
    assert "the study 'sweep' comes in one size; leave out --full" in done.stderr


def test_without_debug_no_traceback_and_with_it_the_whole(adamem):
    """For people a sentence, for developers the place."""
    _sentence(adamem("index", "show", "nonsense"), "unknown index 'nonsense'", "known: chroma, exact")
    assert "Traceback" in adamem("--debug", "index", "show", "nonsense").stderr


def test_mistakes_are_sentences(adamem_here, clusters, tmp_path):
    """Each with the value, what was expected and the way out; exit status 2."""
    ok = ("--metric", "l2", "--index", "hnsw")
    _sentence(
        adamem_here("compare", "--dataset", clusters, "--index", "hnws", "--metric", "l2"), "did you mean 'hnsw'?"
    )
    _sentence(
        adamem_here("compare", "--dataset", "fashion-mnits", *ok), "unknown dataset 'fashion-mnits'", "did you mean"
    )
    _sentence(
        adamem_here("compare", "--dataset", clusters, "--index", "hnsw", "--metric", "l3"), "dataset.metric = 'l3'"
    )
    _sentence(adamem_here("compare", "--dataset", clusters, "--index", "hnsw"), "name the metric")
    _sentence(adamem_here("compare", "--dataset", "absent.npy", *ok), "there is no file or folder absent.npy")
    _sentence(
        adamem_here("compare", "--dataset", clusters, *ok, "-k", "1000"),
        "--k 1000: expected a whole number from 1 to 100",
    )
    _sentence(
        adamem_here("compare", "--dataset", clusters, *ok, "--limit", "8"),
        "asks for 10 neighbours",
        "holds only 8 vectors",
    )
    _sentence(
        adamem_here("compare", "--dataset", clusters, *ok, "--encoder", "hashing"),
        "holds vectors, which take no encoder",
    )
    _sentence(adamem_here("run", "absent.toml"), "absent.toml: there is no such file")
    _sentence(adamem_here("report", "."), "holds no run", "adamem run")
    _sentence(adamem_here("verify", "."), "holds no run")
    _sentence(
        adamem_here("data", "fetch", "medquad-en"), "has no public address"
    ) if "ADAMEM_DATA" not in os.environ else None
    _sentence(
        adamem_here("compare", "--dataset", clusters, *ok, "--out", "/dev/null/x"), "cannot write into /dev/null/x"
    )


def test_bad_vectors_are_sentences(adamem_here, tmp_path):
    """NaN, no rows, a truncated file, a cut HDF5."""
    ok = ("--metric", "l2", "--index", "hnsw")
    good = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    bad = good.copy()
    bad[7, 2] = np.nan
    np.save(tmp_path / "nan.npy", bad)
    _sentence(adamem_here("compare", "--dataset", tmp_path / "nan.npy", *ok), "nan.npy", "row 7")
    np.save(tmp_path / "empty.npy", good[:0])
    _sentence(adamem_here("compare", "--dataset", tmp_path / "empty.npy", *ok), "empty.npy")
    np.save(tmp_path / "cut.npy", good)
    whole = (tmp_path / "cut.npy").read_bytes()
    (tmp_path / "cut.npy").write_bytes(whole[: len(whole) // 2])
    _sentence(adamem_here("compare", "--dataset", tmp_path / "cut.npy", *ok), "cut.npy")
    (tmp_path / "cut.hdf5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    _sentence(adamem_here("compare", "--dataset", tmp_path / "cut.hdf5", *ok), "cut.hdf5")
    (tmp_path / "cut.fvecs").write_bytes((4).to_bytes(4, "little") + bytes(10))
    _sentence(adamem_here("compare", "--dataset", tmp_path / "cut.fvecs", *ok), "cut.fvecs")


def test_texts_need_an_encoder_and_hashing_is_one(adamem, tmp_path):
    """A folder of texts: EMBED_MODEL stands in for an encoder that is not named, and a model that cannot be reached is
    a sentence with the way out."""
    folder = tmp_path / "texts"
    folder.mkdir()
    words = ["router", "reset", "button", "garden", "tulip", "spring", "train", "ticket", "refund", "night"]
    lines = [f'{{"_id": "d{i}", "text": "the {words[i % 10]} number {i} of {words[(i * 7) % 10]}"}}' for i in range(60)]
    (folder / "corpus.jsonl").write_text("\n".join(lines))
    asked = [f'{{"_id": "q{i}", "text": "which {words[i % 10]} {i}"}}' for i in range(30)]
    (folder / "queries.jsonl").write_text("\n".join(asked))
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(f"q{i}\td{i}\t1\n" for i in range(30)))
    ok = ("--index", "hnsw", "--rounds", "1", "--threads", "1", "-k", "5")
    unnamed = adamem("compare", "--dataset", folder, *ok, HF_HUB_OFFLINE="1", EMBED_MODEL="")
    _sentence(unnamed, "intfloat/multilingual-e5-base", "pip install 'adamem[minilm]'")
    named = adamem("compare", "--dataset", folder, *ok, EMBED_MODEL="hashing:32")
    assert named.returncode == 0, named.stderr
    _sentence(
        adamem("compare", "--dataset", folder, *ok, "--encoder", "minilmm"), "unknown encoder 'minilmm'", "minilm"
    )
    done = adamem("compare", "--dataset", folder, *ok, "--encoder", "hashing:64")
    assert done.returncode == 0, done.stderr
    page = tmp_path / Path(done.stdout.rsplit("report: ", 1)[1].strip())
    assert "nDCG@" in page.with_name("report.md").read_text()
