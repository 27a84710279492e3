"""The process in which an encoder learns: what ends it, and what it says of what it cannot do."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time

import psutil
import pytest

from adamem.adapt import ProcessEnded, QueryAdapter, Workshop
from adamem.encoders import open_encoder
from adamem.errors import InvalidInput

FOR_EVER = QueryAdapter(epochs=10**9)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_closing_waits_for_no_child_that_was_forked(facts):
    """Such a child holds the same pipes open, so that neither end of them is told of a close."""
    workshop, ended = Workshop(open_encoder("hashing:64"), nice=0), []

    def learn():
        try:
            workshop.learn(FOR_EVER, facts.pairs)
        except ProcessEnded as error:
            ended.append(error)

    learning = threading.Thread(target=learn)
    learning.start()
    while workshop._process is None:
        time.sleep(0.01)
    process = workshop._process
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover -- in the child
        os.read(told, 1)
        os._exit(0)
    closing = threading.Thread(target=workshop.close)
    closing.start()
    closing.join(60)
    is_closed = not closing.is_alive()
    os.write(tell, b".")
    os.waitpid(child, 0)
    process.kill()
    for thread in (closing, learning):
        thread.join()
    os.close(told)
    os.close(tell)
    assert is_closed
    assert [str(error) for error in ended] == ["the memory was closed while its encoder was learning; nothing is lost"]


KILLED = """
import os, threading, time
from adamem.adapt import Pair, QueryAdapter, Workshop
from adamem.encoders import open_encoder
workshop = Workshop(open_encoder("hashing:64"), nice=0)
workshop.documents(None, ["so that it is at work"])
pairs = [Pair("Where is Brimolk?", "a bakery"), Pair("Where is Tavuri?", "the ferry")]
threading.Thread(target=workshop.learn, args=(QueryAdapter(epochs=10**9), pairs), daemon=True).start()
child = os.fork()
if child:
    print(workshop._process.pid, child, flush=True)
time.sleep(600)
"""


def test_it_ends_with_whoever_started_it_though_a_child_lives_on():
    """The child that was forked holds the pipe open, whose end is else what tells."""
    with subprocess.Popen([sys.executable, "-W", "ignore", "-c", KILLED], stdout=subprocess.PIPE, text=True) as parent:
        learner, child = map(psutil.Process, map(int, parent.stdout.readline().split()))
        parent.kill()
        parent.wait()
        last = time.monotonic() + 60
        while is_there(learner) and time.monotonic() < last:
            time.sleep(0.05)
        left, lives_on = is_there(learner), is_there(child)
        for one in (child, learner):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
    assert (left, lives_on) == (False, True)


def is_there(process):
    """And has not ended without anybody to ask for its code."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


def test_a_recipe_that_cannot_be_sent_is_told(facts):
    """A class within a function has no name that another process could find; what is sent next is done."""

    class Local(QueryAdapter):
        pass

    workshop = Workshop(open_encoder("hashing:64"), nice=0)
    with pytest.raises(InvalidInput, match=r"the recipe cannot be sent to the process that learns \(.*Local"):
        workshop.learn(Local(), facts.pairs)
    assert workshop.learn(QueryAdapter(epochs=1), facts.pairs).kept
    workshop.close()


OWN = """
from dataclasses import dataclass
from adamem.adapt import Pair, QueryAdapter, Workshop
from adamem.encoders import open_encoder
from adamem.errors import InvalidInput

@dataclass(frozen=True)
class Own(QueryAdapter):
    pass

workshop = Workshop(open_encoder("hashing:64"), nice=0)
pairs = [Pair("Where is Brimolk?", "a bakery"), Pair("Where is Tavuri?", "the ferry")]
try:
    workshop.learn(Own(), pairs)
except InvalidInput as error:
    print(error)
    print(type(workshop.learn(QueryAdapter(epochs=1), pairs)))
workshop.close()
"""


def test_a_recipe_of_the_script_itself_is_told(tmp_path):
    """The process that learns does not run the script, so it does not have its classes; it goes on with the next."""
    (tmp_path / "script.py").write_text(OWN)
    done = subprocess.run([sys.executable, str(tmp_path / "script.py")], capture_output=True, text=True, check=True)
    said, learnt = done.stdout.splitlines()
    assert said.startswith("the recipe cannot be opened in the process that learns (AttributeError: ")
    assert said.endswith("; make it a class of a module of its own")
    assert "Learnt" in learnt
