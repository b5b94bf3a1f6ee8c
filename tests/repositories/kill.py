"""Kill -9 as a proof (CRP 11.8, 57): a child process uses a store and kills itself at a point that a seed draws; what
it was told is in a ledger; then another store on the same data is asked whether all of that is true.

K4 inside a call, K6 during a snapshot, K7 during redaction, deletion or sweep; K1 to K3 and K5, which lie between calls
of the store, are drawn with them. The child is forked, so a ledger that was written is there after its death.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import threading
import time
from collections.abc import Awaitable, Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

from tidegate.exchange.context import Added, Entry, Item, Note
from tidegate.exchange.context_log import (
    Addition,
    Asker,
    Begin,
    Commit,
    Create,
    Draft,
    Lease,
    Loaded,
)
from tidegate.ports.context_store import ContextStore
from tidegate.rules.ulid import ulid
from tidegate.wire.context_entry import Seal, plain_seal, settled_commit, version_digest, write_entry

TRIALS: Final = int(os.environ.get("TIDEGATE_TRIALS", "50"))
STEPS: Final = 12
"""Calls of one child, at most."""
_OPS: Final = ("turn", "turn", "turn", "add", "add", "snapshot", "redact", "delete", "sweep")

Open = Callable[[], Awaitable[ContextStore]]
Arm = Callable[[ContextStore, random.Random], None]
"""From now on the process dies somewhere inside the next calls."""


class Tally(NamedTuple):
    """What happened: ``trials`` ran, ``killed`` of them inside a call, ``acknowledged`` versions were all there."""

    seed: int
    trials: int
    killed: int
    acknowledged: int
    redacted: int
    deleted: int


def die() -> NoReturn:
    """As the kernel's out-of-memory killer would."""
    os.kill(os.getpid(), signal.SIGKILL)
    while True:
        time.sleep(1)


def after_a_moment(most: float) -> Arm:
    """Dies within *most* seconds: for any store."""

    def arm(store: ContextStore, dice: random.Random) -> None:
        delay = dice.random() * most

        def wait() -> None:
            time.sleep(delay)
            die()

        threading.Thread(target=wait, daemon=True).start()

    return arm


class Talk:
    """What is known of one context: of each acknowledged version its marker and its items, in order of the line; what
    was struck."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.line: list[tuple[str, str, list[str]]] = []
        self.redacted: set[str] = set()
        self.digests: dict[str, bytes] = {"": b""}
        self.deleted = False


class Ledger:
    """Lines of JSON, one write each: before a call what is asked, after it what was told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = -1

    def note(self, **line: Any) -> None:
        if self.file < 0:
            self.file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(self.file, json.dumps(line).encode() + b"\n")

    def read(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_bytes().splitlines()] if self.path.exists() else []


