"""Learning on top of an encoder, from pairs of a query and a document; this imports nothing heavy."""

from adamem.adapt.lora import LoRAAdapter, LoRALearner
from adamem.adapt.pairs import Pair
from adamem.adapt.query import QueryAdapter

__all__ = ["LoRAAdapter", "LoRALearner", "Pair", "QueryAdapter"]
