"""What a client may wish for beside its body (LLM 15): ``tidegate-timeout`` and ``tidegate-tags``."""

from __future__ import annotations

import re
from typing import Final

from tidegate.exchange.fault import CLIENT, Fault

TAGS: Final = 16
TAG: Final = 64
"""Characters of one."""

_SPAN = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)(ms|s|m)?\Z").match
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:=/@+-]*\Z").match
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, None: 1.0}


def timeout_of(text: str) -> float:
    """Seconds that the client waits for the whole answer: ``30``, ``30s``, ``1500ms``, ``2m``; 0.0 for no wish. Raises
    ``invalid_request``."""
    if not text:
        return 0.0
    match = _SPAN(text)
    seconds = float(match.group(1)) * _SECONDS[match.group(2)] if match is not None else 0.0
    if seconds <= 0.0:
        raise Fault("invalid_request", "tidegate-timeout is written like 30s, 1500ms or 2m.", reason="timeout",
                    side=CLIENT)  # fmt: skip
    return seconds


def tags_of(text: str) -> tuple[str, ...]:
    """The tags of a call, separated by commas, each once. Raises ``invalid_request``."""
    tags: list[str] = []
    for word in text.split(","):
        tag = word.strip()
        if not tag or tag in tags:
            continue
        if len(tag) > TAG or _TAG(tag) is None or len(tags) >= TAGS:
            raise Fault("invalid_request", f"tidegate-tags holds at most {TAGS} words of {TAG} letters and digits.",
                        reason="tags", side=CLIENT)  # fmt: skip
        tags.append(tag)
    return tuple(tags)
