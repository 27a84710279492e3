"""Data sets: cards, file formats, text collections, the exact oracle and the cache."""

from adamem.data.cards import Card, CardFile, card, dataset_names
from adamem.data.check import FileCheck, check
from adamem.data.dataset import Dataset, Qrels
from adamem.data.distance import true_distances
from adamem.data.fetch import fetch
from adamem.data.load import load
from adamem.data.locate import locate
from adamem.data.oracle import exact_neighbours
from adamem.data.own import import_dataset
from adamem.data.places import cache_folder, mirror_folders
from adamem.data.progress import Progress
from adamem.data.text_sets import load_texts
from adamem.data.texts import TextCollection
from adamem.data.truth import ground_truth

__all__ = [
    "Card",
    "CardFile",
    "Dataset",
    "FileCheck",
    "Progress",
    "Qrels",
    "TextCollection",
    "cache_folder",
    "card",
    "check",
    "dataset_names",
    "exact_neighbours",
    "fetch",
    "ground_truth",
    "import_dataset",
    "load",
    "load_texts",
    "locate",
    "mirror_folders",
    "true_distances",
]
