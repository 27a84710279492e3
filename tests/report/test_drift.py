"""An earlier trial beside a run on drift, and what each form of question finds."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from adamem.bench.drift.config import EarlierConfig
from adamem.report.drift.earlier import ASKED, earlier
from adamem.report.drift.forms import forms, in_mix
from adamem.report.drift.gathered import DriftResult, Measured, SetResult

EACH = 400
"""Questions of a form."""
FOUND = {
    "before": {"whether": 0.7, "which": 0.1},
    "stale": {"whether": 0.9, "which": 0.2},
    "anew": {"whether": 0.95, "which": 0.5},
}
"""Of each view the share of questions of a form that find their answer, and find it first."""
MIX = {form: count / sum(ASKED["koziev"].values()) for form, count in ASKED["koziev"].items()}


def gathered_of(trial, *, key="koziev", told=True):
    """A run that asks as many questions of either form, beside a trial of the same number of documents."""
    query = np.arange(2 * EACH, dtype=np.int32)
    form = np.array(["whether", "which"] * EACH)
    arrays = {"alarms": np.array([0.5, 0, 0, 0, 0])}
    for view, shares in FOUND.items():
        rank = query // 2 / EACH
        hit = rank < np.where(form == "whether", shares["whether"], shares["which"])
        arrays[f"exact.{view}"] = np.where(hit, query, -1)[:, None].astype(np.int32)
    asked = {"query": query, "document": query, "key": query, "form": form if told else np.full(2 * EACH, "")}
    drift = DriftResult("lora", (Measured(0, None, arrays, asked, 2 * EACH),))
    piece = SimpleNamespace(facts={"documents": 2 * EACH, "language": "ru"})
    one = SetResult(key, (piece,), {"lora": drift})
    config = EarlierConfig(set=key, documents=2 * EACH, questions=400, cosine=0.5, **trial)
    return SimpleNamespace(leads=[(one, drift)], experiment=SimpleNamespace(earlier=(config,)))


def verdicts(gathered):
    return {r["what"]: r["verdict"] for r in earlier(gathered).records if r["measure"] == "recall@10"}


def mixed(view):
    return round(sum(MIX[form] * FOUND[view][form] for form in MIX), 3)


def test_a_trial_of_another_mix_of_questions_is_judged_in_its_mix():
    """What the trial found is confirmed where the forms, weighted as the collection has them, give it."""
    trial = {view: (mixed(view), mixed(view)) for view in FOUND}
    gathered = gathered_of(trial)
    assert set(verdicts(gathered).values()) == {"confirmed"}
    (record,) = [r for r in earlier(gathered).records if (r["what"], r["measure"]) == ("anew", "recall@10")]
    assert record["now"] == pytest.approx(0.725)
    assert record["now_in_mix"] == pytest.approx(mixed("anew"), abs=1e-3)
    assert record["now_in_mix_low"] < record["now_in_mix"] < record["now_in_mix_high"]
    notes = " ".join(earlier(gathered).notes)
    assert "of all 10,390 questions of the collection 72.9 % “whether” and 27.1 % “which”" in notes
    assert "inferred from its figures and was not recorded" in notes


@pytest.mark.parametrize("how", [{"key": "medquad"}, {"told": False}])
def test_where_the_mix_is_not_known_figures_stand_as_they_are(how):
    """No set without a known mix, and no run that does not tell forms apart, is weighted."""
    gathered = gathered_of(dict.fromkeys(FOUND, (0.5, 0.5)), **how)
    assert all(r["now_in_mix"] is None for r in earlier(gathered).records)
    assert "collection 72.9 %" not in " ".join(earlier(gathered).notes)


def test_what_learns_nothing_is_not_corrected_by_seeds():
    """An untouched encoder finds the same of the same: what differs is what is asked, and so it is for the others."""
    near, far = (mixed("before"), mixed("before")), (0.9, 0.9)
    said = verdicts(gathered_of({"before": far, "stale": far, "anew": (mixed("anew"), mixed("anew"))}))
    assert said["before"].endswith("points: other questions or documents, the encoder is the same")
    assert said["stale"].endswith("points, but so does the untouched encoder")
    assert said["anew"] == "confirmed"
    said = verdicts(gathered_of({"before": near, "stale": far, "anew": far}))
    assert said["before"] == "confirmed"
    assert said["stale"].startswith("corrected by −18.9")


def test_each_form_is_told_by_itself():
    """Recall of either form, by hand; no table where forms are not told apart."""
    gathered = gathered_of(dict.fromkeys(FOUND, (0.5, 0.5)))
    found = {(r["view"], r["form"]): r["value"] for r in forms(gathered).records if r["measure"] == "recall@1"}
    assert found == pytest.approx({(view, form): FOUND[view][form] for view in FOUND for form in MIX})
    assert forms(gathered_of(dict.fromkeys(FOUND, (0.5, 0.5)), told=False)) is None


def test_a_mix_is_weighted_by_hand():
    """All of one form is that form's mean, and half of each their mean."""
    ((_, drift),) = gathered_of(dict.fromkeys(FOUND, (0.5, 0.5))).leads
    assert in_mix(drift, {"whether": 1, "which": 0}, "stale", "recall@10").value == pytest.approx(0.9)
    half = in_mix(drift, {"whether": 0.5, "which": 0.5}, "stale", "recall@10")
    assert half.value == pytest.approx(drift.score("exact", "stale").value)
