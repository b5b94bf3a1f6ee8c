"""The abuse runner: one registered function per case of ``cases.jsonl``, the invariants I1-I10 after each variant.

The JSONL line is the contract. Its digest stands beside the function, so that a changed line fails until somebody has
read the function again. Order: boot - baseline - each variant - expectation - invariants - one line in the report.
``python tests/abuse/runner.py [--mutate N] [ID ...]`` runs without pytest.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import importlib
import json
import os
import random
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))

from abuse import money
from abuse.gateway import Gateway, until
from abuse.mock import Mock
from abuse.talk import Answer, Conversation, request, talk

HERE = Path(__file__).parent
REPORT = HERE.parent.parent / ".make" / "abuse" / "report.jsonl"
GROUPS = ("hf", "hl", "sl", "bd", "au", "up", "ov", "pf", "cf")
FULL = os.environ.get("TIDEGATE_ABUSE") == "full"
"""Heavy cases run at the size their line names, not at the bounded one that their docstring states."""
SEED = int(os.environ.get("TIDEGATE_ABUSE_SEED", "20260101"))
MUTANTS = int(os.environ.get("TIDEGATE_ABUSE_MUTATE", "2"))
BODY_LIMIT = 10 << 20
J = b'{"model":"mock-a","messages":[{"role":"user","content":"hi"}]}'
SMUG = "GET /echo?smuggled=1 HTTP/1.1\r\nHost: gw\r\n\r\n"


class Registered:
    """A case with its function, or with the reason why its feature is not shipped."""

    def __init__(self, digest: str, function: Callable[[Run], None] | None, reason: str, xfail: str) -> None:
        self.digest = digest
        self.function = function
        self.reason = reason
        self.xfail = xfail


REGISTRY: dict[str, Registered] = {}


def case(id: str, digest: str, xfail: str = "") -> Callable[[Callable[[Run], None]], Callable[[Run], None]]:
    """Register the function of a case; *digest* is that of the line it was written for. *xfail*: a defect that is
    known; the case must go on failing until this word is taken away."""

    def register(function: Callable[[Run], None]) -> Callable[[Run], None]:
        assert id not in REGISTRY, id
        REGISTRY[id] = Registered(digest, function, "", xfail)
        return function

    return register


def not_shipped(id: str, digest: str, reason: str) -> None:
    """Register a case whose feature does not exist; it never counts as passed."""
    assert id not in REGISTRY, id
    REGISTRY[id] = Registered(digest, None, reason, "")


def lines() -> dict[str, str]:
    """Every case: id to its line."""
    with (HERE / "cases.jsonl").open(encoding="utf-8") as file:
        return {json.loads(line)["id"]: line.rstrip("\n") for line in file}


def digest_of(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()[:12]


def load() -> None:
    """Import every group, so that its cases are registered."""
    for group in GROUPS:
        importlib.import_module(f"abuse.{group}")


class World:
    """What every case shares: the mock, keys, and one gateway with the profile of the tests, started when asked for."""

    def __init__(self) -> None:
        self.chance = random.Random(SEED)
        self.mock = Mock()
        for name in ("a", "b", "c", "keys"):
            self.mock.open(name)
        self.key_a = self.secret("key-a")
        self.key_b = self.secret("key-b")
        self.jwt_secret = self.secret("jwt") + self.secret("more")
        self.made: Gateway | None = None
        self.canary_time = 0.0
        REPORT.parent.mkdir(parents=True, exist_ok=True)

    def secret(self, name: str) -> str:
        """A credential nobody can guess and everybody can find in an output."""
        return f"{name}-{self.chance.getrandbits(96):024x}"

    def secrets(self) -> list[bytes]:
        """What must be in no output, in every spelling."""
        plain = [self.key_a, self.key_b, self.jwt_secret]
        if self.made is not None:
            plain.append(self.made.token)
        found: set[bytes] = set()
        for word in plain:
            found.add(word.encode())
            found.add(base64.b64encode(word.encode()).rstrip(b"="))
            found.add(quote(word, safe="").encode())
        return sorted(found)

    def upstream(self, name: str, *ports: str, **more: Any) -> dict[str, Any]:
        """An upstream over ports of the mock. Without a breaker and ejections unless it asks for them: what one case
        breaks must not answer in the next."""
        return {
            "name": name,
            "targets": [{"url": f"http://127.0.0.1:{self.mock.ports[p]}"} for p in ports],
            "outlier": {"enabled": False},
            "breaker": {"mode": "metrics_only"},
            **more,
        }

    def consumers(self) -> list[dict[str, Any]]:
        return [
            {"name": "alice", "keys": [self.key_a], "tenant": "tenant-a"},
            {"name": "bob", "keys": [self.key_b], "tenant": "tenant-b"},
        ]

    def config(self) -> dict[str, Any]:
        """The test profile: limits are the defaults, the routes those of ``surface.toml``."""
        key = {"use": "api_key"}
        jwt = {"use": "jwt", "issuer": "https://issuer.example", "audience": ["gw"]}
        text = {"type": "string", "pattern": "^[^\\x00]*$"}
        message = {
            "type": "object",
            "required": ["role", "content"],
            "properties": {"role": text, "content": text},
        }
        schema = {
            "type": "object",
            "required": ["model", "messages"],
            "properties": {"model": text, "user": text, "messages": {"type": "array", "items": message}},
        }
        answer = {"type": "object", "not": {"required": ["error"]}}
        return {
            "upstreams": [self.upstream("echo", "a"), self.upstream("echo-ab", "a", "b")],
            "consumers": self.consumers(),
            "routes": [
                {"name": "echo", "match": {"path": "/echo"}, "filters": [key], "upstream": "echo",
                 "identity_fields": {"x-tenant-id": "tenant"}},
                {"name": "echo-ab", "match": {"path": "/echo-ab"}, "filters": [key], "upstream": "echo-ab"},
                {"name": "json", "match": {"path": "/json"}, "upstream": "echo",
                 "filters": [key, {"use": "json_schema", "request": {"schema": schema}}]},
                {"name": "checked-answer", "match": {"path": "/checked-answer"}, "upstream": "echo",
                 "filters": [key, {"use": "json_schema", "response": {"schema": answer, "mode": "enforce"}}]},
                {"name": "limited", "match": {"path": "/limited"}, "upstream": "echo",
                 "filters": [key, {"use": "rate_limit", "rate": "1/h", "burst": 1, "by": "consumer"}]},
                {"name": "hello", "match": {"path": "/hello", "exact": True, "methods": ["GET"]},
                 "respond": {"json": {"hello": "world"}}},
                {"name": "jwt", "match": {"path": "/jwt"}, "upstream": "echo",
                 "filters": [{**jwt, "secret": "${ABUSE_JWT_SECRET}"}], "identity_fields": {"x-tenant-id": "consumer"}},
            ],
        }  # fmt: skip

    @property
    def gateway(self) -> Gateway:
        """The gateway that most cases share."""
        if self.made is None:
            self.made = self.boot(self.config()).start()
            self.calm(self.made)
        return self.made

    def small(self, **changes: Any) -> dict[str, Any]:
        """A config with ``/echo`` and ``/echo-ab`` only, for gateways of one case; *changes* add to its lists and
        replace the rest."""
        key = {"use": "api_key"}
        config: dict[str, Any] = {
            "upstreams": [self.upstream("echo", "a"), self.upstream("echo-ab", "a", "b")],
            "consumers": self.consumers(),
            "routes": [
                {"name": "echo", "match": {"path": "/echo"}, "filters": [key], "upstream": "echo"},
                {"name": "echo-ab", "match": {"path": "/echo-ab"}, "filters": [key], "upstream": "echo-ab"},
            ],
        }
        for name, value in changes.items():
            config[name] = config[name] + value if isinstance(config.get(name), list) else value
        return config

    def boot(self, config: dict[str, Any], **more: Any) -> Gateway:
        """A gateway of its own, not started yet."""
        return Gateway(config, {"ABUSE_JWT_SECRET": self.jwt_secret}, **more)

    def calm(self, gateway: Gateway) -> None:
        """Take the baseline of I3."""
        self.warm(gateway)
        self.canary_time = statistics.median(self.canary(gateway) for _ in range(15))

    def warm(self, gateway: Gateway) -> None:
        """Let every worker open what it opens once: pools, and the log with its first record, a moment later."""
        if not gateway.warm:
            gateway.warm = True
            for _ in range(40):
                self.canary(gateway)
            end = time.monotonic() + 5.0
            while not gateway.all_log() and time.monotonic() < end:
                self.canary(gateway)

    def canary(self, gateway: Gateway, path: str = "/echo") -> float:
        """Seconds of one good call on a fresh connection, from another address."""
        begun = time.perf_counter()
        fields = [("Authorization", f"Bearer {self.key_a}")]
        answer = request(gateway.port, target=f"{path}?canary=I3", fields=fields, source="127.0.0.2")
        assert answer.status == 200, f"I3: the canary got {answer}"
        return time.perf_counter() - begun

    def close(self) -> None:
        if self.made is not None:
            self.made.stop()
        self.mock.close()


class Before:
    """What is compared after a variant."""

    def __init__(self, run: Run, gateway: Gateway) -> None:
        self.pids = gateway.workers()
        self.mark = run.world.mock.ask("mark")
        self.rss = gateway.rss()
        self.cpu = gateway.cpu()
        self.own_cpu = time.process_time()
        self.wall = time.monotonic()
        self.log = gateway.log.stat().st_size
        self.sockets = gateway.open_sockets(set(run.world.mock.ports.values()))
        self.answers = len(run.answers)
        self.booked = set(money.records(gateway)) if "models" in gateway.config else set()


class Run:
    """One case under way: what its function is given."""

    def __init__(self, world: World, id: str) -> None:
        self.world = world
        self.mock = world.mock
        self.id = id
        self.chance = random.Random(f"{SEED} {id}")
        self.answers: list[bytes] = []
        self.failures: list[str] = []
        self.results: list[dict[str, Any]] = []
        self.before: Before | None = None
        self.bare = 0.0

    @property
    def gateway(self) -> Gateway:
        return self.world.gateway

    @property
    def port(self) -> int:
        return self.gateway.port

    @property
    def key(self) -> list[tuple[str, str]]:
        """The field that carries <KEY_A>."""
        return [("Authorization", f"Bearer {self.world.key_a}")]

    # -- the notation --------------------------------------------------------------------------------------------------

    def raw(self, text: str | bytes) -> bytes:
        """Bytes of a payload in the notation of the cases; every <CANARY> is a new one."""
        if isinstance(text, bytes):
            text = text.decode("latin-1")
        auth = "Authorization: Bearer <KEY_A>\r\n"
        self.canary = f"{self.chance.getrandbits(64):016x}"
        for macro, value in (
            ("<P>", f"POST /echo HTTP/1.1\r\nHost: gw\r\n{auth}Content-Type: application/json\r\n"),
            ("<G>", f"GET /echo HTTP/1.1\r\nHost: gw\r\n{auth}"),
            ("<CANARY>", f"GET /echo?canary={self.canary} HTTP/1.1\r\nHost: gw\r\n{auth}\r\n"),
            ("<J>", J.decode()),
            ("<len:SMUG>", str(len(SMUG))),
            ("<SMUG>", SMUG),
            ("<KEY_A>", self.world.key_a),
            ("<KEY_B>", self.world.key_b),
        ):
            text = text.replace(macro, value)
        return text.encode("latin-1")

    def talk(self, text: str | bytes, expect: int = 0, port: int = 0, **more: Any) -> Conversation:
        """Say *text* on a new connection; what was answered is searched for secrets afterwards."""
        c = talk(port or self.port, self.raw(text), expect, **more)
        self.answers.append(c.data[: 1 << 20])
        return c

    def request(self, method: str = "GET", target: str = "/echo", fields: Any = None, body: bytes | None = None,
                port: int = 0, **more: Any) -> Answer:  # fmt: skip
        """An ordinary request with <KEY_A>, or with *fields*."""
        answer = request(port or self.port, method, target, self.key if fields is None else fields, body, **more)
        self.answers.append(answer.body[: 1 << 20])
        return answer

    def calls(self) -> list[dict[str, Any]]:
        """What the mock has seen in this variant, canaries of I3 left out."""
        assert self.before is not None
        found = self.mock.ask("calls", mark=self.before.mark)
        return [call for call in found if "canary=I3" not in call["target"]]

    # -- variants --------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def variant(
        self, name: str = "", calls: int | None = None, rss: int = BODY_LIMIT + (8 << 20), disturbs: bool = False,
        gateway: Gateway | None = None, xfail: str = "", patience: float = 1.0,
    ) -> Iterator[None]:  # fmt: skip
        """One variant with its invariants. *calls*: what the mock must have seen (I8); *rss*: bytes the workers may
        have grown by (I5); *disturbs*: the case kills, stops or reloads on purpose (no I1, I5, I7); *patience*:
        seconds until descriptors are back (I7)."""
        gateway = gateway or self.gateway
        self.world.warm(gateway)
        before = self.before = Before(self, gateway)
        verdict, observed = "pass", ""
        try:
            yield
            self.invariants(gateway, before, calls, rss, disturbs, patience)
        except AssertionError as error:
            verdict, observed = "fail", str(error)[:2000] or traceback.format_exc(limit=-2)
        except (OSError, TimeoutError, ValueError, RuntimeError, KeyError, IndexError) as error:
            verdict, observed = "error", f"{type(error).__name__}: {error} {traceback.format_exc(limit=-3)}"[:2000]
        if xfail:
            verdict = "fail" if verdict == "pass" else "xfail"
            observed = f"known: {xfail}; {observed}" if verdict == "xfail" else f"passes, take xfail away: {xfail}"
        self.result(name, verdict, observed)

    def result(self, name: str, verdict: str, observed: str = "") -> None:
        """Note a verdict."""
        self.results.append({"id": self.id, "variant": name, "verdict": verdict, "observed": observed, "seed": SEED})
        if verdict in ("fail", "error"):
            self.failures.append(f"{self.id}[{name}] {verdict}: {observed}")

    def not_shipped(self, name: str, reason: str) -> None:
        """A variant about something that is not there."""
        self.result(name, "not_shipped", reason)

    def finish(self) -> None:
        """Write the report's lines."""
        with REPORT.open("a", encoding="utf-8") as file:
            for result in self.results:
                file.write(json.dumps(result) + "\n")

    # -- invariants ------------------------------------------------------------------------------------------------------

    def invariants(
        self, gateway: Gateway, before: Before, calls: int | None, rss: int, disturbs: bool, patience: float
    ) -> None:
        """I1 to I8 and I10; I9 where the gateway has models."""
        world = self.world
        begun = time.perf_counter()
        live = request(gateway.admin, target="/livez", timeout=5)
        took = time.perf_counter() - begun
        assert live.status == 200 and took < 0.5, f"I2: {live} after {took:.3f} s"
        limit = max(2 * world.canary_time, 0.1)
        # A busy machine must not fail a case: what lasts fails it.
        until(lambda: statistics.median(world.canary(gateway) for _ in range(5)) < limit, 3.0,
              f"I3: canaries under {limit * 1e3:.0f} ms, the baseline is {world.canary_time * 1e3:.1f} ms")  # fmt: skip
        with gateway.log.open("rb") as log:
            log.seek(before.log)
            tail = log.read()
        assert b"Traceback" not in tail, f"I4: {tail[-3000:].decode('utf-8', 'replace')}"
        if not disturbs:
            assert gateway.workers() == before.pids, f"I1: {before.pids} were {gateway.workers()}"
            grown = gateway.rss() - before.rss
            assert grown < rss, f"I5: {grown >> 10} KiB more"
            spent = gateway.cpu() - before.cpu
            idle = 0.03 * (time.monotonic() - before.wall)
            own = time.process_time() - before.own_cpu
            assert spent < max(0.005, 100 * own) + idle, f"I6: {spent:.3f} s of CPU for {own:.3f} s of ours"
            pool = set(self.mock.ports.values())

            def back() -> bool:
                clients, others = gateway.open_sockets(pool)
                return clients <= before.sockets[0] and others <= before.sockets[1]

            until(back, patience, f"I7: {gateway.open_sockets(pool)}, before {before.sockets}")
        found = self.calls()
        if calls is not None:
            assert len(found) == calls, f"I8: {len(found)} calls, expected {calls}: {found[:3]}"
        if "models" in gateway.config:
            money.balanced(gateway, before.booked, found)
        secrets = world.secrets()
        outputs = {"answers": b"\n".join(self.answers[before.answers :]), "stderr": tail}
        if not self.results:
            outputs.update(gateway.outputs())
        for where, content in outputs.items():
            for secret in secrets:
                assert secret not in content, f"I10: a secret stands in {where}"

    # -- what many cases expect -------------------------------------------------------------------------------------------

    def refused(self, text: str | bytes, *statuses: int, name: str = "", rss: int = BODY_LIMIT + (8 << 20),
                within: float = 1.0, most_read: int = 0, xfail: str = "") -> None:  # fmt: skip
        """ "400 close": one answer, ``Connection: close``, FIN within 1 s, the canary unanswered, no upstream call."""
        wanted = statuses or (400,)
        payload = self.raw(text)
        with self.variant(name or repr(text)[-60:], calls=0, rss=rss, xfail=xfail):
            c = talk(self.port, payload, timeout=within + 2)
            self.answers.append(c.data)
            assert [a.status for a in c.answers] in [[s] for s in wanted], f"wanted {wanted}, got {c}"
            answer = c.answers[0]
            assert answer.get("connection").lower() == "close", f"no Connection: close: {answer}"
            assert c.ended == "fin", f"the connection did not end with FIN: {c}"
            assert c.seconds < within, f"the end came after {c.seconds:.2f} s"
            if most_read:
                slack = 4 << 20  # what the kernels' buffers took on the way
                assert c.sent < most_read + slack, f"{c.sent} bytes were taken"
            if answer.status in (405, 503):
                assert answer.get("allow") or answer.get("retry-after"), answer
        self.neighbours(payload)

    def neighbours(self, payload: bytes) -> None:
        """The group's rule for mutants of *payload*: whatever is answered, each 200 is one upstream call and each
        upstream call one 200; never a 500; nothing smuggled."""
        if not MUTANTS or len(payload) > 4096:
            return
        with self.variant("mutants"):
            for mutant in mutants(payload, MUTANTS, self.chance):
                mark = self.mock.ask("mark")
                try:
                    c = talk(self.port, mutant, timeout=1.0, fin=True)
                except ValueError as error:
                    raise AssertionError(f"{error} after {mutant!r}") from None
                self.answers.append(c.data)
                good = sum(a.status == 200 for a in c.answers)
                assert all(a.status != 500 for a in c.answers), f"{mutant!r} got {c}"
                seen = self.mock.ask("calls", mark=mark)
                # A FIN right behind a request counts as gone (S15.8): the upstream may have been asked all the same.
                assert good <= len(seen) <= good + 1, f"{mutant!r}: {len(seen)} calls, {c}"
                assert not any("smuggled" in call["target"] for call in seen), f"{mutant!r} smuggled"
                assert len(c.answers) <= 2, f"{mutant!r} got {c}"


