"""What an encoder is taught, task after task, and what it is asked that it was never taught."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from adamem.errors import InvalidInput
from adamem.files import content_key


@dataclass(frozen=True)
class Document:
    """One thing that is remembered."""

    id: str
    text: str


@dataclass(frozen=True)
class Lesson:
    """A question and the document that answers it: one update of the encoder."""

    question: str
    document: str
    """Its id."""
    group: str
    """Lessons of one group are never each other's negatives: they may share their answer, their label, their entity."""
    shared: tuple[str, ...] = ()
    """Further groups that it is of."""


@dataclass(frozen=True)
class Question:
    """What is asked and never taught."""

    text: str
    relevant: tuple[str, ...]
    """Ids of the documents that answer it, at least one."""
    group: str
    """As of lessons: the entity, label or fact that it is about."""
    form: str = ""
    """How it asks, where the collection has more than one way; the ways differ in how hard they are."""


@dataclass(frozen=True)
class Task:
    """One domain, or one stretch of time."""

    name: str
    documents: tuple[str, ...]
    """Ids of what is remembered of it."""
    lessons: tuple[Lesson, ...]
    """In the order of the stream."""
    wordings: tuple[Question, ...]
    """Level a: other wordings of what was taught."""
    neighbours: tuple[Question, ...]
    """Level b: of the same domain, about what was never taught."""


@dataclass(frozen=True)
class General:
    """Level c: another collection, never trained on, in which questions look for documents of its own."""

    name: str
    documents: tuple[Document, ...]
    questions: tuple[Question, ...]

    @property
    def half_width(self) -> float:
        """Half of the 95 % interval of a share of its questions, at its widest (a share of one half)."""
        return 1.96 * math.sqrt(0.25 / len(self.questions))


@dataclass(frozen=True)
class Sizes:
    """At most so much; at least 1 each."""

    tasks: int = 8
    documents: int = 600
    """Of a task, those that its lessons and questions need among them."""
    lessons: int = 200
    """Of a task."""
    held_out: int = 100
    """Questions of a level of a task."""
    general: int = 500
    """Questions of level c."""

    def __post_init__(self) -> None:
        for name, size in asdict(self).items():
            if size < 1:
                raise InvalidInput(f"Sizes has {name}={size}; expected at least 1; leave it out for the default")


@dataclass(frozen=True)
class TaskSequence:
    """Tasks in the order in which they are learnt.

    Raises
    ------
    InvalidInput
        if two documents share an id, a lesson or question names a document that its task does not remember, a question
        of level a asks for nothing that was taught, or a document is taught in two groups.
    """

    name: str
    language: str
    tasks: tuple[Task, ...]
    documents: tuple[Document, ...]
    """Those of all tasks, each once."""
    general: General
    near_duplicates: int = 0
    """Questions left out when it was made, because a lesson's text was nearly theirs."""

    def __post_init__(self) -> None:
        known = {document.id for document in self.documents}
        if len(known) < len(self.documents):
            raise InvalidInput(f"{self.name} has {len(self.documents)} documents but {len(known)} ids; rename some")
        if lost := {one for task in self.tasks for one in task.documents} - known:
            raise InvalidInput(f"{self.name} lacks the document {min(lost)!r}, which a task remembers; add it")
        group_of: dict[str, str] = {}
        for task in self.tasks:
            _whole(task)
            for lesson in task.lessons:
                if group_of.setdefault(lesson.document, lesson.group) != lesson.group:
                    raise InvalidInput(
                        f"{lesson.document!r} is taught in the groups {group_of[lesson.document]!r} and "
                        f"{lesson.group!r}; join the two, or one would be the other's negative"
                    )

    @property
    def key(self) -> str:
        """The hash of all its texts, ids and groups, in order."""
        return content_key(asdict(self))


def _whole(task: Task) -> None:
    remembered, taught = set(task.documents), {lesson.document for lesson in task.lessons}
    asked = {one for question in task.wordings + task.neighbours for one in question.relevant}
    if lost := (asked | taught) - remembered:
        raise InvalidInput(f"task {task.name} does not remember {min(lost)!r}, which it teaches or asks for; add it")
    if not all(question.relevant for question in task.wordings + task.neighbours):
        raise InvalidInput(f"task {task.name} has a question without a relevant document; leave it out")
    if (stray := next((one for one in task.wordings if not taught & set(one.relevant)), None)) is not None:
        raise InvalidInput(f"task {task.name} asks {stray.text!r} at level a but never taught its answer; use level b")
