"""The tables of a memory file, and how a file of an older version becomes one of this.

Times are whole microseconds since 1970. `sequence` numbers the writes of the whole file: a row bears the number of the
one that last changed it, so that whoever covers all up to a number can ask for what came after.
"""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

VERSION = 1

metadata = MetaData()

namespaces = Table(
    "namespaces",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("created", Integer, nullable=False),
    # Numbers are never given again: a file left of a namespace that is gone must not pass for another's.
    sqlite_autoincrement=True,
)

encoders = Table(
    "encoders",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("fingerprint", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("dim", Integer, nullable=False),
    sqlite_autoincrement=True,
)

memories = Table(
    "memories",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("namespace", ForeignKey("namespaces.id"), nullable=False),
    Column("text", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("slot", Text),
    Column("question", Text),
    # Memories of one topic supersede each other: a slot, or a question in its normal form.
    Column("topic", Text),
    Column("metadata", Text, nullable=False),
    Column("keywords", Text, nullable=False),
    Column("links", Text, nullable=False),
    Column("credibility", Float, nullable=False),
    Column("created", Integer, nullable=False),
    Column("updated", Integer, nullable=False),
    Column("valid_from", Integer, nullable=False),
    Column("valid_to", Integer),
    Column("expires", Integer),
    Column("deleted", Integer),
    Column("revision", Integer, nullable=False),
    Column("sequence", Integer, nullable=False),
    Index("memories_by_change", "namespace", "sequence"),
)
Index(
    "memories_by_topic",
    memories.c.namespace,
    memories.c.topic,
    memories.c.valid_from,
    sqlite_where=memories.c.topic.is_not(None),
)

vectors = Table(
    "vectors",
    metadata,
    Column("memory", ForeignKey("memories.id", ondelete="CASCADE"), nullable=False),
    Column("encoder", ForeignKey("encoders.id"), nullable=False),
    # float32, little-endian, of length 1.
    Column("vector", LargeBinary, nullable=False),
    UniqueConstraint("memory", "encoder"),
)

state = Table(
    "state",
    metadata,
    Column("id", Integer, primary_key=True),
    # The number of the last write, and the number that the last memory was given.
    Column("sequence", Integer, nullable=False),
    Column("last_memory", Integer, nullable=False),
    # The latest time that was written: where the machine's clock goes back, ours stands.
    Column("clock", Integer, nullable=False),
    # The one whose vectors are searched.
    Column("encoder", ForeignKey("encoders.id")),
)
"""One row, of id 1."""

sessions = Table(
    "sessions",
    metadata,
    # The first write of an opened engine, and a random name for it: by this, a saved index is known to be of this
    # file's own past, and not of what an older copy of it became elsewhere.
    Column("first", Integer, primary_key=True),
    Column("name", Text, nullable=False),
)
