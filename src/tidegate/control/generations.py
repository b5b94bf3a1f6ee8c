"""Generations in control: a config is checked, numbered, written down whole, and found again after a restart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tidegate.assembly.build import Builder
from tidegate.assembly.generation import numbered, split
from tidegate.assembly.inert import InertTools
from tidegate.assembly.read import resolve
from tidegate.control.data_folder import DataFolder
from tidegate.ports.plan import Plan
from tidegate.rules.credentials import digest_of

if TYPE_CHECKING:
    from tidegate.assembly.check import Checked


class Generations:
    """``number`` is the generation to be served, ``plan`` what it says (its parts do nothing), ``checked`` the config
    it was made from; None while control serves the last good one and the config is broken."""

    def __init__(self, config: Path, environment: Mapping[str, str], workers: int = 0) -> None:
        self.config = config
        self.workers = workers
        """How many there will be, whatever the config says; 0: as it says."""
        self.environment = environment
        self.number = 0
        self.plan: Plan | None = None
        self.checked: Checked | None = None
        self.content = b""
        self.digests: dict[bytes, bytes] = {}
        """Of the keys of the config; the next generation has most of them again."""

    def check(self) -> Checked:
        """Read and prove the config; raises ``ConfigError``. Slow for large ones: call it on a thread."""
        # Imported late: a control that takes over serves limits and money before it reads the config.
        from tidegate.assembly.check import check

        return check(self.config, self.environment, self.workers)

    def recall(self, folder: DataFolder) -> bool:
        """Take the newest generation on disk for the one being served; False when there is none to read."""
        number = folder.newest()
        try:
            content = folder.plan(number).read_bytes()
            built = Builder(self.environment).build(content, lambda scope: InertTools(scope, folder.path))
        except (OSError, ValueError, LookupError):
            return False
        self.number, self.content, self.plan = number, content, built.plan
        return True

    def write(self, checked: Checked, folder: DataFolder, pepper: bytes) -> int:
        """Make *checked* the generation to be served, durably (C8.2); its number. What is on disk already, byte for
        byte, is not written again."""

        known, self.digests = self.digests, {}

        def digest(key: bytes) -> bytes:
            found = self.digests[key] = known.get(key) or digest_of(pepper, key)
            return found

        number = self.number or folder.newest()
        content = checked.generation(number, digest)
        if not number or content != (self.content or read_or_nothing(folder.plan(number))):
            number = max(number, folder.newest()) + 1
            content = numbered(content, number)
            folder.replace(f"plans/{number}.json", content)
            folder.forget_old_plans(number)
        self.number, self.content = number, content
        self.checked, self.plan = checked, checked.built.plan
        return number

    def renumber(self, folder: DataFolder) -> int:
        """Make the same content a new generation, for what it refers to has changed; its number."""
        number = max(self.number, folder.newest()) + 1
        self.content = numbered(self.content, number)
        folder.replace(f"plans/{number}.json", self.content)
        folder.forget_old_plans(number)
        self.number = number
        return number


def key_set_urls(content: bytes, environment: Mapping[str, str]) -> set[str]:
    """The addresses of key sets that the filters of a generation name (S7.11)."""
    found: set[str] = set()
    if b'"jwks"' not in content:
        return found
    items = split(content)
    for raw in items.routes:
        for each in msgspec.json.decode(raw).get("filters", ()):
            url = each.get("jwks")
            if isinstance(url, str):
                found.add(resolve(url, environment, Path(items.folder)))
    return found


def read_or_nothing(path: Path) -> bytes:
    """The bytes of *path*, none when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError:
        return b""
