"""`MemoryEngine`: the one object that a program keeps its memories with."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy.typing as npt

from adamem.encoders import Encoder
from adamem.errors import AdaMemError, InvalidInput, StorageError, UnknownName
from adamem.index import check_count
from adamem.memory.caretaker import Caretaker
from adamem.memory.clock import Clock, system_clock, to_micros
from adamem.memory.conditions import parse_condition
from adamem.memory.context import TokenCounter, estimated_tokens, written
from adamem.memory.core import Core, Embedded, EmbeddedMeanwhile
from adamem.memory.drafts import (
    NewMemory,
    check_draft,
    check_function,
    check_memory_id,
    check_name,
    check_text,
    check_whole,
)
from adamem.memory.encoder_in_use import check_encoder, one_vector
from adamem.memory.fusion import Fusion, Weighting
from adamem.memory.indexed import index_kind
from adamem.memory.records import (
    Adapted,
    Added,
    Context,
    Defragmented,
    Hit,
    Imported,
    Json,
    LearningTimings,
    Memory,
    Namespace,
    Stats,
    Timings,
    Version,
)
from adamem.memory.reembedding import Progress
from adamem.memory.retrieval import MODES, Mode, Question, Retrieval
from adamem.memory.scope import Scope
from adamem.memory.store import EncoderRow
from adamem.memory.timeline import slot_topic
from adamem.memory.tutor import LearningPlan, Tutor
from adamem.types import ParamValue

if TYPE_CHECKING:
    from adamem.adapt import Adapter

DEFAULT_NAMESPACE = "global"
"""Where memories go that name no namespace, unless the environment variable DEFAULT_NS says another one."""
_PAGE = 500
_TURNS = 10
"""So often a search is begun anew where all is searched by another encoder, or was rolled back, while it embeds."""
_FUSION = Fusion()
_PLAN = LearningPlan()


class MemoryEngine:
    """Keeps any number of memories in one file and finds the few that matter for a query. No server, no network.

    What a method that changes something returns is on the disk (synchronous=FULL), and the next search finds it. One
    engine writes a file at a time, and any number read it; all methods may be called from several threads, and are done
    whole or not at all where an interrupt (Ctrl-C) falls into them. After a fork, each process opens its own.

    Parameters
    ----------
    path
        The SQLite file, made if it is absent; ``":memory:"`` keeps everything in memory, until the engine is closed.
        Beside it lie ``PATH.index/``, indexes and words that are derived from it and may be deleted, ``PATH.versions/``
        where there are any, and ``PATH.lock``.
    encoder
        A name as `open_encoder` takes it (``minilm``, ``lsa``, ``hashing``, ``owner/model``, a folder), or an
        `Encoder`. None means the file's own; for a new file the one that EMBED_MODEL names. It is loaded when it is
        first needed. ``lsa`` is fitted to the texts of the first call that adds any, at least 20 at once, and kept in
        the file.
    index
        The name of a registered index, which must take the metric cosine.
    index_params, search_params
        Its parameters; what is left out takes the index's own defaults, but a search eight times its default effort
        (`ef`, `nprobe`).
    default_namespace
        For calls that name none; else DEFAULT_NS, else ``global``.
    readonly
        Read only, beside whoever writes.
    wait
        Seconds to wait for another engine to close that writes the file.
    tail
        How many vectors may be scanned because the index was not told of them yet; a writer waits past that, unless
        the index cannot be built.
    threads
        For building indexes, which is done beside everything else.
    cache_bytes
        What the open indexes of all namespaces may take together; those asked for the longest ago are closed.
    clock
        Gives the time. Where it goes back, times that are written stand still.
    adapter
        How the encoder learns from questions and their answers (`update`, `feedback`): ``LoRAAdapter()`` or
        ``QueryAdapter()`` of `adamem.adapt`. It does so in a process of its own, at low priority; None leaves the
        encoder as it is. What was learnt stays in use where the file is opened without one; see `use_adaptation`.
    plan
        When it learns, and what is refused.

    Raises
    ------
    StorageError
        if the file cannot be opened, or another engine writes it.
    DataError
        if the file is something else, or of a newer version.
    CorruptResult
        if it is damaged; it stays as it is.
    UnknownName, InvalidInput
        for an index, a parameter or a namespace that is none.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        encoder: str | Encoder | None = None,
        index: str = "spiral",
        index_params: Mapping[str, ParamValue] | None = None,
        search_params: Mapping[str, ParamValue] | None = None,
        default_namespace: str | None = None,
        readonly: bool = False,
        wait: float = 0.0,
        tail: int = 20_000,
        threads: int = 1,
        cache_bytes: int = 1 << 30,
        clock: Clock = system_clock,
        adapter: Adapter | None = None,
        plan: LearningPlan = _PLAN,
    ) -> None:
        if encoder is not None:
            check_encoder(encoder)
        check_function(clock, what="clock")
        kind = index_kind(index, index_params, search_params)
        if adapter is not None and readonly:
            raise InvalidInput("an encoder learns where its file is written; open it without readonly=True, or adapter")
        if adapter is not None:
            _check_adapter(adapter)
        self._default = check_name(
            default_namespace or os.environ.get("DEFAULT_NS", "").strip() or DEFAULT_NAMESPACE, what="namespace"
        )
        room, threads = check_whole(tail, what="tail"), check_count(threads, what="threads")
        most_bytes = _check_bytes(cache_bytes, what="cache_bytes")
        # Where it is now, and not under another name: the lock stands for the file itself.
        where = None if str(path) == ":memory:" else Path(os.path.realpath(_check_path(path)))
        if where is None and readonly:
            raise InvalidInput('":memory:" is empty when it is opened, and with readonly=True nothing could be added')
        self._core = Core(
            where,
            encoder=encoder,
            kind=kind,
            readonly=readonly,
            wait=_check_wait(wait),
            room=room,
            threads=threads,
            most_bytes=most_bytes,
            clock=clock,
            learns=adapter is not None,
            held_out=_check_plan(plan).held_out,
        )
        self._store = self._core.store
        self._retrieval = Retrieval(
            self._core.store, self._core.shelves, self._core.lexicon, None if readonly else self._core.write
        )
        self._caretaker = Caretaker(self._core)
        self._tutor = None
        if adapter is not None:
            try:
                caretaker = self._caretaker
                self._tutor = Tutor(
                    self._core, self._core.learning, adapter, plan, reembed=caretaker.adapt, alone=caretaker.alone
                )
            except BaseException:
                self._core.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- changing ------------------------------------------------------------------------------------------------------

    def add(
        self,
        text: str,
        *,
        namespace: str | None = None,
        type: str = "fact",  # noqa: A002 -- the field's own name for it
        slot: str | None = None,
        metadata: Mapping[str, Json] | None = None,
        keywords: Iterable[str] = (),
        links: Iterable[int] = (),
        credibility: float = 1.0,
        valid_from: datetime | None = None,
        ttl: timedelta | None = None,
        vector: npt.ArrayLike | None = None,
    ) -> Added:
        """Remember a text.

        A memory with a `slot` takes the place of the one that holds in that slot of its namespace, which stays as its
        history; one whose `valid_from` is older than that becomes history itself.

        Parameters
        ----------
        text
            Kept verbatim.
        namespace
            Where it belongs; the default one where it is None.
        type
            What kind of memory it is: any name.
        slot
            What the fact is of, such as ``home.city``.
        metadata
            Names and JSON values.
        keywords
            Any number of words that stand for it.
        links
            Ids of other memories.
        credibility
            From 0 to 1.
        valid_from
            Since when it holds, with a time zone; now, where it is None.
        ttl
            How long it is found from now on; for ever, where it is None.
        vector
            Its vector (d,), where the caller has it already: of any length, it is scaled to 1.

        Raises
        ------
        InvalidInput
            for anything that cannot be kept; nothing is written then.
        StorageError
            if it cannot be written; nothing is.
        """
        new = NewMemory(
            text=text,
            type=type,
            slot=slot,
            metadata=metadata,
            keywords=keywords,
            links=links,
            credibility=credibility,
            valid_from=valid_from,
            ttl=ttl,
        )
        return self.add_many([new], namespace=namespace, vectors=one_vector(vector))[0]

    def update(
        self,
        question: str,
        answer: str,
        *,
        namespace: str | None = None,
        metadata: Mapping[str, Json] | None = None,
        vector: npt.ArrayLike | None = None,
    ) -> Added:
        """Remember what the answer to a question is; it takes the place of an earlier answer to the same question.

        Questions are the same if they differ in case, spacing, quotes and the punctuation that ends words at most. The
        answer is the memory's text; question and answer are embedded together.
        """
        new = NewMemory(text=answer, type="answer", question=question, metadata=metadata)
        return self.add_many([new], namespace=namespace, vectors=one_vector(vector))[0]

    def add_many(
        self,
        memories: Iterable[NewMemory | str],
        *,
        namespace: str | None = None,
        vectors: npt.ArrayLike | None = None,
    ) -> list[Added]:
        """Remember several in one write: all of them are kept, or none.

        Parameters
        ----------
        memories
            Texts, or `NewMemory` for more than a text. Of two of one slot, the later one arrives later.
        namespace
            Where they belong.
        vectors
            Theirs (n, d), where the caller has them already.
        """
        if isinstance(memories, str):
            raise InvalidInput("add_many takes several memories, not one string; write add(...), or a list")
        if not isinstance(memories, Iterable):
            raise InvalidInput(f"add_many takes several memories, not {memories!r}; write a list")
        given = [NewMemory(text=one) if isinstance(one, str) else one for one in memories]
        drafts = [check_draft(one) for one in given]
        name = self._namespace(namespace)
        self._core.require_writer()
        if not drafts:
            return []
        texts = [one.embedded for one in drafts]
        added = self._with_vectors(texts, vectors, lambda embedded: self._core.add(name, drafts, embedded))
        if self._tutor is not None:
            self._tutor.note(sum(draft.question is not None for draft in drafts))
        return added

    def feedback(self, query: str, memory: int, *, helpful: bool = True) -> None:
        """Let the encoder know that a memory answers a query, which it learns with its next lessons.

        Or, with `helpful` False, that it does not: where the query is taught by another memory that answers it, it is
        held against this one as well, and is taught again if it was taught before; by itself it teaches nothing, and
        waits. Of one query and one memory the last word counts. It hides no memory from a search (`delete` does).

        What is deleted, superseded or expired by then is not learnt, unless it is restored. Raises `InvalidInput` where
        the engine was opened without an `adapter`, `UnknownName` for a memory that is none.
        """
        asked, known = check_text(query, what="query"), check_memory_id(memory)
        self._core.require_writer()
        tutor = self._require_tutor()

        def note() -> int:
            number = self.get(known).id  # here, or it might be purged meanwhile
            with self._store.change() as change:
                return self._core.learning.note(change, number, asked, helpful=bool(helpful))

        tutor.note(self._core.write(note))

    def supersede(
        self,
        memory: int,
        text: str,
        *,
        type: str | None = None,  # noqa: A002 -- as in `add`
        metadata: Mapping[str, Json] | None = None,
        keywords: Iterable[str] = (),
        links: Iterable[int] = (),
        credibility: float = 1.0,
        valid_from: datetime | None = None,
        ttl: timedelta | None = None,
        vector: npt.ArrayLike | None = None,
    ) -> Added:
        """Remember a text in the place of a memory that is known by its id, in its namespace.

        It has the slot, the question and, unless another is given, the type of that one, which stays as its history.
        The rest is as in `add`. Raises `UnknownName` if there is no such memory, `InvalidInput` if it is deleted, or if
        another one holds in its place by then: supersede that one, or say since when (`valid_from`, while it held).
        """
        old = self.get(memory)
        self._core.require_writer()
        draft = check_draft(
            NewMemory(
                text=text,
                type=old.type if type is None else type,
                slot=old.slot,
                question=old.question,
                metadata=metadata,
                keywords=keywords,
                links=links,
                credibility=credibility,
                valid_from=valid_from,
                ttl=ttl,
            )
        )
        (added,) = self._with_vectors(
            [draft.embedded],
            one_vector(vector),
            lambda embedded: self._core.add(old.namespace, [draft], embedded, instead_of=old.id),
        )
        if self._tutor is not None and draft.question is not None:
            self._tutor.note(1)
        return added

    def delete(self, memory: int) -> None:
        """Hide a memory from every search; `restore` brings it back. Raises `UnknownName` if there is none.

        What it superseded stays superseded; what is added from now on is neither superseded nor cut short by it.
        """
        self._set_deleted(memory, deleted=True)

    def restore(self, memory: int) -> None:
        """Bring back a memory that was deleted, to where it stood among those of its slot."""
        self._set_deleted(memory, deleted=False)

    # -- reading -------------------------------------------------------------------------------------------------------

    def search(
        self,
        query: str | None = None,
        *,
        namespace: str | None = None,
        top_k: int = 4,
        mode: Mode = "vector",
        type: str | Sequence[str] | None = None,  # noqa: A002 -- as in `add`
        where: Mapping[str, Any] | None = None,
        as_of: datetime | None = None,
        min_score: float | None = None,
        fusion: Fusion = _FUSION,
        weighting: Weighting | None = None,
        vector: npt.ArrayLike | None = None,
        timings: Timings | None = None,
    ) -> list[Hit]:
        """The memories of a namespace that answer a query best, best first; those of equal score by id.

        Found is what holds now: neither deleted, nor superseded, nor expired. A namespace that holds nothing gives [].

        Parameters
        ----------
        query
            What is asked; embedded as a query.
        namespace
            Where to search; the default one where it is None.
        top_k
            How many at most.
        mode
            ``vector``: by what it means. ``lexical``: by the words it has in common, in their English or Russian stems,
            by BM25. ``hybrid``: by both.
        type
            One type of memory, or several; all where it is None.
        where
            A condition on the metadata: ``{"city": "Dallas", "age": {"gte": 18}, "NOT": {"tag": {"in": ["old"]}}}``,
            with eq, ne, in, nin, gt, gte, lt, lte, contains, AND, OR and NOT; see `adamem.memory.conditions`.
        as_of
            What held at that moment, in place of now. The vectors of all that held are compared one by one.
        min_score
            Leave out whatever has a smaller score.
        fusion
            How ``hybrid`` makes one score of two.
        weighting
            What to add to the score of the best for being recent or credible.
        vector
            The query's vector (d,), in place of or beside `query`.
        timings
            To which is added how long the parts of this search took.

        Raises
        ------
        InvalidInput, UnknownName
            for a question that makes no sense.
        """
        name = self._namespace(namespace)
        wanted = check_whole(top_k, what="top_k")
        if mode not in MODES:
            raise UnknownName.of("mode", str(mode), MODES)
        self._core.require_open()
        if query is None and (vector is None or mode != "vector"):
            raise InvalidInput("a search needs a query; pass what is asked, or vector=... where it is embedded already")
        if query is not None:
            check_text(query, what="query", to="look for")
        _check_kinds(fusion, weighting)
        types = _types(type)
        condition = None if where is None else parse_condition(where)
        moment = None if as_of is None else to_micros(as_of, what="as_of")
        least = _check_score(min_score)
        given = one_vector(vector)
        spent = _check_timings(timings)

        def find() -> list[Hit]:
            place, hits = self._core.whereabouts(name), list[Hit]()
            for _ in range(_TURNS):
                problem = None
                try:
                    hits = once(*place)
                except AdaMemError as error:
                    problem = error
                before, place = place, self._store.whereabouts(name)
                if _gone_by(*place) == _gone_by(*before):
                    break  # else vectors were taken out meanwhile, all of them or some
            if problem is not None:
                raise problem
            now = self._store.now()
            if not self._core.readonly and self._core.usage.note((hit.memory.id for hit in hits), now):
                self._core.later(lambda: self._core.usage.write(self._store))
            return hits

        def once(row: EncoderRow | None, number: int | None) -> list[Hit]:
            if number is None or row is None:
                return []
            asked = None
            begun = time.perf_counter()
            if mode != "lexical":
                if given is not None:
                    asked = self._core.encoder.given(given, 1, row)[0]
                elif query is not None:
                    asked = self._core.encoder.query(query, row)
            spent.encode += time.perf_counter() - begun
            question = Question(
                namespace=number,
                name=name,
                text=query,
                vector=asked,
                encoder=row,
                top_k=wanted,
                mode=mode,
                scope=Scope(self._store.now() if moment is None else moment, types, condition),
                is_past=moment is not None,
                fusion=fusion,
                weighting=weighting,
                min_score=least,
            )
            return self._retrieval.search(question, spent)

        return self._core.read(find)

    def build_context(
        self,
        query: str,
        *,
        max_tokens: int = 1_000,
        count_tokens: TokenCounter = estimated_tokens,
        top_k: int = 20,
        **search: Any,
    ) -> Context:
        """What is known about a query, as a text for a language model, with citations.

        Parameters
        ----------
        query
            What is asked.
        max_tokens
            How long the text may be. What has no room is left out whole.
        count_tokens
            Gives a text's tokens, best by the model's own tokenizer; else they are estimated.
        top_k
            How many memories may be in it.
        search
            Whatever else `search` takes.
        """
        most = check_whole(max_tokens, what="max_tokens")
        check_function(count_tokens, what="count_tokens")
        return written(self.search(query, top_k=top_k, **search), most=most, count=count_tokens)

    def get(self, memory: int) -> Memory:
        """A memory by its id, in whatever state it is. Raises `UnknownName` if there is none."""
        number = check_memory_id(memory)
        found = self._core.read(lambda: self._store.get(number))
        if found is None:
            raise UnknownName(f"there is no memory {memory}; it may have been purged, or never added")
        return found

    def get_all(self, *, namespace: str | None = None) -> Iterator[Memory]:
        """All memories of a namespace that hold when the first is asked for, by id, read in pieces."""
        name = self._namespace(namespace)
        now, last = self._core.read(self._store.now), 0

        def page() -> list[Memory]:
            number = self._store.namespace(name)
            return [] if number is None else self._store.page(number, name, after=last, count=_PAGE, at=now)

        while found := self._core.read(page):
            yield from found
            last = found[-1].id

    def history(
        self, slot: str | None = None, *, namespace: str | None = None, memory: int | None = None
    ) -> list[Memory]:
        """Whatever was in a slot and will be, in the order in which it holds: each until its `valid_to`.

        In place of a slot, `memory` is the id of one of them: so the answers to a question are had, or what was
        superseded by its id.
        """
        if (slot is None) == (memory is None):
            raise InvalidInput("history takes a slot or the id of a memory: history('home.city'), history(memory=12)")
        if memory is not None:
            number = check_memory_id(memory)
            return self._core.read(lambda: self._history_of(number))
        name, topic = self._namespace(namespace), slot_topic(check_name(slot, what="slot"))

        def of_slot() -> list[Memory]:
            number = self._store.namespace(name)
            return [] if number is None else self._store.of_topic(number, name, topic)

        return self._core.read(of_slot)

    def count(self, *, namespace: str | None = None) -> int:
        """How many memories of a namespace hold now."""
        name = self._namespace(namespace)

        def counted() -> int:
            number = self._store.namespace(name)
            return 0 if number is None else self._store.count(number, self._store.now())

        return self._core.read(counted)

    def namespaces(self) -> list[Namespace]:
        """All namespaces, by name, with how many memories hold in each now."""
        return self._core.read(lambda: self._store.namespaces(self._store.now()))

    def stats(self) -> Stats:
        """What is in the file and what it takes."""
        row = self._core.known_encoder()
        many, held, past, expired, deleted = self._core.read(lambda: self._store.tally(self._store.now()))
        return Stats(
            path=self._core.file,
            namespaces=many,
            memories=held,
            history=past,
            expired=expired,
            deleted=deleted,
            encoder=None if row is None else row.name,
            dim=None if row is None else row.dim,
            index=self._core.kind.name,
            file_bytes=0
            if self._core.path is None
            else sum(_size(Path(f"{self._core.path}{end}")) for end in ("", "-wal")),
            index_bytes=0 if self._core.path is None else _folder_size(Path(f"{self._core.path}.index")),
            open_bytes=self._core.shelves.nbytes,
        )

    # -- keeping it in order -------------------------------------------------------------------------------------------

    def purge(self, memory: int) -> None:
        """Take a memory out for good: of the file, its log, every version, index and list of words.

        Its id is never given again. The whole file is written anew, which takes some seconds a GB and twice its room
        on the disk, and so is every version that has the memory; the namespace's index is built anew in the background,
        where there is one. Of the words that an ``lsa`` in the file has learned, those go that no memory of the file
        has any more; what the text did to their weights and to the axes that all are placed on stays, until `reembed`
        fits anew.

        What only a version has is purged from there. Raises `UnknownName` if there is no such memory, `CorruptResult`
        if a version is damaged that may have it, `StorageError` if another process reads a version, or the log, just
        then. In the latter case the memory is out of the file, and the log is emptied by the next purge or opening.
        """
        self._caretaker.purge(check_memory_id(memory))

    def create_namespace(self, namespace: str) -> None:
        """Make a namespace that holds nothing yet; `add` makes it as well. Raises `InvalidInput` if it is there."""
        self._caretaker.create_namespace(check_name(namespace, what="namespace"))

    def delete_namespace(self, namespace: str) -> int:
        """Take a namespace out for good, with all it has, as `purge` does; how many memories of the file those were.

        It is known by its name: what versions have of that name goes too, where the file itself has none as well.
        Raises `UnknownName` if there is none in either.
        """
        return self._caretaker.delete_namespace(check_name(namespace, what="namespace"))

    def copy_namespace(self, source: str, target: str) -> int:
        """Copy all memories of a namespace, with their history, to a new one, under new ids; how many.

        Links among them lead to the copies; links to memories of other namespaces stay.

        Raises `UnknownName` if there is no `source`, `InvalidInput` if `target` is there.
        """
        return self._caretaker.copy_namespace(
            check_name(source, what="namespace"), check_name(target, what="namespace")
        )

    def defrag(
        self, *, near: float | None = 0.95, merge: bool = False, progress: Progress | None = None
    ) -> Defragmented:
        """Take out what has expired and what is there twice, and link what is near to each other.

        Two memories are there twice if they hold now and are alike in all that was said of them but links and since
        when; the older one stays, with the links of both and the earlier `valid_from`, and is found by the other's id
        as well. Those that are only near to each other are never taken for the same, because "Loves hiking" is near to
        "Hates hiking"; they get each other's id in `links`. A memory has 10,000 links at most: it keeps those it had
        and the first of those that come; where two that are one have more together, those to the oldest memories.

        What was taken out is in no file any more but in versions, as after `purge`, and as much is written anew for it,
        once. Where another process reads just then, the log says so, and the next purge or opening does it.

        Parameters
        ----------
        near
            From which cosine on two memories are linked; None links none.
        merge
            Take near ones for the same as well that have the same words in the same order: they differ in case,
            spacing, quotes and the punctuation that ends words only.
        progress
            Called with how many memories were looked at and how many there are; what it raises stops it. What was done
            by then stays done.
        """
        _check_progress(progress)
        return self._caretaker.defrag(near=_check_near(near), merge=bool(merge), progress=progress)

    def reembed(self, encoder: str | Encoder, *, keep: bool = True, progress: Progress | None = None) -> int:
        """Embed all memories anew by another encoder, and search by it from then on; how many were embedded.

        Searches and writes go on meanwhile. What is stopped or killed goes on from where it was when it is called
        again; a `rollback` or `use_adaptation` meanwhile stops it, which raises `StorageError`. Going back is calling
        it with the encoder before: its vectors are there, unless `keep` was False. What was learnt on it is not in use
        then; see `use_adaptation`.

        Parameters
        ----------
        encoder
            As `MemoryEngine` takes it. ``lsa`` is fitted each time anew, to all memories that are found or are history;
            where these are the same as before, so is the fit, and nothing is embedded.
        keep
            Whether to keep the vectors of the encoder before.
        progress
            Called with how many are done and how many there are; what it raises stops it.
        """
        check_encoder(encoder)
        _check_progress(progress)
        with self._lessons_waiting():
            return self._caretaker.reembed(encoder, keep=bool(keep), progress=progress)

    def learn(self, *, again: bool = False, timings: LearningTimings | None = None) -> Adapted | None:
        """Let the encoder learn whatever is waiting for it, now, and say what came of the last of it.

        None where there was nothing, or where it teaches nothing: one pair alone is told from no other. With `again`,
        lessons that were refused, or that a recipe has failed on, are learnt once more: by a gentler recipe, or beside
        others. To `timings` is added how long the parts of it took. Raises `InvalidInput` where the engine was opened
        without an `adapter`, and `StorageError` where documents are to be moved, and all memories are being embedded
        anew already.
        """
        self._core.require_writer()
        if timings is not None and not isinstance(timings, LearningTimings):
            raise InvalidInput(f"timings takes a LearningTimings of adamem.memory, not {_type_name(timings)}")
        return self._require_tutor().learn(timings or LearningTimings(), again=bool(again))

    def adaptations(self) -> list[Adapted]:
        """What the encoder has learnt, batch by batch, the oldest first, and what became of it."""
        return self._core.read(self._core.learning.all)

    def use_adaptation(self, adaptation: int | None, *, progress: Progress | None = None) -> None:
        """Embed by what the encoder had learnt then, or, with None, as it was before it learnt anything.

        Where documents are moved too, all memories are embedded anew, beside searches, unless their vectors are still
        there, as those of the encoder itself are. What is learnt next goes on from there; what is being learnt or
        embedded anew just then is given up.

        Raises
        ------
        UnknownName
            if there is no such adaptation, or it was refused.
        InvalidInput
            if it was learnt on another encoder than the memories are of, or what it makes of a query is no vector.
        StorageError
            if the memories were rolled back or embedded anew meanwhile, or another one was chosen.
        """
        _check_progress(progress)
        number = None if adaptation is None else _check_adaptation(adaptation)
        with self._lessons_waiting():
            self._caretaker.use_adaptation(number, progress=progress)

    def snapshot(self, name: str | None = None) -> Version:
        """Keep the whole file as it is now, in ``PATH.versions/``; by the time of day where no name is given."""
        return self._caretaker.snapshot(name)

    def versions(self) -> list[Version]:
        """What `snapshot` has kept, by when."""
        return self._caretaker.versions()

    def rollback(self, version: str) -> None:
        """Make the file what it was when a version was taken.

        What was added since is gone for good, as after `purge`, unless a version has it. Ids that were given since are
        not given again. A version that another file has taken can be brought back too, with its encoders. What is being
        learnt or embedded anew just then is given up. Raises `UnknownName` if there is no such version.
        """
        self._caretaker.rollback(version)
        if self._tutor is not None:
            self._tutor.recount()

    def remove_version(self, version: str) -> None:
        """Take a version away, whole or damaged. Raises `UnknownName` if there is none."""
        self._caretaker.remove_version(version)

    def export_package(
        self,
        path: str | os.PathLike[str],
        *,
        namespaces: Iterable[str] | None = None,
        licence: str | None = None,
        adaptation: bool = False,
    ) -> int:
        """Write memories and their history to a file to hand on; how many.

        It is a zip of a manifest, of JSON lines and of vectors. Deleted memories are left out. The same memories give
        the same bytes.

        Parameters
        ----------
        path
            The file, which is there whole or not at all. A package that is there is replaced, anything else is not.
        namespaces
            Which; all, where it is None.
        licence
            Under which they may be used, for whoever gets them.
        adaptation
            Whether what the encoder has learnt, and is in use, goes along.
        """
        return self._caretaker.export_package(Path(_check_path(path)), namespaces, licence, adaptation=bool(adaptation))

    def import_package(
        self, path: str | os.PathLike[str], *, namespace: str | None = None, max_bytes: int = 8 << 30
    ) -> Imported:
        """Take in what `export_package` has written: all of it, or nothing.

        Memories get new ids, in the order of the package, which links among them follow, and take their places among
        those of their slots; links to what is not in the package are left out. Vectors of the same encoder are taken
        over; else all are embedded, and wait in a temporary file beside this one until they are written. However many
        there are, a thousand are held at once, beside the indexes and two numbers of each in what is returned.

        Parameters
        ----------
        path
            The file.
        namespace
            One to put all of them into; else each goes where it was.
        max_bytes
            What the package may unpack to.

        Raises
        ------
        DataError
            if it is no package, of a newer version, or larger than allowed.
        CorruptResult
            if it is not what was written.
        """
        into = None if namespace is None else check_name(namespace, what="namespace")
        return self._caretaker.import_package(Path(_check_path(path)), into, _check_bytes(max_bytes, what="max_bytes"))

    # -- the end -------------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Return when the indexes have all that was added. Nothing waits for this: searches find it all anyway."""
        self._core.require_open()
        self._core.shelves.flush()

    def close(self) -> None:
        """Save the indexes and let another engine write the file. Nothing that was acknowledged depends on it.

        What the encoder is just learning is given up; its lessons wait for the next time.
        """
        if self._tutor is not None and not self._core.is_forked:
            self._tutor.close()
        self._core.close()

    # -- inside --------------------------------------------------------------------------------------------------------

    def _with_vectors(
        self, texts: list[str], vectors: npt.ArrayLike | None, add: Callable[[Embedded | None], list[Added]]
    ) -> list[Added]:
        """What `add` returns, called with the texts' vectors where nothing else writes."""
        while True:
            embedded = self._core.embedded(texts, vectors)
            try:
                return self._core.write(lambda embedded=embedded: add(embedded))  # type: ignore[misc]
            except EmbeddedMeanwhile:
                if vectors is not None:  # they are not of the encoder that the file has now
                    raise

    @contextlib.contextmanager
    def _lessons_waiting(self) -> Iterator[None]:
        """Around embedding all anew: lessons wait for its end, and nothing else would say so before others come."""
        try:
            yield
        finally:
            if self._tutor is not None:
                with contextlib.suppress(StorageError):  # closed by now: they are learnt when it is opened again
                    self._tutor.recount()

    def _require_tutor(self) -> Tutor:
        if self._tutor is None:
            raise InvalidInput(
                "this engine was opened without an adapter, so its encoder learns nothing; "
                "open it with MemoryEngine(..., adapter=LoRAAdapter())"
            )
        return self._tutor

    def _namespace(self, namespace: str | None) -> str:
        return self._default if namespace is None else check_name(namespace, what="namespace")

    def _set_deleted(self, memory: int, *, deleted: bool) -> None:
        number = check_memory_id(memory)

        def mark() -> None:
            with self._core.telling() as told:
                with self._store.change() as change:
                    told.about((self._store.delete if deleted else self._store.restore)(change, number))
                for namespace in told.namespaces:
                    self._core.shelves.refresh(namespace)

        self._core.write(mark)

    def _history_of(self, number: int) -> list[Memory]:
        found = self._store.topic(number)
        if found is None:
            raise UnknownName(f"there is no memory {number}; it may have been purged, or never added")
        namespace, name, topic = found
        if topic is None:
            memory = self._store.get(number)
            return [] if memory is None or memory.deleted is not None else [memory]
        return self._store.of_topic(namespace, name, topic)


