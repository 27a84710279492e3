"""The thread that lets the encoder learn what was asked and answered, beside searches and writes."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from adamem.encoders import Encoder
from adamem.encoders.adaptation import open_adaptation
from adamem.errors import AdaMemError, InvalidInput, LearningFailed, StorageError
from adamem.memory.core import Core, GivenUp
from adamem.memory.drafts import check_text, check_whole
from adamem.memory.learning import FEWEST, Adaptation, Learning, Lesson
from adamem.memory.records import Adapted, LearningTimings
from adamem.memory.store import EncoderRow
from adamem.types import FloatArray

if TYPE_CHECKING:
    from adamem.adapt import Adapter, Exam, Learnt, Pair, Workshop

_EXAMINED = 200
"""So many held-out lessons are asked in an exam, at most."""
_AMONG = 500
"""Among the documents of which, and so many other memories."""
_BRIDGED = 500
"""A bridge is fitted to so many memories, at most."""
_TOGETHER = 32
"""Where few lessons teach nothing: so many together, if so many wait."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class LearningPlan:
    """When the encoder learns, and how what it has learnt is judged.

    Parameters
    ----------
    after
        How many lessons wait until they are learnt together; with 1 each is learnt at once, beside former ones.
    replay
        How many former lessons are learnt again beside each new one.
    held_out
        The share of lessons that are never taught: by them it is judged. Until there are five, up to twice the share.
    golden
        Questions and texts that answer them, by which it is judged instead.
    tolerance
        By how much MRR@10 may fall in that exam; what falls by more is refused. One of n questions that slips from the
        first to the second place costs 0.5 / n.
    nice
        How low the priority of the process that learns is, from 0 to 19.
    documents
        What becomes of the memories' vectors where an adapter moves documents: ``anew``, they are embedded anew by what
        was learnt; ``bridge``, they stay as they are, and queries are brought to them over a bridge, which is fitted to
        a sample of the memories.

    Raises
    ------
    InvalidInput
        if a value is out of its range.
    """

    after: int = 32
    replay: float = 1.0
    held_out: float = 0.1
    golden: tuple[tuple[str, str], ...] = ()
    tolerance: float = 0.01
    nice: int = 10
    documents: Literal["anew", "bridge"] = "anew"

    def __post_init__(self) -> None:
        check_whole(self.after, what="after of a LearningPlan")
        for name, most in (("replay", 100.0), ("held_out", 0.5), ("tolerance", 1.0), ("nice", 19)):
            _check_number(getattr(self, name), most, name)
        if self.documents not in ("anew", "bridge"):
            raise InvalidInput(f"documents of a LearningPlan must be 'anew' or 'bridge', not {self.documents!r}")
        object.__setattr__(self, "golden", _pairs(self.golden))


def _check_number(value: object, most: float, name: str) -> None:
    """A number from 0 on; a whole one where `most` is."""
    wanted = (int,) if isinstance(most, int) else (int, float)
    if isinstance(value, bool) or not isinstance(value, wanted) or not 0 <= value <= most:  # nor is NaN
        whole = " and whole" if isinstance(most, int) else ""
        raise InvalidInput(f"{name} of a LearningPlan must be from 0 to {most:g}{whole}, not {value!r:.60}")


def _pairs(golden: object) -> tuple[tuple[str, str], ...]:
    """Questions and texts that answer them, checked."""
    if isinstance(golden, (str, Mapping)) or not isinstance(golden, Iterable):
        raise InvalidInput(f"golden of a LearningPlan takes pairs of a question and a text, not {golden!r:.60}")
    pairs = tuple(golden)
    for pair in pairs:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise InvalidInput(f"golden of a LearningPlan takes pairs of a question and a text, and has {pair!r:.60}")
        for text in pair:
            check_text(text, what="a text in golden of a LearningPlan", to="ask or to find")
    return tuple((question, answer) for question, answer in pairs)


