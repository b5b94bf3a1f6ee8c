"""``tidegate context``: an operator reads conversations where they are kept, whether the gateway runs or not.

What changes or renders one is asked of the gateway itself, with a consumer's key: its rules hold for operators too.
"""

from __future__ import annotations

import asyncio
import hmac
import http.client
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from tidegate.assembly.check import Checked
from tidegate.assembly.config_words import split_address
from tidegate.assembly.contexts import KEYS, Stores
from tidegate.assembly.inert import InertTools
from tidegate.assembly.parts import Shelf
from tidegate.control.node_secrets import ROOT_KEY
from tidegate.exchange.context_ids import MAIN, read_id
from tidegate.exchange.context_log import ENDED, Asker, Loaded, Meta, Payload
from tidegate.exchange.fault import Fault
from tidegate.ports.context_store import ContextStore
from tidegate.rules.context_fold import History, read_snapshot
from tidegate.rules.context_keys import WrongKey, open_context_key, open_tenant_key, unsealer
from tidegate.wire.context_entry import BrokenEntry, Unseal, plain_unseal, read_entry
from tidegate.wire.context_history import entry_object
from tidegate.wire.context_json import item_object, write_time

DONE: Final = 0
REFUSED: Final = 1
UNREACHABLE: Final = 3
PAGE: Final = 100
TIME: Final = 30.0
"""Seconds an answer of the gateway may take."""


class Refused(Exception):
    """Why nothing can be told; ``code`` is what the command exits with."""

    def __init__(self, text: str, code: int = REFUSED) -> None:
        super().__init__(text)
        self.code = code


class Reader:
    """One open store and the keys to it."""

    def __init__(self, store: ContextStore, root: bytes, tenant: str) -> None:
        self.store = store
        self.root = root
        self.asker = Asker(tenant, all=True)

    async def history(self, named: str) -> tuple[Meta, History]:
        """The context that *named* is an id or version of."""
        address = read_id(named)
        id = address.id if address is not None else ""
        if address is not None and address.kind == "version":
            found = await self.store.resolve(self.asker, address.id)
            id = found.context if found is not None else ""
        loaded = await self.store.load(self.asker, id) if id else Loaded(outcome="not_found")
        meta = loaded.meta
        if loaded.outcome != "ok" or meta is None:
            raise Refused(f"{named} is {'gone' if loaded.outcome in ENDED else 'unknown'} in this tenant")
        payloads: dict[int, dict[tuple[str, int], Payload]] = {}
        for payload in loaded.payloads:
            payloads.setdefault(payload.seq, {})[payload.item, payload.rev] = payload
        unseal = await self._unseal(meta)
        if loaded.snapshot is not None:
            history = read_snapshot(loaded.snapshot.body, meta.salt, payloads, unseal)
        else:
            history = History(meta.id, meta.salt)
        for stored in loaded.entries:
            history.add(read_entry(stored, payloads.get(stored.seq, {}), unseal), stored)
        return meta, history

    async def _unseal(self, meta: Meta) -> Unseal:
        if not meta.dek:
            return plain_unseal
        sealed = await self.store.tenant_key(meta.tenant, 0)
        key = open_tenant_key(self.root, meta.tenant, sealed or b"")
        return unsealer(open_context_key(key, meta.tenant, meta.salt, meta.dek), meta.tenant, meta.id)


class Place:
    """Where to look: a config, and a tenant in it. *data* instead of the config's data folder, as ``run --data``."""

    def __init__(self, checked: Checked, data: Path | None, tenant: str) -> None:
        self.checked = checked
        self.data = data or checked.data
        self.tenant = tenant

    def store(self) -> ContextStore:
        """The store, not open yet."""

        def tools(scope: str) -> InertTools:
            made = InertTools(scope, self.data)
            made.config_folder = self.checked.folder
            return made

        return Stores(Shelf(), tools, {}).plan(self.checked.config, 0).store

    def root(self) -> bytes:
        """As the workers derive it; b"" where there is none yet, and so nothing sealed."""
        try:
            return hmac.digest((self.data / ROOT_KEY).read_bytes(), KEYS.encode(), "sha256")
        except OSError:
            return b""


def _run(place: Place, work: Callable[[Reader], Awaitable[int]]) -> int:
    """Do *work* on the store at *place*; the exit code."""

    async def inner() -> int:
        if place.checked.built.plan.contexts is None:
            raise Refused("no route of this config keeps contexts")
        store = place.store()
        if not store.durable:
            raise Refused("contexts are kept in the memory of the gateway, where nobody else can look", UNREACHABLE)
        await store.open()
        try:
            return await work(Reader(store, place.root(), place.tenant))
        finally:
            await store.close()

    try:
        return asyncio.run(inner())
    except Refused as error:
        return _say(str(error), error.code)
    except Fault as fault:
        return _say(f"the store does not answer: {fault.detail}", UNREACHABLE)
    except (BrokenEntry, WrongKey) as error:
        return _say(f"{error}; see tidegate context fsck", REFUSED)


