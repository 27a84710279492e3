"""Recompute from the data set what the raw files took from it: neighbours, distances, hardness, judgements."""

from __future__ import annotations

import numpy as np

from adamem.bench.hardness import hardness
from adamem.bench.quality import qrels_from_arrays
from adamem.bench.records import Run
from adamem.bench.store import RunFolder
from adamem.bench.truth import ELSEWHERE, Truth, distances_to, truth_of
from adamem.data.dataset import Dataset
from adamem.data.oracle import exact_neighbours
from adamem.data.progress import Progress, silent
from adamem.types import AnyArray, DoubleArray

_EQUAL = 1e-9
"""Float64 sums in another order differ by less than this share of |q|^2 + |x|^2."""


def deep_findings(folder: RunFolder, run: Run, dataset: Dataset, *, progress: Progress | None = None) -> list[str]:
    """What does not follow from `dataset`, as sentences; empty if all does.

    The oracle is asked anew, past any cache.
    """
    if dataset.fingerprint != run.dataset.fingerprint:
        return [
            f"{dataset.name} is not the data of this run: its fingerprint is {dataset.fingerprint[:16]}, "
            f"the run's {run.dataset.fingerprint[:16]}"
        ]
    tell = progress or silent
    out: list[str] = []
    truths = {which: folder.truth(which) for which in ("calibration", "test")}
    for which, truth in truths.items():
        out += [f"truth-{which}.npz: {said}" for said in _truth_findings(truth, dataset, progress)]
    stored, anew = folder.arrays("hardness.npz"), hardness(dataset, truths["test"], seed=run.config["measure"]["seed"])
    out += [
        f"hardness.npz: {name} is not what the data give"
        for name in anew
        if not np.allclose(stored[name], anew[name], rtol=1e-6, equal_nan=True)
    ]
    if _judgements(folder, truths["test"]) != _true_judgements(dataset, truths["test"]):
        out.append("qrels.npz: the judgements are not those of the data set")
    elif dataset.qrels is not None and not np.array_equal(
        folder.arrays("qrels.npz")["document_of_row"], dataset.qrels.document_of_row
    ):
        out.append("qrels.npz: rows belong to other documents than in the data set")
    blocks = [("sweep", key, "calibration") for key in run.sweep] + [("measure", key, "test") for key in run.blocks]
    for number, (stage, key, which) in enumerate(blocks):
        tell(number, len(blocks), "recomputing the answers' distances")
        truth = truths[which]
        for place, measured in enumerate(folder.measured(stage, folder.block(stage, key))):
            for point in range(len(measured.worker.points)):
                answers = measured.answers(point)
                query = np.nonzero(answers.ranks == ELSEWHERE)[0]
                true = distances_to(
                    dataset.base, answers.elsewhere_ids, dataset.queries[truth.rows], query, metric=dataset.metric
                )
                scale = truth.query_norms[query] + answers.elsewhere_norms
                if not _equal(answers.elsewhere_distances, true, scale) or not np.allclose(
                    answers.elsewhere_norms, _norms(dataset, answers.elsewhere_ids), rtol=1e-6
                ):
                    out.append(f"block {key[:16]}, worker {place}, point {point}: distances are not what the data give")
    tell(len(blocks), len(blocks), "recomputing the answers' distances")
    return out


def _truth_findings(truth: Truth, dataset: Dataset, progress: Progress | None) -> list[str]:
    queries = np.ascontiguousarray(dataset.queries[truth.rows])
    ids, distances = exact_neighbours(dataset.base, queries, truth.depth, metric=dataset.metric, progress=progress)
    anew = truth_of(truth.rows, ids, distances, base=dataset.base, queries=dataset.queries, metric=dataset.metric)
    scale = anew.query_norms[:, None] + anew.base_norms
    out = []
    if not np.array_equal(truth.ids, ids):
        out.append(f"{int((truth.ids != ids).any(axis=1).sum())} queries have other true neighbours")
    if not _equal(truth.distances, distances, scale):
        out.append("the true distances are others")
    if not np.allclose(truth.query_norms, anew.query_norms, rtol=1e-9) or not np.allclose(
        truth.base_norms, anew.base_norms, rtol=1e-6
    ):
        out.append("the vectors' norms are others")
    return out


def _equal(stored: DoubleArray, true: DoubleArray, scale: AnyArray) -> bool:
    return bool((np.abs(stored - true) <= _EQUAL * scale).all())


def _norms(dataset: Dataset, ids: AnyArray) -> DoubleArray:
    if dataset.metric == "cosine":
        return np.ones(ids.size)
    found = np.asarray(dataset.base[ids], dtype=np.float64)
    return np.asarray(np.einsum("ij,ij->i", found, found))


def _judgements(folder: RunFolder, test: Truth) -> set[tuple[int, int, int]]:
    if not folder.has("qrels.npz"):
        return set()
    qrels = qrels_from_arrays(folder.arrays("qrels.npz"))
    rows = test.rows[qrels.query]
    return set(zip(rows.tolist(), qrels.document.tolist(), qrels.grade.tolist(), strict=True))


def _true_judgements(dataset: Dataset, test: Truth) -> set[tuple[int, int, int]]:
    if dataset.qrels is None:
        return set()
    kept = np.isin(dataset.qrels.query, test.rows)
    columns = (getattr(dataset.qrels, name)[kept].tolist() for name in ("query", "document", "grade"))
    return set(zip(*columns, strict=True))
