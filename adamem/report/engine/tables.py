"""The tables of a run on the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from adamem.bench.engine.answers import ASKED, EMBEDDED
from adamem.bench.engine.scores import DEPTH, KS
from adamem.bench.paired import Paired, paired
from adamem.report import wording
from adamem.report.document import Cell, Column, CsvValue, Group, Table
from adamem.report.engine.gathered import NAMES, Gathered, SetResult, estimate
from adamem.types import DoubleArray

ALPHA = 0.05
POINT = 0.01
"""What a hybrid search may be behind its better part."""
Records = list[Mapping[str, CsvValue]]


def evidence(gathered: Gathered) -> Table | None:
    """How much of the evidence each mode finds, over the first contestant."""
    groups, records = [], Records()
    for one in gathered.sets:
        values = {mode: one.first.quality(mode).ndcg for mode in one.first.modes}
        top = max(values, key=lambda mode: float(np.nanmean(values[mode])))
        rows = []
        for mode in one.first.modes:
            at = {k: one.first.quality(mode, k) for k in KS}
            ndcg, mrr = estimate(at[DEPTH].ndcg), estimate(at[DEPTH].mrr)
            level = mode == top or paired(values[mode], values[top]).p_value >= ALPHA
            record: dict[str, CsvValue] = {"set": one.config.key, "mode": mode, "queries": _judged(at[DEPTH].ndcg)}
            cells = [Cell(NAMES[mode])]
            for k in (4, DEPTH):
                for name in ("any", "fraction", "all"):
                    found = estimate(getattr(at[k], f"recall_{name}"))
                    record |= _recorded(f"{name}@{k}", found.value, found.low, found.high)
                    cells.append(Cell(wording.score(found.value)))
            first = estimate(at[1].recall_any)
            record |= _recorded("any@1", first.value, first.low, first.high)
            record |= _recorded("ndcg@10", ndcg.value, ndcg.low, ndcg.high)
            record |= _recorded("mrr@10", mrr.value, mrr.low, mrr.high)
            cells.append(Cell(wording.score(ndcg.value), wording.interval(ndcg, "score"), best=level))
            cells.append(Cell(wording.score(mrr.value), wording.interval(mrr, "score")))
            rows.append(tuple(cells))
            records.append(record)
        groups.append(Group(_label(one), tuple(rows)))
    if not groups:
        return None
    return Table(
        "evidence",
        f"Evidence among the memories found, over {gathered.contestants[0][0]} search",
        (
            Column("found by", number=False),
            *(Column(f"{name} of it", f"at {k}") for k in (4, DEPTH) for name in ("any", "share", "all")),
            Column(f"nDCG@{DEPTH}"),
            Column(f"MRR@{DEPTH}"),
        ),
        tuple(groups),
        tuple(records),
        notes=(
            "“Any”: a piece of the evidence is among the first 4 (the engine's default) or 10; “share”: how much of it "
            "is; “all”: all of it is. Intervals: 95 % over queries. Bold: the best nDCG of the set, and what is not "
            "told apart from it by a paired test at 5 % (uncorrected). Where a document is in several memories, as in "
            "MedQuAD, evidence and ranks are of documents: any of its passages counts for it, each document once.",
            *_controls(gathered),
        ),
    )


def _controls(gathered: Gathered) -> list[str]:
    """What was found where nothing good was expected, and of which queries."""
    out = []
    for one in gathered.sets:
        if not one.config.control:
            continue
        vectors, words = (one.first.quality(mode).ndcg for mode in ("vector", "lexical"))
        said = (
            f"In {one.config.key}, the control, next to nothing was expected: vectors find "
            f"{_mean(vectors)} of nDCG@{DEPTH}, words {_mean(words)}"
        )
        if one.shared is not None:
            said += (
                f"; {wording.percent(float(one.shared.mean()))} of its queries have a word in common with their "
                "evidence, such as a name or a number that stands in both"
            )
            if 0 < one.shared.mean() < 1:
                said += (
                    f"; for those, words find {_mean(words[one.shared])}, for the others {_mean(words[~one.shared])}"
                )
        out.append(f"{said}.")
    return out


def _mean(values: DoubleArray) -> str:
    return wording.score(float(np.nanmean(values)))


def hybrid(gathered: Gathered) -> Table | None:
    """Both against the better of vectors and words."""
    if not gathered.sets:
        return None
    rows, records = [], Records()
    tests = {mode: gathered.corrected(mode, None) for mode in ("hybrid", "tuned")}
    for one in gathered.sets:
        key = one.config.key
        cells = [Cell(key, one.config.language), Cell(NAMES[one.better_part])]
        record: dict[str, CsvValue] = {"set": key, "better_part": one.better_part}
        for mode in ("hybrid", "tuned"):
            test, p = tests[mode][key]
            cells += [_points(test), Cell(_verdict(test, p), f"p {_p(p)}", best=p < ALPHA and test.difference > 0)]
            record |= {
                f"{mode}_difference": test.difference,
                f"{mode}_low": test.low,
                f"{mode}_high": test.high,
                f"{mode}_p_holm": p,
                f"{mode}_better": test.better,
                f"{mode}_worse": test.worse,
            }
        rows.append(tuple(cells))
        records.append(record)
    return Table(
        "hybrid",
        f"Both, against the better of the two alone (points of nDCG@{DEPTH})",
        (
            Column("set", number=False),
            Column("better alone", number=False),
            Column("both, as it comes"),
            Column("", number=False),
            Column("both, weighed"),
            Column("", number=False),
        ),
        (Group("", tuple(rows)),),
        tuple(records),
        notes=(
            "Which of the two is better alone is seen on the same test queries, which favours it. A point is 0.01. "
            "Brackets: 95 % interval of the mean difference over queries; p: paired sign-flip test, corrected (Holm) "
            f"for the {len(gathered.sets)} sets.{_one_alone(gathered)}",
        ),
    )


def _one_alone(gathered: Gathered) -> str:
    chosen = [one.config.key for one in gathered.sets if one.chosen.kind == "alone"]
    if not chosen:
        return ""
    return (
        f" “Both, weighed” gives all weight to one of the two on {wording.listed(chosen)}: the other only fills the "
        "places that are left."
    )


def weights(gathered: Gathered) -> Table | None:
    """Which fusion the development queries chose."""
    if not gathered.sets:
        return None
    rows, records = [], Records()
    for one in gathered.sets:
        chosen, own = one.chosen, one.default
        held = one.tried[0].ndcg.size
        rows.append(
            (
                Cell(one.config.key),
                Cell(f"{held:,}"),
                Cell({"rrf": "ranks", "weighted": "scores", "alone": wording.NOTHING}[chosen.kind]),
                Cell(f"{chosen.fusion.vector:g} : {chosen.fusion.lexical:g}"),
                Cell(wording.score(chosen.mean)),
                Cell(wording.score(own.mean)),
                *(Cell(_mean(one.alone[name])) for name in ("vector", "lexical")),
            )
        )
        records.append(
            {
                "set": one.config.key,
                "development_queries": held,
                "kind": chosen.kind,
                "vector": chosen.fusion.vector,
                "lexical": chosen.fusion.lexical,
                "ndcg": chosen.mean,
                "ndcg_default": own.mean,
                "ndcg_vectors": float(np.nanmean(one.alone["vector"])),
                "ndcg_words": float(np.nanmean(one.alone["lexical"])),
            }
        )
    return Table(
        "weights",
        "The fusion that was chosen on development queries, which are not among the test queries",
        (
            Column("set", number=False),
            Column("queries"),
            Column("fuses", number=False),
            Column("vectors : words"),
            Column(f"nDCG@{DEPTH}", "there"),
            Column(f"nDCG@{DEPTH}", "as it comes"),
            Column(f"nDCG@{DEPTH}", "vectors alone"),
            Column(f"nDCG@{DEPTH}", "words alone"),
        ),
        (Group("", tuple(rows)),),
        tuple(records),
        notes=(
            f"{len(gathered.sets[0].tried)} fusions were tried on each set: of ranks (reciprocal rank fusion) and of "
            "scores, with shares of the vectors from 0.02 to 0.98, and all weight to either, 1 : 0 or 0 : 1, where the "
            "other only fills the places that are left. Of equal ones the most even was chosen. As it comes: equal "
            "weights of scores, the engine's default, which was itself chosen on development queries of these sets.",
        ),
    )


def underneath(gathered: Gathered) -> Table | None:
    """What an index underneath costs of the evidence."""
    groups, records = [], Records()
    for one in gathered.sets:
        rows = []
        for name, over in one.over.items():
            cells = [Cell(name)]
            record: dict[str, CsvValue] = {"set": one.config.key, "contestant": name}
            for mode in ("vector", "tuned"):
                ndcg = over.quality(mode).ndcg
                mine = estimate(ndcg)
                record |= _recorded(f"{mode}_ndcg", mine.value, mine.low, mine.high)
                cells.append(Cell(wording.score(mine.value)))
                if over is one.first:
                    cells += [Cell(wording.NOTHING)] * (2 if mode == "vector" else 1)
                    record |= dict.fromkeys((f"{mode}_difference", f"{mode}_low", f"{mode}_high", f"{mode}_p"))
                    record |= {"same": 1.0} if mode == "vector" else {}
                    continue
                test = paired(one.first.quality(mode).ndcg, ndcg)
                record |= {
                    f"{mode}_difference": test.difference,
                    f"{mode}_low": test.low,
                    f"{mode}_high": test.high,
                    f"{mode}_p": test.p_value,
                }
                cells.append(_points(test))
                if mode == "vector":
                    same = _same(over.rows(mode), one.first.rows(mode))
                    record["same"] = same
                    cells.append(Cell(wording.score(same)))
            rows.append(tuple(cells))
            records.append(record)
        groups.append(Group(_label(one), tuple(rows)))
    if not groups:
        return None
    first = gathered.contestants[0][0]
    return Table(
        "underneath",
        "What the index underneath costs",
        (
            Column("index", number=False),
            Column("vectors", f"nDCG@{DEPTH}"),
            Column(f"to {first}", "points"),
            Column(f"same {DEPTH}", "share"),
            Column("both, weighed", f"nDCG@{DEPTH}"),
            Column(f"to {first}", "points"),
        ),
        tuple(groups),
        tuple(records),
        notes=(
            f"“Same {DEPTH}”: the share of the memories that {first} search finds which this one finds too. "
            f"{_asked(gathered)}Up to 2,000 vectors of a namespace are scanned, whatever the index.",
        ),
    )


def _asked(gathered: Gathered) -> str:
    """With which parameters the indexes were asked."""
    pieces = gathered.sets[0].over
    search = {name: over.piece.spec.get("kind", {}).get("search") for name, over in pieces.items()}
    told = [f"{name} with {wording.params(params)}" for name, params in search.items() if params]
    return f"Asked were {wording.listed(told)}. " if told else ""


def latency(gathered: Gathered) -> Table | None:
    """How long the parts of a search take."""
    groups, records = [], Records()
    for one in gathered.sets:
        rows = []
        encode = one.first.arrays.get("encode_ns")
        for name, over in one.over.items():
            for mode in over.modes:
                spent = over.milliseconds(mode)
                record: dict[str, CsvValue] = {"set": one.config.key, "contestant": name, "mode": mode}
                told = [NAMES[mode], "–" if mode == "lexical" else name]
                for part, values in zip(("search", "fetch", "whole"), spent.T, strict=True):
                    p50, p99 = (float(value) for value in np.percentile(values, (50, 99)))
                    record |= {f"{part}_p50_ms": p50, f"{part}_p99_ms": p99}
                    told += [wording.number(p50), wording.number(p99)]
                rows.append(tuple(Cell(text) for text in told))
                records.append(record)
        label = _label(one)
        if encode is not None:
            p50, p99 = (float(value) * 1e-6 for value in np.percentile(encode, (50, 99)))
            label += f"; to embed a query {wording.number(p50)} ms, 99th percentile {wording.number(p99)} ms"
            records.append(
                {"set": one.config.key, "contestant": "", "mode": "encode"}
                | {f"{part}_{p}_ms": None for part in ("search", "fetch") for p in ("p50", "p99")}
                | {"whole_p50_ms": p50, "whole_p99_ms": p99}
            )
        groups.append(Group(label, tuple(rows)))
    if not groups:
        return None
    return Table(
        "latency",
        "How long a search takes, in milliseconds",
        (
            Column("found by", number=False),
            Column("index", number=False),
            Column("search", "p50"),
            Column("search", "p99"),
            Column("fetch", "p50"),
            Column("fetch", "p99"),
            Column("whole", "p50"),
            Column("whole", "p99"),
        ),
        tuple(groups),
        tuple(records),
        notes=(
            f"Of {DEPTH} memories, one query after the other. Search: ranking by the index and by the words. Fetch: "
            "reading the memories and fusing. Whole: the call, from outside; it has besides what the engine does to "
            "check what is asked, to hand it to a thread and to note what was found. On top comes embedding the "
            "query, but for words alone: its vector was given.",
        ),
    )


def answers(gathered: Gathered) -> Table | None:
    """What to embed of a question and its answer."""
    if "answers" not in gathered.other:
        return None
    ranks = answer_ranks(gathered)
    rows, records = [], Records()
    for embedded in EMBEDDED:
        cells = [Cell({"answer": "the answer", "question": "the question", "both": "question and answer"}[embedded])]
        record: dict[str, CsvValue] = {"embedded": embedded}
        for asked in ASKED:
            mrr = ranks[embedded, asked]
            for k, values in ((4, mrr >= 1 / 4), (DEPTH, mrr > 0)):
                found = estimate(values.astype(np.float64))
                record |= _recorded(f"{asked}_recall@{k}", found.value, found.low, found.high)
                cells.append(Cell(wording.score(found.value)))
            found = estimate(mrr)
            record |= _recorded(f"{asked}_mrr", found.value, found.low, found.high)
            cells.append(Cell(wording.score(found.value), wording.interval(found, "score")))
        rows.append(tuple(cells))
        records.append(record)
    piece, _ = gathered.other["answers"]
    shown = piece.facts["example"]
    return Table(
        "answers",
        f"What to embed of {piece.facts['questions']:,} questions with their answers",
        (
            Column("embedded", number=False),
            *(
                Column(name, told)
                for told in ("same question", "in other words")
                for name in ("recall@4", f"recall@{DEPTH}", f"MRR@{DEPTH}")
            ),
        ),
        (Group("", tuple(rows)),),
        tuple(records),
        notes=(
            "The same question finds itself where it was embedded, which proves little. In other words: by a rule that "
            f"leaves none of MedQuAD's own words but the name, such as “{shown['question']}” → “{shown['reworded']}”.",
        ),
    )


def answer_ranks(gathered: Gathered) -> dict[tuple[str, str], DoubleArray]:
    """By what is embedded and how it is asked: 1 / rank of the right answer, 0 past the tenth; float64 (n,)."""
    _, arrays = gathered.other["answers"]
    out = {}
    for embedded in EMBEDDED:
        for asked in ASKED:
            rows = arrays[f"{embedded}_{asked}_rows"]
            right = rows == np.arange(rows.shape[0])[:, None]
            out[embedded, asked] = np.where(right.any(axis=1), 1.0 / (right.argmax(axis=1) + 1), 0.0)
    return out


def retention(gathered: Gathered) -> Table | None:
    """Whether what came first is still found."""
    found = retained(gathered)
    if not found:
        return None
    stages = sorted({record["added"] for record in found})
    rows = []
    for name in dict.fromkeys(record["contestant"] for record in found):
        cells = [Cell(str(name))]
        for added in stages:
            one = next(r for r in found if r["contestant"] == name and r["added"] == added)
            cells.append(Cell(wording.score(one["recall"]), f"{wording.score(one['kept'])} of exact's"))
        rows.append(tuple(cells))
    first = found[0]
    return Table(
        "retention",
        f"Evidence recall@{DEPTH} of the first {first['first']:,} memories, when so many were there",
        (Column("index", number=False), *(Column(f"{added:,}", "memories") for added in stages)),
        (Group("", tuple(rows)),),
        tuple(found),
        notes=(
            f"{first['queries']:,} queries; whole documents came first, and of a document that is in several memories "
            "one that is found is enough. What falls with exact search is what newer memories outrank; what an index "
            "forgets besides shows in the smaller figure: of those first memories that exact search finds, the share "
            "that it finds too.",
        ),
    )


def retained(gathered: Gathered) -> list[dict[str, Any]]:
    """One record a contestant and stage."""
    held = gathered.named("retention")
    names = [name for name, _ in gathered.contestants if name in held]
    if not names or names[0] != gathered.contestants[0][0]:
        return []
    out = []
    true = held[names[0]][1]["rows"]
    for name in names:
        arrays = held[name][1]
        first = int(arrays["first"][0])
        query, row = arrays["query"], arrays["row"]
        pairs, pair = np.unique(np.stack([query, arrays["document"]]), axis=1, return_inverse=True)
        pair, asked = pair.ravel(), pairs[0]
        of_query = np.bincount(asked, minlength=arrays["rows"].shape[1])
        for stage, added in enumerate(arrays["added"].tolist()):
            rows = arrays["rows"][stage]
            hits = (rows[query] == row[:, None]).any(axis=1)
            # Of a document that is in several rows one is enough.
            found = np.bincount(pair, weights=hits) > 0
            recall = estimate(np.bincount(asked, weights=found, minlength=of_query.size) / of_query)
            early = (true[stage] >= 0) & (true[stage] < first)
            kept = (true[stage][:, :, None] == rows[:, None, :]).any(axis=2)[early]
            out.append(
                {
                    "contestant": name,
                    "first": first,
                    "queries": int(of_query.size),
                    "added": int(added),
                    "recall": recall.value,
                    "low": recall.low,
                    "high": recall.high,
                    "kept": float(kept.mean()) if kept.size else 1.0,
                }
            )
    return out


def scale(gathered: Gathered) -> Table | None:
    """What a namespace of that many memories takes."""
    held = gathered.named("scale")
    if not held:
        return None
    sizes = sorted(held, key=int)
    lines: list[tuple[str, str, list[float]]] = []

    def line(what: str, unit: str, values: Sequence[float]) -> None:
        lines.append((what, unit, list(values)))

    facts = {size: held[size][0].facts for size in sizes}
    line("added, in batches of 10,000", "memories/s", [int(s) / facts[s]["add_seconds"] for s in sizes])
    line("until the index has all of them", "s", [facts[s]["ready_seconds"] for s in sizes])
    line("opened, to the first answer", "s", [facts[s]["open_seconds"] for s in sizes])
    line("first search for words, which takes all in", "s", [facts[s]["first_words_seconds"] for s in sizes])
    for name, told in (
        ("vector", "search by vector, top 10"),
        ("lexical", "search by words, top 4"),
        ("hybrid", "search by both, top 4"),
        ("add", "add, durable"),
        ("supersede", "supersede by slot, durable"),
        ("delete", "delete what holds, durable"),
        ("get", "get by id"),
    ):
        for p in (50, 99):
            values = [float(np.percentile(held[s][1][f"{name}_ns"], p)) * 1e-6 for s in sizes]
            line(f"{told}, p{p}", "ms", values)
    recalls = []
    for size in sizes:
        rows, true = held[size][1]["rows"], held[size][1]["true_rows"]
        recalls.append(float((true[:, :, None] == rows[:, None, :]).any(axis=2).mean()))
    line("recall@10 of the search by vector", "", recalls)
    for name, told in (("file_bytes", "the file"), ("index_bytes", "beside it")):
        line(told, "GB", [facts[s][name] / 1e9 for s in sizes])
    # What the process had at its beginning may be its parent's.
    peaks = [f["peak_bytes"] / 1e9 if f["peak_bytes"] > f["begun_with_bytes"] else np.nan for f in facts.values()]
    line("memory at the peak", "GB", peaks)
    shown = tuple(
        (Cell(what), *(Cell(wording.number(value)) for value in values), Cell(unit)) for what, unit, values in lines
    )
    return Table(
        "scale",
        "One namespace of many memories",
        (Column("what", number=False), *(Column(f"{int(s):,}", "memories") for s in sizes), Column("", number=False)),
        (Group("", shown),),
        tuple(
            {"memories": int(size), "what": what, "unit": unit, "value": values[place]}
            for place, size in enumerate(sizes)
            for what, unit, values in lines
        ),
        notes=(
            "Each size in a process of its own, with SpiralGraph, as the engine asks it by default; vectors were "
            "given, so that no encoder's time is in any of it. All but the first 50,176 vectors are noisy copies of "
            "those, and the texts are the same passages again and again, each with a number, which do not belong to "
            "the vectors beside them: this says what so much takes, and nothing of what would be found in it.",
            "Words are asked in the questions that belong to the passages, not to the vectors asked beside them. "
            "Recall is of the first 200 queries. The peak counts all that the process held, the data "
            "set's mapped pages included; it is left out where the process began with more than it came to.",
        ),
    )


def namespaces(gathered: Gathered) -> Table | None:
    """What many small namespaces take."""
    if "namespaces" not in gathered.other:
        return None
    piece, arrays = gathered.other["namespaces"]
    facts = piece.facts
    cold, warm = arrays["cold_ns"][:, 0] * 1e-6, arrays["warm_ns"][:, 0] * 1e-6
    lines = [
        ("namespaces", float(facts["namespaces"]), ""),
        ("memories in each", float(facts["each"]), ""),
        ("open", facts["open_seconds"] * 1e3, "ms"),
        ("first search in a namespace, p50", float(np.percentile(cold, 50)), "ms"),
        ("first search in a namespace, p99", float(np.percentile(cold, 99)), "ms"),
        ("the same again, p50", float(np.percentile(warm, 50)), "ms"),
        ("the same again, p99", float(np.percentile(warm, 99)), "ms"),
        ("added, a write for each namespace", facts["namespaces"] * facts["each"] / facts["add_seconds"], "memories/s"),
        ("the file", facts["file_bytes"] / 1e9, "GB"),
        (f"held open for the {cold.size:,} namespaces asked", facts["open_bytes"] / 1e6, "MB"),
    ]
    return Table(
        "namespaces",
        "Many small namespaces",
        (Column("what", number=False), Column("value"), Column("", number=False)),
        (Group("", tuple((Cell(what), Cell(wording.number(value)), Cell(unit)) for what, value, unit in lines)),),
        tuple({"what": what, "value": value, "unit": unit} for what, value, unit in lines),
    )


def sets(gathered: Gathered) -> Table | None:
    """What the sets are."""
    if not gathered.sets:
        return None
    rows, records = [], Records()
    for one in gathered.sets:
        facts, tested = one.questions.facts, one.first.qrels
        needed = tested.query.size / max(1, np.unique(tested.query).size)
        source = facts["provenance"]
        rows.append(
            (
                Cell(one.config.key, one.title),
                Cell(f"{facts['rows']:,}"),
                Cell(wording.number(facts["words"])),
                Cell(f"{facts['scopes']:,}"),
                Cell(f"{one.first.rows('vector').shape[0]:,}"),
                Cell(wording.number(needed)),
                Cell(str(source.get("licence", "")), str(source.get("source", ""))),
            )
        )
        records.append(
            {
                "set": one.config.key,
                "dataset": one.config.dataset,
                "memories": facts["rows"],
                "words": facts["words"],
                "namespaces": facts["scopes"],
                "in_time": bool(facts["ordered"]),
                "test_queries": int(one.first.rows("vector").shape[0]),
                "evidence_a_query": needed,
                "licence": str(source.get("licence", "")),
            }
        )
    return Table(
        "sets",
        "What is remembered and asked",
        (
            Column("set", number=False),
            Column("memories"),
            Column("words", "median"),
            Column("namespaces"),
            Column("test queries"),
            Column("evidence", "a query"),
            Column("licence", number=False),
        ),
        (Group("", tuple(rows)),),
        tuple(records),
    )


def _label(one: SetResult) -> str:
    return f"{one.config.key} ({one.config.language})" if one.config.language else one.config.key


def _judged(values: DoubleArray) -> int:
    return int(np.isfinite(values).sum())


def _recorded(name: str, value: float, low: float, high: float) -> dict[str, CsvValue]:
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def _points(test: Paired) -> Cell:
    return Cell(wording.points(test.difference), f"[{wording.points(test.low)}, {wording.points(test.high)}]")


def _verdict(test: Paired, p: float) -> str:
    if p < ALPHA:
        if test.difference > 0:
            return "ahead"
        return "behind, by more than a point" if test.difference < -POINT else "behind, by less than a point"
    return "not told apart" if test.difference >= -POINT else "more than a point behind, not told apart"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {wording.fixed(value, 3)}"


def _same(rows: Any, true: Any) -> float:
    there = true >= 0
    return float((true[:, :, None] == rows[:, None, :]).any(axis=2)[there].mean())