CONTROLS = b"\x00\x01\x08\x09\x0a\x0b\x0c\x0d\x1f \x7f\x80\xa0\xff,;:_"


def mutants(payload: bytes, count: int, chance: random.Random) -> Iterator[bytes]:
    """Neighbours of a payload: bytes swapped, other control bytes, other places, other cases."""
    end = payload.rfind(b"GET /echo?canary=")
    front = payload if end <= 0 else payload[:end]
    tail = payload[len(front) :]
    start = front.find(b"\r\n") + 2
    for _ in range(count):
        data = bytearray(front)
        at = chance.randrange(start, max(start + 1, len(data) - 1)) if len(data) > start + 1 else 0
        kind = chance.randrange(4)
        if kind == 0 and at + 1 < len(data):
            data[at], data[at + 1] = data[at + 1], data[at]
        elif kind == 1:
            data[at] = CONTROLS[chance.randrange(len(CONTROLS))]
        elif kind == 2:
            data.insert(at, CONTROLS[chance.randrange(len(CONTROLS))])
        else:
            data = bytearray(bytes(data).swapcase()) if at % 2 else data[:at] + data[at + 1 :]
        yield bytes(data) + tail


def execute(world: World, id: str) -> Run:
    """Run one case; its results are in the Run and in the report."""
    known = REGISTRY[id]
    run = Run(world, id)
    assert known.function is not None
    try:
        known.function(run)
    except Exception as error:
        run.result("", "error", f"{type(error).__name__}: {error} {traceback.format_exc(limit=-4)}"[:3000])
    for name in ("a", "b", "c", "keys"):
        world.mock.behave(name)
        world.mock.ask("up", name=name)
    run.finish()
    return run


def main(arguments: list[str]) -> int:
    """Run the cases named, or all; the exit code."""
    global MUTANTS
    if "--mutate" in arguments:
        at = arguments.index("--mutate")
        MUTANTS = int(arguments[at + 1])
        del arguments[at : at + 2]
    load()
    world = World()
    bad = 0
    try:
        for id, known in REGISTRY.items():
            if (arguments and not any(id.startswith(a) for a in arguments)) or known.function is None:
                continue
            begun = time.monotonic()
            run = execute(world, id)
            bad += bool(run.failures)
            kinds = [r["verdict"] for r in run.results]
            print(f"{id:28} {time.monotonic() - begun:6.2f} s  { {k: kinds.count(k) for k in sorted(set(kinds))} }")
            for failure in run.failures:
                print("    ", failure[:1500])
            sys.stdout.flush()
    finally:
        world.close()
    return 1 if bad else 0


if __name__ == "__main__":
    from abuse import runner

    # The groups register with the module of that name, not with the one being run.
    sys.exit(runner.main(sys.argv[1:]))
