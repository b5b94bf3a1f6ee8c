"""Makes the dictionary that the gateway ships for deltas in JSON (CRP 6.5):
``python -m benchmarks.contexts.train_dictionary``.

It gives away what it was trained on, so that is made up here, from a seed: requests as clients write them, about
nothing that anybody said. Equal programs make equal dictionaries; ``wire/context_dictionary`` ships the one meant.
"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any, Final

SIZE: Final = 16_384
PLACE: Final = Path("src/tidegate/wire/crp-delta-json-1.dict")
ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

SAID: Final = (
    """
Could you please {verb} the {noun} for {when}? | I would like to {verb} a {noun}. | What is the {noun} of the {noun}? |
Thank you, that is all for now. | Yes, please go ahead and {verb} it. | No, I do not want to {verb} the {noun}. |
Can you tell me more about the {noun}? | How much does the {noun} cost? | Is there another {noun} available {when}? |
Please explain how to {verb} a {noun} step by step. | Let me think about it. | I need help with my {noun}. |
Sorry, I meant the {noun}, not the {noun}. | Which {noun} would you recommend and why? | And what about {when}? |
The {noun} does not work; it says that the {noun} is not valid. | Show me the list of all {noun}s from {when}. |
Write a short summary of the {noun} in plain English. | Compare the {noun} with the {noun} and give me a table.
""".replace("\n", " ")
    .strip()
    .split(" | ")
)
NOUN_WORDS: Final = """
    flight train ticket order booking account address invoice payment card refund price seat hotel room date time file
    function class error message question answer report table project task meeting customer product service document
    page section number name email phone password user group team plan budget contract delivery return
"""
VERB_WORDS: Final = """
    book change cancel confirm check find show update create delete send write read explain compare summarise translate
    calculate add remove move open close start stop fix test
"""
NOUNS: Final = NOUN_WORDS.split()
VERBS: Final = VERB_WORDS.split()
WHEN: Final = ["today", "tomorrow", "next week", "Monday morning", "this evening", "the last month", "15 March 2027"]
KEYS: Final = [
    "travel.class", "user.name", "user.language", "user.timezone", "order.id", "booking.reference", "topic",
    "preferences.seat", "address.city", "address.country", "project.name", "deadline", "budget.max",
]  # fmt: skip
TOOLS: Final = [
    "search",
    "get_weather",
    "lookup_order",
    "search_flights",
    "book",
    "run_query",
    "read_file",
    "fetch_page",
]


class Talk:
    """Requests of one made-up client."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.context = self.id("ctx_")

    def id(self, prefix: str) -> str:
        return prefix + "01" + "".join(self.random.choices(ALPHABET, k=24))

    def text(self) -> str:
        pick = self.random.choice
        said = []
        for sentence in self.random.choices(SAID, k=self.random.randint(1, 3)):
            for word, words in (("{noun}", NOUNS), ("{verb}", VERBS), ("{when}", WHEN)):
                while word in sentence:
                    sentence = sentence.replace(word, pick(words), 1)
            said.append(sentence)
        return " ".join(said)

    def item(self) -> dict[str, Any]:
        pick, number = self.random.choice, self.random.randint
        return pick([
            lambda: {"type": "message", "role": "user", "content": self.text()},
            lambda: {"type": "message", "role": "user", "content": self.text()},
            lambda: {"type": "message", "role": "assistant", "content": self.text()},
            lambda: {"type": "tool_result", "call_id": f"call_{number(1, 99)}", "content": json.dumps(
                {"status": "ok", "results": [{"id": number(1, 9999), "name": pick(NOUNS), "price": number(1, 999)}]})},
            lambda: {"type": "tool_call", "call_id": f"call_{number(1, 99)}", "name": pick(TOOLS),
                     "arguments": json.dumps({"query": pick(NOUNS), "limit": 10, "date": "2027-03-15"})},
            lambda: {"type": "document", "title": f"{pick(NOUNS)}.md", "content": self.text() + " " + self.text()},
            lambda: {"type": "event", "at": "2027-03-15T09:02:00Z", "content": {"title": self.text()}},
            lambda: {"type": "place", "geo": {"type": "Point", "coordinates": [8.68, 50.11]}, "about": [pick(NOUNS)]},
        ])()  # fmt: skip

    def op(self) -> dict[str, Any]:
        pick = self.random.choice
        return pick([
            lambda: {"op": "append", "items": [self.item()]},
            lambda: {"op": "append", "items": [self.item(), self.item()]},
            lambda: {"op": "put", "item": {"type": pick(["fact", "preference"]), "key": pick(KEYS),
                                           "content": pick(NOUNS), "privacy": "personal"}},
            lambda: {"op": "merge", "on": "state", "value": {pick(NOUNS): {"mode": pick(NOUNS), "done": True}}},
            lambda: {"op": "patch", "on": "state", "patch": [
                {"op": "replace", "path": f"/{pick(NOUNS)}/{pick(NOUNS)}", "value": pick(NOUNS)},
                {"op": "add", "path": "/items/-", "value": None}]},
            lambda: {"op": "remove", "key": pick(KEYS)},
            lambda: {"op": "mark", "id": self.id("it_"), "pinned": True, "priority": 7, "elide": "never"},
            lambda: {"op": "splice", "id": self.id("it_"), "at": 12, "del": 3, "ins": pick(NOUNS)},
            lambda: {"op": "set_policy", "policy": "agent-default"},
        ])()  # fmt: skip

    def body(self) -> bytes:
        """What one turn sends: mostly one append."""
        ops = [{"op": "append", "items": [self.item()]}]
        if self.random.random() < 0.5:
            ops = [self.op() for _ in range(self.random.randint(1, 2))] + ops
        wish = {"context_id": self.context, "parent": self.id("cv_"), "delta_updates": ops}
        lead: dict[str, Any] = {"model": "chat-large", "messages": [], "stream": True}
        shape = self.random.random()
        if shape < 0.3:
            wish = {**lead, **wish, "context": {"on_conflict": "reject", "policy": "chat-default", "return": "full"}}
        elif shape < 0.5:
            wish = {"delta_updates": ops, "parent": wish["parent"], "branch": "main"}
        elif shape < 0.7:
            wish = {"messages": [{"role": "user", "content": self.text()}], "context_id": self.context}
        elif shape < 0.8:
            wish = {
                "model": "chat-large",
                "previous_response_id": self.id("resp_"),
                "input": self.text(),
                "store": True,
            }
        return json.dumps(wish, ensure_ascii=False, separators=(",", ":")).encode()


def bodies(first: int, clients: int, turns: int) -> list[bytes]:
    """What *clients* send, the first of them of the seed *first*."""
    return [talk.body() for talk in (Talk(seed) for seed in range(first, first + clients)) for _ in range(turns)]


def main() -> None:
    from tidegate.wire.context_dictionary import encode, train

    dictionary = train(bodies(0, 800, 6), SIZE)
    PLACE.write_bytes(dictionary)
    held_out = bodies(100_000, 50, 6)
    plain, small = sum(map(len, held_out)), sum(len(encode(body, dictionary)) for body in held_out)
    print(f"{PLACE}: {len(dictionary)} bytes; {len(held_out)} bodies it has not seen: {plain} -> {small} bytes")


if __name__ == "__main__":
    main()