class Calls:
    """The calls of a script, each of which can be made again from its line in the ledger."""

    def __init__(self, store: ContextStore, tenant: str, talks: dict[str, Talk]) -> None:
        self.store = store
        self.asker = Asker(tenant, "ann")
        self.talks = talks

    def talk(self, line: dict[str, Any]) -> Talk:
        return self.talks.setdefault(line["ctx"], Talk(line["ctx"]))

    def entry(self, kind: Any, version: str, text: str, note: Note | None = None) -> Draft:
        """Equal for equal arguments: a call made again brings the same bytes."""
        name = sha256(f"{kind}{version}{text}".encode()).digest()[:16]
        seal: Seal = plain_seal(lambda: name)
        content = json.dumps(text * 8).encode()
        changes = (Added((Item(id=f"{kind[0]}{version[-8:]}", type="message", content=content),)),) if text else ()
        return write_entry(Entry(kind=kind, version=version, changes=changes, note=note), seal)[0]

    async def make(self, line: dict[str, Any]) -> dict[str, Any]:
        """Make the call, and say what was told. Raises AssertionError for what can never be."""
        return await getattr(self, "_" + line["op"])(self.talk(line), line)  # type: ignore[no-any-return]

    async def _begin(self, talk: Talk, line: dict[str, Any]) -> dict[str, Any]:
        version = line["version"]
        begun = await self.store.begin(self.asker, talk.id, Begin(
            version=version, fork="~" + version[3:], fp=version.encode(), input=self.entry("reserve", version,
            line["marker"]), settled=settled_commit(version, 5), create=Create(subject="ann", salt=talk.id.encode()),
        ))  # fmt: skip
        assert begun.outcome == "ok" and begun.lease is not None, begun
        assert begun.base == (talk.line[-1][0] if talk.line else ""), begun
        return {"token": begun.lease.token.hex(), "fence": begun.lease.fence, "seq": begun.seq}

    async def _commit(self, talk: Talk, line: dict[str, Any]) -> dict[str, Any]:
        version = line["version"]
        output = self.entry("commit", version, "answer to " + line["marker"])
        digest = self.digest(talk, self.entry("reserve", version, line["marker"]).body, output.body)
        lease = Lease("main", version, bytes.fromhex(line["token"]), line["fence"])
        done = await self.store.commit(self.asker, talk.id, lease, Commit(status="completed", output=output,
                                                                          digest=digest))  # fmt: skip
        assert done.outcome == "ok", done
        return {"digest": digest.hex()}

    async def _add(self, talk: Talk, line: dict[str, Any]) -> dict[str, Any]:
        version = line["version"]
        entry = self.entry("delta", version, line["marker"])
        digest = self.digest(talk, entry.body)
        done = await self.store.append(self.asker, talk.id, Addition(
            kind="delta", version=version, entry=entry, digest=digest,
            create=None if talk.line else Create(subject="ann", salt=talk.id.encode()),
        ))  # fmt: skip
        assert done.outcome == "ok" and done.head == version, done
        return {"digest": digest.hex()}

    async def _snapshot(self, talk: Talk, line: dict[str, Any]) -> dict[str, Any]:
        await self.store.snapshot(self.asker, talk.id, line["upto"], b"snapshot")
        return {}

    async def _redact(self, talk: Talk, line: dict[str, Any]) -> dict[str, Any]:
        note = self.entry("control", "", "", Note("redact", items=(line["item"],)))
        assert await self.store.redact(self.asker, talk.id, [line["item"]], note) is not None
        return {}

    async def _delete(self, talk: Talk, line: dict[str, Any]) -> dict[str, Any]:
        await self.store.delete(self.asker, talk.id)
        assert (await self.store.load(self.asker, talk.id)).outcome == "gone"
        return {}

    async def _sweep(self, talk: Talk, line: dict[str, Any]) -> dict[str, Any]:
        await self.store.sweep(10)
        return {}

    def digest(self, talk: Talk, *bodies: bytes) -> bytes:
        parents = [talk.digests[talk.line[-1][0]]] if talk.line else []
        return version_digest(talk.id.encode(), parents, bodies)

    def told(self, line: dict[str, Any]) -> None:
        """Keep in mind what is acknowledged."""
        talk = self.talk(line)
        if line["op"] in ("commit", "add"):
            items = [kind + line["version"][-8:] for kind in ("rc" if line["op"] == "commit" else "d")]
            talk.line.append((line["version"], line["marker"], items))
            talk.digests[line["version"]] = bytes.fromhex(line["digest"])
        elif line["op"] == "redact":
            talk.redacted.add(line["item"])
        elif line["op"] == "delete":
            talk.deleted = True


def _names(dice: random.Random) -> Callable[[str], str]:
    return lambda prefix: prefix + ulid(time.time(), dice.getrandbits(80))


