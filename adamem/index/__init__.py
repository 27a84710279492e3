"""The index protocol: what a vector index is to AdaMem, how one is found, and how its input is checked."""

from adamem.index.base import IndexBase, empty_result
from adamem.index.filter import IdFilter
from adamem.index.protocol import Capabilities, Index, Param, SearchResult
from adamem.index.registry import GROUP, index_class, index_names, names_that_can
from adamem.index.validate import (
    check_count,
    check_ids,
    check_k,
    check_metric,
    check_params,
    check_queries,
    check_seed,
    check_vectors,
)

__all__ = [
    "GROUP",
    "Capabilities",
    "IdFilter",
    "Index",
    "IndexBase",
    "Param",
    "SearchResult",
    "check_count",
    "check_ids",
    "check_k",
    "check_metric",
    "check_params",
    "check_queries",
    "check_seed",
    "check_vectors",
    "empty_result",
    "index_class",
    "index_names",
    "names_that_can",
]
