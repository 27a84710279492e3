"""Encoders: texts become vectors. `open_encoder` finds one by name, hub name or folder; this imports nothing heavy."""

from adamem.encoders.protocol import Encoder
from adamem.encoders.registry import DEFAULT_MODEL, encoder_names, open_encoder

__all__ = ["DEFAULT_MODEL", "Encoder", "encoder_names", "open_encoder"]
