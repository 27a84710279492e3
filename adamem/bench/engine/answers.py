"""What to embed of an answer that is remembered with its question: the answer, the question, or both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adamem.bench.context import Reporter
from adamem.bench.engine.config import AnswersConfig, EngineContestant
from adamem.bench.engine.rewording import reworded
from adamem.bench.engine.scores import DEPTH
from adamem.bench.load import progress_of
from adamem.data import load_texts
from adamem.data.embed import embed
from adamem.encoders import Encoder
from adamem.errors import ConfigError
from adamem.files import content_key
from adamem.memory import MemoryEngine
from adamem.memory.drafts import embedded_text
from adamem.types import AnyArray, FloatArray

EMBEDDED = ("answer", "question", "both")
ASKED = ("same", "reworded")


@dataclass(frozen=True)
class Answered:
    """Questions, each with its answer and in other words; all of `n`."""

    questions: list[str]
    answers: list[str]
    others: list[str]

    @property
    def key(self) -> str:
        """The hash of it all."""
        return content_key([self.questions, self.answers, self.others])


def load_answered(config: AnswersConfig, *, seed: int) -> Answered:
    """Some of a collection's questions with one answer each, no two questions alike.

    Raises
    ------
    ConfigError
        if too few of the questions can be put in other words.
    """
    texts = load_texts(config.dataset)
    pairs: dict[str, tuple[str, str, str]] = {}
    for query, document in zip(texts.qrels.query.tolist(), texts.qrels.document.tolist(), strict=True):
        question = texts.queries[query]
        other = reworded(question)
        if other is not None:
            pairs.setdefault(" ".join(question.casefold().split()), (question, texts.rows[document], other))
    if len(pairs) < config.queries:
        raise ConfigError(
            f"{config.dataset} has {len(pairs)} questions that can be put in other words, and {config.queries} are "
            "wanted; ask for fewer with answers.queries"
        )
    found = sorted(pairs)
    chosen = np.sort(np.random.default_rng([seed, 2]).permutation(len(found))[: config.queries])
    questions, answers, others = zip(*(pairs[found[one]] for one in chosen.tolist()), strict=True)
    return Answered(list(questions), list(answers), list(others))


def measure_answers(
    answered: Answered,
    encoder: Encoder,
    contestant: EngineContestant,
    folder: Path,
    *,
    reporter: Reporter,
) -> dict[str, AnyArray]:
    """``E_A_rows`` int32 (n, 10) for each way E to embed and A to ask; the answer to question i is memory i."""
    with progress_of(reporter) as bar:

        def documents(texts: list[str]) -> FloatArray:
            return embed(texts, encoder, "document", part="base", metric="cosine", progress=bar).map()

        def queries(texts: list[str]) -> FloatArray:
            return embed(texts, encoder, "query", part="queries", metric="cosine", progress=bar).map()

        # Both as the engine's `update` embeds them.
        pairs = zip(answered.questions, answered.answers, strict=True)
        base = {
            "answer": documents(answered.answers),
            "question": documents(answered.questions),
            "both": documents([embedded_text(question, answer) for question, answer in pairs]),
        }
        asked = {"same": queries(answered.questions), "reworded": queries(answered.others)}
    reporter.stage("answers to questions", len(EMBEDDED) * len(ASKED) * len(answered.questions))
    out: dict[str, AnyArray] = {}
    for embedded in EMBEDDED:
        with MemoryEngine(
            folder / f"{embedded}.db",
            encoder=encoder,
            index=contestant.index,
            index_params=contestant.build,
            search_params=contestant.search,
        ) as engine:
            engine.add_many(answered.answers, vectors=base[embedded])
            for way in ASKED:
                rows = np.full((len(answered.questions), DEPTH), -1, np.int32)
                for number, vector in enumerate(asked[way]):
                    hits = engine.search(vector=vector, top_k=DEPTH)
                    rows[number, : len(hits)] = [hit.memory.id - 1 for hit in hits]
                    reporter.advance()
                out[f"{embedded}_{way}_rows"] = rows
    return out
