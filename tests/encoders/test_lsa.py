"""Latent semantic analysis."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from adamem.encoders.lsa import LsaEncoder
from adamem.errors import InvalidInput

ANIMALS = ["the cat chased the mouse", "a cat and a kitten sleep", "the kitten chased a mouse", "mouse and kitten play"]
MARKETS = ["shares fell on the market", "the market sold shares", "banks sold bonds", "bonds and shares rose"]
RUSSIAN = ["кошка спит на ковре", "собака спит во дворе", "акции упали на бирже", "биржа продала акции"]


def test_texts_without_a_common_word_are_near_when_their_words_meet_elsewhere():
    """That is what the SVD adds to TF-IDF: "cat" and "kitten play" share nothing but company."""
    encoder = LsaEncoder(ANIMALS + MARKETS, dim=3)
    cat, kitten, market = encoder.encode_query(["cat", "kitten play", "market"])
    assert cat @ kitten > 0.9
    assert cat @ market < 0.5


def test_it_spans_the_space_that_scikit_learns_own_svd_spans():
    """Cosines agree with TfidfVectorizer + TruncatedSVD by ARPACK, an independent solver."""
    texts = ANIMALS + MARKETS
    weights = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b").fit_transform(texts)
    rows = TruncatedSVD(n_components=4, algorithm="arpack", random_state=1).fit_transform(weights)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    vectors = LsaEncoder(texts, dim=5).encode_document(texts)
    np.testing.assert_allclose(vectors @ vectors.T, rows @ rows.T, atol=1e-5)


def test_cyrillic_words_are_words():
    """Case folds there, too, and an unknown form of a word is unknown."""
    encoder = LsaEncoder(RUSSIAN, dim=16)
    cat, upper, market = encoder.encode_query(["кошка спит", "КОШКА СПИТ", "акции"])
    np.testing.assert_array_equal(cat, upper)
    assert cat @ encoder.encode_document([RUSSIAN[0]])[0] > 0.5 > abs(cat @ market)


def test_a_text_in_which_no_word_is_known_has_its_own_direction():
    """It is a unit vector, at cosine 0 to every known text and 1 to every other unknown one."""
    encoder = LsaEncoder(ANIMALS, dim=4)
    unknown = encoder.encode_query(["zebra", "", "!?"])
    np.testing.assert_array_equal(unknown @ unknown.T, np.ones((3, 3)))
    np.testing.assert_array_equal(unknown @ encoder.encode_document(ANIMALS).T, np.zeros((3, 4)))


def test_the_dimension_is_clipped_to_what_the_texts_allow():
    """Three texts span three axes at most, and one more is kept for the unknown."""
    assert LsaEncoder(ANIMALS[:3], dim=256).dim == 4
    assert LsaEncoder(["one word", "one word", "one word"], dim=256).dim == 2
    assert LsaEncoder(ANIMALS + MARKETS, dim=4).dim == 4


def test_a_vector_does_not_depend_on_the_texts_beside_it():
    """Encoding in pieces gives the same bytes as encoding at once."""
    encoder = LsaEncoder(ANIMALS + MARKETS, dim=6)
    pieces = np.concatenate([encoder.encode_document([text]) for text in MARKETS])
    assert encoder.encode_document(MARKETS).tobytes() == pieces.tobytes()


def test_the_fingerprint_follows_the_collection_and_the_settings():
    """Fitted to other texts, or cut at another dimension, it is another encoder; fitted again, the same."""
    fitted = LsaEncoder(ANIMALS, dim=3)
    assert fitted.fingerprint == LsaEncoder(ANIMALS, dim=3).fingerprint
    others = [LsaEncoder(MARKETS, dim=3), LsaEncoder(ANIMALS, dim=4), LsaEncoder(ANIMALS, dim=3, seed=1)]
    assert len({fitted.fingerprint, *(other.fingerprint for other in others)}) == 4


def test_another_process_fits_the_same_encoder():
    """Neither hash randomisation nor the number of threads moves a bit: a cache written by one serves the other."""
    code = (
        "from adamem.encoders.lsa import LsaEncoder\n"
        "texts = [' '.join(f'w{(i * j * j) % 97}' for j in range(1, 12)) for i in range(300)]\n"
        "print(LsaEncoder(texts, dim=64).fingerprint)"
    )
    prints = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
        ).stdout
        for seed, threads in (("1", "1"), ("2", "2"))
    }
    assert len(prints) == 1


@pytest.mark.parametrize("texts", [[], ["", "  "], ["--", "!"]])
def test_texts_without_a_word_are_refused(texts: list[str]):
    """There is nothing to fit."""
    with pytest.raises(InvalidInput, match="hold no word"):
        LsaEncoder(texts)
