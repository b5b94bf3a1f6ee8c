"""The conversation that the demo holds with its small model: three turns by delta, a way back, another branch.

What it shows is the gateway's keeping, not the model's wit: each turn sends what is new and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tidegate.client.conversation import Conversation, Said

LONGEST: Final = 24
"""Tokens of an answer."""


def dialogue(talk: Conversation) -> Iterator[tuple[str, str]]:
    """Hold it; (who, what) line by line, as it goes. Raises what ``Conversation`` raises."""
    before = talk.door.sent

    def turn(one: Conversation, text: str) -> Said:
        return one.say(text, max_tokens=LONGEST, temperature=0)

    first = turn(talk, "My name is Ada. Name a city in France.")
    yield "you", "My name is Ada. Name a city in France."
    yield "small", first.text
    talk.put("home", "Vienna", type="preference")
    second = turn(talk, "What is my name?")
    yield "you", "What is my name?   (and a fact: home is Vienna)"
    yield "small", second.text
    third = turn(talk, "Say more about that city.")
    yield "you", "Say more about that city."
    yield "small", third.text
    yield "sent", f"three turns in {talk.door.sent - before} bytes of bodies; kept as {talk.id}, now at {third.version}"
    talk.rollback(first.version)
    yield "back", f"to {first.version}: the two turns after it are in the log and no longer in the conversation"
    other = turn(talk, "Name a city in Italy.")
    yield "you", "Name a city in Italy."
    yield "small", other.text
    branch = talk.fork("second-thoughts", at=second.version)
    yield "fork", f"second-thoughts, from {second.version}, where Italy was never spoken of"
    last = turn(branch, "Where do I live?")
    yield "you", "Where do I live?"
    yield "small", last.text
