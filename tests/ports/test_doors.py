from __future__ import annotations

import pytest

from tidegate.ports.doors import MESSAGES, openai_doors, under
from tidegate.ports.provider import Door, HeaderKey


def test_letters_become_doors() -> None:
    assert openai_doors("c e") == {
        "chat": Door("openai_chat", "/chat/completions"),
        "embeddings": Door("openai_embeddings", "/embeddings"),
        "models": Door("", "/models"),
    }


def test_an_unknown_letter_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        openai_doors("c x")


def test_doors_may_stand_under_a_path_and_on_another_host() -> None:
    assert under("/anthropic", MESSAGES, "https://b.example")["messages"] == Door(
        "anthropic_messages", "/anthropic/v1/messages", None, "https://b.example"
    )


def test_doors_under_a_path_may_want_the_key_elsewhere() -> None:
    assert under("/a", MESSAGES, auth=HeaderKey())["messages"].auth == HeaderKey()
