"""What every test relies on, however the suite was started."""

from __future__ import annotations

import signal

import pytest

# A shell without job control starts background jobs with SIGINT ignored, and they hand that on to all their children:
# those that a test interrupts would then never hear of it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """PyNNDescent first: it compiles itself in every process that asks it, a minute each, so that one shall do for all.

    Of several processes the first is given what stands first, and others take from the end of what it has left.
    """
    items.sort(key=lambda item: "pynndescent" not in item.nodeid)
