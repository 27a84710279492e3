"""Low-rank adaptation of a sentence-transformers model (Hu et al., 2021, arXiv 2106.09685), by peft."""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.util import find_spec
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from adamem.encoders.adaptation import Moves, require_base
from adamem.encoders.adapted import AdaptedEncoder
from adamem.encoders.protocol import Encoder
from adamem.encoders.sealed import fingerprint_of, seal
from adamem.encoders.sentence import SentenceEncoder
from adamem.errors import InvalidInput, MissingExtra
from adamem.types import FloatArray

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class LoraWeights:
    """The two thin matrices of each adapted layer, as peft names them.

    Parameters
    ----------
    base
        The fingerprint of the encoder that they were learnt on.
    rank, alpha
        The update of a layer is alpha / rank times the product of its two matrices.
    targets
        The names of the layers.
    sides
        ``both``, or ``queries`` where documents are encoded by the base.
    weights
        float32 arrays by peft's names, finite: (rank, inputs) for each lora_A, (outputs, rank) for each lora_B.

    Raises
    ------
    InvalidInput
        if there are no weights, or some are not finite.
    """

    kind: ClassVar[str] = "lora"

    def __init__(
        self,
        base: str,
        *,
        rank: int,
        alpha: int,
        targets: tuple[str, ...],
        sides: Moves,
        weights: Mapping[str, FloatArray],
    ) -> None:
        if sides not in ("both", "queries"):
            raise InvalidInput(f"a LoRA moves 'both' sides or 'queries', not {sides!r}")
        if not weights or not all(np.isfinite(part).all() for part in weights.values()):
            raise InvalidInput("a LoRA needs weights that are all finite; learn it anew at a lower rate")
        self._base = base
        self.rank = rank
        self.alpha = alpha
        self.targets = targets
        self._sides = sides
        self.weights = MappingProxyType({name: _frozen(weights[name]) for name in sorted(weights)})

    @property
    def base(self) -> str:
        """The fingerprint of the encoder that it was learnt on."""
        return self._base

    @property
    def moves(self) -> Moves:
        """``both``, or ``queries`` where documents keep their vectors."""
        return self._sides

    @property
    def nbytes(self) -> int:
        """How many bytes its matrices take."""
        return sum(part.nbytes for part in self.weights.values())

    @cached_property
    def fingerprint(self) -> str:
        """Hex SHA-256 over the base's fingerprint, the settings and the matrices."""
        return fingerprint_of(self.to_bytes())

    def applied_to(self, base: Encoder) -> Encoder:
        """An encoder of the base's weights with the adapter on top; its model is made with the first text.

        Raises
        ------
        InvalidInput
            if `base` is not the encoder that it was learnt on, or no sentence-transformers model.
        MissingExtra
            if peft is not installed.
        """
        require_base(base, self._base, kind=self.kind)
        tuned = _Tuned(tunable(base), self)
        return AdaptedEncoder(
            base,
            kind=self.kind,
            learnt=self.fingerprint,
            queries=tuned.encode_query,
            documents=tuned.encode_document if self._sides == "both" else base.encode_document,
        )

    def to_bytes(self) -> bytes:
        """All that it is, for `open_adaptation`; see `seal`."""
        said = {
            "kind": self.kind,
            "version": 1,
            "base": self._base,
            "rank": self.rank,
            "alpha": self.alpha,
            "targets": list(self.targets),
            "sides": self._sides,
        }
        return seal(said, self.weights)

    @classmethod
    def from_parts(cls, said: dict[str, Any], arrays: dict[str, FloatArray]) -> Self:
        """What `to_bytes` has sealed."""
        return cls(
            str(said["base"]),
            rank=said["rank"],
            alpha=said["alpha"],
            targets=tuple(said["targets"]),
            sides=said["sides"],
            weights=arrays,
        )