async def _child(open: Open, tenant: str, talks: dict[str, Talk], ledger: Ledger, dice: random.Random,
                 arm: Arm) -> None:  # fmt: skip
    store = await open()
    calls = Calls(store, tenant, talks)
    name = _names(dice)
    last = dice.randrange(STEPS)

    async def make(**line: Any) -> dict[str, Any]:
        ledger.note(try_=line)
        told = line | await calls.make(line)
        ledger.note(ack=told)
        calls.told(told)
        return told

    for step in range(STEPS):
        live = [talk for talk in talks.values() if not talk.deleted and talk.line]
        talk = dice.choice(live) if live and dice.random() < 0.8 else Talk(name("ctx_"))
        op = dice.choice(_OPS) if talk.line else "turn"
        if step == last:
            arm(store, dice)
        marker = f"marker {name('')}"
        if op == "turn":
            begun = await make(op="begin", ctx=talk.id, version=name("cv_"), marker=marker)
            await make(**begun | {"op": "commit"})
        elif op == "add":
            await make(op="add", ctx=talk.id, version=name("cv_"), marker=marker)
        elif op == "snapshot":
            await make(op="snapshot", ctx=talk.id, upto=1)
        elif op == "redact":
            await make(op="redact", ctx=talk.id, item=dice.choice(dice.choice(talk.line)[2]))
        elif op == "delete" and dice.random() < 0.3:
            await make(op="delete", ctx=talk.id)
        else:
            await make(op="sweep", ctx=talk.id)
    die()


async def _judge(open: Open, tenant: str, talks: dict[str, Talk], ledger: Ledger,
                 found: Callable[[str], bool] | None) -> bool:  # fmt: skip
    """Is all true that the child was told, and is what it asked last done or not done as a whole? Makes that call
    again. Whether it died inside a call."""
    store = await open()
    calls = Calls(store, tenant, talks)
    try:
        lines = ledger.read()
        asked = None
        turn: dict[str, Any] | None = None
        for line in lines:
            if "try_" in line:
                asked = line["try_"]
                continue
            asked = None
            calls.told(line["ack"])
            turn = line["ack"] if line["ack"]["op"] == "begin" else None
        # Damage first, before anything is mended.
        damage = [one async for one in store.check(tenant)]
        assert damage == [], damage
        if asked is not None:
            told = asked | await calls.make(asked)
            again = asked | await calls.make(asked)
            if asked["op"] in ("begin", "commit", "add"):
                assert told == again
            calls.told(told)
            turn = told if asked["op"] == "begin" else None
        if turn is not None:
            calls.told(turn | {"op": "commit"} | await calls.make(turn | {"op": "commit"}))
        for talk in talks.values():
            await _true(store, calls, talk, found)
        damage = [one async for one in store.check(tenant)]
        assert damage == [], damage
        return asked is not None
    finally:
        await store.close()


async def _true(store: ContextStore, calls: Calls, talk: Talk, found: Callable[[str], bool] | None) -> None:
    loaded = await store.load(calls.asker, talk.id)
    if talk.deleted:
        assert loaded.outcome == "gone", loaded
        assert found is None or not any(found(marker) for _, marker, _ in talk.line)
        return
    if not talk.line:
        return
    assert loaded.meta is not None, loaded
    if loaded.snapshot is not None:  # I5
        await store.drop_snapshots()
        whole = await store.load(calls.asker, talk.id)
        assert whole.entries[loaded.snapshot.seq :] == loaded.entries
        loaded = whole
    assert [entry.seq for entry in loaded.entries] == list(range(1, loaded.meta.seq + 1))  # type: ignore[union-attr]
    assert _line(loaded) == [version for version, _, _ in talk.line]  # nothing lost, nothing twice (I2, I3)
    texts = {payload.item: payload.body for payload in loaded.payloads}
    for version, marker, items in talk.line:
        assert [item in texts for item in items] == [item not in talk.redacted for item in items], version
        holders = sorted(name for name, body in texts.items() if marker.encode() in body)
        assert holders == sorted(item for item in items if item not in talk.redacted), version
        assert holders or found is None or not found(marker), version


def _line(loaded: Loaded) -> list[str]:
    """The ancestors of main's head, the oldest first."""
    parents = {entry.version: entry.parents for entry in loaded.entries if entry.version}
    assert loaded.meta is not None
    at = next(ref.head for ref in loaded.meta.refs if ref.branch == "main")
    line: list[str] = []
    while at:
        line.append(at)
        at = parents[at][0] if parents[at] else ""
    return line[::-1]


