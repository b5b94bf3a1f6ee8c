"""One request to the context plane: who asks for what, its body read once, its answer written (CRP 2.2, 6.3)."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from tidegate.engine.contexts.repository import Held, Repository, asker_of, unavailable, version_not_found
from tidegate.engine.request_body import RequestBody
from tidegate.engine.runtime import Runtime
from tidegate.engine.sides import ClientSide
from tidegate.exchange.context import View
from tidegate.exchange.context_ids import MAIN, is_branch, read_id
from tidegate.exchange.context_log import Asker
from tidegate.exchange.context_policy import ContextLimits
from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.exchange.head import Answer, Fields
from tidegate.ports.contexts import RouteContexts
from tidegate.ports.plan import RoutePlan
from tidegate.rules.canonical import query_value
from tidegate.rules.context_paths import PlaneAsk
from tidegate.wire.context_body import JSON, MSGPACK, PROTOBUF, decode, media_type
from tidegate.wire.context_msgpack import write_msgpack

KEY: Final = 256
"""Characters of an ``Idempotency-Key``."""

_encode: Final = msgspec.json.Encoder().encode


class Plane:
    """What the verbs of the plane have in common.

    asker  from authentication alone (decided once, here)
    key    the ``Idempotency-Key``, "" for none
    """

    def __init__(
        self, runtime: Runtime, client: ClientSide, route: RoutePlan, x: Exchange, body: RequestBody | None,
        ask: PlaneAsk,
    ) -> None:  # fmt: skip
        repository: Repository | None = runtime.contexts
        if repository is None:
            raise unavailable()
        settings = route.contexts
        self.runtime: Runtime = runtime
        self.client: ClientSide = client
        self.route: RoutePlan = route
        self.settings: RouteContexts = settings if settings is not None else RouteContexts(plane=True)
        self.x: Exchange = x
        self.ask: PlaneAsk = ask
        self.repository: Repository = repository
        self.limits: ContextLimits = repository.limits
        self.asker: Asker = asker_of(x.identity, team_of(runtime, x))
        self.key: str = x.head.index.get("idempotency-key", "")
        if len(self.key) > KEY:
            raise invalid("An Idempotency-Key has at most 256 characters.")
        self.raw: bytes = b""
        """The body as it came, once it was read."""
        self._body: RequestBody | None = body

    # -- what is asked -------------------------------------------------------------------------------------------------

    async def value(self, message: str = "Delta") -> Any:
        """The body, {} for none. *message*: what a protobuf body is. Raises as ``wire/context_body.decode``."""
        body = self._body
        if body is None:
            return {}
        index = self.x.head.index
        most = self.limits.body
        if body.length > most or body.received > most:
            raise Fault("too_large", f"A body has at most {most} bytes.", side=CLIENT, close=True)
        body.limit = min(body.limit, most)
        if self.x.head.expect_continue and not body.complete and body.received == 0:
            self.client.send_continue()
        try:
            await body.gather()
        except Fault as fault:
            if fault.code == "body_too_large":
                raise Fault("too_large", f"A body has at most {most} bytes.", side=CLIENT, close=True) from None
            raise
        self.raw = body.whole()
        if not self.raw:
            return {}
        dictionaries = self.repository.dictionaries
        return decode(index.get("content-type", ""), index.get("content-encoding", ""), self.raw, self.limits,
                      dictionaries, message)  # fmt: skip

    async def members(self, message: str = "Delta", allowed: frozenset[str] = frozenset()) -> dict[str, Any]:
        """The body as an object of *allowed* members (all, if none are named). Raises 400 ``invalid_body``."""
        value = await self.value(message)
        if not isinstance(value, dict):
            raise invalid("The body is an object.")
        if allowed:
            for name in value:
                if name not in allowed:
                    raise invalid(f"The body has no member of this name: {name[:64]}.")
        return value

    def media(self) -> str:
        """The media type of the body."""
        return media_type(self.x.head.index.get("content-type", ""))

    def query(self, name: str) -> str:
        """A query parameter, decoded, "" for none."""
        return query_value(self.x.query, name) or ""

    def branch_of(self, value: Any) -> str:
        """A branch as a client names it; ``main`` for none."""
        if value is None or value == "":
            return MAIN
        if not isinstance(value, str) or not is_branch(value):
            raise invalid("No branch has such a name.")
        return value

    def number(self, name: str, default: int, most: int) -> int:
        """A query parameter that counts."""
        text = self.query(name)
        if not text:
            return default
        if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) < 1:
            raise invalid(f"{name} is a number from 1 on.")
        return min(int(text), most)

    # -- the context ---------------------------------------------------------------------------------------------------

    async def held(self) -> Held:
        """The context that is asked for, as the store has it by now."""
        return await self.repository.load(self.asker, self.ask.id, fresh=True)

    def version(self, held: Held, value: Any) -> str:
        """A version as a client names it, in any spelling. Raises 404 ``version_not_found`` for one that is not of this
        context."""
        address = read_id(value) if isinstance(value, str) else None
        if address is None or address.kind != "version" or address.id not in held.history.versions:
            raise version_not_found()
        return address.id

    def head(self, held: Held, branch: str) -> str:
        """The version that *branch* is at. Raises 404 for a branch that is not there."""
        head = held.head(branch)
        if head is None:
            raise Fault("version_not_found", "No branch has this name.", side=CLIENT)
        return head

    def view(self, held: Held, version: str) -> View:
        return held.view(version)

    # -- the answer ----------------------------------------------------------------------------------------------------

    def accepted(self) -> str:
        """In which encoding the answer is written: JSON unless another is asked for first."""
        accept = self.x.head.index.get("accept", "")
        if not accept or "json" in accept or "*/*" in accept:
            return JSON
        if "msgpack" in accept:
            return MSGPACK
        return PROTOBUF if "protobuf" in accept else JSON

    def tag(self, held: Held, version: str) -> str:
        """The entity tag in the encoding of the answer."""
        tag = held.etag(version)
        accepted = self.accepted()
        if accepted == JSON:
            return tag
        return f'{tag[:-1]}.{"msgpack" if accepted == MSGPACK else "protobuf"}"'

    def told(self, value: Any, status: int = 200, tag: str = "", location: str = "", message: str = "") -> Answer:
        """The answer that holds *value*; *message*: how protobuf names it, "" where it has no name there."""
        fields: Fields = []
        accepted = self.accepted()
        if accepted == PROTOBUF and message:
            from tidegate.wire.context_protobuf import write_message

            body = write_message(message, msgspec.json.decode(_encode(value)))
            fields.append(("content-type", PROTOBUF))
        elif accepted == MSGPACK:
            body = write_msgpack(value)
            fields.append(("content-type", MSGPACK))
        else:
            body = _encode(value)
            fields.append(("content-type", JSON))
        if tag:
            fields.append(("etag", tag))
        if location:
            fields.append(("location", location))
        fields.append(("cache-control", "private, no-cache"))
        fields.append(("vary", "accept"))
        return Answer(status, fields, body)


def team_of(runtime: Runtime, x: Exchange) -> str:
    """The team of the verified caller, "" for none."""
    identity, models = x.identity, runtime.plan.models
    if identity is None or models is None:
        return ""
    return models.callers.of(identity.consumer, identity.key_id, identity.tenant).team


def invalid(detail: str) -> Fault:
    return Fault("invalid_body", detail, side=CLIENT)
