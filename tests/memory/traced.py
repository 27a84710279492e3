"""A program: the system calls of another one's main thread, by ptrace; Linux on x86-64 and no tool besides.

``python traced.py PROGRAM [ARGUMENT ...]`` runs the Python text PROGRAM to its end and prints, in order, what it calls
that writes or flushes: a line each, the call and the file it went to.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from pathlib import Path

_TRACEME, _GETREGS, _SYSCALL, _SETOPTIONS = 0, 12, 24, 0x4200
_SYSGOOD = 1
_SIGTRAP = 5
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
    _libc.ptrace(_SETOPTIONS, child, None, ctypes.c_void_p(_SYSGOOD))
    registers = (ctypes.c_ulonglong * _WORDS)()
    calls: list[tuple[str, str]] = []
    entering, signal = True, 0
    while True:
        if _libc.ptrace(_SYSCALL, child, None, ctypes.c_void_p(signal)) < 0:
            raise OSError(ctypes.get_errno(), "ptrace")
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status) or os.WIFSIGNALED(status):
            if os.waitstatus_to_exitcode(status):
                raise RuntimeError(f"the program ended with {os.waitstatus_to_exitcode(status)}")
            return calls
        signal = os.WSTOPSIG(status)
        if signal != _SIGTRAP | 0x80:
            signal = 0 if signal == _SIGTRAP else signal
            continue
        signal = 0
        if entering:
            _libc.ptrace(_GETREGS, child, None, ctypes.byref(registers))
            name = _CALLS.get(registers[_ORIG_RAX])
            if name is not None:
                file = ""
                with contextlib.suppress(OSError):
                    file = str(Path(f"/proc/{child}/fd/{registers[_RDI]}").readlink())
                calls.append((name, file))
        entering = not entering


if __name__ == "__main__":
    for called in trace(*sys.argv[1:]):
        sys.stdout.write(" ".join(called) + "\n")
