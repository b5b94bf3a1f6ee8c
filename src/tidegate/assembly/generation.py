"""A generation: the whole config as one JSON file that control writes and every worker reads.

Consumers stand last, by name, one a line: a worker reads 100,000 of them between turns of its loop, or not at all when
these bytes are those of the generation before; and it finds one of them by bisection, without reading the others.

Merged, checked, defaults filled. Keys of consumers are digests and ``${...}`` are still references, so the file holds
no credential that the config did not hold in clear itself. Settings of parts stay as written; their ``Config`` reads
them again. Bytes of an item that did not change are the same in every generation: that is how a worker knows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from tidegate.assembly.config import Consumer as ConsumerItem
from tidegate.assembly.config import Gateway
from tidegate.assembly.config_models import Budgets, ModelLimits
from tidegate.assembly.consumers import Configured, short_id
from tidegate.assembly.problems import FieldPath
from tidegate.assembly.read import resolve
from tidegate.ports.consumers import Consumer

LIST: Final = b',\n"consumers":['
"""What stands before the consumers. No string of JSON holds a line end, so it is nowhere else."""
NEXT: Final = b",\n"
"""What stands between two of them."""
FIRST: Final = b'{"name":"'
"""How the line of a consumer begins; no letter of its name is escaped."""
BATCH: Final = 16 << 10
"""Bytes of consumers read at once: well under a millisecond."""
FORMAT: Final = 1
"""Raised when an older program could not read the file any more."""
ITEMS: Final = ("upstreams", "providers", "models", "routes", "consumers")
_NUMBER: Final = re.compile(rb'\{"format":\d+,"number":(\d+)')
NOT_PLAN: Final = {"admin", "data", "workers", "include", *ITEMS}
"""Fields of the config that are not settings of the Plan: the supervisor's, control's, or items of their own."""


class Generation(msgspec.Struct, frozen=True):
    """One generation, split into raw items.

    number    counts up from 1
    folder    relative paths of the config start here
    settings  the fields of the config that are not lists of items
    facts     what is known of the models of its providers: a ``facts.FactTable``
    consumers the lines that :func:`consumers` reads
    """

    format: int
    number: int
    folder: str
    settings: msgspec.Raw
    upstreams: list[msgspec.Raw]
    routes: list[msgspec.Raw]
    providers: list[msgspec.Raw] = []
    models: list[msgspec.Raw] = []
    facts: msgspec.Raw = msgspec.Raw(b"{}")
    consumers: bytes = b""


class StoredLimits(msgspec.Struct, frozen=True, omit_defaults=True):
    """Rates as (amount, seconds); None and 0 are no bound."""

    requests: tuple[int, float] | None = None
    tokens: tuple[int, float] | None = None
    in_flight: int = 0


NO_LIMITS: Final = StoredLimits()


class StoredKey(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one key of a consumer may do, where that is less. ``id``: what records call it; budgets are (n$, period)."""

    id: str
    digest: bytes
    models: tuple[str, ...] | None = None
    budget: tuple[tuple[int, str], ...] = ()
    limits: StoredLimits = NO_LIMITS
    surfaces: tuple[str, ...] | None = None
    expires: float = 0.0


class StoredConsumer(msgspec.Struct, frozen=True, omit_defaults=True):
    """A consumer in a generation; ``digests`` are base64 in the file."""

    name: str
    tenant: str = "default"
    tags: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    priority: int = -1
    expires: float = 0.0
    disabled: bool = False
    digests: tuple[bytes, ...] = ()
    secrets: dict[str, str] = {}
    team: str = ""
    models: tuple[str, ...] | None = None
    aliases: dict[str, str] = {}
    budget: tuple[tuple[int, str], ...] = ()
    limits: StoredLimits = NO_LIMITS
    regions: tuple[str, ...] = ()
    keys: tuple[StoredKey, ...] = ()
    """Those of ``digests`` that have words of their own."""


