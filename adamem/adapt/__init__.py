"""Learning on top of an encoder, from pairs of a query and a document; this imports nothing heavy."""

from adamem.adapt.bridged import BridgedAdapter
from adamem.adapt.exam import Exam
from adamem.adapt.lora import LoRAAdapter, LoRALearner
from adamem.adapt.pairs import Pair
from adamem.adapt.protocol import Adapter
from adamem.adapt.query import QueryAdapter
from adamem.adapt.workshop import Learnt, ProcessEnded, ProcessFailed, Workshop

__all__ = [
    "Adapter",
    "BridgedAdapter",
    "Exam",
    "Learnt",
    "LoRAAdapter",
    "LoRALearner",
    "Pair",
    "ProcessEnded",
    "ProcessFailed",
    "QueryAdapter",
    "Workshop",
]
