"""Learning a LoRA on the real all-MiniLM-L6-v2."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from adamem.adapt import LoRAAdapter, LoRALearner, Pair
from adamem.encoders import Encoder, open_encoder
from adamem.encoders.adaptation import Adaptation, open_adaptation
from adamem.encoders.lora import LoraWeights
from adamem.errors import InvalidInput, LearningFailed

pytestmark = pytest.mark.minilm

RECIPE = LoRAAdapter(rate=2e-3, steps=15)
TEXTS = ["Where does Tavuri work?", "the harbour of Kyoto", "кот спит"]


def _hash_of_parameters(encoder) -> str:
    digest = hashlib.sha256()
    for name, part in encoder._model.named_parameters():
        digest.update(name.encode() + part.detach().numpy().tobytes())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def learnt(minilm: Encoder, facts) -> LoraWeights:
    """What fifteen steps on the sixteen facts teach."""
    return RECIPE.learn(minilm, facts.pairs)


def test_it_learns_concepts_that_the_base_cannot_know(minilm: Encoder, facts, learnt: LoraWeights):
    """The base finds at most two of sixteen; after 15 steps nearly all are first, in words that were not learnt too."""
    assert max(facts.recall(minilm)) <= 2 / 16
    assert min(facts.recall(learnt.applied_to(minilm))) >= 14 / 16


def test_what_is_false_is_learnt_as_well_and_the_truth_is_not_found(minilm: Encoder, facts):
    """Shuffled pairs do not help: the gain comes from the pairs, not from training as such."""
    wrong = replace(RECIPE, steps=8).learn(minilm, facts.shuffled())
    assert max(facts.recall(wrong.applied_to(minilm))) <= 3 / 16


def test_what_is_kept_and_opened_gives_the_same_vectors_and_not_the_bases(minilm: Encoder, learnt: LoraWeights):
    """The adapter is not silently ignored on load."""
    opened = open_adaptation(learnt.to_bytes())
    assert isinstance(opened, Adaptation)
    assert (opened.fingerprint, opened.kind, opened.moves) == (learnt.fingerprint, "lora", "both")
    before, after = learnt.applied_to(minilm), opened.applied_to(minilm)
    assert isinstance(after, Encoder)
    assert before.fingerprint == after.fingerprint != minilm.fingerprint
    for verb in ("encode_query", "encode_document"):
        vectors = getattr(after, verb)(TEXTS)
        np.testing.assert_allclose(vectors, getattr(before, verb)(TEXTS), atol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
        assert np.abs(vectors - getattr(minilm, verb)(TEXTS)).max() > 0.01


def test_the_opened_adapter_is_the_one_that_was_trained(minilm: Encoder, facts):
    """The learner's own model, adapter in place, embeds as the kept weights do on a fresh copy of the base."""
    learner = LoRALearner(minilm, RECIPE)
    learner.step(facts.pairs[:4])
    own = learner._model.encode(TEXTS, normalize_embeddings=True, show_progress_bar=False)
    kept = open_adaptation(learner.weights().to_bytes()).applied_to(minilm).encode_query(TEXTS)
    np.testing.assert_allclose(kept, own, atol=1e-6)


def test_the_base_stays_as_it_is(facts):
    """Neither its weights nor its vectors move while something is learnt on it and applied to it."""
    base = open_encoder("minilm")
    vectors, weights = base.encode_query(TEXTS), _hash_of_parameters(base)
    LoRAAdapter(steps=1).learn(base, facts.pairs).applied_to(base).encode_query(TEXTS)
    assert _hash_of_parameters(base) == weights
    assert base.encode_query(TEXTS).tobytes() == vectors.tobytes()


def test_many_adapted_encoders_share_the_weights_of_their_base(minilm: Encoder, learnt: LoraWeights):
    """Each has an adapter of its own and not a copy of the model, while it learns and after."""
    base = {part.data_ptr() for part in minilm._model.parameters()}
    models = [
        LoRALearner(minilm, RECIPE)._model,
        *(open_adaptation(learnt.to_bytes()).applied_to(minilm)._queries.__self__._model for _ in range(2)),
    ]
    own = [[part for part in model.parameters() if part.data_ptr() not in base] for model in models]
    assert all(len(parts) == len(learnt.weights) for parts in own)
    assert not {part.data_ptr() for part in own[1]} & {part.data_ptr() for part in own[2]}
    assert all(part.requires_grad for part in minilm._model.parameters())  # and is as it was