def write(
    config: Gateway,
    references: Mapping[FieldPath, str],
    number: int,
    folder: Path,
    digest: Callable[[bytes], bytes],
    facts: bytes = b"{}",
) -> bytes:
    """The bytes of generation *number*. *references* are those of ``read.Source``; *digest* makes of a consumer's key
    what it is found by (``rules/credentials.digest_of`` under the newest pepper); *facts* is an encoded
    ``facts.FactTable``."""
    by_item: dict[FieldPath, dict[FieldPath, str]] = {}
    for path, text in references.items():
        if path[0] in ITEMS or path[0] not in NOT_PLAN:
            item = path[:2] if path[0] in ITEMS else ()
            by_item.setdefault(item, {})[path[len(item) :]] = text

    def raw(section: str, items: Sequence[Any]) -> list[msgspec.Raw]:
        result: list[msgspec.Raw] = []
        for index, item in enumerate(items):
            written = by_item.get((section, index))
            if written is None:
                result.append(msgspec.Raw(item.__pydantic_serializer__.to_json(item, by_alias=True)))
            else:
                tree = item.model_dump(mode="json", by_alias=True)
                _restore(tree, written)
                result.append(msgspec.Raw(msgspec.json.encode(tree)))
        return result

    settings = config.model_dump(mode="json", by_alias=True, exclude=NOT_PLAN)
    _restore(settings, by_item.get((), {}))
    encode = msgspec.json.Encoder().encode
    consumers = [encode(_stored(consumer, by_item.get(("consumers", index)) if by_item else None, digest))
                 for index, consumer in sorted(enumerate(config.consumers), key=_by_name)]  # fmt: skip
    head = encode({
        "format": FORMAT,
        "number": number,
        "folder": str(folder),
        "settings": settings,
        "upstreams": raw("upstreams", config.upstreams),
        "routes": raw("routes", config.routes),
        "providers": raw("providers", config.providers),
        "models": raw("models", config.models),
        "facts": msgspec.Raw(facts),
    })  # fmt: skip
    return b"".join([head[:-1], LIST, NEXT.join(consumers), b"]}"])


def _by_name(item: tuple[int, ConsumerItem]) -> str:
    return item[1].name


def numbered(data: bytes, number: int) -> bytes:
    """The same generation under another number."""
    found = _NUMBER.match(data)
    assert found is not None, "a generation begins with its format and number"
    return b"%s%d%s" % (data[: found.start(1)], number, data[found.end(1) :])


def _restore(tree: Any, written: Mapping[FieldPath, str]) -> None:
    """Put the references of *written* back where their values stand in *tree*."""
    for path, text in written.items():
        at = tree
        for step in path[:-1]:
            at = _one(at, step)
            at = at[_step(at, step)]
        at = _one(at, path[-1])
        at[_step(at, path[-1])] = text


def _one(at: Any, step: str | int) -> Any:
    """A list of one that was written without its brackets (``budget: {usd: ...}``): its only item."""
    return at[0] if isinstance(at, list) and isinstance(step, str) else at


def _step(at: Any, step: str | int) -> str | int:
    """*step* as it is spelled in *at*: names of HTTP fields are lower-case there."""
    return step if isinstance(step, int) or step in at else step.lower()


def _stored(
    item: ConsumerItem, written: Mapping[FieldPath, str] | None, digest: Callable[[bytes], bytes]
) -> StoredConsumer:
    secrets: dict[str, str] = {}
    if item.basic is not None:
        secrets["basic"] = (written or {}).get(("basic",), item.basic.replace("${", "$${"))
    if item.hmac is not None:
        secrets["hmac"] = (written or {}).get(("hmac",), item.hmac.replace("${", "$${"))
    digests: list[bytes] = []
    keys: list[StoredKey] = []
    for key in item.keys:
        if isinstance(key, str):
            digests.append(digest(key.encode()))
            continue
        found = digest(key.key.encode())
        digests.append(found)
        keys.append(StoredKey(
            key.name or short_id(found), found, key.models, _budget(key.budget), _limits(key.limits), key.surfaces,
            key.expires or 0.0,
        ))  # fmt: skip
    return StoredConsumer(
        item.name,
        item.tenant,
        item.tags,
        item.scopes,
        -1 if item.priority is None else item.priority,
        item.expires or 0.0,
        item.disabled,
        tuple(digests),
        secrets,
        item.team or "",
        item.models,
        item.aliases,
        _budget(item.budget),
        _limits(item.limits),
        item.regions,
        tuple(keys),
    )


