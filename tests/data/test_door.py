import subprocess
import sys

import adamem.data


def test_the_door_is_exact():
    """Everything in __all__ is there, sorted, and nothing else of ours is public but modules."""
    names = adamem.data.__all__
    assert list(names) == sorted(names)
    public = {
        name
        for name, value in vars(adamem.data).items()
        if not name.startswith("_") and not isinstance(value, type(sys))
    }
    assert public == set(names)


def test_importing_loads_no_heavy_library():
    """The door opens without torch, scikit-learn, scipy, h5py, numba, faiss or pyarrow."""
    heavy = [
        "torch",
        "sklearn",
        "scipy",
        "h5py",
        "numba",
        "faiss",
        "hnswlib",
        "matplotlib",
        "pyarrow",
        "sentence_transformers",
    ]
    script = f"import sys, adamem.data; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
