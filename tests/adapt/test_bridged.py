"""Learning a LoRA with the bridge that lets documents keep their vectors."""

from __future__ import annotations

import numpy as np
import pytest

from adamem.adapt import BridgedAdapter, LoRAAdapter, QueryAdapter
from adamem.encoders import Encoder, open_encoder
from adamem.encoders.adaptation import Adaptation, open_adaptation
from adamem.encoders.bridged import BridgedLora
from adamem.errors import CorruptResult, InvalidInput

RECIPE = LoRAAdapter(rate=2e-3, steps=15, batch=4)


@pytest.mark.minilm
def test_it_learns_concepts_and_documents_are_the_bases(minilm: Encoder, facts):
    """What is kept and opened gives the same vectors, queries differ from the base's and documents do not; it goes on
    from what it has learnt, is refused elsewhere, and damage is found."""
    texts = tuple(pair.document for pair in facts.pairs) + tuple(f"a text on subject {n}" for n in range(20))
    recipe = BridgedAdapter(RECIPE, texts)
    learnt = recipe.learn(minilm, facts.pairs)
    assert isinstance(learnt, Adaptation)
    encoder = learnt.applied_to(minilm)
    assert min(facts.recall(encoder)) > max(facts.recall(minilm)) + 0.3
    opened = open_adaptation(learnt.to_bytes())
    assert (opened.fingerprint, opened.kind, opened.moves) == (learnt.fingerprint, "bridged-lora", "queries")
    assert (opened.base, opened.nbytes) == (minilm.fingerprint, learnt.learnt.nbytes + learnt.bridge.nbytes)
    again, asked = opened.applied_to(minilm), list(facts.reworded)
    assert again.fingerprint == encoder.fingerprint != minilm.fingerprint
    np.testing.assert_allclose(again.encode_query(asked), encoder.encode_query(asked), atol=1e-6)
    assert np.abs(again.encode_query(asked) - minilm.encode_query(asked)).max() > 0.01
    assert again.encode_document(asked).tobytes() == minilm.encode_document(asked).tobytes()
    none = BridgedAdapter(LoRAAdapter(steps=0), texts).learn(minilm, facts.pairs, since=learnt)
    assert none.learnt.to_bytes() == learnt.learnt.to_bytes()
    with pytest.raises(InvalidInput, match="was learnt on the encoder"):
        learnt.applied_to(open_encoder("hashing:384"))
    other = LoRAAdapter(steps=0, seed=1).learn(minilm, facts.pairs)
    with pytest.raises(InvalidInput, match="this bridge leads from the encoder"):
        BridgedLora(other, learnt.bridge).applied_to(minilm)
    with pytest.raises(CorruptResult, match="SHA-256 differs"):
        open_adaptation(learnt.to_bytes()[:-1])


def test_a_recipe_without_texts_or_of_queries_alone_is_refused():
    """There is nothing to fit a bridge to, or nothing to bridge."""
    with pytest.raises(InvalidInput, match="fitted to texts, and none was given"):
        BridgedAdapter(RECIPE, ())
    for recipe in (LoRAAdapter(sides="queries"), QueryAdapter()):
        with pytest.raises(InvalidInput, match="moves queries only"):
            BridgedAdapter(recipe, ("a text",))