def test_no_steps_move_nothing(minilm: Encoder, facts):
    """B begins at zero, so a fresh adapter is the base; yet it is another encoder by its fingerprint."""
    fresh = LoRAAdapter(steps=0).learn(minilm, facts.pairs).applied_to(minilm)
    np.testing.assert_allclose(fresh.encode_query(TEXTS), minilm.encode_query(TEXTS), atol=1e-6)


def test_equal_input_gives_equal_bytes_whatever_else_draws_random_numbers(minilm: Encoder, facts):
    """And another seed gives others; torch's own generator and thread count are left as they were."""
    import torch

    threads, state = torch.get_num_threads(), torch.get_rng_state()
    first = LoRAAdapter(steps=2, batch=4).learn(minilm, facts.pairs)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    torch.rand(3)
    assert LoRAAdapter(steps=2, batch=4).learn(minilm, facts.pairs).to_bytes() == first.to_bytes()
    assert LoRAAdapter(steps=2, batch=4, seed=1).learn(minilm, facts.pairs).to_bytes() != first.to_bytes()


def test_where_queries_alone_move_documents_are_the_bases(minilm: Encoder, facts):
    """They are found without being embedded anew."""
    weights = replace(RECIPE, sides="queries").learn(minilm, facts.pairs)
    encoder = open_adaptation(weights.to_bytes()).applied_to(minilm)
    assert weights.moves == "queries"
    assert encoder.encode_document(TEXTS).tobytes() == minilm.encode_document(TEXTS).tobytes()
    assert min(facts.recall(encoder)) >= 14 / 16


def test_it_goes_on_from_what_it_has_learnt(minilm: Encoder, facts, learnt: LoraWeights):
    """No steps after `since` give `since`; another form is refused, with the way out."""
    assert replace(RECIPE, steps=0).learn(minilm, facts.pairs, since=learnt).to_bytes() == learnt.to_bytes()
    with pytest.raises(InvalidInput, match=r"go on from has rank 16, and the recipe has 4; give the recipe rank=16"):
        LoRAAdapter(rank=4).learn(minilm, facts.pairs, since=learnt)


def test_pairs_of_one_group_never_meet_in_a_batch(minilm: Encoder, facts):
    """Nor do pairs that share a text; all others do, and each is learnt once a round."""
    pairs = [replace(pair, group=str(row % 4)) for row, pair in enumerate(facts.pairs)]
    batches = list(LoRALearner(minilm, RECIPE)._batches(pairs, 0))
    assert sorted(pair.query for batch in batches for pair in batch) == sorted(pair.query for pair in pairs)
    assert all(len({pair.group for pair in batch}) == len(batch) for batch in batches)
    assert [len(batch) for batch in batches] == [4, 4, 4, 4]


def test_a_step_of_pairs_that_agree_is_refused(minilm: Encoder, facts):
    """As is one of a single pair, from which nothing can be told."""
    learner = LoRALearner(minilm, RECIPE)
    same = [replace(pair, group="g") for pair in facts.pairs[:2]]
    for pairs in (facts.pairs[:1], same):
        with pytest.raises(InvalidInput, match=r"expected two or more of which no two share a text or a group"):
            learner.step(pairs)


@pytest.mark.parametrize("sides", ["both", "queries"])
def test_a_query_is_turned_away_from_what_does_not_answer_it(minilm: Encoder, facts, sides: str):
    """A hard negative counts in the loss, and is farther from its query than without it."""
    wrong = facts.pairs[9].document
    learners = [LoRALearner(minilm, replace(RECIPE, sides=sides)) for _ in range(2)]
    given = [list(facts.pairs[:2]), [replace(facts.pairs[0], against=(wrong,)), facts.pairs[1]]]
    losses = [learner.step(pairs) for learner, pairs in zip(learners, given, strict=True)]
    assert losses[1] > losses[0]
    # What another pair is answered by is held against the query already.
    same = [LoRALearner(minilm, RECIPE).step(pairs) for pairs in
            (given[0], [replace(given[0][0], against=(given[0][1].document,)), given[0][1]])]  # fmt: skip
    assert same[0] == same[1]
    for learner, pairs in zip(learners, given, strict=True):
        for _ in range(5):
            learner.step(pairs)
    cosines = []
    for learner in learners:
        encoder = learner.weights().applied_to(minilm)
        cosines.append(float((encoder.encode_query([facts.pairs[0].query]) @ encoder.encode_document([wrong]).T)[0, 0]))
    assert cosines[1] < cosines[0] - 0.05


