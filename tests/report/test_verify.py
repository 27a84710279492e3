"""`verify` passes a run that nobody touched and finds every single thing that was altered in another."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest

from adamem.bench import Experiment, run_experiment
from adamem.bench.integrity import raw_findings
from adamem.bench.store import RunFolder
from adamem.bench.truth import ELSEWHERE
from adamem.errors import DataError, UserError
from adamem.report import write
from adamem.report.compare_text import differences
from adamem.report.verify import verify


def one_of(folder, pattern):
    """The first file of a pattern, by name."""
    return min(folder.glob(pattern))


def rewrite(folder, name, change):
    """Alter the arrays of a raw file and have the manifest vouch for the result."""
    run_folder = RunFolder(folder)
    arrays = run_folder.arrays(name)
    change(arrays)
    run_folder.write_arrays(name, arrays)
    run_folder.write_manifest(run_folder.run())


def rewrite_json(folder, name, change):
    """The same for a raw record."""
    path = folder / "raw" / name
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
    run_folder = RunFolder(folder)
    run_folder.write_manifest(run_folder.run())


def raw(folder):
    """The findings on the raw files alone: what `verify` begins with, and quicker."""
    run_folder = RunFolder(folder)
    return raw_findings(run_folder, run_folder.run())


def block_file(folder, name, stage="blocks"):
    """The path below raw/ of a file of the first block."""
    return str(one_of(folder, f"raw/{stage}/*/{name}").relative_to(folder / "raw"))


def test_an_untouched_run_follows_from_its_raw_files(toy_run):
    """No findings, even deep: the report is what the raw files give, and these are what the data give."""
    told = []
    assert verify(toy_run, deep=True, progress=lambda done, total, what: told.append((done, total, what))) == []
    stages = [what for done, total, what in told if done == total]
    assert stages[0] == "checking raw blocks"
    assert stages[-1] == "recomputing the answers' distances"


@pytest.mark.parametrize("pattern", ["blocks/*/0.npz", "sweep/*/0.npz", "truth-test.npz", "hardness.npz"])
@pytest.mark.parametrize("where", [0.02, 0.5, 0.98])
def test_one_flipped_bit_in_a_raw_array_is_found(toy_run, pattern, where):
    """At the start, in the middle and at the end of a file."""
    path = one_of(toy_run / "raw", pattern)
    data = bytearray(path.read_bytes())
    data[int(where * len(data))] ^= 1
    path.write_bytes(data)
    assert any(f"{path.name} is not what was written" in said for said in raw(toy_run))


def test_an_altered_record_is_found(toy_run):
    """A block's record is under its hash as its arrays are."""
    path = one_of(toy_run, "raw/blocks/*/block.json")
    path.write_text(path.read_text().replace('"build_seconds":', '"build_seconds": ', 1))
    assert any("block.json is not what was written" in said for said in raw(toy_run))


def test_one_altered_digit_anywhere_is_found(toy_run):
    """In each table, behind each figure, in report.md and report.html: found, with what it should be."""
    sheets = [*sorted(toy_run.glob("tables/*.csv")), *sorted(toy_run.glob("figures/*.csv"))]
    assert {sheet.parent.name for sheet in sheets} == {"tables", "figures"}
    for sheet in sheets:
        lines = sheet.read_text().split("\n")
        lines[1] = alter_digit(lines[1])
        sheet.write_text("\n".join(lines))
    for name in ("report.md", "report.html"):
        text = (toy_run / name).read_text()
        place = re.search(r"\d{2} test queries|0\.9\d", text).start()
        (toy_run / name).write_text(text[:place] + alter_digit(text[place]) + text[place + 1 :])
    found = verify(toy_run)
    for sheet in sheets:
        where = rf"{sheet.parent.name}/{re.escape(sheet.name)}, line 2, column \w+: it says '.*', the raw files give"
        assert len([said for said in found if re.match(where, said)]) == 1, sheet.name
    for name in ("report.md", "report.html"):
        where = rf"{re.escape(name)}, line \d+: it says '.*', the raw files give '.*'"
        assert len([said for said in found if re.match(where, said)]) == 1


def test_a_wrong_size_in_the_manifest_is_found(toy_run):
    """Every number in a file that vouches for others is looked at."""
    manifest = toy_run / "report-manifest.json"
    listed = json.loads(manifest.read_text())
    size = listed["report.md"]["bytes"]
    listed["report.md"]["bytes"] = size + 1000
    manifest.write_text(json.dumps(listed))
    assert verify(toy_run) == [f"report-manifest.json says that report.md has {size + 1000} bytes, but it has {size}"]


