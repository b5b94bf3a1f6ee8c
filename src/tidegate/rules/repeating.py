"""Which model calls change something at their provider, so that only a try that was provably unsent goes round again
(LLM 9)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

OBJECTS: Final = frozenset({"files", "uploads", "batches", "stored", "raw", "realtime_secrets"})
"""Surfaces whose calls make, change or delete something, unless they only read."""

KEPT: Final = ("previous_response_id", "conversation", "background")
"""Members of a response that builds on what its provider keeps."""

LOCAL_TOOLS: Final = frozenset({"function", "custom"})
"""Kinds of tools that the client runs; all others act at the provider."""


def changes_state(kind: str, method: str, members: Mapping[str, Any]) -> bool:
    """May a second try of the call repeat a side effect? *members*: the top level of its body."""
    if kind in OBJECTS:
        return method not in ("GET", "HEAD")
    if members.get("store") is True or any(members.get(name) for name in KEPT):
        return True
    tools = members.get("tools")
    return isinstance(tools, list) and any(_acts(tool) for tool in tools)


def _acts(tool: Any) -> bool:
    """A tool of the provider names its kind, and brings no schema of the client's."""
    if not isinstance(tool, dict):
        return False
    kind = tool.get("type")
    return isinstance(kind, str) and kind not in LOCAL_TOOLS and "input_schema" not in tool
