"""Which queries calibrate and which ones judge: choosing on the test queries is the winner's curse."""

from __future__ import annotations

import numpy as np

from adamem.data.dataset import Dataset
from adamem.types import IdArray


def split(dataset: Dataset, *, count: int, seed: int) -> tuple[IdArray, IdArray, int, str]:
    """Draw `count` distinct queries (all, if there are fewer) and halve them.

    Where queries have topics, whole topics go to one half or the other, so that a build is not chosen on the very
    subjects it is judged on.

    Returns
    -------
    calibration, test
        int64, sorted rows of `dataset.queries`.
    distinct
        how many distinct query vectors there are.
    how
        the split in words.
    """
    queries = np.asarray(dataset.queries)
    _, first = np.unique(
        queries.view(np.dtype((np.void, queries.shape[1] * queries.itemsize))).ravel(), return_index=True
    )
    distinct = np.sort(first).astype(np.int64)
    rng = np.random.default_rng(seed)
    drawn = rng.permutation(distinct)[:count]
    if dataset.topics is not None and np.unique(dataset.topics[drawn]).size > 1:
        topics = np.asarray(dataset.topics)[drawn]
        calibration, test = _by_topic(drawn, topics, rng)
        how = f"whole topics to one half or the other ({np.unique(topics).size} topics)"
    else:
        half = drawn.size // 2
        calibration, test = drawn[:half], drawn[half:]
        how = "at random"
    return np.sort(calibration), np.sort(test), int(distinct.size), how


def _by_topic(drawn: IdArray, topics: IdArray, rng: np.random.Generator) -> tuple[IdArray, IdArray]:
    """Topics in random order, largest first among what is left, each to the half that has fewer queries."""
    names, sizes = np.unique(topics, return_counts=True)
    shuffled = rng.permutation(names.size)
    order = shuffled[np.argsort(-sizes[shuffled], kind="stable")]
    halves: list[list[IdArray]] = [[], []]
    filled = [0, 0]
    for number in order:
        half = 0 if filled[0] < filled[1] else 1
        halves[half].append(drawn[topics == names[number]])
        filled[half] += int(sizes[number])
    return np.concatenate(halves[0]), np.concatenate(halves[1])