def test_another_picture_is_found(toy_run):
    """A picture that was touched up, one that is gone, one that was slipped in: none of them is the report's."""
    touched, gone, *_ = sorted([*toy_run.glob("figures/*.png"), *toy_run.glob("figures/*.svg")])
    touched.write_bytes(touched.read_bytes() + b"\n")
    gone.unlink()
    (toy_run / "figures" / "more.svg").write_bytes(b"<svg/>")
    assert verify(toy_run) == [
        *sorted(
            [
                f"figures/{touched.name} is not what was written: its SHA-256 differs from report-manifest.json's",
                f"figures/{gone.name} is missing",
            ],
            key=lambda said: said.split()[0],
        ),
        "figures/more.svg is not in report-manifest.json",
    ]


def test_a_removed_block_is_found(toy_run):
    """A block that run.json counts and that is gone: named, and the report is not taken on trust."""
    folder = one_of(toy_run, "raw/blocks/*")
    shutil.rmtree(folder)
    found = verify(toy_run)
    assert f"run.json counts the measure block {folder.name}, which is not there" in found
    assert any("the report cannot be recomputed" in said for said in found)


def test_a_block_that_run_json_no_longer_counts_is_found(toy_run):
    """Leaving a whole block out of the account changes the figures, and the manifest still knows its files."""
    path = toy_run / "run.json"
    run = json.loads(path.read_text())
    run["blocks"] = run["blocks"][:1]
    path.write_text(json.dumps(run))
    assert any("report.md" in said for said in verify(toy_run))


def test_files_that_were_slipped_in_are_found(toy_run):
    """More raw arrays, another table, another report page beside the real ones."""
    folder = one_of(toy_run, "raw/blocks/*")
    shutil.copy(folder / "0.npz", folder / "9.npz")
    (toy_run / "raw" / "more.npz").write_bytes(b"")
    (toy_run / "tables" / "invented.csv").write_text("a\n1\n")
    found = verify(toy_run)
    assert f"raw/blocks/{folder.name}/9.npz is not in the manifest" in found
    assert "raw/more.npz is not in the manifest" in found
    assert "tables/invented.csv does not come from this run's raw files" in found


def test_what_an_earlier_plan_or_a_killed_writer_left_is_no_finding(toy_run):
    """Whole blocks that run.json does not count, and hidden scratch files, bear on nothing."""
    folder = one_of(toy_run, "raw/blocks/*")
    shutil.copytree(folder, folder.with_name("0123456789abcdef"))
    (toy_run / "raw" / ".truth-test.npz.1234.tmp").write_bytes(b"half")
    assert verify(toy_run) == []


def test_without_its_manifests_nothing_is_vouched_for(toy_run):
    """A missing or broken manifest is a finding of its own, for the raw files and for the report."""
    (toy_run / "raw" / "manifest.json").unlink()
    (toy_run / "report-manifest.json").write_text("{")
    found = verify(toy_run)
    assert "raw/manifest.json is missing; nothing vouches for the raw files" in found
    assert any(said.startswith("report-manifest.json is not a manifest") for said in found)
    (toy_run / "raw" / "manifest.json").write_text("[1]")
    (toy_run / "report-manifest.json").unlink()
    found = verify(toy_run)
    assert any(said.startswith("raw/manifest.json is not a manifest") for said in found)
    assert "report-manifest.json is missing; nothing vouches for the pictures" in found


def test_a_run_without_a_report_and_an_unfinished_one_say_so(toy_run):
    """Each comes with the command that mends it; a folder without a run is the caller's error."""
    for path in (toy_run / "report.md", toy_run / "report-manifest.json"):
        path.unlink()
    assert verify(toy_run) == [f"the folder holds no report; `adamem report {toy_run}` makes one"]
    run = json.loads((toy_run / "run.json").read_text())
    (toy_run / "run.json").write_text(json.dumps({**run, "status": "incomplete"}))
    assert any("the run is incomplete" in said for said in verify(toy_run))
    (toy_run / "run.json").write_text("{")
    assert any("is not a run's record" in said for said in verify(toy_run))
    (toy_run / "run.json").unlink()
    with pytest.raises(DataError, match="holds no run"):
        verify(toy_run)


