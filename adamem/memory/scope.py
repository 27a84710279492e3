"""Which memories a question is about: those that hold at a time, of some types, on a condition on their metadata."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, false, func, not_, or_, true

from adamem.memory.conditions import AllOf, AnyOf, Compared, Condition, Not, Scalar
from adamem.memory.schema import memories

_ORDERS = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}
_JSON_NUMBERS = ("integer", "real")


@dataclass(frozen=True, slots=True)
class Scope:
    """What may be found; deleted memories never are."""

    at: int
    """Microseconds since 1970: what held then."""
    types: tuple[str, ...] = ()
    """Any of these; of every type, where there is none."""
    condition: Condition | None = None

    @property
    def is_narrowed(self) -> bool:
        """Whether it leaves out anything that holds."""
        return bool(self.types) or self.condition is not None

    def holds(self) -> ColumnElement[bool]:
        """Of a row of `memories`: whether it may be found."""
        parts = [findable(self.at)]
        if self.types:
            parts.append(memories.c.type.in_(self.types))
        if self.condition is not None:
            parts.append(_on_metadata(self.condition))
        return and_(*parts)


def findable(at: int | ColumnElement[int]) -> ColumnElement[bool]:
    """Of a memory: whether a search finds it that asks what holds at a time."""
    return and_(memories.c.valid_from <= at, may_be_found(at))


def may_be_found(now: int | ColumnElement[int]) -> ColumnElement[bool]:
    """Whether a search for what holds now finds it, or one at a later time will."""
    return and_(
        memories.c.deleted.is_(None),
        or_(memories.c.valid_to.is_(None), memories.c.valid_to > now),
        or_(memories.c.expires.is_(None), memories.c.expires > now),
    )


def _on_metadata(condition: Condition) -> ColumnElement[bool]:
    match condition:
        case AllOf(parts):
            return and_(true(), *(_on_metadata(part) for part in parts))
        case AnyOf(parts):
            return or_(false(), *(_on_metadata(part) for part in parts))
        case Not(part):
            return not_(_on_metadata(part))
        case Compared(name, how, values):
            entry = func.json_each(memories.c.metadata).table_valued("key", "value", "type")
            return exists().where(entry.c.key == name, _compared(entry, how, values))


def _compared(entry: Any, how: str, values: tuple[Scalar, ...]) -> ColumnElement[bool]:
    if how in ("eq", "in"):
        return or_(false(), *(_same(entry, value) for value in values))
    (value,) = values
    if how == "contains":
        element = func.json_each(entry.c.value).table_valued("value", "type")
        inside = and_(entry.c.type == "array", exists().where(_same(element, value)))
        if isinstance(value, str):
            return or_(inside, and_(entry.c.type == "text", func.instr(entry.c.value, value) > 0))
        return inside
    kinds = ("text",) if isinstance(value, str) else _JSON_NUMBERS
    order: Any = _ORDERS[how]
    compared: ColumnElement[bool] = order(entry.c.value, value)
    return and_(entry.c.type.in_(kinds), compared)


def _same(entry: Any, value: Scalar) -> ColumnElement[bool]:
    if value is None or isinstance(value, bool):
        kind = {None: "null", True: "true", False: "false"}[value]
        same: ColumnElement[bool] = entry.c.type == kind
        return same
    kinds = ("text",) if isinstance(value, str) else _JSON_NUMBERS
    return and_(entry.c.type.in_(kinds), entry.c.value == value)
