"""`adamem compare`: who takes part."""

from __future__ import annotations

import json
from pathlib import Path

ASKED = ("--metric", "l2", "--rounds", "1", "--threads", "1", "--queries", "40", "-k", "5")


def test_the_reference_takes_part_unasked(adamem, clusters, tmp_path):
    """Ratios and the noise floor refer to hnsw and its twin, whatever was named; the title says what was asked."""
    done = adamem("compare", "--dataset", clusters, "--index", "faiss_hnsw", *ASKED)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / Path(done.stdout.rsplit("report: ", 1)[1].strip()).parent
    run = json.loads((folder / "run.json").read_text())
    assert [one["name"] for one in run["config"]["contestant"]] == ["exact", "faiss_hnsw", "hnsw"]
    assert run["config"]["reference"]["name"] == "hnsw"
    assert run["title"] == "faiss_hnsw on clusters.npy"
    assert "No noise floor" not in (folder / "report.md").read_text()
