"""Does a conversation end with words put into the model's mouth (LLM 5.2)?"""

from __future__ import annotations

from tidegate.exchange.chat import ChatRequest, ToolCall


def is_prefilled(request: ChatRequest, dialect: str) -> bool:
    """The last turn is the assistant's own and asks for no tool, in a request that does not come from *dialect*: there
    the client knows what its words do."""
    if not request.messages or (request.extra is not None and request.extra.dialect == dialect):
        return False
    last = request.messages[-1]
    return last.role == "assistant" and not any(isinstance(part, ToolCall) for part in last.parts)
