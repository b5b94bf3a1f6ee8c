"""How many things a model call may hold (RELIABILITY P5): counted in its JSON before anything is built of it.

Each turn, part and tool of a body that is translated becomes an object here and JSON again for the target: some ten
microseconds each, in which the loop serves nobody else. What stays bytes (arguments of calls, schemas, results of code)
is not looked into: its size is bounded already.
"""

from __future__ import annotations

from typing import Any, Final

from tidegate.exchange.fault import CLIENT, Fault

MESSAGES: Final = 2048
"""Turns of a conversation (RELIABILITY 5.3)."""
PARTS: Final = 8192
"""Texts, pictures, calls, results and citations of all turns together; items of a Responses call are such."""
TOOLS: Final = 1024
"""Tools that a call declares."""
WORDS: Final = 1024
"""Stop sequences, prompts of an old completion, documents, names of tools to choose from."""

_TURNS: Final = frozenset({"messages", "contents"})
_TOOLS: Final = frozenset({"tools", "functions", "functionDeclarations", "function_declarations"})
_WORDS: Final = frozenset({
    "stop", "stop_sequences", "stopSequences", "prompt", "documents", "include", "modalities", "responseModalities",
    "allowedFunctionNames", "allowed_function_names", "safetySettings", "safety_settings",
})  # fmt: skip
_PARTS: Final = frozenset({
    "content", "parts", "input", "system", "tool_calls", "images", "annotations", "citations", "sources", "summary",
    "reasoning_details", "output",
})  # fmt: skip
_HOLDERS: Final = frozenset({
    "contents", "system", "systemInstruction", "system_instruction", "toolConfig", "tool_config", "tool_choice",
    "allowed_tools", "functionCallingConfig", "function_calling_config", "generationConfig", "generation_config",
    "inferenceConfig", "options", "toolResult", "functionResponse", "function_response", "citationsContent", "content",
    "source",
})  # fmt: skip
"""Objects inside which those stand; what is in others is somebody's own JSON, where a name means nothing."""


def check_counts(members: dict[str, Any]) -> None:
    """*members*: the top level of the body of a chat or completion in any dialect. Raises ``invalid_request``, reason
    ``too_many_messages``, ``too_many_parts``, ``too_many_tools`` or ``too_many_words``."""
    parts = 0
    tools = 0
    words = 0
    holders: list[dict[str, Any]] = [members]
    for holder in holders:
        for name, value in holder.items():
            if isinstance(value, dict):
                if name in _HOLDERS:
                    holders.append(value)
                continue
            if not isinstance(value, list):
                continue
            size = len(value)
            if size and isinstance(value[0], int):
                continue  # token ids stay bytes
            if name in _TURNS:
                if size > MESSAGES:
                    raise _too_many("messages", MESSAGES)
            elif name in _TOOLS:
                tools += size
                if tools > TOOLS:
                    raise _too_many("tools", TOOLS)
            elif name in _WORDS:
                words += size
                if words > WORDS:
                    raise _too_many("words", WORDS)
                continue
            elif name in _PARTS:
                parts += size
                if parts > PARTS:
                    raise _too_many("parts", PARTS)
            else:
                continue
            for item in value:
                if isinstance(item, dict):
                    holders.append(item)


def _too_many(what: str, most: int) -> Fault:
    return Fault("invalid_request", f"The call has more than {most} {what}.", reason=f"too_many_{what}", side=CLIENT)
