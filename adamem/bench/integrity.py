"""Whether a run's raw files are all there, are what was written, and fit together; without the data set."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from adamem.bench.metrics import TIE, metrics_of
from adamem.bench.quality import qrels_from_arrays
from adamem.bench.records import Block, Run
from adamem.bench.store import Measured, RunFolder
from adamem.bench.truth import ELSEWHERE, Truth
from adamem.data.progress import Progress, silent
from adamem.errors import AdaMemError, CorruptResult
from adamem.files import content_key, sha256_file


def raw_findings(folder: RunFolder, run: Run, *, progress: Progress | None = None) -> list[str]:
    """What is wrong with the raw files, as sentences; empty if nothing is.

    Blocks that lie in the folder but are not counted by run.json (an earlier plan's) bear on no figure and are left
    out of the account.
    """
    tell = progress or silent
    out: list[str] = []
    if run.status != "complete":
        out.append("run.json says that the run is incomplete; run the experiment again to finish it")
    out += _against_manifest(folder, run)
    try:
        metrics_of(run.metrics_version)
        truths = {which: folder.truth(which) for which in ("calibration", "test")}
    except AdaMemError as error:
        return [*out, str(error)]
    for which, truth in truths.items():
        expected = getattr(run.dataset.queries, which)
        out += [f"truth-{which}.npz: {said}" for said in _truth_findings(truth, run, expected)]
    if np.intersect1d(truths["calibration"].rows, truths["test"].rows).size:
        out.append("calibration and test queries overlap: choices were made on the queries that judge them")
    out += _beside(folder, truths["test"])
    blocks = [("sweep", key, "calibration") for key in run.sweep] + [("measure", key, "test") for key in run.blocks]
    for number, (stage, key, which) in enumerate(blocks):
        tell(number, len(blocks), "checking raw blocks")
        try:
            block = folder.block(stage, key)
            out += [f"block {key[:16]}: {said}" for said in _block_findings(block, key, stage, run, truths)]
            for place, measured in enumerate(folder.measured(stage, block)):
                said = _worker_findings(measured, block, truths[which], run)
                out += [f"block {key[:16]}, worker {place} ({measured.worker.contestant}): {one}" for one in said]
        except CorruptResult as error:
            out.append(str(error))
    tell(len(blocks), len(blocks), "checking raw blocks")
    return out


def _against_manifest(folder: RunFolder, run: Run) -> list[str]:
    path = folder.raw / "manifest.json"
    try:
        listed: dict[str, dict[str, Any]] = json.loads(path.read_bytes())
        hashes = {name: str(entry["sha256"]) for name, entry in listed.items()}
    except FileNotFoundError:
        return ["raw/manifest.json is missing; nothing vouches for the raw files"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return [f"raw/manifest.json is not a manifest ({error}); nothing vouches for the raw files"]
    out = []
    for name, expected in sorted(hashes.items()):
        file = folder.raw / name
        if not file.is_file():
            out.append(f"raw/{name} is in the manifest but missing")
        elif sha256_file(file) != expected:
            out.append(f"raw/{name} is not what was written: its SHA-256 differs from the manifest's")
    present = {str(file.relative_to(folder.raw)) for file in _counted_files(folder, run)}
    out += [f"raw/{name} is not in the manifest" for name in sorted(present - set(hashes))]
    for stage, keys in (("sweep", run.sweep), ("measure", run.blocks)):
        out += [
            f"run.json counts the {stage} block {key[:16]}, which is not there"
            for key in keys
            if not folder.has_block(stage, key)
        ]
    return out


def _counted_files(folder: RunFolder, run: Run) -> Iterator[Path]:
    counted = {("sweep", key[:16]) for key in run.sweep} | {("blocks", key[:16]) for key in run.blocks}
    for file in folder.raw.rglob("*"):
        parts = file.relative_to(folder.raw).parts
        if not file.is_file() or parts == ("manifest.json",) or any(part.startswith(".") for part in parts):
            continue  # a killed writer leaves hidden scratch files
        if len(parts) < 3 or parts[0] not in ("sweep", "blocks") or parts[:2] in counted:
            yield file


def _truth_findings(truth: Truth, run: Run, expected: int) -> Iterator[str]:
    metric, n = run.dataset.metric, run.dataset.n
    if truth.rows.size != expected or truth.query_norms.size != truth.rows.size or len(truth.ids) != truth.rows.size:
        yield f"it holds {truth.rows.size} queries, run.json says {expected}"
        return
    if np.unique(truth.rows).size != truth.rows.size:
        yield "a query stands in it twice"
    if truth.ids.size == 0 or truth.ids.min() < 0 or truth.ids.max() >= n:
        yield f"it names neighbours outside the {n} rows of the collection"
        return
    if (np.diff(np.sort(truth.ids, axis=1), axis=1) == 0).any():
        yield "a neighbour stands in a list twice"
    if not np.isfinite(truth.distances).all() or (np.diff(truth.distances, axis=1) < 0).any():
        yield "its distances do not rise from one neighbour to the next"
    scale = truth.query_norms[:, None] + truth.base_norms.astype(np.float64)
    slack = TIE * scale
    if metric == "ip":
        possible = np.abs(truth.distances) <= scale / 2 + slack  # |q.x| <= (|q|^2 + |x|^2) / 2
    else:
        possible = (truth.distances >= -slack) & (truth.distances <= 2 * scale + slack)
    if not possible.all():
        yield f"its distances cannot be {metric} distances of vectors with its norms"


def _beside(folder: RunFolder, test: Truth) -> list[str]:
    out = []
    try:
        hard = folder.arrays("hardness.npz")
        for name in ("relative_contrast", "lid"):
            if name not in hard or hard[name].shape != test.rows.shape:
                out.append(f"hardness.npz: {name} is missing or is not one value a test query")
            elif (hard[name] <= 0).any():
                out.append(f"hardness.npz: {name} holds values that are not positive")
        if folder.has("qrels.npz"):
            qrels = qrels_from_arrays(folder.arrays("qrels.npz"))
            if qrels.query.size and not 0 <= qrels.query.min() <= qrels.query.max() < test.rows.size:
                out.append("qrels.npz: it judges queries that are not among the test queries")
    except CorruptResult as error:
        out.append(str(error))
    return out


def _block_findings(block: Block, key: str, stage: str, run: Run, truths: dict[str, Truth]) -> Iterator[str]:
    if block.key != key or block.stage != stage:
        yield f"it is the {block.stage} block {block.key[:16]}, under a name that is not its own"
    if content_key(block.spec) != block.key:
        yield "its key is not the hash of its spec: what was run is not what it says"
    spec = block.spec
    told: dict[str, Any] = {
        "dataset": run.dataset.fingerprint,
        "metric": run.dataset.metric,
        "queries": content_key([truths[which].rows.tolist() for which in ("calibration", "test")]),
        "machine": block.machine,
        "stage": block.stage,
    }
    if stage == "measure":
        told |= {"cohort": block.cohort, "build_seed": block.seed, "rounds": block.rounds}
    for name, value in told.items():
        if spec.get(name) != value:
            yield f"its spec names another {name} than the run does"
    if stage == "measure":
        ran = [(worker.index, worker.role, worker.build) for worker in block.workers]
        if ran != [(seat["index"], seat["role"], seat["build"]) for seat in spec.get("seats", [])]:
            yield "its workers are not those of its spec"
            return
        for worker, seat in zip(block.workers, spec["seats"], strict=True):
            asked = [[point.search, point.k, point.origin] for point in worker.points]
            if worker.status != "failed" and asked != seat["asks"]:
                yield f"{worker.contestant} was not asked what the spec says"
    elif [(worker.index, worker.build) for worker in block.workers] != [(spec.get("index"), spec.get("build"))]:
        yield "its worker is not that of its spec"


def _worker_findings(measured: Measured, block: Block, truth: Truth, run: Run) -> Iterator[str]:
    queries = truth.rows.size
    for number, point in enumerate(measured.worker.points):
        try:
            answers = measured.answers(number)
        except CorruptResult as error:
            yield f"point {number}: {error}"
            continue
        if answers.ranks.shape != (queries, point.k):
            yield f"point {number}: its answers have shape {answers.ranks.shape}, expected {(queries, point.k)}"
            continue
        for name, there, shape in (
            ("one_ns", point.one_query, (block.rounds, queries)),
            ("batch_ns", point.batch, (block.rounds,)),
        ):
            held = measured.arrays.get(f"p{number}_{name}")
            if (held is not None) != there or (held is not None and held.shape != shape):
                yield f"point {number}: {name} is not there as its record says"
        query = np.nonzero(answers.ranks == ELSEWHERE)[0]
        if ((answers.elsewhere_ids < 0) | (answers.elsewhere_ids >= run.dataset.n)).any():
            yield f"point {number}: it holds ids outside the collection"
        if (answers.elsewhere_ids[:, None] == truth.ids[query]).any():
            yield f"point {number}: an id that is a listed neighbour is kept as one that is not"
        slack = TIE * (truth.query_norms[query] + answers.elsewhere_norms)
        if (answers.elsewhere_distances < truth.distances[query, -1] - slack).any():
            yield f"point {number}: an answer is nearer than the true neighbours, which it is not among"
