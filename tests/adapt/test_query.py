"""Learning a query map."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from adamem.adapt import Pair, QueryAdapter
from adamem.adapt.query import loss_and_slopes
from adamem.encoders import Encoder, open_encoder
from adamem.errors import InvalidInput


@pytest.mark.minilm
def test_it_learns_concepts_without_moving_a_document(minilm: Encoder, facts):
    """The base finds at most two of sixteen; the map nearly all, in words that were not learnt too."""
    encoder = QueryAdapter(bound=0.9).learn(minilm, facts.pairs).applied_to(minilm)
    assert max(facts.recall(minilm)) <= 2 / 16
    assert min(facts.recall(encoder)) >= 14 / 16
    wrong = QueryAdapter(bound=0.9).learn(minilm, facts.shuffled()).applied_to(minilm)
    assert max(facts.recall(wrong)) <= 3 / 16


def test_the_bound_holds_and_equal_input_gives_equal_bytes(facts):
    """Any encoder will do, and no query is turned by more than arcsin(bound)."""
    base = open_encoder("hashing:64")
    recipe = QueryAdapter(bound=0.3, rate=0.1)
    learnt = recipe.learn(base, facts.pairs)
    assert learnt.norm <= 0.3 + 1e-6
    assert recipe.learn(base, facts.pairs).to_bytes() == learnt.to_bytes()
    queries = base.encode_query(list(facts.reworded))
    turned = np.arccos(np.clip((learnt(queries) * queries).sum(axis=1), -1, 1))
    assert 0.01 < turned.max() <= np.arcsin(0.3) + 1e-3


@pytest.mark.parametrize("recipe", [QueryAdapter(epochs=0), QueryAdapter(bound=0)])
def test_without_epochs_or_room_it_is_the_identity(recipe: QueryAdapter, facts):
    """A begins at zero."""
    base = open_encoder("hashing:64")
    queries = base.encode_query(list(facts.reworded))
    np.testing.assert_allclose(recipe.learn(base, facts.pairs)(queries), queries, atol=1e-6)


def test_the_slopes_are_those_of_the_loss():
    """Against central differences, with pairs that agree among them."""
    random = np.random.default_rng(0)
    both = random.standard_normal((2, 6, 2)) * 0.3
    queries, documents = (
        rows / np.linalg.norm(rows, axis=1)[:, None]
        for rows in (random.standard_normal((5, 6)), random.standard_normal((7, 6)))  # two of them hard negatives
    )
    agree = np.eye(5, 7, dtype=bool)
    agree[1, 6] = agree[0, 3] = agree[3, 0] = True
    _, slopes = loss_and_slopes(both, queries, documents, agree, scale=20.0)
    differences = np.empty_like(both)
    for place in np.ndindex(both.shape):
        step = np.zeros_like(both)
        step[place] = 1e-6
        up, down = (loss_and_slopes(both + s, queries, documents, agree, scale=20.0)[0] for s in (step, -step))
        differences[place] = (up - down) / 2e-6
    np.testing.assert_allclose(slopes, differences, atol=1e-5)


def test_pairs_that_agree_are_not_held_against_each_other():
    """Two questions with one answer: nothing is pushed away."""
    queries = np.eye(3)[:2]
    documents = np.eye(3)[[2, 2]]
    loss, slopes = loss_and_slopes(
        np.ones((2, 3, 1)) * 0.1, queries, documents, np.ones((2, 2), dtype=bool), scale=20.0
    )
    assert loss == pytest.approx(0)
    np.testing.assert_allclose(slopes, 0, atol=1e-12)


def test_a_query_is_turned_away_from_what_does_not_answer_it(facts):
    """Farther than by its pairs alone, and it alone; whichever place its pair has in a batch."""
    base = open_encoder("hashing:64")
    wrong = "a document that has nothing to do with any of them"
    vector = base.encode_document([wrong])[0]
    recipe = QueryAdapter(batch=5, bound=0.9)
    plain = recipe.learn(base, facts.pairs)
    for place in (0, 7, 15):
        pairs = list(facts.pairs)
        pairs[place] = replace(pairs[place], against=(wrong,))
        held = recipe.learn(base, pairs)
        query = base.encode_query([pairs[place].query])
        assert float((held(query) @ vector)[0]) < float((plain(query) @ vector)[0]) - 0.1
        own = base.encode_document([pairs[place].document])[0]
        assert float((held(query) @ own)[0]) > float((query @ own)[0])


def test_what_one_query_is_held_against_is_not_held_against_the_one_that_it_answers(facts):
    """Two pairs, of which one's document is the other's hard negative: both are found, as without it."""
    base = open_encoder("hashing:64")
    one, other = facts.pairs[:2]
    recipe, cosines = QueryAdapter(bound=0.9), []
    for against in ((), (other.document,)):
        learnt = recipe.learn(base, [replace(one, against=against), other])
        queries = learnt(base.encode_query([one.query, other.query]))
        cosines.append(queries @ base.encode_document([one.document, other.document]).T)
    assert (cosines[1].argmax(axis=1) == [0, 1]).all()
    assert cosines[1][0, 1] < cosines[0][0, 1]  # it counts twice for the one
    assert cosines[1][1, 1] > cosines[0][1, 1] - 0.05


def test_pairs_without_contrast_are_refused():
    """There is nothing to tell them from."""
    with pytest.raises(InvalidInput, match="1 pairs of which no two may be held against each other"):
        QueryAdapter().learn(open_encoder("hashing:64"), [Pair("a", "b")])


@pytest.mark.parametrize("values", [{"bound": 1.0}, {"rank": 0}, {"scale": 0.0}, {"batch": 1}])
def test_a_recipe_out_of_range_is_refused(values: dict):
    """The message has the name and the value."""
    (name, value), *_ = values.items()
    with pytest.raises(InvalidInput, match=f"{name} of a query recipe must be .* not {value}"):
        QueryAdapter(**values)
