"""Memory for agents of the OpenAI Agents SDK, kept by the gateway. Needs the extra ``agents``.

The SDK speaks ``/v1/conversations`` by itself, and so does the gateway: this only says where, and with which key.
"""

from __future__ import annotations

from typing import Any


def session(base_url: str, key: str, conversation: str = "") -> Any:
    """A ``Session`` for ``Runner.run(..., session=...)``.

    base_url      of the route that keeps contexts, like ``http://127.0.0.1:8080/v1``
    key           a consumer's API key
    conversation  the ``conv_`` id of one that is there; a new one is made otherwise
    """
    from agents.memory import OpenAIConversationsSession
    from openai import AsyncOpenAI

    return OpenAIConversationsSession(
        conversation_id=conversation or None, openai_client=AsyncOpenAI(base_url=base_url, api_key=key)
    )