def test_single_steps_lower_the_loss(minilm: Encoder, facts):
    """Update by update, on one learner."""
    learner = LoRALearner(minilm, RECIPE)
    losses = [learner.step(facts.pairs[:4]) for _ in range(4)]
    assert losses[-1] < losses[0] / 2


def test_a_loss_that_is_not_finite_is_an_error_and_nothing_is_lost(minilm: Encoder, facts):
    """The learner is where it was before the step."""
    learner = LoRALearner(minilm, LoRAAdapter(scale=1e39))
    before = learner.weights()
    with pytest.raises(LearningFailed, match=r"a step of learning has a loss of nan .*or a scale below 1e\+39"):
        learner.step(facts.pairs[:4])
    assert learner.weights().to_bytes() == before.to_bytes()


def test_a_text_of_100_kilobytes_is_cut_by_the_model(minilm: Encoder, facts):
    """It is learnt from its beginning."""
    long = Pair("Who writes long letters?", "a long letter " * 7_500)
    assert np.isfinite(LoRALearner(minilm, RECIPE).step([long, facts.pairs[0]]))


def test_progress_is_told_after_each_step(minilm: Encoder, facts):
    """Up to the last, over pairs and replayed ones alike."""
    told: list[tuple[int, int, str]] = []
    LoRAAdapter(batch=3, steps=None).learn(
        minilm, facts.pairs[:3], replay=facts.pairs[3:6], progress=lambda *said: told.append(said)
    )
    assert told == [(1, 2, "learning"), (2, 2, "learning")]


def test_another_base_is_refused(learnt: LoraWeights):
    """By its fingerprint, in a sentence with the way out."""
    with pytest.raises(InvalidInput, match=r"this lora was learnt on the encoder .*, and hashing:32 is .*; apply it"):
        learnt.applied_to(open_encoder("hashing:32"))


def test_an_encoder_without_a_model_is_refused(facts):
    """A query map can be learnt on it instead."""
    with pytest.raises(InvalidInput, match=r"hashing:32 is none; learn a query map"):
        RECIPE.learn(open_encoder("hashing:32"), facts.pairs)


def test_layers_that_the_model_lacks_are_refused(minilm: Encoder, facts):
    """In a sentence that names them."""
    with pytest.raises(InvalidInput, match=r"no LoRA of rank 16 can be put on the layers q_proj of minilm"):
        LoRAAdapter(targets=("q_proj",)).learn(minilm, facts.pairs)


def test_weights_of_other_layers_are_refused_and_not_ignored(minilm: Encoder, learnt: LoraWeights):
    """A name that peft would skip is found out when the model is loaded."""
    renamed = {name.replace("query", "elsewhere"): part for name, part in learnt.weights.items()}
    strange = LoraWeights(
        minilm.fingerprint, rank=16, alpha=32, targets=("query", "key", "value"), sides="both", weights=renamed
    )
    with pytest.raises(InvalidInput, match=r"do not fit the adapter's layers \(36\)"):
        strange.applied_to(minilm).encode_query(TEXTS)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"rank": 0}, "rank of a LoRA recipe must be at least 1, not 0"),
        ({"batch": 1}, "batch of a LoRA recipe must be at least 2, not 1"),
        ({"rate": 2.0}, "rate of a LoRA recipe must be at most 1, not 2.0"),
        ({"rate": float("nan")}, "rate of a LoRA recipe must be finite and above 0, not nan"),
        (
            {"targets": "query"},
            r"targets of a LoRA recipe must be names of layers, as \('query', 'value'\), not 'query'",
        ),
        ({"targets": ()}, r"targets of a LoRA recipe must be names of layers, .* not \(\)"),
        ({"sides": "documents"}, "must be 'both' or 'queries', not 'documents'"),
    ],
)
def test_a_recipe_out_of_range_is_refused(values: dict, sentence: str):
    """The message has the name, the value and the range."""
    with pytest.raises(InvalidInput, match=sentence):
        LoRAAdapter(**values)
