"""Estimates at a recall, ratios inside a block, intervals that cover, and a noise floor that means something."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats as scipy_stats

from adamem.bench.bootstrap import draws, identity, resampled_log_percentiles, resampled_means, weighted_percentiles
from adamem.bench.curve import QUANTITIES, Curve
from adamem.bench.paired import holm, paired
from adamem.bench.stats import at_recall, band, front, geometric_ratio, mean_estimate, noise_floor, ratio_at_recall
from adamem.errors import InvalidInput, UnknownName


def curve(recalls, seconds, *, s=3, r=5, q=200, noise=0.0, seed=0, blocks=None, round_factor=None):
    """A contestant whose points have exactly these mean recalls and about these seconds a query."""
    rng = np.random.default_rng(seed)
    p = len(recalls)
    recall = np.zeros((s, p, q))
    for number, value in enumerate(recalls):
        recall[:, number, : round(value * q)] = 1.0
    factor = np.ones((s, r)) if round_factor is None else round_factor
    cost = np.asarray(seconds)[None, :, None] * factor[:, None, :]
    one = cost[..., None] * np.exp(noise * rng.normal(size=(s, p, r, q)))
    batch = cost * q * np.exp(noise * rng.normal(size=(s, p, r)))
    return Curve(blocks or tuple(f"block-{i}" for i in range(s)), recall, one, batch)


# -- the resampling ----------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.float64, st.tuples(st.integers(1, 3), st.integers(1, 12)), elements=st.floats(-5, 5)),
    st.data(),
)
def test_weighted_percentiles_are_numpys_of_the_repeated_values(values, data):
    """Weights are repetitions: `np.percentile` of the values written out as often says the same; NaN does not count."""
    percents = [0, 17, 50, 83, 99, 100]
    times = data.draw(arrays(np.int32, (4, values.shape[0]), elements=st.integers(0, 3)))
    counts = data.draw(arrays(np.int32, (3, values.shape[1]), elements=st.integers(0, 4)))
    rows = data.draw(arrays(np.int64, 4, elements=st.integers(0, 2)))
    values[data.draw(arrays(np.bool_, values.shape))] = np.nan
    got = weighted_percentiles(values, times, counts, rows, percents)
    for number, found in enumerate(got.T):
        written = np.repeat(values.ravel(), np.outer(times[number], counts[rows[number]]).ravel())
        written = written[np.isfinite(written)]
        if written.size == 0:
            assert np.isnan(found).all()
        else:
            assert found == pytest.approx(np.percentile(written, percents), abs=1e-12)


def test_the_draws_are_equal_for_equal_arguments_and_cannot_be_written_to():
    """Contestants of one block share their draws, so nobody may alter them; another seed gives others."""
    first, again, other = draws(3, 5, 20, seed=1), draws(3, 5, 20, seed=1), draws(3, 5, 20, seed=2)
    assert np.array_equal(first.counts, again.counts)
    assert not np.array_equal(first.counts, other.counts)
    assert (first.counts.sum(axis=1) == 20).all()
    with pytest.raises(ValueError, match="read-only"):
        first.seeds[0, 0] = 0
    with pytest.raises(ValueError, match="read-only"):
        first.weights[0, 0] = 0


def test_resampled_statistics_are_those_of_the_arrays_written_out():
    """Every resample equals numpy on the arrays indexed by the draw, seed by seed, round by round, query by query."""
    rng = np.random.default_rng(0)
    recall, one = rng.random((3, 4, 30)), rng.lognormal(size=(3, 4, 5, 30))
    one[1, 2, 3, :10] = np.nan
    drawn = draws(3, 5, 30, resamples=20, seed=7)
    means = resampled_means(recall, drawn)
    (medians,) = resampled_log_percentiles(one, drawn, [99], raw=False)
    (raws,) = resampled_log_percentiles(one, drawn, [99], raw=True)
    for b in range(20):
        queries = np.repeat(np.arange(30), drawn.counts[b])
        taken = [(s, drawn.rounds[b, slot]) for slot, s in enumerate(drawn.seeds[b])]
        np.testing.assert_allclose(means[b], np.mean([recall[s][:, queries].mean(1) for s, _ in taken], axis=0))
        for p in range(4):
            logs, raw_logs = [], []
            for s, rounds in taken:
                block = one[s, p][rounds][:, queries]
                asked = ~np.isnan(block).all(axis=0)
                logs.append(np.log(np.percentile(np.nanmedian(block[:, asked], axis=0), 99)))
                raw_logs.append(np.log(np.nanpercentile(block, 99)))
            assert medians[b, p] == pytest.approx(np.mean(logs))
            assert raws[b, p] == pytest.approx(np.mean(raw_logs))


def test_the_interval_of_a_mean_is_that_of_scipys_bootstrap():
    """With one seed, the interval of mean recall is scipy's percentile bootstrap over queries."""
    values = np.random.default_rng(5).binomial(10, 0.9, size=400) / 10
    got = mean_estimate(values[None], resamples=4000, seed=1)
    oracle = scipy_stats.bootstrap((values,), np.mean, method="percentile", n_resamples=4000, rng=1).confidence_interval
    assert got.value == pytest.approx(values.mean())
    assert (got.low, got.high) == pytest.approx((oracle.low, oracle.high), abs=1.5e-3)


