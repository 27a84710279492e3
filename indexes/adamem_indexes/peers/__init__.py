"""Indexes of other libraries, each behind the protocol; they need the extra ``peers``, one of them ``chroma``."""
