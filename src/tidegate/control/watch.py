"""Watching the files a config is made of: their folders, because editors and Kubernetes replace files and links.

Events only make us look; what counts is whether a file is another one or has other content times than before. So the
gateway's own writes beside the config never cause a reload.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from tidegate.assembly.read import Source
from tidegate.ports.plan import Plan

MERGE: Final = 50
"""Milliseconds within which changes count as one (S23.1)."""
QUIET: Final = 20
"""Milliseconds without a further change after which we do not wait any longer."""
TICK: Final = 15_000_000
"""Nanoseconds within which two writes may bear one time."""
LOOK_AGAIN: Final = 1.0
"""Seconds until a folder that cannot be watched is tried again."""

_FILE_REFERENCE: Final = re.compile(r"\$\{file:([^{}]+)\}")

State = tuple[int, int, int]


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


def state_of(path: Path) -> State:
    """What tells one state of a file from another: identity, size and time, links followed; zeros for no file."""
    try:
        found = os.stat(path)
    except OSError:
        return (0, 0, 0)
    return (found.st_ino, found.st_size, found.st_mtime_ns)


class Watch:
    """Calls *changed* after something in the watched files has changed; who reads them calls :meth:`note` first."""

    def __init__(self, changed: Callable[[], Awaitable[None]]) -> None:
        self.changed = changed
        self.files: list[Path] = []
        self.seen: dict[Path, State] = {}
        self.noted_at = 0
        """Nanoseconds of the wall clock, as file times are."""
        self.again = asyncio.Event()

    def follow(self, files: list[Path]) -> None:
        """Watch *files* from now on. Known ones count as they were when last noted: what changed while the config was
        being read is still a change."""
        folders = {path.parent for path in self.files}
        self.files = files
        self.seen = {path: self.seen.get(path) or state_of(path) for path in files}
        if {path.parent for path in files} != folders:
            self.again.set()

    def unchanged(self) -> bool:
        """Whether every watched file is as it was when last noted, and had not just been written then: file times
        are no finer than the kernel's tick."""
        if not self.seen or self.seen != {path: state_of(path) for path in self.files}:
            return False
        return max(written for _, _, written in self.seen.values()) < self.noted_at - TICK

    def note(self) -> None:
        """The watched files are about to be read: what they are now is known."""
        self.noted_at = time.time_ns()
        self.seen = {path: state_of(path) for path in self.files}

    async def run(self) -> None:
        """Watch until cancelled."""
        from watchfiles import awatch  # late: it brings anyio and multiprocessing along

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
        if self.seen != {path: state_of(path) for path in self.files}:
            await self.changed()
