"""A provider of the config, made reachable: its preset found, its URLs joined, its credentials looked up (LLM 8).

What a preset leaves open stands in braces (``{region}``) and is filled from the keys beside ``use:``. Credentials are
looked up in the process that uses them; a generation holds their references at most.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

import msgspec

from tidegate.assembly import parts
from tidegate.assembly.config_models import Provider
from tidegate.assembly.config_words import TargetUrl, split_url
from tidegate.assembly.parts import PartError
from tidegate.assembly.problems import FieldPath, did_you_mean
from tidegate.ports.balancer import Balancer
from tidegate.ports.dialect import Dialect
from tidegate.ports.doors import openai_doors
from tidegate.ports.models import Carried, CredentialPlan, DoorPlan
from tidegate.ports.plan import (
    BreakerPlan,
    BulkheadPlan,
    OutlierPlan,
    RetryPlan,
    SlowStartPlan,
    TargetPlan,
    TimeoutsPlan,
    UpstreamPlan,
    UpstreamTlsPlan,
)
from tidegate.ports.provider import (
    Auth,
    Bearer,
    ClientCredentials,
    Door,
    HeaderKey,
    NoAuth,
    Preset,
    QueryKey,
    ServiceAccount,
    SigV4,
)

CHAT_DOORS: Final = ("chat", "responses", "messages", "predict")
"""Surfaces whose doors speak the neutral conversation, the main one first."""
LATER_FILLED: Final = frozenset({"model", "action", "voice"})
"""Placeholders that are filled for each call."""
MAX_ACCOUNT: Final = 64 << 10
"""Bytes of a service account's file."""
LEAST_OUTLIERS: Final = OutlierPlan(max_ejected=50.0)
"""An address that cannot be reached is left out for a while; of two, one may be."""

_PLACEHOLDER: Final = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_VERSION: Final = re.compile(r"v[0-9]+(alpha|beta)?[0-9]*")
_VALUE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,199}")


# -- presets -----------------------------------------------------------------------------------------------------------


def known_presets() -> list[str]:
    """The names that ``use:`` of a provider may have."""
    from tidegate.providers.presets import PLAIN

    return sorted({name for name in parts.known("providers") if name != "presets"} | {row.name for row in PLAIN})


@cache
def load_preset(use: str) -> type[Preset]:
    """The preset *use*: a row of the table, a file, or an entry point. ``PartError`` when there is none."""
    from tidegate.providers.presets import PLAIN

    for row in PLAIN:
        if row.name == use:
            return _plain(row.name, row.title, row.base_url, row.environment, row.serves, row.seen)
    try:
        preset = parts.load_class("providers", use)
    except PartError as error:
        if use != "presets" and not str(error).startswith("there is no"):
            raise
        fix = did_you_mean(use, known_presets())
        fix = fix or "for any OpenAI-shaped server: use: openai_compatible with its base_url"
        raise PartError(f"there is no provider called {use}", fix) from None
    if not issubclass(preset, Preset):
        raise PartError(f"the provider {use} is no Preset", "mend its file")
    return preset


def _plain(name: str, title: str, base_url: str, environment: str, serves: str, seen: int) -> type[Preset]:
    """A row of the table as the class it stands for."""
    return type(
        parts.class_name(name),
        (Preset,),
        {
            "title": title or name,
            "base_url": base_url,
            "auth": Bearer((environment,)),
            "doors": openai_doors(" ".join(["c", *[letter for letter in serves.split() if letter != "v"]])),
            "checked": ("2026-11", seen),
        },
    )


def asked_for(preset: type[Preset], item: Provider | None = None) -> dict[str, str | None]:
    """Keys a provider of *preset* takes besides everybody's → their value when left out, None where there is none."""
    texts = [preset.base_url if item is None or not item.base_url else item.base_url]
    texts += [value for _, value in (*preset.query, *preset.fields)]
    texts += [text for door in preset.doors.values() for text in (door.path, door.base, door.stream_path)]
    texts.append(_token_url(preset.auth))
    names = dict.fromkeys([*preset.asks, *[name for text in texts for name in _PLACEHOLDER.findall(text)]])
    return {name: preset.defaults.get(name) for name in (*names, *preset.defaults)
            if name not in LATER_FILLED and name != "base_url"}  # fmt: skip


def _token_url(auth: Auth) -> str:
    return str(getattr(auth, "token_url", ""))


class Trouble(NamedTuple):
    """Something wrong with a provider; ``path`` leads to it from the provider."""

    path: FieldPath
    message: str
    fix: str


