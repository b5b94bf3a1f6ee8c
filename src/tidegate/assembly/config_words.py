"""The words a config is written in: addresses, names, methods, moments, and what every section is made of."""

from __future__ import annotations

import ipaddress
import re
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)


class Address(NamedTuple):
    """Where to listen: an IP address, or ``localhost``; port 0 lets the system choose."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Nobody on another machine can reach it."""
        return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback


def split_address(text: str) -> Address:
    """``127.0.0.1:8080``, ``[::1]:8080``, ``localhost:8080`` or ``:8080`` (every address); ``ValueError`` otherwise."""
    host, colon, port = text.rpartition(":")
    if not colon or not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError("an address is written like 127.0.0.1:8080 or [::1]:8080")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("an IPv6 address stands in brackets, like [::1]:8080")
    host = host or "0.0.0.0"
    if host != "localhost":
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise ValueError("listen on an IP address or localhost, like 127.0.0.1:8080") from None
    return Address(host, int(port))


class TargetUrl(NamedTuple):
    scheme: str
    host: str
    port: int
    base_path: str


def split_url(text: str) -> TargetUrl:
    """The pieces of ``http://host[:port][/base]``; ``ValueError`` for anything else."""
    example = "a target is written like http://10.0.0.5:8000 or https://api.example"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(example) from None
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"[\s\x00-\x1f\\]", text):
        raise ValueError(example)
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("a target has no user name, query or fragment")
    if port == 0:
        raise ValueError("a target's port lies between 1 and 65535")
    default = 443 if parts.scheme == "https" else 80
    return TargetUrl(parts.scheme, parts.hostname, port or default, parts.path.rstrip("/"))


def parse_statuses(item: object) -> tuple[int, int]:
    """``200`` or ``"200-299"`` as a range, both ends included."""
    match = re.fullmatch(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?", str(item)) if not isinstance(item, bool) else None
    if match is None:
        raise ValueError("a status is written like 200 or 200-299")
    first, last = int(match.group(1)), int(match.group(2) or match.group(1))
    if first > last:
        raise ValueError("a range of statuses goes from the lower to the higher")
    return first, last


def _statuses(value: object) -> object:
    for item in value if isinstance(value, (list, tuple)) else (value,):
        parse_statuses(item)
    return [str(item) for item in value] if isinstance(value, (list, tuple)) else [str(value)]


def words(value: object) -> object:
    """Numbers among words (``on: [open, 502]``) are words."""
    return (
        [str(i) if isinstance(i, int) and not isinstance(i, bool) else i for i in value]
        if isinstance(value, (list, tuple))
        else value
    )


def _moment(value: object) -> float:
    """Seconds since the epoch of a number, a date or a date with time and offset."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e11:
        return float(value)
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None:
        raise ValueError("a moment is written like 2027-01-31 or 2027-01-31T12:00:00Z")
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _field_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}", value):
        raise ValueError("this is not the name of an HTTP field")
    return value.lower()


def _field_value(value: str) -> str:
    if not value.isprintable() or not value.isascii():
        raise ValueError("the value of an HTTP field is printable ASCII")
    return value


def _method(value: str) -> str:
    if not re.fullmatch(r"[A-Z0-9!#$%&'*+.^_`|~-]{1,32}", value):
        raise ValueError("a method is written in capitals, like GET")
    if value in ("CONNECT", "TRACE"):
        raise ValueError("CONNECT and TRACE are never served (S2.2)")
    return value


def _host(value: str) -> str:
    host = value.lower().rstrip(".")
    if not re.fullmatch(r"(\*\.)?[a-z0-9_]([a-z0-9_.-]{0,252}[a-z0-9_])?|\[[0-9a-f:.]+\]", host) or ".." in host:
        raise ValueError("a host is written like api.example or *.api.example, without a port")
    return host


def _network(value: str) -> str:
    try:
        return str(ipaddress.ip_network(value, strict=False))
    except ValueError:
        raise ValueError("a network is written like 10.0.0.0/8 or 192.0.2.7") from None


def unique(items: tuple[Any, ...]) -> tuple[Any, ...]:
    seen: set[Any] = set()
    for item in items:
        if item in seen:
            raise ValueError(f"{item!r} stands here twice")
        seen.add(item)
    return items


def _checked(parse: Any) -> AfterValidator:
    """Refuse what *parse* refuses; keep the text."""

    def check(value: str) -> str:
        parse(value)
        return value

    return AfterValidator(check)


Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
"""Lower-case letters, digits, ``. _ -``; at most 63 characters (CONTROL C3.3)."""
ListenAddress = Annotated[str, _checked(split_address)]
Url = Annotated[str, StringConstraints(max_length=2048), _checked(split_url)]
Key = Annotated[str, StringConstraints(min_length=8, max_length=4096, pattern=r"^[!-~]+$")]
FieldName = Annotated[str, AfterValidator(_field_name)]
FieldValue = Annotated[str, StringConstraints(max_length=4096), AfterValidator(_field_value)]
Condition = Annotated[str, StringConstraints(max_length=4096)]
Method = Annotated[str, AfterValidator(_method)]
Host = Annotated[str, AfterValidator(_host)]
Network = Annotated[str, AfterValidator(_network)]
Statuses = Annotated[
    tuple[str, ...],
    BeforeValidator(_statuses),
    Field(min_length=1, max_length=32),
    WithJsonSchema({"type": "array", "items": {"type": ["integer", "string"]}, "examples": [["200-299", 304]]}),
]
Moment = Annotated[
    float,
    BeforeValidator(_moment),
    PlainSerializer(lambda at: datetime.fromtimestamp(at, UTC).isoformat(), return_type=str, when_used="json"),
    WithJsonSchema({"type": ["string", "number"], "examples": ["2027-01-31T12:00:00Z"]}),
]
By = Annotated[
    str, StringConstraints(pattern=r"^(consumer|ip|path|(header|cookie):[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128})$")
]
"""The unit that always meets the same arm of a split."""
IdentitySource = Annotated[str, StringConstraints(pattern=r"^(consumer|tenant|claim:[!-~]{1,128})$")]


class Section(BaseModel):
    """One mapping of the config: frozen, and nothing in it that is not named here."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Part(BaseModel):
    """One choice by name; the settings beside ``use`` are checked by the part's own ``Config``."""

    model_config = ConfigDict(frozen=True, extra="allow")

    use: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")] = Field(
        description="The part: the name of a file in the kind's folder, or of an entry point."
    )

    @property
    def settings(self) -> dict[str, Any]:
        """What stands beside ``use``."""
        return self.__pydantic_extra__ or {}
