"""The vocabulary that every other module shares; it imports nothing of ours."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Metric: TypeAlias = Literal["l2", "cosine", "ip"]
"""How two vectors are compared. Every distance follows one convention, smaller is closer:

* ``l2``     -- squared Euclidean distance, ``|q - x|^2``;
* ``cosine`` -- ``1 - cos(q, x)``, in [0, 2];
* ``ip``     -- the negated inner product, ``-q.x``.
"""

METRICS: tuple[Metric, ...] = ("l2", "cosine", "ip")

ParamValue: TypeAlias = int | float | bool | str
"""What a build or search parameter may be; JSON and TOML can both carry it."""

FloatArray: TypeAlias = npt.NDArray[np.float32]
DoubleArray: TypeAlias = npt.NDArray[np.float64]
IdArray: TypeAlias = npt.NDArray[np.int64]
CountArray: TypeAlias = npt.NDArray[np.int32]
AnyArray: TypeAlias = npt.NDArray[Any]
