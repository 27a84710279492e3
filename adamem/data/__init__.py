"""Data sets: cards, file formats, text collections, the exact oracle and the cache."""

from adamem.data.cards import Card, CardFile, card, dataset_names
from adamem.data.dataset import Dataset, Qrels
from adamem.data.load import load
from adamem.data.oracle import exact_neighbours, true_distances
from adamem.data.progress import Progress

__all__ = [
    "Card",
    "CardFile",
    "Dataset",
    "Progress",
    "Qrels",
    "card",
    "dataset_names",
    "exact_neighbours",
    "load",
    "true_distances",
]
