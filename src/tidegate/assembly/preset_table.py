"""The presets of providers as a page of Markdown, written from their data.

``python -m tidegate.assembly.preset_table`` writes it, with ``--check`` it says whether the page is up to date.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from tidegate.assembly.providers import CHAT_DOORS, asked_for, known_presets, load_preset, variables
from tidegate.ports.provider import (
    Auth,
    Bearer,
    ClientCredentials,
    HeaderKey,
    NoAuth,
    Preset,
    QueryKey,
    ServiceAccount,
    SigV4,
)

PAGE: Final = Path("docs/reference/providers.md")
INTRODUCTION: Final = """\
# Providers

Written by `python -m tidegate.assembly.preset_table` from `src/tidegate/providers`; do not edit it here.

What `use:` of a provider may name. Without an `api_key` the key comes from the environment, from the first variable
that is set. *Asks for* are keys beside `use:`, with their default. *Speaks* names the dialects of chat and the other
surfaces it serves; those in *italics* have no translation here: their bytes pass as they are.

*Seen* says how sure we are of the address: by how many public catalogues it was named. None has been called from here.
An address that is **unverified** comes from memory; check it before you rely on it. `base_url:` replaces it.

"""
UNTOLD: Final = frozenset({"models", "images_edits", "images_variations"})
"""Surfaces that come with others."""
SEEN: Final = ("**unverified**", "one", "two or more")


def page() -> str:
    """The whole page."""
    names = known_presets()
    lines = [INTRODUCTION + f"{len(names)} presets.", ""]
    lines += ["| `use:` | name | speaks | base URL | credential | environment | asks for | seen |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    for name in names:
        lines.append("| " + " | ".join(_row(name, load_preset(name))) + " |")
    return "\n".join(lines) + "\n"


def _row(name: str, preset: type[Preset]) -> list[str]:
    asked = [
        f"`{key}`" if default is None else f"`{key}` ({default})" for key, default in asked_for(preset).items()
    ]  # fmt: skip
    environment = [f"`{variable}`" for variable in variables(preset.auth)]
    base = "`base_url`" if preset.base_url == "{base_url}" else preset.base_url
    month, seen = preset.checked
    return [f"`{name}`", preset.title, speaks(preset), base.replace("{", "`{").replace("}", "}`") if "`" not in base
            else base, credential(preset.auth), " ".join(environment), " ".join(asked),
            f"{SEEN[seen]} ({month})" if seen else SEEN[0]]  # fmt: skip


def speaks(preset: type[Preset]) -> str:
    """Dialects of its chat doors, then its other surfaces."""
    chat = [f"`{preset.doors[surface].dialect}`" for surface in CHAT_DOORS
            if surface in preset.doors and preset.doors[surface].dialect]  # fmt: skip
    others = []
    for surface, door in preset.doors.items():
        if surface not in UNTOLD and (surface not in CHAT_DOORS or not door.dialect):
            word = surface.replace("_", " ")
            others.append(word if door.dialect else f"*{word}*")
    return ", ".join([*dict.fromkeys(chat), *others])


def credential(auth: Auth) -> str:
    """How a call proves who pays, in words."""
    if isinstance(auth, NoAuth):
        return "none; a key goes as a bearer token"
    if isinstance(auth, Bearer):
        return "bearer token" if auth.prefix == "Bearer" else f"`authorization: {auth.prefix} KEY`"
    if isinstance(auth, HeaderKey):
        return " and ".join(f"`{header}`" for header in (auth.header, *auth.also))
    if isinstance(auth, QueryKey):
        return f"`?{auth.parameter}=`"
    if isinstance(auth, SigV4):
        return "signature (SigV4)" + (" or bearer token" if auth.bearer_environment else "")
    if isinstance(auth, ServiceAccount):
        return "service account"
    if isinstance(auth, ClientCredentials):
        return "client credentials" + (f" or `{auth.header}`" if auth.header else "")
    return type(auth).__name__


def main(arguments: list[str]) -> int:
    """Write the page, or with ``--check`` compare it; 1 when it is stale."""
    target = Path(next((word for word in arguments if not word.startswith("-")), str(PAGE)))
    text = page()
    if "--check" in arguments:
        fresh = target.is_file() and target.read_text("utf-8") == text
        print(f"{target} is {'up to date' if fresh else 'stale: run python -m tidegate.assembly.preset_table'}")
        return 0 if fresh else 1
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
