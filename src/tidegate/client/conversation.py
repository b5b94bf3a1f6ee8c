"""A conversation that the gateway keeps: say what is new, change what is known, go back, branch off (CRP 3, 4, 5).

``Conversation`` blocks; ``AsyncConversation`` is the same on a thread, for programs with a loop.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from typing import Any, Final

from tidegate.client.door import Conflict, Door

AGAIN: Final = 2
"""Times a call is made again after a lost connection; its key makes it the same call."""
REBASED: Final = 4
"""Times a change is put on a newer head."""


class Said:
    """One answer. ``text``; ``version`` to go on from; ``context`` as CRP 3.3; ``answer`` the whole body."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.answer = answer
        self.context: dict[str, Any] = answer.get("context") or {}
        self.version: str = self.context.get("version") or ""
        choices = answer.get("choices") or [{}]
        self.text: str = (choices[0].get("message") or {}).get("content") or ""


class Conversation:
    """One branch of one context.

    id       the context; "" until it exists
    version  the last one this client has seen: what it believes to continue
    rebase   a change that comes too late is put on the newer head; else ``Conflict`` is raised and changes nothing
    """

    def __init__(
        self, door: Door, model: str = "", *, id: str = "", session: str = "", branch: str = "main",
        rebase: bool = True, chat: str = "/v1/chat/completions",
    ) -> None:  # fmt: skip
        self.door = door
        self.model = model
        self.id = id
        self.session = session
        self.branch = branch
        self.version = ""
        self.rebase = rebase
        self._chat = chat
        self._waiting: list[dict[str, Any]] = []

    @property
    def _path(self) -> str:
        return f"{self.door.plane}/{self.id}"

    # -- turns ---------------------------------------------------------------------------------------------------------

    def say(self, text: str | None = None, **settings: Any) -> Said:
        """One turn: what waits is applied, *text* is said, the model answers. *settings* are members of the body
        (``tools``, ``temperature`` ...) and are kept for the turns that follow."""
        said = Said(self._once(lambda body, fields: self.door.ask("POST", self._chat, body, fields), text, settings))
        self._took(said.context)
        return said

    def stream(self, text: str | None = None, **settings: Any) -> Iterator[str]:
        """As ``say``, piece by piece. The turn is kept once the iterator has ended by itself."""
        events = self._once(lambda body, fields: self.door.stream(self._chat, body, fields), text,
                            {**settings, "stream": True})  # fmt: skip
        for event in events:
            for choice in event.get("choices", ()):
                piece = (choice.get("delta") or {}).get("content")
                if piece:
                    yield piece
            if event.get("context"):
                self._took(event["context"])

    def _once(self, send: Any, text: str | None, settings: dict[str, Any]) -> Any:
        ops = list(self._waiting)
        if text is not None:
            ops.append({"op": "append", "items": [{"type": "message", "role": "user", "content": text}]})
        if not self.id and not self.session:
            self.create()
        fields = {"Idempotency-Key": str(uuid.uuid4())}
        lost = rebased = 0
        while True:
            try:
                return send(self._body(ops, settings), fields)
            except Conflict as conflict:
                rebased += 1
                if not self.rebase or not conflict.head or rebased > REBASED:
                    raise
                self.version = conflict.head
                fields = {"Idempotency-Key": str(uuid.uuid4())}
            except OSError:
                lost += 1
                if lost > AGAIN:
                    raise

    def _body(self, ops: list[dict[str, Any]], settings: dict[str, Any]) -> dict[str, Any]:
        body: dict[str, Any] = {"messages": [], "delta_updates": ops, **settings}
        if self.model:
            body["model"] = self.model
        body["context_id" if self.id else "session_id"] = self.id or self.session
        if self.version:
            body["parent"] = self.version
        if self.branch != "main":
            body["context"] = {**body.get("context", {}), "branch": self.branch}
        return body

    def _took(self, context: dict[str, Any]) -> None:
        self.id = context.get("id") or self.id
        self.version = context.get("version") or self.version
        self.branch = context.get("branch") or self.branch
        self._waiting.clear()

    # -- what waits for the next turn ----------------------------------------------------------------------------------

    def op(self, op: str, **members: Any) -> Conversation:
        """Any op of CRP 4.2, with the next turn or ``apply``."""
        self._waiting.append({"op": op, **members})
        return self

    def put(self, key: str, content: Any, *, type: str = "fact", **members: Any) -> Conversation:
        """State what is now true of *key*: the gateway works out what that changes."""
        return self.op("put", item={"type": type, "key": key, "content": content, **members})

    def append(self, *items: dict[str, Any]) -> Conversation:
        """Add items at the end."""
        return self.op("append", items=list(items))

    def state(self, value: dict[str, Any]) -> Conversation:
        """Merge *value* into the state (RFC 7396)."""
        return self.op("merge", on="state", value=value)

    # -- without a model -----------------------------------------------------------------------------------------------

    def create(self, **settings: Any) -> str:
        """Make the context (``ttl``, ``access``, ``privacy`` ... as the plane takes them); its id."""
        named = {"session_id": self.session} if self.session else {}
        self._took_plane(self.door.ask("POST", self.door.plane, {**named, **settings}), keep=True)
        return self.id

    def apply(self) -> str:
        """Apply what waits, without a model call; the new version."""
        told: dict[str, Any] = {"delta_updates": list(self._waiting), "branch": self.branch}
        for _ in range(REBASED):
            try:
                sent = {**told, "parent": self.version} if self.version else told
                self._took_plane(self.door.ask("PATCH", self._path, sent))
                return self.version
            except Conflict as conflict:
                if not self.rebase or not conflict.head:
                    raise
                self.version = conflict.head
        self._took_plane(self.door.ask("PATCH", self._path, told))
        return self.version

    def view(self, at: str = "") -> dict[str, Any]:
        """What it holds: ``items``, ``state`` and more, at a version or at the branch's head."""
        place = f"at={at}" if at else f"branch={self.branch}"
        found: dict[str, Any] = self.door.ask("GET", f"{self._path}?{place}")
        return found

    def rollback(self, to: str) -> None:
        """Move the branch back to *to*; the log keeps what came after."""
        self.door.ask("POST", f"{self._path}/rollback", {"to": to, "branch": self.branch})
        self.version = to

    def fork(self, branch: str, at: str = "") -> Conversation:
        """A branch of its own, from *at* or from here on."""
        self.door.ask("POST", f"{self._path}/fork", {"from": at or self.version, "branch": branch})
        made = Conversation(self.door, self.model, id=self.id, branch=branch, rebase=self.rebase, chat=self._chat)
        made.version = at or self.version
        return made

    def delete(self) -> dict[str, Any]:
        """Delete the context for good; the receipt."""
        receipt: dict[str, Any] = self.door.ask("DELETE", self._path)
        return receipt

    def _took_plane(self, receipt: dict[str, Any], keep: bool = False) -> None:
        self.id = receipt.get("id") or self.id
        self.version = receipt.get("version") or self.version
        if not keep:
            self._waiting.clear()


class AsyncConversation:
    """A ``Conversation`` for programs with a loop; ``sync`` is the one behind it, on which ops are collected."""

    def __init__(self, sync: Conversation) -> None:
        self.sync = sync

    async def say(self, text: str | None = None, **settings: Any) -> Said:
        """As ``Conversation.say``."""
        return await asyncio.to_thread(self.sync.say, text, **settings)

    async def apply(self) -> str:
        """As ``Conversation.apply``."""
        return await asyncio.to_thread(self.sync.apply)

    async def view(self, at: str = "") -> dict[str, Any]:
        """As ``Conversation.view``."""
        return await asyncio.to_thread(self.sync.view, at)
