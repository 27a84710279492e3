"""Which builds and points of stage 1 go on to stage 2: reckoned on candidates whose figures are known."""

from __future__ import annotations

from adamem.bench.select import Candidate, points_of, worth_keeping
from adamem.bench.sweep import _gap

TARGETS = [0.90, 0.95, 0.99]


def candidate(*points):
    """A build with `(ef, recall, seconds)` points."""
    return Candidate(
        build={},
        searches=[{"ef": ef} for ef, _, _ in points],
        recalls=[recall for _, recall, _ in points],
        seconds=[seconds for _, _, seconds in points],
        resident_bytes=0,
    )


def at_targets(*seconds):
    """A build that takes so many seconds at each of `TARGETS`."""
    return candidate(*((ef, recall, spent) for ef, recall, spent in zip((10, 20, 30), TARGETS, seconds, strict=True)))


def test_the_build_that_is_best_at_most_targets_comes_first():
    """And alone, where nothing else gains by a seventh."""
    assert worth_keeping([at_targets(1.0, 2.2, 3.3), at_targets(1.05, 2.0, 3.0)], TARGETS, 3) == [1]


def test_a_build_that_gains_enough_somewhere_is_kept_too():
    """Twice as fast at one target is worth its minutes."""
    builds = [at_targets(1.0, 2.0, 3.0), at_targets(0.5, 4.0, 9.0)]
    assert worth_keeping(builds, TARGETS, 2) == [0, 1]


def test_the_one_that_gains_most_comes_before_the_one_that_gains_less():
    """With room for two, the larger gain wins the place."""
    builds = [at_targets(1.0, 2.0, 3.0), at_targets(0.8, 9.0, 9.0), at_targets(9.0, 1.0, 9.0)]
    # each is best at one target; the highest target's comes first, then the gains are 1.25 and 2
    assert worth_keeping(builds, TARGETS, 2) == [0, 2]
    assert worth_keeping(builds, TARGETS, 3) == [0, 2, 1]


def test_a_build_that_alone_reaches_a_target_is_kept():
    """However fast the other is below it."""
    builds = [candidate((10, 0.96, 1.0)), candidate((10, 0.992, 50.0))]
    assert worth_keeping(builds, TARGETS, 2) == [0, 1]


def test_where_no_build_reaches_a_target_the_nearest_one_answers():
    """Gains are reckoned only at targets that are reached."""
    builds = [candidate((10, 0.60, 1.0)), candidate((10, 0.70, 2.0))]
    assert worth_keeping(builds, TARGETS, 2) == [1]


def test_points_far_past_the_highest_target_are_left_out():
    """Those over twice as slow as the one that reaches it; its bracket and shoulders stay."""
    below = ((10, 0.85, 1.0), (20, 0.93, 1.5), (40, 0.985, 2.0))
    one = candidate(*below, (80, 0.992, 3.0), (160, 0.996, 5.0), (320, 0.999, 9.0))
    assert [search["ef"] for search in points_of(one, TARGETS, "ef")] == [10, 20, 40, 80, 160]


def test_where_the_highest_target_is_not_reached_all_useful_points_stay():
    """There is no time past which they would be of no use."""
    one = candidate((1, 0.30, 0.1), (5, 0.40, 0.3), (10, 0.85, 1.0), (320, 0.97, 90.0))
    assert [search["ef"] for search in points_of(one, TARGETS, "ef")] == [5, 10, 320]  # 5 is a shoulder of 0.90


def test_a_shoulder_has_no_wide_gap_within_reach():
    """Slow points far apart from the target stay where the test queries may shift it to them, and no more of them."""
    below = ((30, 0.885, 3.0), (31, 0.888, 3.1), (32, 0.891, 3.2), (33, 0.899, 3.3))
    above = ((40, 0.903, 8.0), (41, 0.911, 8.1), (42, 0.917, 8.2), (43, 0.925, 8.3), (44, 0.93, 8.4))
    one = candidate((10, 0.87, 1.0), *below, *above, (50, 0.95, 8.5), (60, 0.99, 8.6), (70, 0.995, 0.9))
    assert [search["ef"] for search in points_of(one, [0.90], "ef")] == [10, 30, 32, 33, 40, 41, 43, 70]


def test_calibration_looks_for_gaps_outward_from_the_target():
    """The first one within reach is named by its efforts; what lies beyond reach is of no interest."""
    points = [(10, 0.80), (20, 0.9295), (40, 0.944), (45, 0.949), (51, 0.954), (90, 0.965), (200, 0.99)]
    assert _gap(points, 0.95, -1) is None  # 0.9295 is out of reach already
    assert _gap(points, 0.95, 1) == (90, 200)
    assert _gap([(10, 0.80), *points[2:]], 0.95, -1) == (10, 40)
    assert _gap(points[:-1], 0.95, 1) is None  # nothing beyond