def test_the_interval_of_a_speed_is_that_of_its_rounds():
    """With one seed and one batch call a round, it is scipy's bootstrap of the mean logarithm over rounds, centred."""
    factor = np.exp(np.random.default_rng(6).normal(size=(1, 12)) * 0.2)
    got = band(curve([0.9], [1e-3], s=1, r=12, round_factor=factor), "qps", resamples=4000)
    logs = -np.log(1e-3 * factor[0])
    oracle = scipy_stats.bootstrap((logs,), np.mean, method="percentile", n_resamples=4000, rng=1).confidence_interval
    assert got.value[0] == pytest.approx(np.exp(logs.mean()))
    assert (np.log(got.low[0]), np.log(got.high[0])) == pytest.approx((oracle.low, oracle.high), abs=0.015)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    """Of 200 experiments with a known recall, the 95 % interval holds it in 90 to 99 %."""
    rng = np.random.default_rng(11)
    held = 0
    for trial in range(200):
        values = rng.binomial(10, 0.8, size=(1, 150)) / 10
        got = mean_estimate(values, resamples=400, seed=trial)
        held += got.low <= 0.8 <= got.high
    assert 180 <= held <= 198


def test_seeds_widen_the_interval():
    """Builds that differ among themselves give a wider interval than the same queries of builds that do not."""
    rng = np.random.default_rng(2)
    alike = rng.binomial(10, 0.9, size=(1, 300)).repeat(3, axis=0) / 10
    apart = np.clip(alike + np.array([[-0.05], [0.0], [0.05]]), 0, 1)
    narrow, wide = mean_estimate(alike), mean_estimate(apart)
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_queries_without_a_value_are_left_out_of_a_mean():
    """A NaN is missing, not zero; with nothing left the estimate is NaN."""
    values = np.array([[1.0, np.nan, 0.5, 1.0]])
    assert mean_estimate(values).value == pytest.approx(2.5 / 3)
    assert np.isnan(mean_estimate(np.full((2, 3), np.nan)).value)


# -- at a recall -------------------------------------------------------------------------------------------------------


def test_between_two_points_the_logarithm_is_interpolated():
    """Half way in recall between 1 ms and 4 ms lies 2 ms, whatever the quantity."""
    c = curve([0.94, 0.96], [1e-3, 4e-3])
    for what in ("p50", "p99", "p99_raw"):
        got = at_recall(c, 0.95, what)
        assert got.value == pytest.approx(2e-3)
        assert (got.status, got.points, got.mark) == ("bracketed", (0, 1), "")
    for what in ("qps", "qps_one"):
        assert at_recall(c, 0.95, what).value == pytest.approx(500)


def test_a_point_at_the_target_counts_as_itself():
    """No interpolation where a point has just the recall that was asked for."""
    got = at_recall(curve([0.90, 0.95, 0.99], [1e-3, 3e-3, 9e-3]), 0.95, "p50")
    assert (got.value, got.status, got.points) == (pytest.approx(3e-3), "bracketed", (1,))


def test_a_neighbour_beyond_two_hundredths_leaves_the_target_unbracketed():
    """0.93 and 0.96 do not bracket 0.95 within 0.02 on each side if the lower is at 0.925; then there is no value."""
    assert at_recall(curve([0.925, 0.955], [1e-3, 2e-3]), 0.95, "qps").status == "gap"
    assert np.isnan(at_recall(curve([0.925, 0.955], [1e-3, 2e-3]), 0.95, "qps").value)
    assert at_recall(curve([0.945, 0.975], [1e-3, 2e-3]), 0.95, "qps").status == "gap"
    assert at_recall(curve([0.93, 0.97], [1e-3, 2e-3]), 0.95, "qps").status == "bracketed"