def _gone_by(row: EncoderRow | None, namespace: int | None) -> tuple[EncoderRow | None, int | None, int | None]:
    """All that a search goes by; two rows are equal whatever was learnt on them."""
    return row, None if row is None else row.adaptation, namespace


def _types(given: str | Sequence[str] | None) -> tuple[str, ...]:
    if given is None:
        return ()
    several = [given] if isinstance(given, str) else given
    if not isinstance(several, Iterable):
        raise InvalidInput(f"type must be a string or several, not {given!r}")
    names = tuple(check_name(one, what="type") for one in several)
    if not names:
        raise InvalidInput("type is an empty list, which nothing is of; leave it out for all types")
    return names


def _check_adapter(adapter: object) -> None:
    if isinstance(adapter, type):
        raise InvalidInput(f"adapter takes a recipe, not its class; write adapter={adapter.__name__}()")
    if not (callable(getattr(adapter, "learn", None)) and hasattr(adapter, "moves")):
        raise InvalidInput(f"adapter takes a LoRAAdapter or a QueryAdapter of adamem.adapt, not {_type_name(adapter)}")


def _check_adaptation(number: object) -> int:
    if isinstance(number, bool) or not isinstance(number, int):
        raise InvalidInput(f"an adaptation's id is a whole number, not {number!r}; adaptations() has them")
    if not 0 < number < 1 << 63:
        raise UnknownName(f"there is no adaptation {number}: their ids are whole numbers from 1 on")
    return number


