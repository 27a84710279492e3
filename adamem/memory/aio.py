"""The engine for programs that run in an event loop: the same verbs, awaited, each done in a thread meanwhile."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, cast

from adamem.memory.engine import MemoryEngine
from adamem.memory.records import Context, Memory

P = ParamSpec("P")
R = TypeVar("R")


def _awaited(
    verb: Callable[Concatenate[MemoryEngine, P], R],
) -> Callable[Concatenate[AsyncMemoryEngine, P], Coroutine[Any, Any, R]]:
    @functools.wraps(verb)
    async def twin(self: AsyncMemoryEngine, *given: P.args, **named: P.kwargs) -> R:
        # Shielded, or a call that waits for a thread would not be made at all.
        return await asyncio.shield(asyncio.to_thread(verb, self.engine, *given, **named))

    return cast("Callable[Concatenate[AsyncMemoryEngine, P], Coroutine[Any, Any, R]]", twin)


class AsyncMemoryEngine:
    """`MemoryEngine`, awaited: it takes and gives the same. A call that is cancelled is done all the same.

    Make it with `open`, or around an engine that is there: ``AsyncMemoryEngine(engine)``.
    """

    def __init__(self, engine: MemoryEngine) -> None:
        self.engine = engine
        """The one that does the work."""

    @classmethod
    async def open(cls, *given: Any, **named: Any) -> Self:
        """As `MemoryEngine` takes it."""
        return cls(await asyncio.to_thread(MemoryEngine, *given, **named))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    add = _awaited(MemoryEngine.add)
    add_many = _awaited(MemoryEngine.add_many)
    update = _awaited(MemoryEngine.update)
    feedback = _awaited(MemoryEngine.feedback)
    supersede = _awaited(MemoryEngine.supersede)
    delete = _awaited(MemoryEngine.delete)
    restore = _awaited(MemoryEngine.restore)
    purge = _awaited(MemoryEngine.purge)
    search = _awaited(MemoryEngine.search)
    get = _awaited(MemoryEngine.get)
    history = _awaited(MemoryEngine.history)
    count = _awaited(MemoryEngine.count)
    namespaces = _awaited(MemoryEngine.namespaces)
    create_namespace = _awaited(MemoryEngine.create_namespace)
    delete_namespace = _awaited(MemoryEngine.delete_namespace)
    copy_namespace = _awaited(MemoryEngine.copy_namespace)
    stats = _awaited(MemoryEngine.stats)
    defrag = _awaited(MemoryEngine.defrag)
    reembed = _awaited(MemoryEngine.reembed)
    learn = _awaited(MemoryEngine.learn)
    adaptations = _awaited(MemoryEngine.adaptations)
    use_adaptation = _awaited(MemoryEngine.use_adaptation)
    snapshot = _awaited(MemoryEngine.snapshot)
    versions = _awaited(MemoryEngine.versions)
    rollback = _awaited(MemoryEngine.rollback)
    remove_version = _awaited(MemoryEngine.remove_version)
    export_package = _awaited(MemoryEngine.export_package)
    import_package = _awaited(MemoryEngine.import_package)
    flush = _awaited(MemoryEngine.flush)
    close = _awaited(MemoryEngine.close)

    async def build_context(self, query: str, **named: Any) -> Context:
        """As `MemoryEngine.build_context`."""
        return await asyncio.to_thread(self.engine.build_context, query, **named)

    async def get_all(self, *, namespace: str | None = None) -> AsyncIterator[Memory]:
        """As `MemoryEngine.get_all`."""
        memories = self.engine.get_all(namespace=namespace)
        while (one := await asyncio.to_thread(next, memories, None)) is not None:
            yield one