def test_exact_search_stands_at_its_own_point_as_a_bound():
    """Every point above the target: the cheapest stands in, marked as at least that fast."""
    exact = curve([1.0], [5e-3])
    got = at_recall(exact, 0.95, "qps")
    assert (got.value, got.status, got.mark) == (pytest.approx(200), "exceeds", "≥")
    assert at_recall(exact, 0.95, "p99").mark == "≤"
    two = curve([0.995, 0.98], [2e-3, 5e-3])
    assert at_recall(two, 0.95, "p99").points == (0,)


def test_a_recall_that_is_never_reached_has_no_value():
    """Every point below the target: no speed at that recall, not even a guess."""
    got = at_recall(curve([0.7, 0.8], [1e-3, 2e-3]), 0.95, "qps")
    assert got.status == "unreached"
    assert np.isnan([got.value, got.low, got.high]).all()


def test_what_was_not_measured_has_no_value():
    """A peer without a batch call has no throughput, and says so."""
    c = curve([0.94, 0.96], [1e-3, 4e-3])
    peer = Curve(c.blocks, c.recall, c.one, None)
    assert at_recall(peer, 0.95, "qps").status == "unmeasured"
    assert at_recall(peer, 0.95, "p99").status == "bracketed"
    with pytest.raises(InvalidInput, match="no batch call"):
        band(peer, "qps")
    with pytest.raises(InvalidInput, match="no query was asked alone"):
        band(Curve(c.blocks, c.recall, None, c.batch), "p50")
    with pytest.raises(UnknownName, match="unknown quantity 'p98'; did you mean 'p99'"):
        band(c, "p98")


@pytest.mark.parametrize("what", QUANTITIES)
def test_an_interval_holds_its_estimate(what):
    """Resampling rounds lifts a percentile of medians; the estimate lies inside its interval all the same."""
    c = curve([0.90, 0.94, 0.96, 0.99], [1e-3, 2e-3, 4e-3, 8e-3], noise=0.3)
    got = at_recall(c, 0.95, what)
    assert got.low < got.value < got.high
    whole = band(c, what)
    assert (whole.low < whole.value).all()
    assert (whole.value < whole.high).all()


def test_resamples_past_the_last_point_go_on_along_the_curve():
    """With the target just under the curve's end, resamples that fall short are slower, not stuck at the end point."""
    c = curve([0.90, 0.93, 0.952], [1e-3, 2e-3, 4e-3], s=1)
    got = at_recall(c, 0.95, "p50")
    assert got.high > 1.3 * 4e-3


def test_the_order_of_the_points_does_not_matter():
    """Neighbours are neighbours in recall, in whatever order the points stand."""
    c = curve([0.90, 0.94, 0.96, 0.99], [1e-3, 2e-3, 4e-3, 8e-3], noise=0.1)
    assert at_recall(c.take([3, 1, 0, 2]), 0.95, "p99").value == pytest.approx(at_recall(c, 0.95, "p99").value)


# -- ratios ------------------------------------------------------------------------------------------------------------


def test_a_ratio_inside_a_block_is_free_of_what_slowed_the_whole_round():
    """Rounds that are up to three times slower for everyone widen each speed's interval, and not the ratio's."""
    factor = np.exp(np.random.default_rng(4).uniform(-1, 1, size=(3, 5)))
    slow = curve([0.94, 0.96], [2e-3, 4e-3], round_factor=factor)
    fast = curve([0.94, 0.96], [1e-3, 2e-3], round_factor=factor)
    alone = at_recall(fast, 0.95, "qps")
    for what, expected in (("qps", 2.0), ("p99", 0.5), ("p99_raw", 0.5)):
        ratio = ratio_at_recall(fast, slow, 0.95, what)
        assert ratio.value == pytest.approx(expected)
        assert (ratio.low, ratio.high) == pytest.approx((expected, expected))
    assert alone.high > 1.3 * alone.low