# -- forgeries whose manifest was renewed: the parts must still fit together -------------------------------------------


def test_a_spec_that_was_altered_no_longer_has_its_key(toy_run):
    """A block whose spec says something else than what it was measured under."""
    rewrite_json(toy_run, block_file(toy_run, "block.json"), lambda block: block["spec"].update(query_seconds=9.0))
    assert any("its key is not the hash of its spec" in said for said in raw(toy_run))


def test_a_worker_that_was_not_asked_what_the_spec_says_is_found(toy_run):
    """Another ef in a point's record, with the spec as it was."""

    def change(block):
        worker = next(one for one in block["workers"] if one["index"] == "hnsw")
        worker["points"][0]["search"]["ef"] += 1

    rewrite_json(toy_run, block_file(toy_run, "block.json"), change)
    assert any("was not asked what the spec says" in said for said in raw(toy_run))


def test_other_workers_than_those_of_the_spec_are_found(toy_run):
    """A build parameter altered in the record, in either stage."""
    for stage in ("blocks", "sweep"):
        rewrite_json(
            toy_run, block_file(toy_run, "block.json", stage), lambda block: block["workers"][0]["build"].update(M=99)
        )
    found = raw(toy_run)
    assert any("its workers are not those of its spec" in said for said in found)
    assert any("its worker is not that of its spec" in said for said in found)


def test_a_block_under_anothers_name_is_found(toy_run):
    """Two blocks that changed places."""
    one, two = sorted(toy_run.glob("raw/blocks/*"))
    one.rename(one.with_name("aside"))
    two.rename(one)
    one.with_name("aside").rename(two)
    RunFolder(toy_run).write_manifest(RunFolder(toy_run).run())
    assert sum("under a name that is not its own" in said for said in raw(toy_run)) == 2


def _swap(truth):
    truth["ids"][0, [0, 1]] = truth["ids"][0, [1, 0]]
    truth["distances"][0, [0, 5]] = truth["distances"][0, [5, 0]]


def _shrink(truth):
    truth["query_norms"] *= 1e-6
    truth["base_norms"] *= 1e-6


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_swap, "its distances do not rise"),
        (lambda truth: truth["ids"].__setitem__((0, 1), truth["ids"][0, 0]), "a neighbour stands in a list twice"),
        (lambda truth: truth["ids"].__setitem__((0, 0), 10**6), "outside the 1500 rows"),
        (lambda truth: truth["rows"].__setitem__(0, truth["rows"][1]), "a query stands in it twice"),
        (_shrink, "cannot be l2 distances"),
        (lambda truth: truth.update({name: array[1:] for name, array in truth.items()}), "run.json says"),
    ],
)
def test_a_truth_that_cannot_be_true_is_found(toy_run, change, said):
    """Whatever its hash says: order, repetitions, range, size and norms must agree."""
    rewrite(toy_run, "truth-test.npz", change)
    assert any(f"truth-test.npz: {said}" in one or said in one for one in raw(toy_run))


def test_choosing_on_the_test_queries_is_found(toy_run):
    """Calibration queries that are test queries too."""
    test = RunFolder(toy_run).arrays("truth-test.npz")["rows"]
    rewrite(toy_run, "truth-calibration.npz", lambda truth: truth["rows"].__setitem__(0, test[0]))
    assert any("calibration and test queries overlap" in said for said in raw(toy_run))


def test_hardness_that_is_not_one_value_a_query_is_found(toy_run):
    """Of another length, or not positive."""
    rewrite(toy_run, "hardness.npz", lambda hard: hard.update(lid=hard["lid"][1:]))
    assert "hardness.npz: lid is missing or is not one value a test query" in raw(toy_run)
    rewrite(toy_run, "hardness.npz", lambda hard: hard.update(lid=np.r_[hard["lid"], -1.0]))
    assert "hardness.npz: lid holds values that are not positive" in raw(toy_run)


def test_judgements_of_queries_that_were_not_asked_are_found(toy_run):
    """qrels.npz speaks of positions in the test queries, no others."""
    names = ("query", "document", "grade", "document_of_row")
    RunFolder(toy_run).write_arrays("qrels.npz", {name: np.array([999]) for name in names})
    RunFolder(toy_run).write_manifest(RunFolder(toy_run).run())
    assert "qrels.npz: it judges queries that are not among the test queries" in raw(toy_run)


