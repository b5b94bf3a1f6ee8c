"""Watching the files a config is made of: their folders, because editors and Kubernetes replace files and links.

Events only make us look; what counts is whether a file is another one or has other content times than before. So the
gateway's own writes beside the config never cause a reload.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Final

from watchfiles import awatch

from tidegate.assembly.read import Source
from tidegate.ports.plan import Plan

MERGE: Final = 50
"""Milliseconds within which changes count as one (S23.1)."""
QUIET: Final = 20
"""Milliseconds without a further change after which we do not wait any longer."""
LOOK_AGAIN: Final = 1.0
"""Seconds until a folder that cannot be watched is tried again."""

_FILE_REFERENCE: Final = re.compile(r"\$\{file:([^{}]+)\}")

Fingerprint = tuple[tuple[str, int, int, int], ...]


def files_of(source: Source, plan: Plan) -> list[Path]:
    """Every file whose change changes what is served: config, includes, secrets by reference, certificates."""
    found = [file.path for file in source.files]
    for text in source.references.values():
        found.extend(source.folder / name for name in _FILE_REFERENCE.findall(text))
    for listener in plan.listeners:
        if listener.tls is not None:
            for pair in listener.tls.certificates:
                found += [Path(pair.cert), Path(pair.key)]
            found += [Path(name) for name in (listener.tls.client_ca, listener.tls.crl) if name]
    for upstream in plan.upstreams.values():
        found += [Path(name) for name in (upstream.tls.ca, upstream.tls.cert, upstream.tls.key) if name]
    return sorted({path.absolute() for path in found})


def fingerprint(files: Iterable[Path]) -> Fingerprint:
    """What tells one state of *files* from another: identity, size and time of each, links followed."""
    found: list[tuple[str, int, int, int]] = []
    for path in files:
        try:
            state = os.stat(path)
            found.append((str(path), state.st_ino, state.st_size, state.st_mtime_ns))
        except OSError:
            found.append((str(path), 0, 0, 0))
    return tuple(found)


class Watch:
    """Calls *changed* after something in the watched files has changed."""

    def __init__(self, changed: Callable[[], Awaitable[None]]) -> None:
        self.changed = changed
        self.files: list[Path] = []
        self.seen: Fingerprint = ()
        self.again = asyncio.Event()

    def follow(self, files: list[Path]) -> None:
        """Watch *files* from now on, as they are now."""
        folders = {path.parent for path in self.files}
        self.files = files
        self.seen = fingerprint(files)
        if {path.parent for path in files} != folders:
            self.again.set()

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            self.again = asyncio.Event()
            folders = sorted({path.parent for path in self.files if path.parent.is_dir()})
            if not folders:
                await asyncio.sleep(LOOK_AGAIN)
                continue
            try:
                async for _ in awatch(
                    *folders,
                    watch_filter=None,
                    debounce=MERGE,
                    step=QUIET,
                    stop_event=self.again,
                    recursive=False,
                ):
                    await self.look()
            except OSError:
                await asyncio.sleep(LOOK_AGAIN)
            await self.look()

    async def look(self) -> None:
        """Report a change if there is one."""
        now = fingerprint(self.files)
        if now != self.seen:
            self.seen = now
            await self.changed()