class _Tuned(SentenceEncoder):
    """The base with an adapter in modules of its own, over the base's weights."""

    def __init__(self, base: SentenceEncoder, learnt: LoraWeights) -> None:
        super().__init__(
            base.folder, name=base.name, query_prefix=base.query_prefix, document_prefix=base.document_prefix
        )
        self._untuned = base
        self._learnt = learnt

    @cached_property
    def _model(self) -> SentenceTransformer:
        learnt = self._learnt
        model = with_adapter(self._untuned, rank=learnt.rank, alpha=learnt.alpha, targets=learnt.targets)
        load_weights(model, learnt.weights)
        return model.requires_grad_(False)


def tunable(base: Encoder) -> SentenceEncoder:
    """`base`, if a LoRA can be put on it.

    Raises
    ------
    InvalidInput
        if it is no sentence-transformers model.
    MissingExtra
        if peft is not installed.
    """
    if not isinstance(base, SentenceEncoder):
        raise InvalidInput(
            f"a LoRA needs an encoder that is a sentence-transformers model, and {base.name} is none; "
            "learn a query map on it, or open another encoder"
        )
    if find_spec("peft") is None:
        raise MissingExtra("a LoRA needs peft, which is not installed; pip install 'adamem[encoders]'")
    return base


def with_adapter(base: SentenceEncoder, *, rank: int, alpha: int, targets: tuple[str, ...]) -> SentenceTransformer:
    """A model of the base's weights in evaluation mode, with a fresh adapter: A random, B zero, so nothing moves yet.

    The weights are the base's own, in the same memory, and frozen. Raises `InvalidInput` if the model has no layers of
    these names.
    """
    import torch  # noqa: PLC0415 -- heavy, and only now needed
    from peft import LoraConfig, TaskType  # noqa: PLC0415 -- heavy, and only now needed

    # The base keeps its own modules, for peft puts its layers into the model it is given; what they hold is shared.
    own = base._model
    shared: dict[int, Any] = {id(one): torch.nn.Parameter(one.data, requires_grad=False) for one in own.parameters()}
    shared |= {id(one): one for one in own.buffers()}
    model = copy.deepcopy(own, shared)
    config = LoraConfig(
        task_type=TaskType.FEATURE_EXTRACTION,
        r=rank,
        lora_alpha=alpha,
        target_modules=list(targets),
        lora_dropout=0.0,
        bias="none",
    )
    with _quiet():
        try:
            model.add_adapter(config)
        except ValueError as error:
            raise InvalidInput(
                f"no LoRA of rank {rank} can be put on the layers {', '.join(targets)} of {base.name}: {error}"
            ) from error
    return model.eval()


def load_weights(model: SentenceTransformer, weights: Mapping[str, FloatArray]) -> None:
    """Put the matrices into the model's adapter. Raises `InvalidInput` unless every one finds its place."""
    import torch  # noqa: PLC0415 -- heavy, and only now needed
    from peft import set_peft_model_state_dict  # noqa: PLC0415 -- heavy, and only now needed

    shapes = {name: part.shape for name, part in read_weights(model).items()}
    if shapes != {name: part.shape for name, part in weights.items()}:
        # peft itself would ignore a name it does not know, and the model would stay the base's.
        raise InvalidInput(
            f"the kept matrices ({len(weights)}) do not fit the adapter's layers ({len(shapes)}): names or shapes "
            "differ; learn the LoRA anew"
        )
    state = {name: torch.from_numpy(part.copy()) for name, part in weights.items()}
    with _quiet():
        set_peft_model_state_dict(model[0].auto_model, state)
    loaded = read_weights(model)
    if any(not np.array_equal(loaded[name], part) for name, part in weights.items()):
        raise InvalidInput("peft did not take the kept matrices; install the version of peft that they were learnt by")


def read_weights(model: SentenceTransformer) -> dict[str, FloatArray]:
    """Copies of the adapter's matrices by peft's names."""
    return {name: part.detach().cpu().numpy().copy() for name, part in model.get_adapter_state_dict().items()}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _frozen(array: FloatArray) -> FloatArray:
    kept = np.array(array, dtype=np.float32, order="C")
    kept.setflags(write=False)
    return kept