def troubles(item: Provider, preset: type[Preset]) -> Iterator[Trouble]:
    """What is wrong with the settings of *item* for its preset."""
    asked = asked_for(preset, item)
    for name, value in item.settings.items():
        if name not in asked:
            yield Trouble((name,), "is not known here", did_you_mean(name, [*Provider.model_fields, *asked]))
        elif isinstance(value, bool) or not isinstance(value, (str, int)) or not _VALUE.fullmatch(str(value)):
            yield Trouble((name,), "is put into a URL, so it has letters, digits and . _ ~ - only", "")
    for name, default in asked.items():
        if default is None and name not in item.settings:
            yield Trouble(
                (name,), f"is missing: the provider {item.use} needs it", f"add {name}: beside use: {item.use}"
            )
    if preset.base_url == "{base_url}" and not item.base_url:
        yield Trouble(("base_url",), f"is missing: the provider {item.use} can be anywhere",
                      "add base_url: http://host:port/v1")  # fmt: skip
    if item.base_url:
        try:
            split_url(filled(item.base_url, item, preset))
        except ValueError:
            yield Trouble(("base_url",), "is no URL without user name, query and fragment",
                          "write it like https://host/v1")  # fmt: skip


def filled(text: str, item: Provider, preset: type[Preset]) -> str:
    """*text* with its placeholders filled, but for those a dialect fills for each call."""

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if name == "base_url":
            return item.base_url
        found = item.settings.get(name, preset.defaults.get(name))
        return match.group(0) if found is None else str(found)

    return _PLACEHOLDER.sub(value, text)


# -- URLs --------------------------------------------------------------------------------------------------------------


def joined(base_path: str, door_path: str) -> str:
    """What of *door_path* follows *base_path*: a version segment that both have stands once, for base URLs are written
    with and without it."""
    last = base_path.rpartition("/")[2]
    first, _, rest = door_path.removeprefix("/").partition("/")
    return f"/{rest}" if last and first == last and _VERSION.fullmatch(last) and rest else door_path


def base_of(item: Provider, preset: type[Preset]) -> TargetUrl:
    """Where the provider is."""
    return split_url(filled(item.base_url or preset.base_url, item, preset))


class Reached(NamedTuple):
    """A provider's doors and what they lead to. ``left_out``: surfaces that are elsewhere than the base URL that the
    config names: its key is for that host alone."""

    doors: dict[str, DoorPlan]
    chat_doors: tuple[DoorPlan, ...]
    targets: dict[str, TargetPlan]
    left_out: tuple[str, ...]


def reach(item: Provider, preset: type[Preset], dialects: Mapping[str, Dialect]) -> Reached:
    """The doors of *item*. One whose dialect is not there is left out."""
    base = base_of(item, preset)
    main = f"provider:{item.name}"
    targets = {main: TargetPlan(base.scheme, base.host, base.port, base_path=base.base_path)}
    own = {name.lower(): value for name, value in preset.fields}
    own |= item.headers
    fields = tuple((name, filled(value, item, preset)) for name, value in own.items())
    query = tuple((name, quote(filled(value, item, preset), safe="")) for name, value in preset.query)
    doors: dict[str, DoorPlan] = {}
    left_out: list[str] = []
    for surface, door in preset.doors.items():
        if door.dialect and door.dialect not in dialects:
            continue
        upstream, base_path = main, base.base_path
        if door.base:
            if item.base_url:
                left_out.append(surface)
                continue
            other = split_url(filled(door.base, item, preset))
            upstream = f"{main}:{other.host}"
            targets[upstream] = TargetPlan(other.scheme, other.host, other.port)
            base_path = ""
            door = Door(door.dialect, other.base_path + door.path, door.auth, "",
                        other.base_path + door.stream_path if door.stream_path else "")  # fmt: skip
        doors[surface] = DoorPlan(
            surface,
            dialects[door.dialect] if door.dialect else None,
            upstream,
            joined(base_path, filled(door.path, item, preset)),
            joined(base_path, filled(door.stream_path, item, preset)),
            fields,
            query,
        )
    chat = tuple(doors[surface] for surface in CHAT_DOORS if surface in doors and doors[surface].dialect is not None)
    return Reached(doors, chat, targets, tuple(left_out))


