"""``tidegate models test``: one tiny call of one provider, straight from here, with the words and the key that a worker
would use. Blocks; nothing is booked.
"""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Callable
from typing import Final

from tidegate.assembly.check import Checked
from tidegate.assembly.model_journey import address
from tidegate.engine.models.signing import signed_fields
from tidegate.exchange.chat import ChatRequest, Message, Text
from tidegate.exchange.fault import Fault
from tidegate.ports.dialect import Voice
from tidegate.ports.models import CredentialPlan, DoorPlan, ModelTargetPlan, ProviderPlan
from tidegate.ports.plan import UpstreamPlan
from tidegate.rules.pricing import cost_of, dollars

DONE: Final = 0
REFUSED: Final = 1
LARGEST: Final = 1 << 20
ASKED: Final = ChatRequest("", (Message("user", (Text("Say OK."),)),), max_output=16)

Say = Callable[[str], object]


def trial(checked: Checked, name: str, model: str, say: Say) -> int:
    """Ask the provider *name* for *model*, "" for the first that the config names, once with each of its
    credentials."""
    models = checked.built.plan.models
    provider = models.providers.get(name) if models is not None else None
    if models is None or provider is None:
        say(f"there is no provider {name}")
        return REFUSED
    targets = [t for each in models.models.values() for t in each.targets if t.provider is provider and t.model]
    target = next((t for t in targets if t.model == model or not model), None)
    asked = model or (target.model if target is not None else "")
    if not asked or not provider.chat_doors:
        say(f"no model of {name} is named: --model NAME" if provider.chat_doors else f"{name} serves no chat")
        return REFUSED
    if provider.needs_credential:
        say(f"{name} has no credential that can be used; tidegate check says which is missing")
        return REFUSED
    door = provider.chat_doors[0]
    say(f"{name}: {asked} at {address(checked.built.plan, door)}")
    upstream = checked.built.plan.upstreams[door.upstream]
    results = [_ask(provider, door, upstream, credential, asked, target, say)
               for credential in provider.credentials or (None,)]  # fmt: skip
    return DONE if all(results) else REFUSED


def _ask(
    provider: ProviderPlan, door: DoorPlan, upstream: UpstreamPlan, credential: CredentialPlan | None, model: str,
    target: ModelTargetPlan | None, say: Say,
) -> bool:  # fmt: skip
    """One call; whether there was an answer."""
    dialect = door.dialect
    assert dialect is not None
    voice = target.voices.get(dialect.name) if target is not None else None
    voice = voice or Voice(vendor=provider.vendor, model=model)
    who = f"  {credential.id if credential is not None else 'no key'}: "
    if credential is not None and credential.signer in ("gcp", "oauth"):
        say(f"{who}its tokens are fetched by a running gateway; ask that one for the model instead")
        return False
    begun = time.monotonic()
    try:
        outgoing = dialect.write_request(ASKED, voice)
        status, fields, body = _post(provider, door, upstream, credential, model, outgoing.body, outgoing.fields)
        if status != 200:
            raise dialect.read_fault(status, fields, body, time.time())
        answer = dialect.read_answer(body, voice, {})
    except Fault as fault:
        say(f"{who}{fault.code}{' (' + fault.reason + ')' if fault.reason else ''}: {fault.detail}")
        return False
    except (OSError, http.client.HTTPException) as error:
        say(f"{who}not reached: {error or type(error).__name__}")
        return False
    price = target.price if target is not None else None
    told = f"answered by {answer.model} in {(time.monotonic() - begun) * 1000:.0f} ms"
    usage = answer.usage
    if usage is not None:
        told += f", {usage.input} tokens in, {usage.output} out"
        if price is not None:
            told += f", {dollars(cost_of(usage, price).nusd)} USD"  # type: ignore[arg-type]
    say(who + told)
    return True


def _post(
    provider: ProviderPlan, door: DoorPlan, upstream: UpstreamPlan, credential: CredentialPlan | None, model: str,
    body: bytes, extra: tuple[tuple[str, str], ...],
) -> tuple[int, dict[str, str], bytes]:  # fmt: skip
    """(status, fields, body) of the answer."""
    (where,) = upstream.targets
    dialect = door.dialect
    assert dialect is not None
    path, _, query = (where.base_path + dialect.path(door.path, model, False)).partition("?")
    carried = credential.carried(door.surface) if credential is not None else None
    own, asked = (carried.fields, carried.query) if carried is not None else ((), ())
    pairs = [query, *[f"{name}={value}" for name, value in door.query + asked]]
    target = path + ("?" + "&".join(filter(None, pairs)) if any(pairs) else "")
    fields = {"content-type": "application/json", "user-agent": "tidegate", **dict(door.fields), **dict(extra),
              **dict(own)}  # fmt: skip
    connection: http.client.HTTPConnection
    if where.scheme == "https":
        context = ssl.create_default_context(cafile=upstream.tls.ca or None)
        if not upstream.tls.verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(where.host, where.port, timeout=provider.first, context=context)
    else:
        connection = http.client.HTTPConnection(where.host, where.port, timeout=provider.first)
    host = where.host if where.port == (443 if where.scheme == "https" else 80) else f"{where.host}:{where.port}"
    fields |= dict(signed_fields(credential, "POST", host, target, body, time.time()))
    try:
        connection.request("POST", target, body, fields | {"host": host, "connection": "close"})
        answer = connection.getresponse()
        return answer.status, {n.lower(): v for n, v in answer.getheaders()}, answer.read(LARGEST)
    finally:
        connection.close()