def _check_plan(plan: object) -> LearningPlan:
    if not isinstance(plan, LearningPlan):
        raise InvalidInput(f"plan takes a LearningPlan of adamem.memory, not {_type_name(plan)}")
    return plan


def _type_name(given: object) -> str:
    return type(given).__name__


def _check_kinds(fusion: object, weighting: object) -> None:
    if not isinstance(fusion, Fusion) or not (weighting is None or isinstance(weighting, Weighting)):
        raise InvalidInput("fusion takes a Fusion, and weighting a Weighting; both are in adamem.memory")


def _check_timings(timings: object) -> Timings:
    if timings is None:
        return Timings()
    if not isinstance(timings, Timings):
        raise InvalidInput(f"timings takes a Timings of adamem.memory, not {type(timings).__name__}")
    return timings


def _check_path(path: object) -> str:
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        raise InvalidInput(f"{path!r} is no path; name the file that the memories are kept in, or ':memory:'")
    return check_name(os.fspath(path), what="path")


def _check_wait(wait: object) -> float:
    if isinstance(wait, bool) or not isinstance(wait, (int, float)) or not 0 <= wait < math.inf:
        raise InvalidInput(f"wait must be a number of seconds from 0 on, not {wait!r}")
    return float(wait)


def _check_score(score: object) -> float | None:
    if score is None:
        return None
    if isinstance(score, bool) or not isinstance(score, (int, float)) or not math.isfinite(score):
        raise InvalidInput(f"min_score must be a finite number, not {score!r}")
    return float(score)


def _check_progress(progress: object) -> None:
    if progress is not None:
        check_function(progress, what="progress")


def _check_near(near: object) -> float | None:
    if near is None:
        return None
    if isinstance(near, bool) or not isinstance(near, (int, float)) or not 0 < near <= 1:
        raise InvalidInput(f"near must be a cosine above 0, up to 1, or None, not {near!r}")
    return float(near)


def _check_bytes(size: object, *, what: str) -> int:
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise InvalidInput(f"{what} must be a whole number of bytes from 0 on, not {size!r}")
    return size


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # it went meanwhile
        return 0


def _folder_size(path: Path) -> int:
    return sum(_size(one) for one in path.rglob("*") if one.is_file()) if path.is_dir() else 0
