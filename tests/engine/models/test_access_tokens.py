"""Tokens in a worker: used for their life, asked for when they are missing (LLM 8)."""

from __future__ import annotations

from tidegate.engine.models.access_tokens import AccessTokens


class World:
    def __init__(self) -> None:
        self.now = 100.0
        self.sent: list[tuple[str, bool]] = []
        self.tokens = AccessTokens(lambda: self.now, lambda key, refused: self.sent.append((key, refused)))
        self.renewed: list[str] = []
        self.tokens.renewed = self.renewed.append


def test_a_token_serves_until_shortly_before_its_end_and_then_control_is_asked_once_a_second() -> None:
    world = World()
    assert (world.tokens.get("p|a"), world.tokens.get("p|a"), world.sent) == ("", "", [("p|a", False)])
    world.tokens.put("p|a", "t1", 60.0)
    world.now += 54.9
    assert world.tokens.get("p|a") == "t1"
    world.now += 0.2
    assert world.tokens.get("p|a") == ""
    world.now += 1.0
    assert world.tokens.get("p|a") == ""
    assert world.sent == [("p|a", False)] * 3


def test_a_refused_token_is_told_of_and_another_one_wakes_who_rests() -> None:
    world = World()
    world.tokens.put("p|a", "t1", 60.0)
    world.tokens.refused("p|a")
    world.tokens.put("p|a", "t1", 60.0)
    assert (world.sent, world.renewed) == ([("p|a", True)], ["p|a"])
    world.tokens.put("p|a", "t2", 60.0)
    assert (world.tokens.get("p|a"), world.renewed) == ("t2", ["p|a", "p|a"])


def test_tokens_that_have_ended_are_forgotten() -> None:
    world = World()
    world.tokens.put("p|a", "t1", 10.0)
    world.now += 11.0
    world.tokens.put("p|b", "t2", 10.0)
    assert world.tokens._held == {"p|b": ("t2", 121.0)}