def _budget(budgets: Budgets) -> tuple[tuple[int, str], ...]:
    return tuple([(budget.usd, budget.per) for budget in budgets])


def _limits(limits: ModelLimits) -> StoredLimits:
    requests, tokens = limits.requests, limits.tokens
    if requests is None and tokens is None and limits.in_flight is None:
        return NO_LIMITS  # this very object is left out of the line
    return StoredLimits(
        None if requests is None else (requests.amount, requests.per),
        None if tokens is None else (tokens.amount, tokens.per),
        limits.in_flight or 0,
    )


def split(data: bytes) -> Generation:
    """The raw items of a generation. ``ValueError`` for anything that is not one of ours."""
    end = data.find(LIST)
    if end < 0 or not data.endswith(b"]}"):
        raise ValueError("this is no generation file: it is not whole")
    try:
        generation = msgspec.json.decode(data[:end] + b"}", type=Generation)
    except msgspec.MsgspecError as error:
        raise ValueError(f"this is no generation file: {error}") from None
    if generation.format != FORMAT:
        raise ValueError(f"this generation file has format {generation.format}, this program reads {FORMAT}")
    return msgspec.structs.replace(generation, consumers=data[end + len(LIST) : -2])


def consumers(generation: Generation, environment: Mapping[str, str]) -> Iterator[Configured]:
    """The consumers of a generation, one at a time. Raises ``read.BadReference`` when a secret's reference leads
    nowhere any more."""
    folder = Path(generation.folder)
    read = msgspec.json.Decoder(list[StoredConsumer]).decode
    lines = generation.consumers
    at = 0
    while at < len(lines):
        # Many lines are one list to the decoder, and cost it half as much as each by itself.
        end = lines.find(NEXT, at + BATCH)
        if end < 0:
            end = len(lines)
        for c in read(b"[%s]" % lines[at:end]):
            secrets = {kind: resolve(text, environment, folder) for kind, text in c.secrets.items()}
            owner = Consumer(c.name, c.tenant, "", c.tags, c.scopes, c.priority, c.expires, c.disabled)
            yield Configured(owner, c.digests, secrets, tuple([_owner(owner, key) for key in c.keys]))
        at = end + len(NEXT)


def _owner(consumer: Consumer, key: StoredKey) -> tuple[bytes, Consumer]:
    """The consumer as one key with words of its own knows it: under the key's name, and no longer than the key."""
    ends = [expires for expires in (consumer.expires, key.expires) if expires]
    return key.digest, msgspec.structs.replace(consumer, key_id=key.id, expires=min(ends, default=0.0))


def find(lines: bytes, name: str) -> StoredConsumer | None:
    """The consumer called *name* among *lines*, those of a generation: 17 looks among 100,000."""
    wanted = name.encode()
    low, high = 0, len(lines)
    while low < high:
        at = lines.rfind(NEXT, low, (low + high) // 2 + 1)
        start = low if at < 0 else at + len(NEXT)
        found = lines[start + len(FIRST) : lines.find(b'"', start + len(FIRST))]
        end = lines.find(NEXT, start, high)
        if end < 0:
            end = high
        if found == wanted:
            return _read_one(lines[start:end])
        if found < wanted:
            low = min(end + len(NEXT), high)
        else:
            high = max(start - len(NEXT), low) if start > low else low
    return None


_read_one: Final = msgspec.json.Decoder(StoredConsumer).decode
