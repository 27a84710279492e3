"""Times: aware datetimes for people, whole microseconds since 1970 in the file."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from adamem.errors import InvalidInput

Clock = Callable[[], datetime]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FIRST, _LAST = ((edge.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND for edge in (datetime.min, datetime.max))


def system_clock() -> datetime:
    """The machine's own time, in UTC."""
    return datetime.now(UTC)


def to_micros(moment: datetime, *, what: str) -> int:
    """Microseconds since 1970. Raises `InvalidInput` where it is no datetime, or one without a time zone."""
    if not isinstance(moment, datetime):
        raise InvalidInput(
            f"{what} must be a datetime, not {type(moment).__name__}; "
            "write datetime(2026, 5, 1, tzinfo=UTC), or datetime.fromisoformat(...) for a text"
        )
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise InvalidInput(f"{what} is {moment}, which names no time zone; write datetime(..., tzinfo=UTC)")
    micros = (moment - _EPOCH) // _MICROSECOND
    if not _FIRST <= micros <= _LAST:
        raise InvalidInput(f"{what} is {moment}, which in UTC lies outside of the years 1 to 9999")
    return micros


def to_datetime(micros: int) -> datetime:
    """The moment that many microseconds after 1970, in UTC."""
    return _EPOCH + timedelta(microseconds=micros)