def hnsw_file(folder):
    """The arrays of a stage-2 worker with answers outside the lists of true neighbours."""
    for path in sorted(folder.glob("raw/blocks/*/*.npz")):
        name = str(path.relative_to(folder / "raw"))
        arrays = RunFolder(folder).arrays(name)
        for point in range(50):
            if f"p{point}_ranks" in arrays and (arrays[f"p{point}_ranks"] == ELSEWHERE).any():
                return name, f"p{point}_"
    raise AssertionError("no worker missed a neighbour by far; the toy data are too easy for these tests")


def test_an_answer_nearer_than_the_truth_is_found(toy_run):
    """A distance that would make an unlisted id a true neighbour contradicts the list."""
    name, prefix = hnsw_file(toy_run)
    rewrite(toy_run, name, lambda arrays: arrays[f"{prefix}elsewhere_distances"].__setitem__(0, 0.0))
    assert any("is nearer than the true neighbours" in said for said in raw(toy_run))


def test_ids_in_the_wrong_place_are_found(toy_run):
    """A listed neighbour kept as an unlisted id, and an id that no collection row has."""
    name, prefix = hnsw_file(toy_run)
    folder = RunFolder(toy_run)
    arrays = folder.arrays(name)
    query = np.nonzero(arrays[f"{prefix}ranks"] == ELSEWHERE)[0][0]
    listed = folder.truth("test").ids[query, 0]
    rewrite(toy_run, name, lambda arrays: arrays[f"{prefix}elsewhere_ids"].__setitem__(0, listed))
    assert any("a listed neighbour is kept as one that is not" in said for said in raw(toy_run))
    rewrite(toy_run, name, lambda arrays: arrays[f"{prefix}elsewhere_ids"].__setitem__(0, 1500))
    assert any("ids outside the collection" in said for said in raw(toy_run))


def test_arrays_that_are_not_as_recorded_are_found(toy_run):
    """A point with fewer rounds, one without its timings, one without its answers."""
    name, prefix = hnsw_file(toy_run)
    rewrite(toy_run, name, lambda arrays: arrays.update({f"{prefix}one_ns": arrays[f"{prefix}one_ns"][:1]}))
    found = verify(toy_run)
    assert any("one_ns is not there as its record says" in said for said in found)
    assert found[-1].startswith("the report cannot be recomputed from raw files that do not fit together")
    rewrite(toy_run, name, lambda arrays: arrays.pop(f"{prefix}batch_ns"))
    assert any("batch_ns is not there as its record says" in said for said in raw(toy_run))
    rewrite(toy_run, name, lambda arrays: arrays.update({f"{prefix}ranks": arrays[f"{prefix}ranks"][:, :-1]}))
    assert any("its answers have shape" in said or "do not fit together" in said for said in raw(toy_run))


# -- deep ------------------------------------------------------------------------------------------------------------


def renew(folder):
    """Write the report anew, so that only the data can tell."""
    write(folder)


def test_deep_finds_a_distance_that_the_data_do_not_give(toy_run):
    """A farther distance for an unlisted answer is consistent with everything but the data."""
    name, prefix = hnsw_file(toy_run)
    rewrite(toy_run, name, lambda arrays: arrays[f"{prefix}elsewhere_distances"].__imul__(1.0 + 1e-6))
    renew(toy_run)
    found = verify(toy_run, deep=True)
    assert found
    assert all("distances are not what the data give" in said for said in found)


def test_deep_finds_other_neighbours(toy_run):
    """Truth, hardness and judgements that hang together, and were not taken from the data."""

    def change(truth):
        spare = np.setdiff1d(np.arange(1500), truth["ids"][0])[:1]
        truth["ids"][0, -1] = spare[0]
        truth["distances"][:, -1] *= 1.001

    rewrite(toy_run, "truth-calibration.npz", change)
    rewrite(toy_run, "hardness.npz", lambda hard: hard["lid"].__imul__(1.01))
    renew(toy_run)
    found = verify(toy_run, deep=True)
    assert "truth-calibration.npz: 1 queries have other true neighbours" in found
    assert "truth-calibration.npz: the true distances are others" in found
    assert "hardness.npz: lid is not what the data give" in found


