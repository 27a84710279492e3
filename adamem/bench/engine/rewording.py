"""MedQuAD's questions in other words: a memory whose question is embedded must not be asked in that very question.

MedQuAD (Ben Abacha and Demner-Fushman 2019) has sixteen kinds of question, each of one wording; each gets one here that
has none of its words in common but the name of what it is about.
"""

from __future__ import annotations

import re

_KINDS = (
    (r"what is \(are\) (.+)", "Tell me about {}"),
    (r"what are the symptoms of (.+)", "How would someone notice {}"),
    (r"what are the treatments for (.+)", "How do doctors deal with {}"),
    (r"is (.+) inherited", "Does {} run in families"),
    (r"how many people are affected by (.+)", "Would you call {} rare or common"),
    (r"what are the genetic changes related to (.+)", "Which genes or mutations play a part in {}"),
    (r"what causes (.+)", "Where does {} come from"),
    (r"how to diagnose (.+)", "Which tests show {}"),
    (r"what research \(or clinical trials\) is being done for (.+)", "Are there studies on {} that I could join"),
    (r"what is the outlook for (.+)", "Will someone with {} recover"),
    (r"who is at risk for (.+)", "Could I get {}"),
    (r"how to prevent (.+)", "In which ways can one avoid {}"),
    (r"what to do for (.+)", "Which foods should someone with {} eat"),
    (r"what are the stages of (.+)", "How far can {} spread"),
    (r"what are the complications of (.+)", "Which problems may follow from {}"),
)
_PATTERNS = tuple((re.compile(pattern, re.IGNORECASE), other) for pattern, other in _KINDS)


def reworded(question: str) -> str | None:
    """The same question in other words; None for one of no known kind."""
    bare = question.strip(" ?\n")
    for pattern, other in _PATTERNS:
        if (found := pattern.fullmatch(bare)) is not None:
            return f"{other.format(found[1].strip(' ?'))}?"
    return None
