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

VERSION = 4

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

fitted = Table(
    "fitted",
    metadata,
    Column("encoder", ForeignKey("encoders.id"), primary_key=True),
    Column("model", LargeBinary, nullable=False),
)
"""Encoders that were fitted to texts, as `LsaEncoder.to_bytes` writes them: a name alone would not bring them back."""

adaptations = Table(
    "adaptations",
    metadata,
    Column("id", Integer, primary_key=True),
    # The encoder that it was learnt on, and the fingerprint of the two together.
    Column("base", ForeignKey("encoders.id"), nullable=False),
    Column("adapted", Text),
    Column("kind", Text, nullable=False),
    Column("moves", Text, nullable=False),
    # What `Adaptation.to_bytes` writes; none of one that was refused.
    Column("model", LargeBinary),
    Column("standing", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created", Integer, nullable=False),
    Column("lessons", Integer, nullable=False),
    Column("before", Float),
    Column("after", Float),
    Column("seconds", Float, nullable=False),
    sqlite_autoincrement=True,
)
"""What the encoder has learnt, batch by batch, and what became of it."""

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
    Index("memories_by_namespace", "namespace"),  # in the order of their ids, which every index of SQLite ends with
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

lessons = Table(
    "lessons",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("memory", ForeignKey("memories.id", ondelete="CASCADE"), nullable=False, index=True),
    # What the memory answers; its own question where there is none.
    Column("query", Text),
    Column("created", Integer, nullable=False),
    # 1 where it is never taught, so that it can judge what is learnt; 2 where the memory is said not to answer it.
    Column("held", Integer, nullable=False),
    Column("learnt", ForeignKey("adaptations.id")),
    sqlite_autoincrement=True,
)
"""What the encoder is to learn, and what it has learnt already."""

usage = Table(
    "usage",
    metadata,
    Column("memory", ForeignKey("memories.id", ondelete="CASCADE"), primary_key=True),
    Column("calls", Integer, nullable=False),
    Column("last_access", Integer, nullable=False),
)
"""How often a memory was found, and when last. Written now and then: nothing that was acknowledged depends on it."""

aliases = Table(
    "aliases",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("memory", ForeignKey("memories.id", ondelete="CASCADE"), nullable=False, index=True),
)
"""Ids of memories that were taken out because another one says the very same, and which."""

unscrubbed = Table(
    "unscrubbed",
    metadata,
    Column("namespace", Integer, primary_key=True, autoincrement=False),
)
"""Namespaces that something was taken out of, until no derived file, log or unused part of a page has anything left of
it; 0 where that was of no namespace."""

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
    # What was learnt on it and moves queries only.
    Column("adaptation", ForeignKey("adaptations.id")),
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

MIGRATIONS = {
    1: (
        "CREATE INDEX memories_by_namespace ON memories (namespace)",
        "CREATE TABLE usage (memory INTEGER NOT NULL, calls INTEGER NOT NULL, last_access INTEGER NOT NULL, "
        "PRIMARY KEY (memory), FOREIGN KEY(memory) REFERENCES memories (id) ON DELETE CASCADE)",
        "CREATE TABLE aliases (id INTEGER NOT NULL, memory INTEGER NOT NULL, PRIMARY KEY (id), "
        "FOREIGN KEY(memory) REFERENCES memories (id) ON DELETE CASCADE)",
        "CREATE INDEX ix_aliases_memory ON aliases (memory)",
        "CREATE TABLE unscrubbed (namespace INTEGER NOT NULL, PRIMARY KEY (namespace))",
    ),
    2: (
        "CREATE TABLE fitted (encoder INTEGER NOT NULL, model BLOB NOT NULL, PRIMARY KEY (encoder), "
        "FOREIGN KEY(encoder) REFERENCES encoders (id))",
    ),
    3: (
        "CREATE TABLE adaptations (id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, base INTEGER NOT NULL, adapted TEXT, "
        "kind TEXT NOT NULL, moves TEXT NOT NULL, model BLOB, standing TEXT NOT NULL, reason TEXT NOT NULL, "
        "created INTEGER NOT NULL, lessons INTEGER NOT NULL, before FLOAT, after FLOAT, seconds FLOAT NOT NULL, "
        "FOREIGN KEY(base) REFERENCES encoders (id))",
        "CREATE TABLE lessons (id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, memory INTEGER NOT NULL, query TEXT, "
        "created INTEGER NOT NULL, held INTEGER NOT NULL, learnt INTEGER, "
        "FOREIGN KEY(memory) REFERENCES memories (id) ON DELETE CASCADE, "
        "FOREIGN KEY(learnt) REFERENCES adaptations (id))",
        "CREATE INDEX ix_lessons_memory ON lessons (memory)",
        "ALTER TABLE state ADD COLUMN adaptation INTEGER REFERENCES adaptations (id)",
    ),
}
"""By version: what makes a file of it one of the next."""