def test_a_ratio_is_formed_only_in_the_blocks_that_both_were_measured_in():
    """A contestant built once is compared with the reference of its own block alone."""
    reference = curve([0.94, 0.96], [1e-3, 2e-3], round_factor=np.array([[1.0] * 5, [10.0] * 5, [10.0] * 5]))
    once = curve([0.94, 0.96], [1e-3, 2e-3], s=1, blocks=("block-0",))
    assert ratio_at_recall(once, reference, 0.95, "qps").value == pytest.approx(1.0)
    elsewhere = curve([0.94, 0.96], [1e-3, 2e-3], s=1, blocks=("another",))
    with pytest.raises(InvalidInput, match="share no block"):
        ratio_at_recall(elsewhere, reference, 0.95, "qps")
    longer = curve([0.94, 0.96], [1e-3, 2e-3], s=1, r=4, blocks=("block-0",))
    with pytest.raises(InvalidInput, match="differ in rounds or queries"):
        ratio_at_recall(longer, reference, 0.95, "qps")


def test_a_ratio_says_which_side_is_a_bound():
    """Exact search over HNSW is at least so fast; HNSW over exact search at most; neither is known of two bounds."""
    hnsw, exact = curve([0.94, 0.96], [1e-3, 2e-3]), curve([1.0], [8e-3])
    forward = ratio_at_recall(exact, hnsw, 0.95, "qps")
    assert (forward.status, forward.mark) == ("exceeds", "≥")
    reverse = ratio_at_recall(hnsw, exact, 0.95, "qps")
    assert (reverse.status, reverse.mark) == ("reference_exceeds", "≤")
    assert ratio_at_recall(hnsw, exact, 0.95, "p99").mark == "≥"
    both = ratio_at_recall(exact, exact, 0.95, "qps")
    assert (both.status, both.mark, both.value) == ("both_exceed", "", pytest.approx(1.0))
    assert ratio_at_recall(curve([0.5], [1e-3]), exact, 0.95, "qps").status == "unreached"


# -- noise, builds, fronts ---------------------------------------------------------------------------------------------


def test_the_noise_floor_is_what_a_twin_differs_by():
    """A twin off by -3 % to +3 % over the points gives a floor of about 3 %; an identical one gives 0."""
    p = 40
    recalls = np.linspace(0.8, 0.99, p)
    reference = curve(recalls, np.full(p, 1e-3))
    offsets = np.exp(np.linspace(-0.03, 0.03, p))
    twin = curve(recalls, 1e-3 * offsets)
    got = noise_floor([(reference, twin)], "qps")
    assert got.log_ratios.size == 3 * p
    assert got.relative == pytest.approx(np.expm1(0.03 * 0.95), abs=2e-3)
    assert noise_floor([(reference, reference)], "p99").relative == 0
    assert np.isnan(noise_floor([], "qps").relative)


def test_the_noise_floor_looks_at_blocks_and_not_at_single_rounds():
    """What averages out over a block's rounds is not in the floor: only what is left of it is."""
    wobble = np.exp(0.2 * np.array([[1, -1, 1, -1, 0.0]] * 3))
    reference = curve([0.9], [1e-3])
    twin = curve([0.9], [1e-3], round_factor=wobble)
    assert noise_floor([(reference, twin)], "qps").relative == pytest.approx(0, abs=1e-9)


def test_a_ratio_of_build_times_is_geometric_with_students_interval():
    """The interval is scipy's t interval of the log ratios; one build has a ratio and no interval."""
    a, b = np.array([10.0, 12.0, 11.0]), np.array([5.0, 5.5, 6.1])
    got = geometric_ratio(a, b)
    oracle = scipy_stats.ttest_1samp(np.log(a / b), 0).confidence_interval(0.95)
    assert (got.value, got.low, got.high) == pytest.approx(
        (scipy_stats.gmean(a / b), np.exp(oracle.low), np.exp(oracle.high))
    )
    single = geometric_ratio(a[:1], b[:1])
    assert single.value == pytest.approx(2)
    assert np.isnan([single.low, single.high]).all()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 6)), min_size=1, max_size=15))
def test_the_front_holds_the_points_that_none_beats(points):
    """A point is on the front exactly if no other has as much recall in no more time (of equals, the first counts)."""
    recall, seconds = (np.array(column, dtype=float) for column in zip(*points, strict=True))
    beaten = [
        any(
            recall[j] >= recall[i]
            and seconds[j] <= seconds[i]
            and ((recall[j], seconds[j]) != (recall[i], seconds[i]) or j < i)
            for j in range(len(points))
            if j != i
        )
        for i in range(len(points))
    ]
    kept = front(recall, seconds)
    assert sorted(kept.tolist()) == [i for i in range(len(points)) if not beaten[i]]
    assert (np.diff(recall[kept]) > 0).all()


