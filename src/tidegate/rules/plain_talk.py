"""What a call of plain text needs, read off its top level: most calls have no pictures and no tools, and their bytes
pass unread (LLM 4, 9)."""

from __future__ import annotations

from typing import Any, Final

from tidegate.rules.capability import Needs

_ROLES: Final = frozenset({"system", "developer", "user", "assistant"})
_NUMBERS: Final = frozenset({"temperature", "top_p", "frequency_penalty", "presence_penalty"})
_INTEGERS: Final = frozenset({"max_tokens", "max_completion_tokens", "n", "seed"})
_TEXTS: Final = frozenset({"model", "user", "safety_identifier", "prompt_cache_key"})


def plain_needs(members: dict[str, Any]) -> Needs | None:
    """What the chat completion call with these *members* needs; the same as ``capability.needs_of`` finds. None when
    something in it has to be looked at closer, be it only to say what is wrong."""
    output = 0
    named = False
    choices = 1
    text = -1
    for name, value in members.items():
        if name == "messages":
            text = _talk(value)
            if text < 0:
                return None
        elif name in _TEXTS:
            if not isinstance(value, str):
                return None
        elif name in _INTEGERS:
            if type(value) is not int or value < 0:
                return None
            if name == "max_completion_tokens":
                output = value
                named = True
            elif name == "max_tokens":
                if not named:
                    output = value
            elif name == "n":
                choices = value
        elif name in _NUMBERS:
            if type(value) is not int and type(value) is not float:
                return None
        elif name == "stream":
            if not isinstance(value, bool):
                return None
        elif name == "stream_options":
            if not isinstance(value, dict) or not isinstance(value.get("include_usage", False), bool):
                return None
        elif name != "stop" or not isinstance(value, str):
            return None
    if text < 0:
        return None
    return Needs(text=text, output=output, choices=choices)


def _talk(messages: Any) -> int:
    """Characters of turns that are nothing but text; -1 when one is something else."""
    if not isinstance(messages, list):
        return -1
    size = 0
    for message in messages:
        if not isinstance(message, dict) or len(message) != 2:
            return -1
        role = message.get("role")
        content = message.get("content")
        if not isinstance(role, str) or role not in _ROLES or not isinstance(content, str):
            return -1
        size += len(content)
    return size
