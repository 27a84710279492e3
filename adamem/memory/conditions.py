"""Conditions on a memory's metadata, as data: ``{"city": "Dallas", "age": {"gte": 18}, "NOT": {"tag": "old"}}``.

Several in one mapping hold together; ``AND`` and ``OR`` take a list of mappings, ``NOT`` takes one. What stands under a
name is compared with a value, or by operators:

========  ==================================================================================
eq, ne    equal (numbers by value; True is no number), or not equal, or the name is not there
in, nin   one of a list, or none of it, or the name is not there
gt, gte,  greater or less: numbers with numbers, strings with strings, by code point; what is
lt, lte   of another kind, or not there, is neither
contains  a string has a part, or a list an element
========  ==================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

from adamem.errors import InvalidInput, UnknownName

Scalar: TypeAlias = "str | int | float | bool | None"
Operator: TypeAlias = Literal["eq", "in", "gt", "gte", "lt", "lte", "contains"]
OPERATORS = ("eq", "ne", "in", "nin", "gt", "gte", "lt", "lte", "contains")
_ORDERS = ("gt", "gte", "lt", "lte")
_DEEPEST = 20
_MOST = 500
"""Comparisons in one condition; a database takes a statement of limited depth and length."""


@dataclass(frozen=True, slots=True)
class Compared:
    """What stands under one name, compared."""

    name: str
    operator: Operator
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every one holds; where there is none, it holds."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one holds; where there is none, it does not."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """It does not hold."""

    part: Condition


Condition: TypeAlias = Compared | AllOf | AnyOf | Not


def parse_condition(where: Mapping[str, Any]) -> Condition:
    """The condition that a mapping says. Raises `InvalidInput` or `UnknownName` where it makes no sense."""
    condition = _parsed(where, 0)
    if (count := _count(condition)) > _MOST:
        raise InvalidInput(
            f"a condition compares {count:,} values, and at most {_MOST} are taken; ask in several pieces"
        )
    return condition


def _parsed(where: Mapping[str, Any], depth: int) -> Condition:
    if not isinstance(where, Mapping):
        raise InvalidInput(
            f"a condition must be a mapping of names to values, not {where!r}; write {{'city': 'Dallas'}}"
        )
    if depth > _DEEPEST:
        raise InvalidInput(f"a condition is nested deeper than {_DEEPEST}; write it flatter")
    parts: list[Condition] = []
    for name, said in where.items():
        if not isinstance(name, str):
            raise InvalidInput(f"a condition names metadata by strings, not {name!r}")
        if name in ("AND", "OR"):
            if isinstance(said, (str, Mapping)) or not isinstance(said, Sequence):
                raise InvalidInput(
                    f"{name} takes a list of conditions, not {said!r}; write {{{name!r}: [{{...}}, {{...}}]}}"
                )
            inner = tuple(_parsed(one, depth + 1) for one in said)
            parts.append(AllOf(inner) if name == "AND" else AnyOf(inner))
        elif name == "NOT":
            parts.append(Not(_parsed(said, depth + 1)))
        elif isinstance(said, Mapping):
            if not said:
                raise InvalidInput(f"the condition on {name!r} has no operator; known: {', '.join(OPERATORS)}")
            parts += [_compared(name, operator, value) for operator, value in said.items()]
        else:
            parts.append(Compared(name, "eq", (_scalar(name, said),)))
    return parts[0] if len(parts) == 1 else AllOf(tuple(parts))


def _compared(name: str, operator: str, value: Any) -> Condition:
    if operator not in OPERATORS:
        raise UnknownName.of(f"operator on {name!r}", str(operator), OPERATORS)
    if operator in ("in", "nin"):
        if isinstance(value, (str, Mapping)) or not isinstance(value, Sequence):
            raise InvalidInput(f"{operator} on {name!r} takes a list of values, not {value!r}")
        one_of = Compared(name, "in", tuple(_scalar(name, one) for one in value))
        return Not(one_of) if operator == "nin" else one_of
    scalar = _scalar(name, value)
    if operator == "ne":
        return Not(Compared(name, "eq", (scalar,)))
    if operator in _ORDERS and (scalar is None or isinstance(scalar, bool)):
        raise InvalidInput(f"{operator} on {name!r} compares numbers or strings, not {value!r}")
    return Compared(name, cast("Operator", operator), (scalar,))


def _scalar(name: str, value: Any) -> Scalar:
    if value is not None and not isinstance(value, (str, int, float)):
        raise InvalidInput(
            f"the condition on {name!r} compares with {value!r}, which is no string, number, boolean or None; "
            "for several values write {'in': [...]}"
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidInput(f"the condition on {name!r} compares with {value}, which no metadata can hold")
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 1 << 63:
        raise InvalidInput(f"the condition on {name!r} compares with {value}, which does not fit 64 bits")
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise InvalidInput(
                f"the condition on {name!r} compares with a string that holds half of a character (a lone surrogate)"
            ) from error
    return value


def _count(condition: Condition) -> int:
    match condition:
        case Compared(_, _, values):
            return max(1, len(values))
        case Not(part):
            return _count(part)
        case AllOf(parts) | AnyOf(parts):
            return sum(_count(part) for part in parts)
