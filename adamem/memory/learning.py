"""What the encoder of a memory file is to learn and has learnt, in the file's tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from sqlalchemy import ColumnElement, Select, delete, func, insert, select, update

from adamem.encoders.adaptation import Adaptation as LearntOnTop
from adamem.errors import CorruptResult
from adamem.memory.clock import to_datetime
from adamem.memory.drafts import Draft, embedded_text
from adamem.memory.records import Adapted
from adamem.memory.schema import adaptations, encoders, lessons, memories, state
from adamem.memory.scope import findable
from adamem.memory.store import Change, EncoderRow, Store

if TYPE_CHECKING:
    from adamem.adapt import Learnt

FEWEST = 5
"""Fewer held-out lessons make no exam: one question more or less would decide."""
_MOST = 10_000
"""Values in one statement, of which SQLite takes 32,766."""
Standing = Literal["taken", "waiting", "refused", "failed"]


@dataclass(frozen=True, slots=True)
class Lesson:
    """A query and what answers it."""

    id: int
    memory: int
    query: str
    document: str
    """What is read of the memory: the answer alone where the query is its own question, which would give it away."""
    against: tuple[str, ...] = ()
    """What is read of memories that are said not to answer the query."""
    seen: int = 0
    """The number of the last lesson there was when this one was read: what is said later is not in it."""


@dataclass(frozen=True, slots=True)
class Adaptation:
    """What an encoder has learnt, as it is kept."""

    id: int
    base: EncoderRow
    """The encoder that it was learnt on."""
    moves: str
    model: bytes


class Learning:
    """Lessons and adaptations of one file.

    Parameters
    ----------
    store
        The file.
    held_out
        The share of lessons that are never taught.
    """

    def __init__(self, store: Store, *, held_out: float) -> None:
        self._store = store
        self._held_out = held_out

    # -- lessons -------------------------------------------------------------------------------------------------------

    def note_answers(self, change: Change, ids: Sequence[int], drafts: Sequence[Draft]) -> int:
        """Of memories that are added, those that answer a question are lessons; how many."""
        return self._note(
            change, [(number, None) for number, draft in zip(ids, drafts, strict=True) if draft.question is not None]
        )

    def note(self, change: Change, number: int, query: str, *, helpful: bool) -> int:
        """That a memory answers a query, or that it does not; how many lessons are to be learnt by that.

        What was said before of the two is void. Lessons of a query that were learnt are to be learnt again where
        something is said not to answer it.
        """
        asked = func.coalesce(lessons.c.query, _QUESTION) == query
        opposite = lessons.c.held == _AGAINST if helpful else lessons.c.held != _AGAINST
        same = lessons.c.memory == number
        change.connection.execute(delete(lessons).where(same, asked, opposite))
        if helpful:
            # Said again, it stays what it was: what is taught cannot judge as well.
            held = change.connection.execute(select(func.min(lessons.c.held)).where(same, asked)).scalar()
            return self._note(change, [(number, query)], held=held)
        if not change.connection.execute(select(lessons.c.id).where(same, asked)).first():
            row = {"memory": number, "query": query, "created": change.now, "held": _AGAINST}
            change.connection.execute(insert(lessons), [row])
        learnt = (asked, lessons.c.held == 0, lessons.c.learnt.is_not(None))
        return change.connection.execute(update(lessons).where(*learnt).values(learnt=None)).rowcount

    def again(self, change: Change) -> None:
        """Lessons of updates that were refused, or that failed, are to be learnt once more."""
        those = lessons.c.learnt.in_(_without("refused", "failed"))
        change.connection.execute(update(lessons).where(those).values(learnt=None))

    def _note(self, change: Change, found: Sequence[tuple[int, str | None]], *, held: int | None = None) -> int:
        last = change.connection.execute(select(func.coalesce(func.max(lessons.c.id), 0))).scalar_one()
        judges = select(lessons.c.id).where(lessons.c.held == 1).limit(FEWEST)
        judging = len(change.connection.execute(judges).all())
        rows = []
        for place, (number, query) in enumerate(found, start=1):
            # More than the share at first, so that the first update has an exam already.
            share = self._held_out if judging >= FEWEST else max(self._held_out, min(1 / 6, 2 * self._held_out))
            is_held = int((last + place) * _GOLDEN % 1 < share) if held is None else held
            judging += is_held
            rows.append({"memory": number, "query": query, "created": change.now, "held": is_held})
        if rows:
            change.connection.execute(insert(lessons), rows)
        return len(rows)

    def waiting(self) -> int:
        """How many lessons are to be learnt."""
        with self._store.database.read() as connection:
            return int(connection.execute(self._of([func.count()], lessons.c.learnt.is_(None))).scalar_one())

    def next(self, count: int) -> list[Lesson]:
        """The first so many that are to be learnt."""
        return self._lessons(self._of(_COLUMNS, lessons.c.learnt.is_(None)).order_by(lessons.c.id).limit(count))

    def unlike(self, one: Lesson, count: int) -> list[Lesson]:
        """The first so many that are to be learnt and share neither query nor memory nor its text with that one."""
        said = select(memories.c.text).where(memories.c.id == one.memory).scalar_subquery()
        query = self._of(
            _COLUMNS,
            lessons.c.learnt.is_(None),
            lessons.c.memory != one.memory,
            memories.c.text != said,
            _ASKED.is_distinct_from(one.query),
        )
        return self._lessons(query.order_by(lessons.c.id).limit(count))

    def former(self, count: int, *, seed: int) -> list[Lesson]:
        """So many of those that were learnt, drawn at random; 10,000 at most, and none that was refused."""
        learnt = lessons.c.learnt.is_not(None), lessons.c.learnt.not_in(_without("refused"))
        with self._store.database.read() as connection:
            known = list(connection.execute(self._of([lessons.c.id], *learnt)).scalars())
        mixed = np.random.default_rng(seed).permutation(np.array(sorted(known), np.int64))
        drawn = mixed[: min(count, _MOST)].tolist()
        return self._lessons(self._of(_COLUMNS, lessons.c.id.in_(drawn)).order_by(lessons.c.id)) if drawn else []

    def held(self, count: int) -> list[Lesson]:
        """The latest so many that are never taught, one a query."""
        latest = self._of([func.max(lessons.c.id)], held=1).group_by(_ASKED)
        return self._lessons(
            self._of(_COLUMNS, lessons.c.id.in_(latest), held=1).order_by(lessons.c.id.desc()).limit(count)
        )

    def distractors(self, count: int, *, seed: int, answers: Sequence[str]) -> list[str]:
        """What is embedded of so many memories that hold, drawn at random, but for those that say an answer."""
        with self._store.database.read() as connection:
            known = list(connection.execute(select(memories.c.id).where(findable(self._store.now()))).scalars())
            drawn = np.random.default_rng(seed).permutation(np.array(known, np.int64))[:count].tolist()
            query = select(memories.c.question, memories.c.text).where(memories.c.id.in_(drawn)).order_by(memories.c.id)
            rows = connection.execute(query).all()
        found = [(row.text, embedded_text(row.question, row.text)) for row in rows]
        return [whole for text, whole in found if not {text, whole} & set(answers)]

    def _of(self, columns: Sequence[Any], *conditions: ColumnElement[bool], held: int = 0) -> Select[Any]:
        """Columns of the lessons whose memory holds."""
        joined = select(*columns).select_from(lessons).join(memories, memories.c.id == lessons.c.memory)
        return joined.where(lessons.c.held == held, findable(self._store.now()), *conditions)

    def _lessons(self, query: Select[Any]) -> list[Lesson]:
        with self._store.database.read() as connection:
            seen = connection.execute(select(func.max(lessons.c.id))).scalar() or 0
            found = [
                Lesson(row.id, row.memory, row.question, row.text, seen=seen)
                if row.query is None
                else Lesson(row.id, row.memory, row.query, embedded_text(row.question, row.text), seen=seen)
                for row in connection.execute(query)
            ]
            against: dict[str, list[str]] = {}
            asked = lessons.c.query.in_({one.query for one in found})
            for row in connection.execute(self._of(_COLUMNS, asked, held=_AGAINST).order_by(lessons.c.id)):
                against.setdefault(row.query, []).append(embedded_text(row.question, row.text))
        return [
            replace(one, against=tuple(text for text in dict.fromkeys(against[one.query]) if text != one.document))
            if one.query in against
            else one
            for one in found
        ]

    # -- adaptations ---------------------------------------------------------------------------------------------------

    def keep(
        self,
        change: Change,
        base: EncoderRow,
        learnt: Sequence[Lesson],
        outcome: Learnt | None,
        *,
        kind: str,
        moves: str,
        adapted: str | None,
        standing: Standing,
        reason: str,
    ) -> int:
        """Keep what came of lessons, which are learnt by that; its number.

        Where something was said not to answer a query since its lessons were read, they are learnt again, with that.
        """
        taken = standing in ("taken", "waiting")
        values = {
            "base": base.id,
            "adapted": adapted,
            "kind": kind,
            "moves": moves,
            "model": outcome.kept if outcome is not None and taken else None,
            "standing": standing,
            "reason": reason,
            "created": change.now,
            "lessons": len(learnt),
            "before": None if outcome is None else outcome.before,
            "after": None if outcome is None else outcome.after,
            "seconds": 0.0 if outcome is None else outcome.seconds,
        }
        number = _inserted(change, values)
        later = lessons.c.id > min(one.seen for one in learnt)
        said = select(lessons.c.query).where(lessons.c.held == _AGAINST, later)
        unheard = set(change.connection.execute(said).scalars())
        ids = [one.id for one in learnt if one.query not in unheard]
        for some in (ids[start : start + _MOST] for start in range(0, len(ids), _MOST)):
            change.connection.execute(update(lessons).where(lessons.c.id.in_(some)).values(learnt=number))
        return number

    def bring(self, change: Change, base: EncoderRow, learnt: LearntOnTop, adapted: str) -> int:
        """Keep what was learnt elsewhere, not yet in use; its number."""
        values = {
            "base": base.id,
            "adapted": adapted,
            "kind": learnt.kind,
            "moves": learnt.moves,
            "model": learnt.to_bytes(),
            "standing": "taken",
            "reason": "came with a package",
            "created": change.now,
            "lessons": 0,
            "seconds": 0.0,
        }
        return _inserted(change, values)

    def settle(self, change: Change) -> None:
        """Nothing is to be embedded anew any more: it is done, or was given up."""
        waiting = update(adaptations).where(adaptations.c.standing == "waiting")
        change.connection.execute(waiting.values(standing="taken"))

    def use_for_queries(self, change: Change, number: int | None) -> None:
        """Move queries by an adaptation, or by none, from now on."""
        change.connection.execute(update(state).values(adaptation=number))

    def model(self, number: int) -> Adaptation | None:
        """An adaptation that was taken, or None."""
        return self._adaptation(adaptations.c.id == number)

    def of_encoder(self, row: EncoderRow) -> Adaptation | None:
        """What an encoder is that was adapted here: its base, and what that has learnt. None for any other."""
        return self._adaptation(adaptations.c.adapted == row.fingerprint)

    def unfinished(self) -> Adaptation | None:
        """The last one by which the memories have still to be embedded anew."""
        return self._adaptation(adaptations.c.standing == "waiting")

    def all(self) -> list[Adapted]:
        """All there were, the oldest first."""
        used = select(state.c.adaptation, encoders.c.fingerprint).outerjoin(encoders, encoders.c.id == state.c.encoder)
        with self._store.database.read() as connection:
            in_use = connection.execute(used).one()
            rows = connection.execute(
                select(adaptations, func.length(adaptations.c.model).label("bytes")).order_by(adaptations.c.id)
            ).all()
        return [
            Adapted(
                id=row.id,
                created=to_datetime(row.created),
                kind=row.kind,
                moves=row.moves,
                lessons=row.lessons,
                standing=row.standing,
                in_use=row.id == in_use.adaptation
                or (row.moves == "both" and row.model is not None and row.adapted == in_use.fingerprint),
                before=row.before,
                after=row.after,
                seconds=row.seconds,
                bytes=row.bytes or 0,
                reason=row.reason,
            )
            for row in rows
        ]

    def _adaptation(self, *conditions: Any) -> Adaptation | None:
        query = (
            select(adaptations.c.id, adaptations.c.moves, adaptations.c.model)
            .add_columns(adaptations.c.base)
            .add_columns(encoders.c.fingerprint, encoders.c.name, encoders.c.dim)
            .join(encoders, encoders.c.id == adaptations.c.base)
            .where(adaptations.c.model.is_not(None), *conditions)
            .order_by(adaptations.c.id.desc())
            .limit(1)
        )
        with self._store.database.read() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        base = EncoderRow(row.base, row.fingerprint, row.name, row.dim)
        return Adaptation(row.id, base, row.moves, bytes(row.model))


def _inserted(change: Change, values: dict[str, Any]) -> int:
    return int(change.connection.execute(insert(adaptations).values(values).returning(adaptations.c.id)).scalar_one())


def require_model(found: Adaptation | None, number: int, *, file: str) -> Adaptation:
    """Raise `CorruptResult` unless what the file says is in use is in it."""
    if found is None:
        raise CorruptResult(
            f"{file} uses what its encoder has learnt as number {number}, which it has not; "
            "go on without it: use_adaptation(None)"
        )
    return found


def _without(*standings: Standing) -> Select[Any]:
    """The numbers of adaptations that nothing came of, for one of these reasons."""
    return select(adaptations.c.id).where(adaptations.c.standing.in_(standings))


_GOLDEN = (math.sqrt(5) - 1) / 2
"""Its multiples lie evenly in [0, 1) without their whole parts, and so do those of every second or third number (Weyl,
1916): the share of lessons that is held out is the same whatever else takes numbers between them."""
_AGAINST = 2
"""What `held` is of a lesson whose memory does not answer its query."""
_QUESTION = select(memories.c.question).where(memories.c.id == lessons.c.memory).scalar_subquery()
_ASKED = func.coalesce(lessons.c.query, memories.c.question)
"""The query of a lesson, joined with its memory."""
_COLUMNS = (lessons.c.id, lessons.c.memory, lessons.c.query, memories.c.question, memories.c.text)
