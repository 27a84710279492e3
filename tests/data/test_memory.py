import os
import subprocess
import sys
import textwrap

import numpy as np

# The limit is set after the imports: what is counted is the work, not the libraries.
SCRIPT = """
    import resource, sys
    import numpy as np
    from adamem.data import exact_neighbours, ground_truth, load

    np.ones((600, 600), np.float32) @ np.ones((600, 600), np.float32)  # the product's own buffers
    used = int(next(line for line in open("/proc/self/status") if line.startswith("VmData")).split()[1]) * 1024
    room = int(sys.argv[2]) << 20
    resource.setrlimit(resource.RLIMIT_DATA, (used + room, used + room))
    found = load(sys.argv[1], metric="l2")
    size = found.base.nbytes
    ids, distances = ground_truth(found, np.arange(len(found.queries)), 10)
    print(size >> 20, ids[:, 0].tolist() == list(range(0, 100 * len(ids), 100)), distances[:, 0].max())
    try:
        np.ones(size, np.uint8)
        print("the limit does not bind")
    except MemoryError:
        print("bound")
"""


def run(path, room):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), str(path), str(room)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "2"},  # each thread has buffers of its own
    ).stdout.split("\n")


def test_data_larger_than_memory_is_prepared_and_searched(tmp_path):
    """228 MB of vectors are converted, mapped and searched exactly by a process that may take 128 MB more."""
    rng = np.random.default_rng(0)
    rows, dim = 60_000, 1000
    table = np.lib.format.open_memmap(tmp_path / "base.npy", "w+", np.float16, (rows, dim))
    for start in range(0, rows, 10_000):
        table[start : start + 10_000] = rng.integers(-9, 9, size=(10_000, dim)).astype(np.float16)
    np.save(tmp_path / "queries.npy", np.ascontiguousarray(table[:4000:100]).astype(np.float32))
    table.flush()
    del table
    out = run(tmp_path, 128)
    assert out[:2] == ["228 True 0.0", "bound"]
