"""The collection that every installation carries: docstrings as documents and queries."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from adamem.data.docstrings import prose
from adamem.data.pydocs import MAX_DOCUMENTS, MAX_TOKENS, PyDocs, pydocs, pydocs_versions
from adamem.encoders import open_encoder


@pytest.fixture(scope="module")
def collection() -> PyDocs:
    return pydocs()


def test_it_is_of_a_size_to_search_in(collection: PyDocs):
    """Thousands of documents from each of the three packages, and no more than the most that it may hold."""
    packages = Counter(name.partition(".")[0] for name, _ in collection.documents)
    assert set(packages) == {"numpy", "scipy", "sklearn"}
    assert min(packages.values()) > 500
    assert 3_000 < len(collection.documents) <= MAX_DOCUMENTS
    assert len(collection.queries) > 3_000


def test_no_text_and_no_id_stands_twice(collection: PyDocs):
    """Equal bodies are one document, equal summaries one query."""
    for texts in (collection.documents, collection.queries):
        assert len({name for name, _ in texts}) == len(texts) == len({text for _, text in texts})


def test_every_query_and_every_document_is_judged(collection: PyDocs):
    """The judgements name only what is there, each pair once."""
    asked, answers = zip(*collection.qrels, strict=True)
    assert set(asked) == {name for name, _ in collection.queries}
    assert set(answers) == {name for name, _ in collection.documents}
    assert len(set(collection.qrels)) == len(collection.qrels)


def test_a_known_function_asks_with_its_summary_for_its_body(collection: PyDocs):
    """numpy.linalg.norm, as its docstring has it."""
    assert dict(collection.queries)["numpy.linalg.norm"] == "Matrix or vector norm."
    assert dict(collection.documents)["numpy.linalg.norm"].startswith(
        "This function is able to return one of eight different matrix norms"
    )
    assert ("numpy.linalg.norm", "numpy.linalg.norm") in collection.qrels


def test_functions_written_in_c_are_in_it(collection: PyDocs):
    """Their docstrings are added at run time: only an import finds them."""
    assert {"numpy.arctan2", "numpy.ndarray.sort", "scipy.special.gamma"} <= {name for name, _ in collection.documents}


def test_texts_are_prose_of_at_most_64_tokens_on_one_line(collection: PyDocs):
    """No prompt, directive, role, heading's rule or address is left, and nothing that changes from run to run."""
    junk = re.compile(r">>>|\n|\.\. \w+::|:[a-z]+:`|``|-{4,}|={4,}|https?://| at 0x[0-9a-f]{6}|on this platform")
    for name, text in collection.documents + collection.queries:
        assert not junk.search(text), (name, text)
        assert text == " ".join(text.split())
    for name, text in collection.documents:
        assert len(re.findall(r"\w+|[^\w\s]", text)) <= MAX_TOKENS, name


def test_private_names_are_not_in_it(collection: PyDocs):
    """Nor are tests and vendored code."""
    parts = {part for name, _ in collection.documents + collection.queries for part in name.split(".")}
    assert not [part for part in parts if part.startswith("_")]
    assert not parts & {"tests", "conftest", "externals"}


def test_another_process_reads_the_same_bytes_and_prints_nothing():
    """Neither hash randomisation nor what was imported before moves anything; warnings are no obstacle."""
    code = (
        "import hashlib, json, sys\n{first}\nfrom adamem.data.pydocs import pydocs\n"
        "found = pydocs()\nprint(hashlib.sha256(json.dumps(found).encode()).hexdigest())"
    )
    printed = [
        subprocess.run(
            [sys.executable, "-W", "error", "-c", code.format(first=first)],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed},
        )
        for seed, first in (("1", ""), ("2", "import sklearn.svm, sklearn.experimental.enable_halving_search_cv"))
    ]
    assert printed[0].stdout == printed[1].stdout
    assert re.fullmatch("[0-9a-f]{64}\n", printed[0].stdout)
    assert printed[0].stderr == ""


def test_it_says_which_versions_it_was_read_from():
    """The collection is what these three say."""
    assert set(pydocs_versions()) == {"numpy", "scipy", "scikit-learn"}


def test_a_summary_finds_its_own_body_far_more_often_than_by_chance(collection: PyDocs):
    """It is a retrieval task: even LSA has a right body among its first ten for a third of the queries."""
    texts = [text for _, text in collection.documents]
    encoder = open_encoder("lsa", fit_on=texts)
    scores = encoder.encode_query([text for _, text in collection.queries]) @ encoder.encode_document(texts).T
    top = np.argpartition(-scores, 10, axis=1)[:, :10]
    relevant = set(collection.qrels)
    names = [name for name, _ in collection.documents]
    hits = [
        any((query, names[row]) in relevant for row in rows)
        for (query, _), rows in zip(collection.queries, top, strict=True)
    ]
    assert 0.33 < np.mean(hits) < 0.9


EXAMPLE = """bend(x, /, out=None)

    Bend `x` towards :func:`~numpy.sin`, e.g. Newton's way. It is ``fast``
    and *stable* [1]_, see the `guide <https://example.org/guide>`_.

    .. versionadded:: 1.2
       Not wanted.

    .. note::

       A note is prose.

    The rule is::

        code = 1

    and :math:`n > 0` or :math:`\\frac{1}{2}`.

    Parameters
    ----------
    x : array_like
        What is bent.
    out : ndarray
        Where it goes.
    y : int

    Returns
    -------
    out : ndarray
        What came of it.

    See Also
    --------
    straighten : The opposite.

    Notes
    -----
    Bending is old.

    >>> bend(1)
    2

    Examples
    --------
    Nothing of this.
    """


def test_a_docstring_becomes_a_summary_and_a_body_of_prose():
    """Mark-up, code, versions, types, stock parameters, names and examples go; notes come before the parameters."""
    assert prose(EXAMPLE) == (
        "Bend x towards sin, e.g. Newton's way.",
        "It is fast and stable [1], see the guide. A note is prose. The rule is: and n > 0 or. Bending is old. "
        "x: What is bent. out: What came of it.",
    )


@pytest.mark.parametrize("docstring", ["", "   \n ", "f(x)", "BoolDType()\n--\n\n", "f(x, *, y=(1, 2)) -> int"])
def test_a_docstring_that_says_nothing_is_empty(docstring: str):
    """A bare signature is no sentence."""
    assert prose(docstring) == ("", "")


def test_the_heading_that_opens_a_module_is_its_summary():
    """With a rule above and below, or below only."""
    assert prose("=====\nTitle\n=====\n\nThe text.\n") == ("Title", "The text.")
    assert prose("Title\n=====\n\nThe text.\n") == ("Title", "The text.")