def kill_and_retry(folder: Path, open: Open, arms: tuple[Arm, ...], *, trials: int = TRIALS, seed: int | None = None,
                   found: Callable[[str], bool] | None = None) -> Tally:  # fmt: skip
    """*trials* children, each killed; after each everything is checked and the broken call is made again. *open* is
    called in the child and here, each in a loop of its own; *found* says whether a text is still in any file.
    ``AssertionError`` with the seed in it for the first thing that is not so."""
    seed = random.getrandbits(32) if seed is None else seed
    print(f"kill -9: seed {seed}, {trials} trials")
    tenant = f"kill{seed:x}"
    talks: dict[str, Talk] = {}
    killed = 0
    for trial in range(trials):
        dice = random.Random(seed * 1_000_003 + trial)
        ledger = Ledger(folder / f"ledger-{trial}")
        arm = dice.choice(arms)
        child = os.fork()
        if child == 0:
            try:
                asyncio.run(_child(open, tenant, talks, ledger, dice, arm))
            except BaseException as error:
                ledger.note(error=repr(error))
            finally:
                os._exit(9)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), (seed, trial, ledger.read()[-1:])
        try:
            killed += asyncio.run(_judge(open, tenant, talks, ledger, found))
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, trial {trial}: {error}") from error
        if trial % 40 == 39:  # contexts grow, and each is checked each time
            talks.clear()
            tenant = f"kill{seed:x}-{trial}"
    lines = [line for trial in range(trials) for line in Ledger(folder / f"ledger-{trial}").read() if "ack" in line]
    ops = [line["ack"]["op"] for line in lines]
    return Tally(seed, trials, killed, ops.count("commit") + ops.count("add"), ops.count("redact"), ops.count("delete"))


def stop_past_the_lease(folder: Path, open: Open) -> dict[str, Any]:
    """I7, K2 as SIGSTOP: a worker is frozen in its turn, another takes over, the first goes on. What each was told, and
    where the head is in the end."""
    tenant = f"stop{random.getrandbits(32):x}"
    name = _names(random.Random())
    context, first, second = name("ctx_"), name("cv_"), name("cv_")
    asker = Asker(tenant, "ann")
    ledger = Ledger(folder / "ledger-stop")

    async def begin(store: ContextStore, version: str, lease: int) -> Any:
        return await store.begin(asker, context, Begin(
            version=version, fork="~" + version[3:], fp=version.encode(), input=Draft(b"in"), settled=Draft(b"broken"),
            create=Create(subject="ann", salt=b"salt"), lease=lease,
        ))  # fmt: skip

    async def frozen() -> None:
        store = await open()
        begun = await begin(store, first, 300)
        ledger.note(begun=begun.outcome)
        os.kill(os.getpid(), signal.SIGSTOP)
        done = await store.commit(asker, context, begun.lease, Commit(status="completed", output=Draft(b"late"),
                                                                      digest=b"late"))  # fmt: skip
        ledger.note(late=done.outcome)
        ledger.note(renewed=await store.renew(asker, context, begun.lease) is not None)

    async def other() -> dict[str, Any]:
        store = await open()
        early = await begin(store, second, 15_000)
        await asyncio.sleep(0.35)
        begun = await begin(store, second, 15_000)
        assert begun.lease is not None, begun
        done = await store.commit(asker, context, begun.lease, Commit(status="completed", output=Draft(b"out"),
                                                                      digest=b"d"))  # fmt: skip
        os.kill(child, signal.SIGCONT)
        await asyncio.get_running_loop().run_in_executor(None, os.waitpid, child, 0)
        loaded = await store.load(asker, context)
        assert loaded.meta is not None
        await store.close()
        return {
            "early": early.outcome, "follows": begun.base == first, "done": done.outcome,
            "head": loaded.meta.refs[0].head == second,
            "log": [(entry.kind, entry.status) for entry in loaded.entries],
        }  # fmt: skip

    child = os.fork()
    if child == 0:
        try:
            asyncio.run(frozen())
        except BaseException as error:
            ledger.note(error=repr(error))
        finally:
            os._exit(0)
    _, status = os.waitpid(child, os.WUNTRACED)
    assert os.WIFSTOPPED(status), ledger.read()
    told = asyncio.run(other())
    for line in ledger.read():
        told |= line
    return told
