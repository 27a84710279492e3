"""Two agents with one memory file: they share one namespace, and each keeps another to itself.

python docs/examples/two_agents.py [FILE]      (a new file; one in a temporary folder where none is named)
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from adamem import MemoryEngine

TEAM = "team"


class Agent:
    """An agent remembers for the team or for itself, and asks both at once."""

    def __init__(self, name: str, memory: MemoryEngine) -> None:
        self.name = name
        self.memory = memory

    def tell_the_team(self, text: str, slot: str | None = None) -> None:
        """Every agent finds it; a later fact of the same slot supersedes it, whoever tells it."""
        self.memory.add(text, namespace=TEAM, slot=slot, metadata={"by": self.name})

    def note(self, text: str) -> None:
        """Nobody else ever finds it."""
        self.memory.add(text, namespace=f"private/{self.name}")

    def recall(self, question: str, top_k: int = 1) -> list[str]:
        """What this agent knows: the best of what it noted itself and of what the team was told."""
        hits = [
            *self.memory.search(question, namespace=f"private/{self.name}", top_k=top_k),
            *self.memory.search(question, namespace=TEAM, top_k=top_k),
        ]
        return [hit.memory.text for hit in sorted(hits, key=lambda hit: -hit.score)[:top_k]]


def main(path: Path, encoder: str = "minilm") -> dict[str, list[str]]:
    """Let two agents talk; what each recalls."""
    with MemoryEngine(path, encoder=encoder) as memory:
        planner, writer = Agent("planner", memory), Agent("writer", memory)
        planner.tell_the_team("The report is due on Friday", slot="report.deadline")
        planner.note("The editor dislikes long sentences, do not tell the writer")
        writer.note("My draft of the report has 40 pages")
        # The writer has heard something newer: it supersedes, and stays beside it as history.
        writer.tell_the_team("The report is due on Monday", slot="report.deadline")
        return {
            "the planner, of the deadline": planner.recall("when is the report due?"),
            "the writer, of the deadline": writer.recall("when is the report due?"),
            "the planner, of the editor": planner.recall("what does the editor dislike?"),
            "the writer, of the editor": writer.recall("what does the editor dislike?"),
            "how the deadline came about": [one.text for one in memory.history("report.deadline", namespace=TEAM)],
        }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        for who, found in main(Path(sys.argv[1] if len(sys.argv) > 1 else f"{scratch}/memory.db")).items():
            print(f"{who}: {'; '.join(found)}")
