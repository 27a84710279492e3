"""A corpus that is replaced ten times over: ``pytest --benchmark-only tests/indexes/test_turnover.py``.

Beside a fresh build, recall and the time of a call, at fixed efforts, the two in turn. Takes some minutes; not part of
the ordinary run.
"""

from __future__ import annotations

import time

import numpy as np

from adamem.index import index_class

LIVE, AT_A_TIME, TURNS, K, ROUNDS = 20_000, 500, 10, 10, 15
EFFORTS = (12, 24, 48, 96)


def test_speed_and_recall_stay_while_the_corpus_turns_over(passages, benchmark, capsys):
    """Ten times as many rows deleted and inserted as there are, with maintenance whenever it is due."""
    vectors, queries = passages
    random = np.random.default_rng(0)
    order = random.permutation(len(vectors))
    live, waiting = order[:LIVE], order[LIVE:]
    spiral = index_class("spiral")
    turned = spiral.build(vectors[live], live, metric="cosine", threads=2)
    for _ in range(TURNS * LIVE // AT_A_TIME):
        gone = random.choice(live, AT_A_TIME, replace=False)
        come, waiting = waiting[:AT_A_TIME], np.concatenate([waiting[AT_A_TIME:], gone])
        turned.delete(gone)
        turned.insert(vectors[come], come)
        live = np.concatenate([live[~np.isin(live, gone)], come])
        if turned.needs_maintenance():
            turned.maintain()
    fresh = spiral.build(vectors[live], live, metric="cosine", threads=2)
    furthest = index_class("exact").build(vectors[live], live, metric="cosine").search(queries, K).distances[:, -1:]
    recall = {}
    seconds = {(name, ef): [] for ef in EFFORTS for name in ("turned", "fresh")}
    for _ in range(ROUNDS):
        for (name, ef), taken in seconds.items():
            start = time.perf_counter()
            found = (turned if name == "turned" else fresh).search(queries, K, params={"ef": ef})
            taken.append(time.perf_counter() - start)
            recall[name, ef] = float((found.distances <= furthest + 1e-6).mean())
    for ef in EFFORTS:
        ratios = np.array(seconds["fresh", ef]) / np.array(seconds["turned", ef])
        benchmark.extra_info[f"ef={ef}"] = {"qps_ratio": float(np.median(ratios)), "recall": recall["turned", ef]}
        with capsys.disabled():
            print(  # noqa: T201 -- printing the ratios is what this file is for
                f"\nef={ef}: recall {recall['turned', ef]:.4f}, fresh {recall['fresh', ef]:.4f}; QPS to the fresh "
                f"{np.median(ratios):.3f} [{ratios.min():.3f}, {ratios.max():.3f}]"
            )
    benchmark.pedantic(lambda: turned.search(queries, K), rounds=3)
