"""What is asked and written most often, put into SQL once: SQLAlchemy takes ten times as long over it as SQLite."""

from __future__ import annotations

import collections
import sqlite3
from typing import Any

from sqlalchemy import ClauseElement, Select
from sqlalchemy.dialects import sqlite

_DIALECT = sqlite.dialect(paramstyle="named")


def in_sql(statement: ClauseElement) -> str:
    """A statement as SQLite reads it, its values named as they are here."""
    return str(statement.compile(dialect=_DIALECT))


class Prepared:
    """A query whose text stays the same.

    Parameters
    ----------
    query
        With a `bindparam` for each value that differs from one time to the next.
    """

    def __init__(self, query: Select[Any]) -> None:
        self._text = in_sql(query)
        self._fixed = dict(query.compile(dialect=_DIALECT).params)
        row: Any = collections.namedtuple("_Row", query.selected_columns.keys())  # type: ignore[misc]
        self._row = row._make

    def rows(self, connection: sqlite3.Connection, values: dict[str, Any]) -> list[Any]:
        """All rows, as named tuples of the query's columns."""
        return [self._row(row) for row in connection.execute(self._text, self._fixed | values)]
