"""A generation: the whole config as one JSON file that control writes and every worker reads.

Consumers stand last, one a line: a worker reads 100,000 of them between turns of its loop, or not at all when these
bytes are those of the generation before.

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
from tidegate.assembly.consumers import Configured
from tidegate.assembly.problems import FieldPath
from tidegate.assembly.read import resolve
from tidegate.ports.consumers import Consumer

LIST: Final = b',\n"consumers":['
"""What stands before the consumers. No string of JSON holds a line end, so it is nowhere else."""
NEXT: Final = b",\n"
"""What stands between two of them."""
BATCH: Final = 16 << 10
"""Bytes of consumers read at once: well under a millisecond."""
FORMAT: Final = 1
"""Raised when an older program could not read the file any more."""
ITEMS: Final = ("upstreams", "routes", "consumers")
_NUMBER: Final = re.compile(rb'\{"format":\d+,"number":(\d+)')
NOT_PLAN: Final = {"admin", "data", "workers", "include", *ITEMS}
"""Fields of the config that are not settings of the Plan: the supervisor's, control's, or items of their own."""


class Generation(msgspec.Struct, frozen=True):
    """One generation, split into raw items.

    number    counts up from 1
    folder    relative paths of the config start here
    settings  the fields of the config that are not lists of items
    consumers the lines that :func:`consumers` reads
    """

    format: int
    number: int
    folder: str
    settings: msgspec.Raw
    upstreams: list[msgspec.Raw]
    routes: list[msgspec.Raw]
    consumers: bytes = b""


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


def write(
    config: Gateway, references: Mapping[FieldPath, str], number: int, folder: Path, digest: Callable[[bytes], bytes]
) -> bytes:
    """The bytes of generation *number*. *references* are those of ``read.Source``; *digest* makes of a consumer's key
    what it is found by (``rules/credentials.digest_of`` under the newest pepper)."""
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
                 for index, consumer in enumerate(config.consumers)]  # fmt: skip
    head = encode({
        "format": FORMAT,
        "number": number,
        "folder": str(folder),
        "settings": settings,
        "upstreams": raw("upstreams", config.upstreams),
        "routes": raw("routes", config.routes),
    })  # fmt: skip
    return b"".join([head[:-1], LIST, NEXT.join(consumers), b"]}"])


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
            at = at[_step(at, step)]
        at[_step(at, path[-1])] = text


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
    return StoredConsumer(
        item.name,
        item.tenant,
        item.tags,
        item.scopes,
        -1 if item.priority is None else item.priority,
        item.expires or 0.0,
        item.disabled,
        tuple([digest(key.encode()) for key in item.keys]),
        secrets,
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
            yield Configured(owner, c.digests, secrets)
        at = end + len(NEXT)
