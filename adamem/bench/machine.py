"""The machine that the figures come from, and how quiet it was."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from adamem.bench.records import Fitness
from adamem.files import content_key

_LIBRARIES = ("faiss-cpu", "hnswlib", "numba", "numpy", "scikit-learn", "scipy", "sentence-transformers", "torch")


@cache
def describe() -> dict[str, Any]:
    """CPU, cores, memory, kernel and Python, with a ``fingerprint`` of what bears on speed."""
    cpu = _cpu_fields()
    hardware = {
        "cpu": cpu.get("model name", platform.processor() or platform.machine()),
        "cpu_family": "-".join(cpu.get(key, "?") for key in ("cpu family", "model", "stepping")),
        "features": sorted(set(cpu.get("flags", "").split()) & _TELLING_FEATURES),
        "cores": os.cpu_count() or 1,
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or "not visible",
        "huge_pages": _read("/sys/kernel/mm/transparent_hugepage/enabled") or "not visible",
    }
    return {
        **hardware,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "fingerprint": content_key(hardware)[:16],
    }


@cache
def library_versions() -> dict[str, str]:
    """Versions of the libraries that bear on the figures, those that are installed."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    found["python"] = platform.python_version()
    if "faiss-cpu" in found:
        import faiss  # noqa: PLC0415 -- asked only when something is measured

        found["faiss build"] = faiss.get_compile_options().strip()
    return found


def free_memory() -> int:
    """Bytes that could be taken without swapping, a container's limit included."""
    free = int(psutil.virtual_memory().available)
    limit = _read("/sys/fs/cgroup/memory.max")
    used = _read("/sys/fs/cgroup/memory.current")
    if limit and limit.isdigit() and used and used.isdigit():
        free = min(free, int(limit) - int(used))
    return free


@dataclass(frozen=True)
class Watch:
    """The machine's clocks at one moment; `since` tells what happened between two."""

    busy: float
    total: float
    steal: float
    ours: float
    load: float

    @classmethod
    def now(cls) -> Watch:
        """Read the clocks."""
        times = psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        steal = float(getattr(times, "steal", 0.0))
        total = float(sum(getattr(times, name) for name in times._fields if not name.startswith("guest")))
        own = os.times()
        ours = own.user + own.system + own.children_user + own.children_system
        return cls(busy=total - idle - steal, total=total, steal=steal, ours=ours, load=os.getloadavg()[0])

    def since(self, living: float) -> Fitness:
        """How quiet it was from this moment to now; `living` is the CPU time of our children that still run."""
        now = Watch.now()
        total = max(now.total - self.total, 1e-9)
        steal = max(0.0, (now.steal - self.steal) / total)
        foreign = max(0.0, (now.busy - self.busy - (now.ours + living - self.ours)) / total)
        notes = []
        if steal > 0.02:
            notes.append(f"the hypervisor gave {steal:.0%} of the CPU time to others")
        if foreign > 0.05:
            notes.append(f"other processes used {foreign:.0%} of the CPU time")
        return Fitness(load_before=round(self.load, 2), steal=round(steal, 4), foreign=round(foreign, 4), notes=notes)


_TELLING_FEATURES = {"avx", "avx2", "avx512f", "avx512_vnni", "avx_vnni", "fma", "f16c", "asimd", "sve", "amx_int8"}


def _cpu_fields() -> dict[str, str]:
    text = _read("/proc/cpuinfo") or ""
    pairs = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return None
