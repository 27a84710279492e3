"""Figures as people read them: three significant digits, the unit that fits, intervals in brackets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from adamem.bench.stats import AtRecall, Estimate, Status
from adamem.types import ParamValue

NOTHING = "–"

_WHY: dict[Status, str] = {
    "gap": "not bracketed",
    "unreached": "not reached",
    "unmeasured": "not measured",
}


def settled(value: float) -> float:
    """The value to 12 significant digits: what every text and figure rounds, never the float itself.

    The last bits of a float depend on the processor (a BLAS sums in another order on each), and means of recalls often
    lie exactly between two roundings, 0.9560025 say: rounded as they are, a report would read differently elsewhere.
    """
    return float(f"{value:.12g}")


def fixed(value: float, places: int, sign: str = "") -> str:
    """So many decimals; with `sign` "+", the sign stands before positive values too."""
    return f"{settled(value):{sign}.{places}f}"


def number(value: float, digits: int = 3) -> str:
    """Significant digits without exponents, thousands parted by commas."""
    if not math.isfinite(value):
        return NOTHING
    value = settled(value)
    if value == 0:
        return "0"
    places = digits - 1 - math.floor(math.log10(abs(value)))
    rounded = round(value, places)
    return f"{rounded:,.{max(places, 0)}f}"


def seconds(value: float) -> str:
    """A duration in the unit that fits."""
    if not math.isfinite(value):
        return NOTHING
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if abs(value) >= scale * 0.9995 or unit == "µs":
            return f"{number(value / scale)} {unit}"
    raise AssertionError  # pragma: no cover -- the loop ends in µs


def two_seconds(first: float, second: float) -> str:
    """Two durations in the unit that fits the larger: 117 / 193 µs."""
    unit = seconds(max(first, second)).rpartition(" ")[2]
    scale = {"s": 1.0, "ms": 1e-3}.get(unit, 1e-6)
    return f"{number(first / scale)} / {number(second / scale)} {unit}"


def duration(value: float) -> str:
    """Wall time for people: 48 s, 3 min 20 s, 1 h 5 min."""
    whole = round(settled(value))
    if whole < 60:
        return f"{number(value)} s" if value < 10 else f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def megabytes(value: float) -> str:
    """Bytes in MB (10^6)."""
    return f"{number(value / 1e6)} MB"


def times(value: float) -> str:
    """A ratio: 1.32×."""
    return f"{number(value)}×" if math.isfinite(value) else NOTHING


def percent(value: float) -> str:
    """A share: 4.2 %."""
    return f"{number(100 * value, 2)} %" if math.isfinite(value) else NOTHING


def score(value: float) -> str:
    """A recall or another figure in [0, 1]; 1.000 only where nothing was missed."""
    if not math.isfinite(value):
        return NOTHING
    value = settled(value)
    return fixed(min(value, 0.9999), 4) if 0.9995 <= value < 1 else fixed(value, 3)


def change(value: float) -> str:
    """A difference of scores, with its sign: −0.0012."""
    if not math.isfinite(value):
        return NOTHING
    return "0" if round(value, 4) == 0 else fixed(value, 4, "+").replace("-", "−")


def points(value: float) -> str:
    """A difference of scores in points of 0.01, with its sign."""
    return fixed(100 * value, 2, "+").replace("-", "−")


def interval(estimate: Estimate, form: str = "plain") -> str:
    """[low, high] in the digits of `number`, or of `seconds` or `score`; nothing where there is none, or no width."""
    if not (math.isfinite(estimate.low) and math.isfinite(estimate.high)) or estimate.low == estimate.high:
        return ""
    if form == "seconds":
        return f"[{seconds(estimate.low)}, {seconds(estimate.high)}]"
    if form == "score":
        return f"[{score(estimate.low)}, {score(estimate.high)}]"
    return f"[{number(estimate.low)}, {number(estimate.high)}]"


def why_none(estimate: AtRecall) -> str:
    """What stands where there is no value."""
    return _WHY.get(estimate.status, NOTHING)


def params(values: Mapping[str, ParamValue]) -> str:
    """Parameters as one line."""
    return ", ".join(f"{name}={_value(value)}" for name, value in values.items())


def runtime(told: Mapping[str, Any] | None) -> str:
    """Where a contestant ran, if not where the others did: its variables, its interpreter."""
    if told is None:
        return ""
    said = [f"{name}={value}" for name, value in told["environment"].items()]
    if told["interpreter"] is not None:
        said.append(f"Python {told['python']} of {told['interpreter']}")
    return ", ".join(said)


def listed(names: list[str]) -> str:
    """a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _value(value: ParamValue) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
