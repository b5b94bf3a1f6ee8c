"""The lane of the context plane: a request becomes a verb, a verb its answer (CRP 2.2, 3.7)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from tidegate.engine.contexts.discovery import discovery
from tidegate.engine.contexts.plane import Plane
from tidegate.engine.contexts.plane_change import join, patch, revert, rollback
from tidegate.engine.contexts.plane_life import begin, delete, fork, redact
from tidegate.engine.contexts.plane_log import show_log
from tidegate.engine.contexts.plane_model import explain, shorten
from tidegate.engine.contexts.plane_read import browse, compare, show
from tidegate.engine.contexts.plane_template import put_template, show_template
from tidegate.engine.lanes.respond import send_answer
from tidegate.engine.request_body import RequestBody
from tidegate.engine.runtime import Runtime
from tidegate.engine.sides import ClientSide
from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.exchange.head import Answer
from tidegate.ports.plan import RoutePlan
from tidegate.rules.context_paths import read_path

VERBS: Final[dict[str, Callable[[Plane], Awaitable[Answer | None]]]] = {
    "list": browse, "create": begin, "view": show, "patch": patch, "delete": delete, "log": show_log, "diff": compare,
    "rollback": rollback, "revert": revert, "fork": fork, "merge": join, "redact": redact, "template": show_template,
    "template_put": put_template, "render": explain, "compact": shorten,
}  # fmt: skip
"""What each verb is served by; discovery and dictionaries are below."""


async def serve(
    runtime: Runtime, client: ClientSide, route: RoutePlan, x: Exchange, body: RequestBody | None
) -> None:  # fmt: skip
    """Serve *x*. Raises the Fault that is to be told to the client."""
    x.add_answer_field("context-protocol", "1")
    plane = Plane(runtime, client, route, x, body, read_path(x.method, x.path, route.prefix))
    check_protocol(x.head.index.get("context-protocol", ""))
    verb = plane.ask.verb
    if verb == "discover":
        answer: Answer | None = plane.told(discovery(runtime.plan, plane.repository))
    elif verb == "dictionary":
        answer = dictionary(plane)
    else:
        answer = await VERBS[verb](plane)
    if answer is not None:
        send_answer(client, x, route, answer)


def dictionary(plane: Plane) -> Answer:
    """A compression dictionary: it never changes, for its name is its hash."""
    found = plane.repository.dictionaries.get(bytes.fromhex(plane.ask.id))
    if found is None:
        raise Fault("not_found", "No dictionary has this hash.", side=CLIENT)
    return Answer(200, [("content-type", "application/octet-stream"),
                        ("cache-control", "public, max-age=31536000, immutable")], found)  # fmt: skip


def check_protocol(said: str) -> None:
    """No handshake: each request stands alone, but may say what it speaks (CRP 6.1)."""
    if said and said.strip() != "1":
        raise Fault("unsupported_protocol", "Spoken here: 1.", side=CLIENT, extra={"supported": ["1"]})
