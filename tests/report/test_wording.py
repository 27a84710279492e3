"""Figures as people read them."""

from __future__ import annotations

import math

import pytest

from adamem.report import wording
from adamem.report.document import csv_text


@pytest.mark.parametrize("tie", [0.9560025, 0.8165625, 0.9834675])
def test_the_last_bit_of_a_float_never_shows(tie):
    """A mean that lies between two roundings reads alike, however the processor summed it."""
    near = [math.nextafter(tie, 0), tie, math.nextafter(tie, 1)]
    assert len({csv_text(value) for value in near}) == 1
    assert len({wording.fixed(value, 6) for value in near}) == 1


def test_settling_keeps_what_is_no_number():
    """NaN and infinity pass."""
    assert math.isnan(wording.settled(math.nan))
    assert wording.settled(-math.inf) == -math.inf


def test_a_sign_is_shown_where_it_is_asked_for():
    """Differences have one."""
    assert wording.fixed(0.25, 1, "+") == "+0.2"
    assert wording.fixed(-0.25, 2) == "-0.25"
