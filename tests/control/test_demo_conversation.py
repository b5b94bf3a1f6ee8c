"""What the demo's conversation asks of the gateway, in which order, and what it shows of the answers."""

from __future__ import annotations

from typing import Any

from tidegate.client.conversation import Conversation
from tidegate.control.demo_conversation import dialogue


class Door:
    """Answers as a gateway with a model that counts its turns."""

    plane = "/v1/contexts"

    def __init__(self) -> None:
        self.sent = 0
        self.asked: list[tuple[str, str, Any]] = []
        self.turns = 0

    def ask(self, method: str, path: str, body: Any = None, fields: Any = None) -> dict[str, Any]:
        self.sent += 100
        self.asked.append((method, path, body))
        if path != "/v1/chat/completions":
            return {"id": "ctx_1", "version": "cv_0"}
        self.turns += 1
        context = {"id": "ctx_1", "version": f"cv_{self.turns}"}
        return {"choices": [{"message": {"content": f"answer {self.turns}"}}], "context": context}


def test_three_turns_by_delta_a_way_back_and_another_branch() -> None:
    door = Door()
    lines = list(dialogue(Conversation(door, "small")))  # type: ignore[arg-type]
    assert [what for who, what in lines if who == "small"] == [f"answer {n}" for n in range(1, 6)]
    assert [who for who, _ in lines if who not in ("you", "small")] == ["sent", "back", "fork"]
    assert [(method, path) for method, path, _ in door.asked] == [
        ("POST", "/v1/contexts"),
        *[("POST", "/v1/chat/completions")] * 3,
        ("POST", "/v1/contexts/ctx_1/rollback"),
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/contexts/ctx_1/fork"),
        ("POST", "/v1/chat/completions"),
    ]
    turns = [body for _, path, body in door.asked if path == "/v1/chat/completions"]
    assert all(body["messages"] == [] for body in turns)
    assert [[op["op"] for op in body["delta_updates"]] for body in turns] == [
        ["append"], ["put", "append"], ["append"], ["append"], ["append"],
    ]  # fmt: skip
    assert door.asked[4][2]["to"] == "cv_1"
    assert (door.asked[6][2]["from"], turns[-1]["context"]["branch"]) == ("cv_2", "second-thoughts")
    assert lines[6] == ("sent", "three turns in 400 bytes of bodies; kept as ctx_1, now at cv_3")