def test_deep_finds_judgements_that_are_not_those_of_the_data(tmp_path, toy_data, quiet):
    """Neither another relevant document, nor rows that are said to belong to another, pass."""
    texts = tmp_path / "texts"
    (texts / "qrels").mkdir(parents=True)
    words = [f"word{number % 17} thing{number % 23} item{number}" for number in range(120)]
    for name, chosen in (("corpus", words), ("queries", words[:30])):
        lines = [json.dumps({"_id": str(number), "text": text}) for number, text in enumerate(chosen)]
        (texts / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    judged = "".join(f"{number}\t{number}\t1\n" for number in range(30))
    (texts / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    experiment = Experiment.model_validate(
        {
            "name": "judged",
            "title": "Judged",
            "targets": [0.9],
            "dataset": {"name": str(texts), "encoder": "hashing", "queries": 30},
            "measure": {"k": [10], "recall_at": [1, 10], "rounds": 1, "build_seeds": 1, "query_seconds": 0.1},
            "contestant": [{"name": "exact", "index": "exact"}],
        }
    )
    out = tmp_path / "judged"
    run_experiment(experiment, out, source="judged.toml", reporter=quiet)
    renew(out)
    assert verify(out, deep=True) == []
    before = RunFolder(out).arrays("qrels.npz")
    rewrite(out, "qrels.npz", lambda qrels: qrels.update(document_of_row=qrels["document_of_row"][::-1]))
    renew(out)
    assert verify(out, deep=True) == ["qrels.npz: rows belong to other documents than in the data set"]
    rewrite(out, "qrels.npz", lambda qrels: qrels.update(before, document=(before["document"] + 1) % 120))
    renew(out)
    assert verify(out, deep=True) == ["qrels.npz: the judgements are not those of the data set"]


def test_deep_finds_another_data_set(toy_run, toy_data):
    """Data that changed since the run are not its data, and nothing is compared with them."""
    moved = toy_run / "data"
    moved.mkdir()
    for name in ("base", "queries"):
        np.save(moved / f"{name}.npy", np.load(toy_data / f"{name}.npy")[::-1])
    run = json.loads((toy_run / "run.json").read_text())
    run["config"]["dataset"]["name"] = str(moved)
    (toy_run / "run.json").write_text(json.dumps(run))
    renew(toy_run)
    (found,) = verify(toy_run, deep=True)
    assert "is not the data of this run" in found
    shutil.rmtree(moved)
    with pytest.raises(UserError):  # noqa: PT011, RUF100  (whatever the data layer says of a missing set is the user's)
        verify(toy_run, deep=True)


def test_deep_does_not_look_further_than_a_broken_surface(toy_run):
    """Findings on the surface come first: the data set is not even loaded."""
    (toy_run / "tables" / "invented.csv").write_text("a\n1\n")
    assert verify(toy_run, deep=True)[-1].startswith("the data set was not consulted")


# -- the comparison of texts ---------------------------------------------------------------------------------------


def test_equal_bytes_do_not_differ():
    """No finding where there is no difference."""
    assert differences("a.csv", b"a,b\n1,2\n", b"a,b\n1,2\n") == []


def test_missing_and_additional_rows_and_cells_are_told_by_line_and_column():
    """Rows and cells that stand on one side only."""
    assert differences("a.csv", b"a,b\n1,2\n", b"a,b\n") == [
        "a.csv, line 2: it stands here, the raw files do not give it"
    ]
    assert differences("a.csv", b"a\n", b"a\n1\n") == ["a.csv, line 2: it is missing here, the raw files give it"]
    assert differences("a.csv", b"a\n1,9\n", b"a\n1\n") == [
        "a.csv, line 2, column number 2: it says '9', the raw files give None"
    ]


def test_differences_that_no_cell_shows_are_told():
    """Line ends, quotes and bytes that are no text differ too."""
    assert differences("a.csv", b"a\r\n", b"a\n") == ["a.csv, its line ends or quotes are others"]
    assert differences("a.md", b"\xff", b"a") == ["a.md is not UTF-8 text"]


def test_many_differences_are_counted():
    """Five are told, the rest are a number."""
    found = differences("a.md", b"\n".join([b"x"] * 9), b"\n".join([b"y"] * 9))
    assert len(found) == 6
    assert found[-1] == "a.md differs in 4 more places"


def alter_digit(line):
    """The same line of a CSV with its last digit another."""
    place = max(i for i, character in enumerate(line) if character.isdigit())
    return line[:place] + str((int(line[place]) + 1) % 10) + line[place + 1 :]