def test_arrays_that_do_not_fit_are_refused():
    """A curve of mixed shapes is found out when it is made."""
    with pytest.raises(InvalidInput, match="do not fit together: 2 blocks"):
        Curve(("a", "b"), np.ones((2, 3, 4)), None, np.ones((2, 2, 5)))


# -- paired ------------------------------------------------------------------------------------------------------------


def test_the_paired_test_is_scipys_permutation_test():
    """On few queries the p-value is that of scipy's exact sign-flip test; interval and effect are the textbook's."""
    rng = np.random.default_rng(8)
    a = rng.binomial(10, 0.8, size=14) / 10
    b = np.clip(a + rng.integers(-1, 3, size=14) / 10, 0, 1)
    got = paired(a, b, permutations=20000)
    oracle = scipy_stats.permutation_test((b - a,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert got.p_value == pytest.approx(oracle.pvalue, abs=0.01)
    assert got.difference == pytest.approx((b - a).mean())
    assert got.effect == pytest.approx((b - a).mean() / (b - a).std(ddof=1))
    assert got.low <= got.difference <= got.high
    assert (got.better, got.worse) == (pytest.approx((b > a).mean()), pytest.approx((b < a).mean()))


def test_what_cancels_out_is_no_difference_whatever_it_is_rounded_to():
    """Thirds whose sum is 0 but for its last bits: every sign pattern is as far from 0, so p is 1."""
    told = np.array([1, 1, -2, 2, -1, -1, 2, -2] * 5) / 3
    apart = np.random.default_rng(2).permutation(told)
    assert apart.sum() != 0
    got = paired(np.zeros(40), apart, permutations=199)
    assert (got.p_value, got.difference, got.effect) == (1, 0, 0)


def test_a_comparison_is_the_same_whatever_was_compared_before():
    """Resamples are kept between comparisons; each still gives what drawing them anew gives, in the same order."""
    rng = np.random.default_rng(11)
    for n in (30, 7, 30, 30):
        a, b = rng.random(n), rng.random(n)
        fresh = np.random.default_rng([3, n])
        weights = fresh.multinomial(n, np.full(n, 1 / n), size=1000)
        signs = 2.0 * fresh.integers(0, 2, size=(99, n), dtype=np.int8) - 1
        extreme = np.abs(signs @ (b - a)) >= abs((b - a).sum()) - 1e-9
        got = paired(a, b, permutations=99, seed=3)
        assert (got.low, got.high) == pytest.approx(np.percentile(weights @ (b - a) / n, (2.5, 97.5)), rel=1e-12)
        assert got.p_value == (1 + extreme.sum()) / 100


def test_no_difference_is_rarely_called_one():
    """Of 300 comparisons of equals, about 5 % have p <= 0.05."""
    rng = np.random.default_rng(9)
    alarms = sum(
        paired(rng.normal(size=60), rng.normal(size=60), permutations=199, seed=i).p_value <= 0.05 for i in range(300)
    )
    assert 4 <= alarms <= 28


def test_equal_answers_differ_in_nothing():
    """No query differs: difference 0, p = 1, effect 0; a query missing in one run is left out; p is never 0."""
    same = paired(np.array([0.5, 1.0, np.nan]), np.array([0.5, 1.0, 0.2]))
    assert (same.queries, same.difference, same.p_value, same.effect) == (2, 0.0, 1.0, 0.0)
    assert paired(np.array([np.nan]), np.array([1.0])).queries == 0
    constant = paired(np.zeros(40), np.ones(40), permutations=99)
    assert constant.p_value == 0.01
    assert constant.effect == np.inf


def test_holms_correction_multiplies_and_never_falls():
    """Worked by hand: 0.01, 0.04, 0.03 become 0.03, 0.06, 0.06; NaN is not counted."""
    assert holm(np.array([0.01, 0.04, 0.03])) == pytest.approx([0.03, 0.06, 0.06])
    got = holm(np.array([0.5, np.nan, 0.9]))
    assert got[[0, 2]] == pytest.approx([1.0, 1.0])
    assert np.isnan(got[1])


def test_the_identity_draw_takes_everything_once():
    """The estimate is the resample that repeats nothing."""
    once = identity(2, 3, 4)
    assert once.seeds.tolist() == [[0, 1]]
    assert once.rounds.tolist() == [[[0, 1, 2], [0, 1, 2]]]
    assert (once.weights == 1).all()
