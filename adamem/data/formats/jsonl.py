"""Text collections: one JSON object a line, and tab-separated judgements; either may be gzipped."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from adamem.errors import DataError

Record = dict[str, Any]


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines that are not blank, from 1, of a UTF-8 text file, gzipped or not; a byte order mark is skipped.

    Raises
    ------
    DataError
        if it ends early or is not UTF-8.
    """
    try:
        with open(path, "rb") as probe:
            packed = probe.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rt", encoding="utf-8-sig") if packed else open(path, encoding="utf-8-sig") as stream:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    yield number, line
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{path} is truncated or altered: {error}; fetch or copy it again") from error


def read_records(path: Path) -> Iterator[Record]:
    """Objects with at least the strings `_id` (each once) and `text`.

    Raises
    ------
    DataError
        naming the line that is something else.
    """
    seen: set[str] = set()
    for number, line in read_lines(path):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}, line {number} is not JSON: {error}; mend it or fetch the file again") from error
        if not isinstance(record, dict) or not all(isinstance(record.get(key), str) for key in ("_id", "text")):
            raise DataError(
                f"{path}, line {number} is {line.strip()[:60]!r}; expected an object with the strings '_id' and "
                "'text'; mend that line"
            )
        if record["_id"] in seen:
            raise DataError(f"{path}, line {number}: the _id {record['_id']!r} was there before; give each its own")
        seen.add(record["_id"])
        yield record


def full_text(record: Record) -> str:
    """What is embedded: the title, where there is one, before the text (as BEIR's own loaders join them)."""
    return f"{record.get('title') or ''} {record['text']}".strip()


def read_qrels(path: Path) -> Iterator[tuple[int, str, str, int]]:
    """(line, query id, document id, grade) of every judgement; a header line is skipped.

    Raises
    ------
    DataError
        naming the line that is not three tab-separated columns with a whole number last.
    """
    for number, line in read_lines(path):
        columns = line.rstrip("\r\n").split("\t")
        if number == 1 and columns[-1] == "score":
            continue
        try:
            query, document, grade = columns
            yield number, query, document, int(grade)
        except ValueError as error:
            raise DataError(
                f"{path}, line {number} is {line.strip()[:60]!r}; expected query id, document id and a whole number, "
                "separated by tabs; mend that line"
            ) from error
