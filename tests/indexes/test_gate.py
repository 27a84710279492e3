"""EffortGate: one effort at a time, shared by all who want it."""

from __future__ import annotations

import random
import threading

import pytest

from adamem_indexes._gate import EffortGate


def test_no_search_ever_runs_under_anothers_effort():
    """Eight threads with three efforts: inside, the library's field is always one's own, and all get through."""
    state = {"effort": 0, "inside": 0, "wrong": 0}
    lock = threading.Lock()

    def apply(effort: int) -> None:
        state["wrong"] += state["inside"] != 0  # nobody may be searching
        state["effort"] = effort

    gate = EffortGate(apply)
    start = threading.Barrier(8)

    def work(worker: int) -> None:
        chance = random.Random(worker)
        start.wait(timeout=30)
        for _ in range(300):
            effort = chance.choice([10, 20, 30])
            gate.enter(effort)
            with lock:
                state["inside"] += 1
            for _ in range(chance.randrange(30)):
                state["wrong"] += state["effort"] != effort
            with lock:
                state["inside"] -= 1
            gate.leave()

    threads = [threading.Thread(target=work, args=(worker,), daemon=True) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads), "a thread waits for ever"
    assert state == {"effort": state["effort"], "inside": 0, "wrong": 0}


def test_equal_efforts_are_inside_together():
    """Two searches of one effort do not wait for each other."""
    gate = EffortGate(lambda effort: None)
    both = threading.Barrier(2)

    def work() -> None:
        gate.enter(5)
        try:
            both.wait(timeout=30)  # passes only if the other is inside too
        finally:
            gate.leave()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not both.broken


def test_a_newcomer_does_not_overtake_who_waits():
    """While a change is waited for, a search of the old effort queues behind it."""
    gate = EffortGate(lambda effort: None)
    order: list[str] = []
    gate.enter(1)

    def work(effort: int, name: str) -> None:
        gate.enter(effort)
        order.append(name)
        gate.leave()

    changer = threading.Thread(target=work, args=(2, "changer"))
    changer.start()
    while not gate._changing:
        pass
    newcomer = threading.Thread(target=work, args=(1, "newcomer"))
    newcomer.start()
    newcomer.join(timeout=0.2)
    assert order == []
    gate.leave()
    changer.join(timeout=30)
    newcomer.join(timeout=30)
    assert order == ["changer", "newcomer"]


def test_a_failed_change_leaves_the_gate_open():
    """If the library refuses the effort, the error comes out and others still get in."""

    def apply(effort: int) -> None:
        if effort < 0:
            raise ValueError("too small")

    gate = EffortGate(apply)
    gate.enter(3)
    gate.leave()
    with pytest.raises(ValueError, match="too small"):
        gate.enter(-1)
    gate.enter(4)
    gate.leave()
    assert gate._inside == []