def upstreams(
    item: Provider, targets: Mapping[str, TargetPlan], balancer: Callable[[str], Balancer], ca: str
) -> list[UpstreamPlan]:
    """Where calls of *item* go. No breaker and no retries: calls of models have a loop of their own, with cooldowns."""
    times = item.timeouts
    most = item.limits.in_flight or 1_000_000
    return [
        UpstreamPlan(
            name=name,
            targets=(target,),
            balancer=balancer(name),
            outlier=LEAST_OUTLIERS,
            breaker=BreakerPlan(mode="disabled"),
            retry=RetryPlan(attempts=0),
            bulkhead=BulkheadPlan(max_in_flight=most, adaptive=False),
            slow_start=SlowStartPlan(window=0.0),
            timeouts=TimeoutsPlan(times.connect, times.tls, 0.0, times.request, times.idle, 0.0),
            tls=UpstreamTlsPlan(ca=ca, verify=item.verify),
            host="upstream",
            warm=0,
            max_connections=min(most, 65_535),
            at_zero="try_all",
        )
        for name, target in targets.items()
    ]


# -- credentials -------------------------------------------------------------------------------------------------------


def credentials(
    item: Provider, preset: type[Preset], environment: Mapping[str, str], folder: Path
) -> tuple[CredentialPlan, ...]:
    """Who pays for calls of *item*: its keys, or those in the variables that its preset names."""
    auth = preset.auth
    keys: Iterable[str] = [key for key in (item.api_key, *item.api_keys) if key]
    keys = keys or _from_environment(auth, environment)
    found = [_credential(key, auth, item, preset, folder) for key in dict.fromkeys(keys)]
    return tuple(plan for plan in found if plan.secret or not plan.signer)


def wants_key(preset: type[Preset]) -> bool:
    """Whether calls without a credential are in vain."""
    return not isinstance(preset.auth, NoAuth)


def variables(auth: Auth) -> tuple[str, ...]:
    """Every variable of the environment that may hold a credential of this style."""
    return auth.environment + (auth.bearer_environment if isinstance(auth, SigV4) else ())


def _from_environment(auth: Auth, environment: Mapping[str, str]) -> list[str]:
    if isinstance(auth, SigV4):
        for name in auth.bearer_environment:
            if environment.get(name):
                return [environment[name]]
        values = [environment.get(name, "") for name in auth.environment]
        while values and not values[-1]:
            values.pop()
        return [":".join(values)] if len(values) >= 2 and values[0] and values[1] else []
    return next(([environment[name]] for name in auth.environment if environment.get(name)), [])


def _credential(key: str, auth: Auth, item: Provider, preset: type[Preset], folder: Path) -> CredentialPlan:
    id = hashlib.sha256(key.encode()).hexdigest()[:8]
    region = str(item.settings.get("region", preset.defaults.get("region", "")))
    if isinstance(auth, SigV4) and re.match(r"A[A-Z0-9]{15,127}:.", key):
        return CredentialPlan(id, signer="sigv4", auth=auth, secret=key, region=region)
    if isinstance(auth, ServiceAccount):
        return CredentialPlan(id, signer="gcp", auth=_filled_auth(auth, item, preset), secret=_account(key, folder))
    if isinstance(auth, ClientCredentials):
        if auth.header and ":" not in key:
            return CredentialPlan(id, ((auth.header, key),))
        return CredentialPlan(id, signer="oauth", auth=_filled_auth(auth, item, preset), secret=key)
    elsewhere = [_carried(key, door.auth, surface) for surface, door in preset.doors.items() if door.auth is not None]
    main = _carried(key, auth)
    return CredentialPlan(id, main.fields, main.query, elsewhere=tuple(elsewhere))


def _carried(key: str, auth: Auth, surface: str = "") -> Carried:
    """Where *key* goes."""
    if isinstance(auth, HeaderKey):
        return Carried(surface, tuple((name, key) for name in (auth.header, *auth.also)))
    if isinstance(auth, QueryKey):
        return Carried(surface, query=((auth.parameter, quote(key, safe="")),))
    prefix = auth.prefix if isinstance(auth, Bearer) else "Bearer"
    return Carried(surface, (("authorization", f"{prefix} {key}".lstrip()),))


def _filled_auth(auth: Auth, item: Provider, preset: type[Preset]) -> Auth:
    found: Auth = msgspec.structs.replace(auth, token_url=filled(_token_url(auth), item, preset))
    return found


def _account(key: str, folder: Path) -> str:
    """A service account: its JSON, or the name of the file that holds it. "" when it cannot be read."""
    if key.lstrip().startswith("{"):
        return key
    try:
        with (folder / key).open("rb") as file:
            return file.read(MAX_ACCOUNT).decode()
    except (OSError, ValueError):
        return ""


def describe_credential(plan: CredentialPlan | None, item: Provider, preset: type[Preset]) -> str:
    """The state of a provider's credential in words, never a letter of it."""
    if plan is None:
        return (
            "none wanted" if not wants_key(preset) else f"none: set {' or '.join(variables(preset.auth)) or 'api_key'}"
        )
    return f"{plan.id}" + (f", signs with {plan.signer}" if plan.signer else "")
