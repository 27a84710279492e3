"""Whether an encoder that learns online gains what it is said to gain: sequences of tasks made of real texts."""

from adamem.bench.adaptation.banking import banking
from adamem.bench.adaptation.invented import invented
from adamem.bench.adaptation.koziev import koziev
from adamem.bench.adaptation.leakage import leaks, refuse_leaks
from adamem.bench.adaptation.medquad import medquad
from adamem.bench.adaptation.realmem import realmem
from adamem.bench.adaptation.tasks import Document, General, Lesson, Question, Sizes, Task, TaskSequence

__all__ = [
    "Document",
    "General",
    "Lesson",
    "Question",
    "Sizes",
    "Task",
    "TaskSequence",
    "banking",
    "invented",
    "koziev",
    "leaks",
    "medquad",
    "realmem",
    "refuse_leaks",
]
