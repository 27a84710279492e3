"""A program: the system calls of another one's threads, by ptrace; Linux on x86-64 and no tool besides.

``python traced.py PROGRAM [ARGUMENT ...]`` runs the Python text PROGRAM to its end and prints, in order, what it calls
that writes or flushes: a line each, the call and the file it went to. A write stands where it began, a flush where it
was done.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from pathlib import Path

_TRACEME, _GETREGS, _SYSCALL, _SETOPTIONS = 0, 12, 24, 0x4200
_SYSGOOD, _TRACECLONE = 1, 8
_ALL = 0x40000000  # __WALL: threads as well
_SIGTRAP, _SIGSTOP = 5, 19
_CALLS = {
    1: "write",
    18: "pwrite64",
    20: "writev",
    74: "fsync",
    75: "fdatasync",
    77: "ftruncate",
    82: "rename",
    277: "sync_file_range",
}
_WORDS = 27  # of user_regs_struct
_RDI, _ORIG_RAX = 14, 15

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_libc.ptrace.restype = ctypes.c_long


def trace(program: str, *arguments: str) -> list[tuple[str, str]]:
    """Run ``python -c program arguments`` and return its calls as (name, file), in order."""
    child = os.fork()
    if child == 0:
        _libc.ptrace(_TRACEME, 0, None, None)
        os.execv(sys.executable, [sys.executable, "-c", program, *arguments])  # stops for the tracer
    _, status = os.waitpid(child, 0)
    if not os.WIFSTOPPED(status):
        raise RuntimeError("the program could not be traced")
    _libc.ptrace(_SETOPTIONS, child, None, ctypes.c_void_p(_SYSGOOD | _TRACECLONE))
    calls: list[tuple[str, str]] = []
    inside: dict[int, tuple[str, str] | None] = {}  # by thread: the call that it is in
    known, thread, signal = {child}, child, 0
    while True:
        _libc.ptrace(_SYSCALL, thread, None, ctypes.c_void_p(signal))  # fails for a thread that has just ended
        thread, status = os.waitpid(-1, _ALL)
        signal = 0
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            if thread == child:
                if os.waitstatus_to_exitcode(status):
                    raise RuntimeError(f"the program ended with {os.waitstatus_to_exitcode(status)}")
                return calls
            inside.pop(thread, None)
            continue
        stopped_by = os.WSTOPSIG(status)
        if stopped_by == _SIGTRAP | 0x80:
            if thread in inside:
                done = inside.pop(thread)
                if done is not None and "sync" in done[0]:
                    calls.append(done)
            else:
                inside[thread] = begun = _call(thread)
                if begun is not None and "sync" not in begun[0]:
                    calls.append(begun)
        elif stopped_by == _SIGSTOP and thread not in known:
            known.add(thread)  # a thread begins stopped
        elif stopped_by != _SIGTRAP:
            signal = stopped_by


def _call(thread: int) -> tuple[str, str] | None:
    """What a thread is calling, and the file, if it is one of those."""
    registers = (ctypes.c_ulonglong * _WORDS)()
    _libc.ptrace(_GETREGS, thread, None, ctypes.byref(registers))
    name = _CALLS.get(registers[_ORIG_RAX])
    if name is None:
        return None
    file = ""
    with contextlib.suppress(OSError):
        file = str(Path(f"/proc/{thread}/fd/{registers[_RDI]}").readlink())
    return name, file


if __name__ == "__main__":
    for called in trace(*sys.argv[1:]):
        sys.stdout.write(" ".join(called) + "\n")