class Tutor:
    """Lets the encoder of a memory learn; its thread runs only while there is something to learn.

    Parameters
    ----------
    core, learning
        The opened file, and its lessons.
    adapter
        How to learn.
    plan
        When, and how it is judged.
    reembed
        Embeds all memories anew by an encoder, whose documents another one embeds, and searches by it from then on;
        vectors of what was learnt before go. It is given the past that it was learnt from (see `Core.past`), and what
        is to be told how long that took.
    alone
        Around that, and around what it follows from: nobody else embeds all anew meanwhile. Raises `StorageError` where
        somebody does.
    """

    def __init__(
        self,
        core: Core,
        learning: Learning,
        adapter: Adapter,
        plan: LearningPlan,
        *,
        reembed: Callable[[Encoder, Encoder, int, LearningTimings], object],
        alone: Callable[[], contextlib.AbstractContextManager[None]],
    ) -> None:
        if plan.documents == "bridge" and adapter.moves == "queries":
            raise InvalidInput(
                f"a {adapter.kind} that moves queries only leaves documents as they are, so nothing is to be bridged; "
                "leave documents='bridge' out of the LearningPlan"
            )
        self._core = core
        self._learning = learning
        self._adapter = adapter
        self._plan = plan
        self._reembed = reembed
        self._alone = alone
        self._workshop: tuple[Encoder, Workshop] | None = None  # by the very encoder that learns in it
        self._turn = threading.Lock()  # held while something is learnt
        self._lock = threading.Lock()  # held while a thread is started or ends, and while lessons are counted
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._noted = False  # whether there is something that the thread may not have seen
        self._waiting = 0
        self.recount()

    def recount(self) -> None:
        """Look at what is waiting: at the beginning, after a rollback, and when all was embedded anew."""
        self._waiting = 0
        self.note(self._core.read(self._learning.waiting))
        if self._core.read(self._learning.unfinished) is not None:
            with self._lock:
                self._noted = True
            self.wake()

    def note(self, lessons: int) -> None:
        """That so many lessons were added."""
        with self._lock:
            self._waiting += lessons
            self._noted = self._noted or lessons > 0
            is_enough = self._waiting >= self._plan.after
        if is_enough:
            self.wake()

    def wake(self) -> None:
        """Learn, if enough is waiting for it."""
        with self._lock:
            if self._stopping or self._thread is not None:
                return
            thread = threading.Thread(target=self._run, name="adamem-tutor", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # no thread to be had: the next lesson tries again
                _log.warning("the encoder of %s learns nothing: %s", self._core.file, error)
                return
            self._thread = thread

    def learn(self, spent: LearningTimings, *, again: bool) -> Adapted | None:
        """Learn all that is waiting, now; None where that is nothing that teaches anything.

        With `again`, also what was refused or has failed before.
        """
        last = None
        with self._turn:
            self._catch_up(spent)
            if again:
                self._core.write(self._wait_again)
            while (number := self._learn(1, spent)) is not None:
                last = number
        every = self._core.read(self._learning.all)
        return next((one for one in every if one.id == last), None)

    def wait(self) -> None:
        """Return when nothing is being learnt."""
        while (thread := self._thread) is not None:
            thread.join()

    def close(self) -> None:
        """Give up what is being learnt: its lessons go on waiting."""
        with self._lock:
            self._stopping = True
        if self._workshop is not None:
            self._workshop[1].close()
        self.wait()

    def _run(self) -> None:
        while True:
            with self._lock:
                self._noted = False
            waiting = self._learn_or_tell()
            with self._lock:
                # What is added from here on finds no thread, and starts one.
                if self._stopping or not self._noted:
                    self._thread = None
                    self._waiting = self._waiting if waiting is None else waiting
                    return

    def _learn_or_tell(self) -> int | None:
        """Learn while enough is waiting, and how many lessons are then; None where that fails, which the log says."""
        try:
            with self._turn:
                spent = LearningTimings()  # nobody asked
                self._catch_up(spent)
                while not self._stopping and self._learn(self._plan.after, spent) is not None:
                    pass
                return self._core.read(self._learning.waiting)
        except GivenUp as error:
            _log.info("%s", error)
            return None
        except StorageError as error:  # no room on the disk, or somebody else embeds all anew just now
            _log.warning("the encoder of %s cannot go on learning now: %s; nothing is lost", self._core.file, error)
            return None
        except InvalidInput as error:
            _log.warning("the encoder of %s learns nothing: %s", self._core.file, error)
            return 0  # it is tried again when as many have come as are learnt together
        except Exception:  # noqa: BLE001 -- of whatever encoder it is; told in the log
            if not self._stopping:  # else it was given up
                _log.exception("the encoder of %s could not learn; its lessons are kept", self._core.file)
            return None

    def _catch_up(self, spent: LearningTimings) -> None:
        """Embed anew by what was learnt last, where a kill or a full disk came between."""
        if self._core.read(self._learning.unfinished) is None:
            return
        with self._alone():
            past, row = self._core.past, self._core.known_encoder()
            unfinished = self._core.read(self._learning.unfinished)
            if row is not None and unfinished is not None:
                adapted = open_adaptation(unfinished.model).applied_to(self._core.encoder.open(unfinished.base))
                self._embed(adapted, unfinished.base, unfinished.model, past, spent)

    def _learn(self, least: int, spent: LearningTimings) -> int | None:
        """Learn the lessons that wait, if they are so many at least: the number of what came of it, or None."""
        from adamem.adapt import Pair, ProcessFailed  # noqa: PLC0415 -- only who learns needs it

        past, row = self._core.past, self._core.known_encoder()
        if row is None or self._core.read(self._learning.waiting) < least:
            return None
        base, since = self._so_far(row)
        moves = "queries" if self._plan.documents == "bridge" else self._adapter.moves
        if row.id != base.id and moves == "queries":
            raise InvalidInput(
                f"the memories of {self._core.file} are embedded by {row.name}, and what is to be learnt leaves "
                f"documents as {base.name} embeds them; go back to that one first: use_adaptation(None)"
            )
        if moves == "both":
            with self._alone():
                pass  # else it could not be embedded by: sooner told than after an hour of learning
        # A pair alone teaches nothing: where no other was learnt yet, more of those that wait are learnt with it.
        for lessons in self._batches(max(least, self._plan.after)):
            if not lessons:
                return None  # they were taken out meanwhile
            seed = lessons[-1].id
            wanted = max(math.ceil(self._plan.replay * len(lessons)), 2 - len(lessons))
            former = self._core.read(lambda: self._learning.former(wanted, seed=seed))  # noqa: B023 -- called at once
            pairs, replay = ([Pair(one.query, one.document, str(one.memory), against=one.against) for one in some]
                             for some in (lessons, former))  # fmt: skip
            if _teach([*pairs, *replay]):
                break
        else:
            return None
        exam = self._core.read(lambda: self._exam(seed))
        workshop = self._workshop_for(base)
        adapter = self._core.read(lambda: self._recipe(lessons, seed))
        try:
            outcome = workshop.learn(
                adapter, pairs, since=None if since is None else since.model, replay=replay, exam=exam
            )
        except ProcessFailed:
            raise  # no fault of the lessons, which go on waiting
        except LearningFailed as error:  # it is theirs, or that of a recipe that learns too fast
            reason = str(error)
            _log.warning(
                "%d lessons have taught the encoder of %s nothing: %s; learn(again=True) teaches them again",
                len(lessons), self._core.file, reason,
            )  # fmt: skip
            return self._core.write(lambda: self._refuse(base, adapter, lessons, reason), past=past)
        spent.learning += outcome.seconds
        spent.exam += outcome.exam_seconds
        return self._take(base, lessons, outcome, past, spent)

    def _batches(self, count: int) -> Iterator[list[Lesson]]:
        """Lessons that wait: the first so many, more of them, and as many beside them that are unlike the first."""
        yield self._core.read(lambda: self._learning.next(count))
        some = self._core.read(lambda: self._learning.next(_TOGETHER))
        yield some
        if some:
            known = {one.id for one in some}
            others = self._core.read(lambda: self._learning.unlike(some[0], _TOGETHER))
            yield some + [one for one in others if one.id not in known]

    def _so_far(self, row: EncoderRow) -> tuple[EncoderRow, Adaptation | None]:
        """The encoder that learns, and what it has learnt already and is in use."""
        if row.adaptation is not None:
            number = row.adaptation
            return dataclasses.replace(row, adaptation=None), self._core.read(lambda: self._learning.model(number))
        since = self._core.read(lambda: self._learning.of_encoder(row))
        return (row, None) if since is None else (since.base, since)

    def _workshop_for(self, base: EncoderRow) -> Workshop:
        from adamem.adapt import ProcessEnded, Workshop  # noqa: PLC0415 -- only who learns needs it

        with self._lock:
            if self._stopping:
                raise ProcessEnded("the memory was closed while its encoder was learning; nothing is lost")
            encoder = self._core.encoder.open(base)
            if self._workshop is None or self._workshop[0] is not encoder:  # also where words were taken out of it
                if self._workshop is not None:
                    self._workshop[1].close()
                self._workshop = encoder, Workshop(encoder, nice=self._plan.nice)
            return self._workshop[1]

    def _exam(self, seed: int) -> Exam | None:
        from adamem.adapt import Exam  # noqa: PLC0415 -- only who learns needs it

        asked: Sequence[tuple[str, str]] = self._plan.golden
        if not asked:
            asked = [(one.query, one.document) for one in self._learning.held(_EXAMINED)]
            if len(asked) < FEWEST:
                return None
        answers = [answer for _, answer in asked]
        among = self._learning.distractors(_AMONG, seed=seed, answers=answers)
        return Exam(tuple(question for question, _ in asked), (*answers, *among), tuple(range(len(asked))))

    def _recipe(self, lessons: Sequence[Lesson], seed: int) -> Adapter:
        """How to learn, with the texts that a bridge is fitted to where there is one."""
        if self._plan.documents != "bridge":
            return self._adapter
        from adamem.adapt import BridgedAdapter  # noqa: PLC0415 -- only who learns needs it

        own = [one.document for one in lessons]
        # Drawn apart from what the exam draws, which may have some of them too: a bridge is told of no question.
        texts = dict.fromkeys([*own, *self._learning.distractors(_BRIDGED, seed=seed + 1, answers=own)])
        return BridgedAdapter(self._adapter, tuple(texts))  # type: ignore[arg-type]  # it says of itself if it does not fit

    def _wait_again(self) -> None:
        with self._core.store.change() as change:
            self._learning.again(change)

    def _refuse(self, base: EncoderRow, adapter: Adapter, lessons: Sequence[Lesson], reason: str) -> int:
        with self._core.store.change() as change:
            return self._learning.keep(
                change, base, lessons, None, kind=adapter.kind, moves=adapter.moves, adapted=None,
                standing="failed", reason=reason,
            )  # fmt: skip

    def _take(
        self, base: EncoderRow, lessons: Sequence[Lesson], outcome: Learnt, past: int, spent: LearningTimings
    ) -> int:
        begun = time.perf_counter()
        learnt = open_adaptation(outcome.kept)
        encoder = self._core.encoder.open(base)
        adapted = learnt.applied_to(encoder)
        reason, before, after = "", outcome.before, outcome.after
        if before is not None and after is not None and after < before - self._plan.tolerance:
            reason = f"MRR@10 of the exam fell from {before:.3f} to {after:.3f}"
            _log.warning(
                "what %d lessons have taught the encoder of %s is refused: %s; learn(again=True) teaches them again",
                len(lessons), self._core.file, reason,
            )  # fmt: skip
        elif before is None and self._plan.held_out:
            _log.warning(
                "what %d lessons have taught the encoder of %s is taken unjudged: fewer than %d lessons are held out; "
                "golden questions in the LearningPlan judge every update",
                len(lessons), self._core.file, FEWEST,
            )  # fmt: skip

        if not reason:
            adapted.encode_query(["once, so that no search waits for the model"])
        loaded = time.perf_counter()
        spent.loading += loaded - begun

        def keep() -> tuple[int, bool]:
            row = self._core.store.encoder()
            # Somebody may have embedded all by another encoder meanwhile, and wants that.
            is_wanted = not reason and row is not None and self._so_far(row)[0].id == base.id
            moves_queries = learnt.moves == "queries"
            waits = is_wanted and not moves_queries
            with self._core.store.change() as change:
                number = self._learning.keep(
                    change, base, lessons, outcome, kind=learnt.kind, moves=learnt.moves, adapted=adapted.fingerprint,
                    standing="refused" if reason else "waiting" if waits else "taken", reason=reason,
                )  # fmt: skip
                if is_wanted and moves_queries:
                    self._learning.use_for_queries(change, number)
            if is_wanted and moves_queries:
                self._core.encoder.know_moving(adapted, on=encoder)
                self._core.row = self._core.store.encoder()
            return number, waits

        # Lessons are learnt by it only where it can be embedded by: the next ones go on from what is in use.
        with self._alone() if learnt.moves == "both" else contextlib.nullcontext():
            number, waits = self._core.write(keep, past=past)
            spent.switching += time.perf_counter() - loaded
            if waits:
                self._embed(adapted, base, outcome.kept, past, spent)
        return number

    def _embed(self, adapted: Encoder, base: EncoderRow, model: bytes, past: int, spent: LearningTimings) -> None:
        """Embed all memories anew, in the other process; searches go by the former encoder until all are there."""
        self._reembed(adapted, _Elsewhere(adapted, self._workshop_for(base), model), past, spent)


class _Elsewhere:
    """An encoder whose documents are embedded in the other process."""

    def __init__(self, encoder: Encoder, workshop: Workshop, model: bytes) -> None:
        self._encoder = encoder
        self._workshop = workshop
        self._model = model

    @property
    def name(self) -> str:
        return self._encoder.name

    @property
    def dim(self) -> int:
        return self._encoder.dim

    @property
    def fingerprint(self) -> str:
        return self._encoder.fingerprint

    def encode_query(self, texts: list[str]) -> FloatArray:
        return self._encoder.encode_query(texts)

    def encode_document(self, texts: list[str]) -> FloatArray:
        return self._workshop.documents(self._model, texts)


def _teach(pairs: Sequence[Pair]) -> bool:
    from adamem.adapt.pairs import require_contrast  # noqa: PLC0415 -- only who learns needs it

    try:
        require_contrast(pairs)
    except AdaMemError:
        return False
    return True