def _say(text: str, code: int) -> int:
    sys.stderr.write(f"tidegate: {text}\n")
    return code


def _print(value: Any) -> None:
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


# -- reading -----------------------------------------------------------------------------------------------------------


def ls(place: Place, as_json: bool) -> int:
    """All contexts of the tenant, newest first, without content."""

    async def work(reader: Reader) -> int:
        after = ""
        while True:
            page = await reader.store.browse(reader.asker, after, PAGE)
            for meta in page:
                head = next((ref.head for ref in meta.refs if ref.branch == MAIN), "")
                if as_json:
                    line = {"id": meta.id, "head": head, "created": write_time(meta.created), "bytes": meta.size,
                            "entries": meta.seq, "privacy": meta.privacy, "subject": meta.subject,
                            "names": meta.names}  # fmt: skip
                    sys.stdout.write(json.dumps(line) + "\n")
                else:
                    sizes = f"{meta.seq:>5} entries  {meta.size:>9} B  {meta.privacy:<9}"
                    told = f"{meta.id}  {write_time(meta.created)}  {sizes}  {head or '-'}  {' '.join(meta.names)}"
                    sys.stdout.write(told.rstrip() + "\n")
            if len(page) < PAGE:
                return DONE
            after = page[-1].id

    return _run(place, work)


def show(place: Place, named: str, at: str) -> int:
    """What one context holds at a version, by default at the head of ``main``."""

    async def work(reader: Reader) -> int:
        meta, history = await reader.history(named)
        version = at or (named if named in history.versions else history.heads.get(MAIN, ""))
        if version and version not in history.versions:
            raise Refused(f"{version} is no version of {meta.id}")
        view = history.view(version)
        _print({"id": meta.id, "version": version or None, "branches": history.heads,
                "state": msgspec.Raw(view.state), "items": [item_object(item) for item in view.items]})  # fmt: skip
        return DONE

    return _run(place, work)


def log(place: Place, named: str) -> int:
    """Every entry of one context, one JSON line each."""

    async def work(reader: Reader) -> int:
        _, history = await reader.history(named)
        for entry in history.log():
            sys.stdout.write(msgspec.json.encode(entry_object(entry)).decode() + "\n")
        return DONE

    return _run(place, work)


def fsck(place: Place, id: str) -> int:
    """Look whether everything is whole (I8), in every tenant unless one is named; 1 when something is not."""

    async def work(reader: Reader) -> int:
        count = 0
        async for damage in reader.store.check(place.tenant, id):
            count += 1
            words = [damage.context, f"entry {damage.seq}" if damage.seq else "", damage.version, damage.what]
            behind = f": {damage.detail}" if damage.detail else ""
            sys.stdout.write(" ".join(filter(None, words)) + behind + "\n")
        sys.stdout.write(f"{count} damaged\n" if count else "everything is whole\n")
        return REFUSED if count else DONE

    return _run(place, work)


# -- through the gateway -----------------------------------------------------------------------------------------------


def ask(checked: Checked, named: str, verb: str, body: dict[str, Any], key: str) -> int:
    """``POST /{id}/{verb}`` of the context plane, with a consumer's *key*; prints the answer."""
    route = next((route for route in checked.config.routes if route.contexts is not None), None)
    listener = next((each for each in checked.config.listeners if each.tls is None), None)
    if route is None or listener is None:
        return _say("this needs a route with contexts: {}, on a listener without TLS", REFUSED)
    if not key:
        return _say("a consumer's key is needed: --key, or TIDEGATE_KEY", REFUSED)
    address = split_address(listener.address)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)
    connection = http.client.HTTPConnection(host, address.port, timeout=TIME)
    try:
        connection.request("POST", f"{route.match.path.rstrip('/')}/{named}/{verb}", json.dumps(body), {
            "authorization": f"Bearer {key}", "content-type": "application/json",
            **({"host": route.match.hosts[0]} if route.match.hosts else {}),
        })  # fmt: skip
        answer = connection.getresponse()
        told = json.loads(answer.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        return _say(f"no gateway answers at {host}:{address.port}: {error}", UNREACHABLE)
    finally:
        connection.close()
    _print(told)
    return DONE if answer.status < 300 else REFUSED
