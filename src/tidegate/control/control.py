"""The control process: config and generations, the authority of limits, prober, key sets, metrics, admin API.

Workers serve without it (C8.5), so it may die at any time; what it needs again it reads from the data folder or hears
from the workers' ``hello``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
import traceback
import uuid
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import uvloop

from tidegate.assembly.problems import ConfigError
from tidegate.control.access_tokens import TokenKeeper, grants_of
from tidegate.control.admin.desk import Outcome, Readiness
from tidegate.control.admin.token import VARIABLE, WeakToken, check_strength, find_token, read_kept
from tidegate.control.birth import Birth, CannotStart
from tidegate.control.bookkeeper import KEEP, Bookkeeper
from tidegate.control.bookkeeper import Usage as BookedUsage
from tidegate.control.data_folder import DataFolder, FolderError
from tidegate.control.errands import fetch_key_set, fetch_token
from tidegate.control.generations import Generations, key_set_urls
from tidegate.control.harness import Gauge
from tidegate.control.key_sets import KeySetKeeper
from tidegate.control.limits import LimitAuthority
from tidegate.control.link import LinkConnection, LinkServer, Message, bind_private
from tidegate.control.listening import address_text, adopt, loopback
from tidegate.control.metrics import NodeMetrics
from tidegate.control.node_secrets import load_peppers, make_secrets
from tidegate.control.signing_keys import pairs_of
from tidegate.control.status import StatusBook
from tidegate.control.supervisor import BAD_CONFIG, say, say_plain
from tidegate.control.upstream_keeper import UpstreamKeeper
from tidegate.control.usage_reading import prices_of
from tidegate.control.watch import Watch, files_of
from tidegate.engine.segment import Segment

if TYPE_CHECKING:
    # Reading a config loads what takes longer than all the rest: a control that takes over must answer before.
    from tidegate.assembly.check import Checked

APPLY_TIME: Final = 5.0
"""Seconds a reload waits for the workers' acknowledgements; who is later shows as behind and is told again."""
COLLECT_TIME: Final = 0.25
"""Seconds a scrape waits for fresh figures; a busy worker's last report serves instead."""
ANSWER_TIME: Final = 10.0
"""Seconds the supervisor has for an answer."""
LEAVE_TIME: Final = 1.0
"""Seconds for everything under way in control to end."""
TICK: Final = 0.01
"""Seconds between two looks at leases; a "no" may wait 30 ms for one (S9.4)."""


def serve(birth: Birth) -> int:
    """Be control until the end; the exit code."""
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(Control(birth, os.environ).run())
    except CannotStart as error:
        for line in str(error).splitlines():
            say(line)
        return error.code
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


class Control:
    """State: CHECKING (nothing but the channel), SERVING (link, admin), ENDING (``ended`` is set)."""

    def __init__(self, birth: Birth, environment: Mapping[str, str]) -> None:
        self.birth = birth
        self.environment = environment
        self.loop = asyncio.get_event_loop()
        self.channel = birth.channel
        self.generations = Generations(birth.config, environment, birth.workers or 0)
        self.folder = DataFolder(Path())
        self.peppers: tuple[bytes, ...] = ()
        self.segment: Segment | None = None
        self.admin_socket: socket.socket | None = None
        self.workers = 1
        self.book = StatusBook(time.time)
        self.metrics = NodeMetrics()
        self.reloads = {"applied": 0, "partial": 0, "refused": 0}
        self.link = LinkServer(self._hello, self._said, self._link_lost)
        self.limits: LimitAuthority | None = None
        self.money: Bookkeeper | None = None
        self.upstreams: UpstreamKeeper | None = None
        self.key_sets = KeySetKeeper(fetch_key_set, self._key_set_fetched, time.monotonic)
        self.tokens = TokenKeeper(
            fetch_token, self._token_fetched, time.monotonic, time.time, lambda: str(uuid.uuid4()), say
        )  # fmt: skip
        self.watch = Watch(self._files_changed)
        self.answers: dict[str, asyncio.Future[tuple[Message, list[int]]]] = {}
        """Answers awaited from the supervisor, by kind."""
        self.acknowledged: dict[int, tuple[int, int]] = {}
        """Row → (generation served, generation wanted then)."""
        self.news = asyncio.Event()
        """Set whenever a worker has said something others may wait for."""
        self.asked = 0
        self.fresh_reports: dict[int, int] = {}
        """Row → number of the last ask that its report answers."""
        self.gauge = Gauge() if birth.test_profile else None
        self.traps: dict[str, dict[str, str]] = {"targets": {}, "bodies": {}}
        """With the test profile only."""
        self.probes: dict[int, dict[str, Any]] = {}
        """Row → its figures for the harness."""
        self.reloading: asyncio.Task[Outcome] | None = None
        self.reload_lock = asyncio.Lock()
        self.servers: list[Any] = []
        self.door: Any = None
        """The TCP listener's door; its token follows the config."""
        self.tasks: list[asyncio.Task[Any]] = []
        self.ended = asyncio.Event()

    async def run(self) -> int:
        """Start, serve, end; the exit code."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2):
            # The supervisor decides; a service manager may signal the whole group, and control leaves last.
            signal.signal(number, signal.SIG_IGN)
        self.loop.add_reader(self.channel.fileno(), self._hear)
        beginning = self.loop.create_task(self._begin())
        ended = self.loop.create_task(self.ended.wait())
        try:
            # Whoever is told to end while starting has nothing to finish.
            await asyncio.wait((beginning, ended), return_when=asyncio.FIRST_COMPLETED)
            if beginning.done():
                beginning.result()
                await ended
        finally:
            self.tasks += [beginning, ended]
            await self._close()
        return 0

    async def _begin(self) -> None:
        await (self._start() if self.birth.fresh else self._take_over())
        if self.gauge is not None:
            self.gauge.look()
        await self._open_admin()
        self._spawn(self.watch.run())
        self.channel.send("ready")

    def _spawn(self, work: Any) -> None:
        self.tasks.append(self.loop.create_task(work))

    # -- start ----------------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        """The first start: config, data folder, sockets, generation, each with its own way to fail; then the link."""
        try:
            checked = await self._check()
        except ConfigError as refusal:
            raise CannotStart(f"the config cannot be used\n{refusal}", BAD_CONFIG) from None
        await self._take_folder(self.birth.data or checked.data)
        error = self._trouble(checked)
        if error:
            raise CannotStart(f"the config cannot be used\n{error}", BAD_CONFIG)
        error = await self._listen(checked)
        if error:
            raise CannotStart(error, 1)
        self.generations.write(checked, self.folder, self.peppers[-1])
        await self._open_link()
        self._follow()

    async def _take_over(self) -> None:
        """After the death of another control: workers serve, and wait a second for limits and money. So the link
        comes first; the config is read meanwhile, and one that is broken leaves the generation as it is (S23.3)."""
        assert self.birth.data is not None  # whoever served had a folder
        await self._take_folder(self.birth.data)
        await self._listen(None)
        await self._open_link()
        try:
            checked = await self._check()
            error = self._trouble(checked) or await self._listen(checked)
        except ConfigError as refusal:
            error = str(refusal)
        if not error:
            await asyncio.to_thread(self.generations.write, checked, self.folder, self.peppers[-1])
        elif await asyncio.to_thread(self.generations.recall, self.folder):
            self._record(Outcome("refused", self.generations.number, 0, 0, 0.0, error), "start")
        else:
            raise CannotStart("there is no generation to go on with", BAD_CONFIG)
        self._follow()

    async def _check(self) -> Checked:
        """The config as it is now; raises ``ConfigError``."""
        self.watch.note()
        return await asyncio.to_thread(self.generations.check)

    def _trouble(self, checked: Checked) -> str:
        """What is wrong with the certificates of *checked*."""
        from tidegate.control.certificates import trouble

        return trouble(checked.built.plan)

    async def _take_folder(self, data: Path) -> None:
        """Have the data folder, and the secrets in it."""
        answer, _ = await self._ask("folder", path=str(data.absolute()))
        if answer["error"]:
            raise CannotStart(answer["error"], 1)
        self.folder = DataFolder(data)
        try:
            make_secrets(self.folder, self.environment)
            self.peppers = load_peppers(self.folder, self.environment)
        except (FolderError, OSError) as refusal:
            raise CannotStart(str(refusal), 1) from None

    async def _open_link(self) -> None:
        """Limits, money, and the way for workers to ask for them."""
        self.limits = LimitAuthority(
            self.folder.path / "limits.journal", time.monotonic, time.time, self._send_to, self.workers
        )
        # Until the config has said how long ledgers are kept, they are.
        self.money = Bookkeeper(
            self.folder.path, time.monotonic, time.time, self._send_to, self.workers, float("inf"), say=say,
            fresh=self.birth.fresh,
        )  # fmt: skip
        self.book.books = self.money.standing
        self._tell_money()
        if self.money.has_books():
            self.money.start()
        assert self.segment is not None
        self.upstreams = UpstreamKeeper(self.segment, self.folder, self._tell_upstreams)
        self.book.missing = [self.upstreams.missing, self._missing_key_sets]
        await self.link.start(self.folder.place_socket("link.sock"))
        self._spawn(self._each_second())
        self._tick()

    def _follow(self) -> None:
        """There is a generation: serve it, and keep what it needs fresh."""
        self._serve_generation()
        self._spawn(self.key_sets.run())
        self._spawn(self.tokens.run())

    async def _listen(self, checked: Checked | None) -> str:
        """Have the supervisor open what *checked* (None: what is open) listens on; what went wrong, or nothing."""
        listeners: list[tuple[str, str, int, str]] = []
        admin: tuple[str, int] | None = None
        workers = self.birth.workers or os.cpu_count() or 1
        if checked is not None:
            for each in checked.built.plan.listeners:
                listeners.append((each.name, each.host, each.port, "https" if each.tls else "http"))
            if checked.config.admin is not None:
                from tidegate.assembly.config_words import split_address

                admin = split_address(checked.config.admin.address)
                token = checked.config.admin.token or self.environment.get(VARIABLE, "")
                try:
                    check_strength(token or read_kept(self.folder), admin[0])
                except WeakToken as weak:
                    return str(weak)
            workers = self.birth.workers or checked.config.workers or workers
        answer, fds = await self._ask("listen", listeners=listeners, admin=admin, workers=workers)
        if answer["error"]:
            return str(answer["error"])
        shared, *rest = fds
        if self.segment is None:
            self.segment = Segment.attach(shared)
            self.workers = int(answer["workers"])
        else:
            os.close(shared)
        for fd in rest:
            if self.admin_socket is None:
                self.admin_socket = adopt(fd)
            else:
                os.close(fd)
        self.book.listeners = {name: where for name, where in answer["where"].items() if not name.startswith("@")}
        return ""

    def _serve_generation(self) -> None:
        """Everything that follows a generation: supervisor, workers, prober, resolver, watch."""
        plan = self.generations.plan
        assert plan is not None
        number = self.generations.number
        self.book.generation = number
        self.book.open_routes = [route.name for route in plan.routes if route.open]
        checked = self.generations.checked
        if checked is not None:
            known = self.book.warnings
            self.book.warnings = [str(warning) for warning in checked.warnings]
            self.book.warnings += self._unchanged(checked)
            for warning in self.book.warnings:
                if warning not in known:
                    say(f"warning: {warning}")
            if self.door is not None:
                self.door.token = self._admin_token()
            elif self.servers:
                self._open_admin_address()
        self.watch.follow(files_of(checked.source, plan) if checked is not None else [self.birth.config])
        self.channel.send("serve", generation=number, drain=plan.drain_accept + plan.drain_finish)
        self.link.broadcast("generation", number=number)
        assert self.upstreams is not None
        self.upstreams.follow(plan)
        self._tell_upstreams()
        self.key_sets.follow(key_set_urls(self.generations.content, self.environment))
        self.tokens.follow(grants_of(plan.models))
        assert self.money is not None
        self.money.set_keep(plan.models.keep if plan.models is not None else KEEP)
        if plan.models is not None:
            self.money.start()

    # -- the supervisor -------------------------------------------------------------------------------------------

    async def _ask(self, kind: str, **fields: object) -> tuple[Message, list[int]]:
        """Ask the supervisor; its answer has the same kind."""
        waiting: asyncio.Future[tuple[Message, list[int]]] = self.loop.create_future()
        self.answers[kind] = waiting
        self.channel.send(kind, **fields)
        return await asyncio.wait_for(waiting, ANSWER_TIME)

    def _hear(self) -> None:
        while True:
            try:
                parcel = self.channel.receive()
            except EOFError:
                # The supervisor has died. Workers drain by themselves; whoever starts now needs our sockets and books.
                self.loop.remove_reader(self.channel.fileno())
                self.book.stopping = True
                self.ended.set()
                return
            if parcel is None:
                return
            message = parcel.message
            kind = message["kind"]
            waiting = self.answers.pop(kind, None)
            if waiting is not None and not waiting.done():
                waiting.set_result((message, parcel.fds))
                continue
            for fd in parcel.fds:
                os.close(fd)
            if kind == "crew":
                self._crew(message)
            elif kind == "reload":
                self._spawn(self._reload_and_say("signal"))
            elif kind == "stop":
                self.ended.set()

    def _crew(self, message: Message) -> None:
        for gone in self.book.crew(message):
            self.metrics.leave(gone.pid)
            self.acknowledged.pop(gone.row, None)
            if self.limits is not None and all(w.row != gone.row for w in self.book.workers.values()):
                self.limits.worker_gone(gone.row)
            if self.money is not None:
                self.money.gone(gone.row, gone.pid)
        self._tell_money()
        self.news.set()

    def _tell_money(self) -> None:
        """Who may hold money. The supervisor speaks when there is news, which may be before we are ready to listen."""
        if self.money is not None and self.book.seats:
            self.money.crew({worker.pid: worker.ready for worker in self.book.workers.values()})

    # -- the workers ----------------------------------------------------------------------------------------------

    def _hello(self, connection: LinkConnection, message: Message) -> None:
        """A worker is there, new or after control was away: tell it what it should know."""
        self.acknowledged[connection.slot] = (int(message["generation"]), int(message["generation"]))
        self.book.report(int(message["pid"]), message)
        if self.money is not None:
            self.money.hello(connection.slot, int(message["pid"]), message.get("money"))
        if self.generations.plan is not None:
            connection.send("generation", number=self.generations.number)
            self._tell_upstreams(connection)
        if self.gauge is not None:
            connection.send("traps", **self.traps)
        for url, (key_set, age) in self.key_sets.key_sets().items():
            connection.send("key_set", url=url, key_set=key_set, age=age)
        for key, (value, life) in self.tokens.tokens().items():
            connection.send("token", key=key, value=value, life=life)
        self.news.set()

    def _tell_upstreams(self, only: LinkConnection | None = None) -> None:
        """Tell one worker, or all, where upstreams are and which places in the segment they have."""
        assert self.upstreams is not None
        for connection in [only] if only is not None else list(self.link.workers.values()):
            connection.send("slots", slots=self.upstreams.slots())
            connection.send("addresses", upstreams=self.upstreams.addresses())

    def _key_set_fetched(self, url: str, key_set: dict[str, Any]) -> None:
        self.link.broadcast("key_set", url=url, key_set=key_set, age=0.0)

    def _token_fetched(self, key: str, value: str, life: float) -> None:
        self.link.broadcast("token", key=key, value=value, life=life)

    def _missing_key_sets(self) -> str:
        return "" if self.key_sets.ready() else "a key set has not been fetched"

    def _said(self, connection: LinkConnection, message: Message) -> None:
        kind = message["kind"]
        if kind in ("want", "back", "refund", "hold"):
            if self.limits is not None:
                reply = self.limits.handle(connection.slot, message)
                if reply is not None:
                    connection.send_message(reply)
        elif kind in ("money_want", "money_back"):
            if self.money is not None:
                self.money.handle(connection.slot, message)
        elif kind == "ack":
            self.acknowledged[connection.slot] = (int(message["generation"]), int(message["wanted"]))
            self.news.set()
        elif kind == "want_keys":
            self.key_sets.want(str(message["url"]))
        elif kind == "want_token":
            self.tokens.want(str(message["key"]), bool(message["refused"]))
        elif kind == "want_addresses" and self.upstreams is not None:
            self.upstreams.resolver.hurry(str(message["upstream"]))
        elif kind == "report":
            pid = int(message["pid"])
            self.book.report(pid, message)
            self.metrics.report(pid, message["counters"])
            if "probe" in message:
                self.probes[connection.slot] = message["probe"]
            asked = message.get("asked")
            if isinstance(asked, int):
                self.fresh_reports[connection.slot] = asked
                self.news.set()

    def _link_lost(self, connection: LinkConnection) -> None:
        self.acknowledged.pop(connection.slot, None)
        self.news.set()

    def _send_to(self, row: int, message: Message) -> None:
        connection = self.link.workers.get(row)
        if connection is not None:
            connection.send_message(message)

    async def _collect(self, explain: bool = False) -> None:
        """Fresh figures of all workers, as far as they come within :data:`COLLECT_TIME`."""
        self.asked += 1
        number = self.asked
        asked = set(self.link.workers)
        self.link.broadcast("collect", asked=number, explain=explain)
        await self._until(
            lambda: all(self.fresh_reports.get(r, 0) >= number for r in asked & set(self.link.workers)), COLLECT_TIME
        )

    async def _until(self, true: Callable[[], bool], seconds: float) -> None:
        """Wait for *true* to hold, looking whenever there is news, at most *seconds*."""
        deadline = self.loop.time() + seconds
        while not true():
            left = deadline - self.loop.time()
            if left <= 0.0:
                return
            self.news.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.news.wait(), left)

    # -- reload ---------------------------------------------------------------------------------------------------

    async def reload(self, by: str) -> Outcome:
        """Read, prove and apply the config (S23.1). Callers that come while one waits to begin share it."""
        if self.reloading is None:
            self.reloading = self.loop.create_task(self._reload(by))
        return await asyncio.shield(self.reloading)

    async def _reload(self, by: str) -> Outcome:
        async with self.reload_lock:
            self.reloading = None
            begun = self.loop.time()
            if self.generations.checked is not None and self.book.reload_error is None and self.watch.unchanged():
                # A command right after the file watch did the work, or an impatient operator.
                return self._outcome(begun)._replace(changed=False)
            self.watch.note()
            try:
                checked = await asyncio.to_thread(self.generations.check)
                error = self._fixed(checked) or self._trouble(checked) or await self._listen(checked)
            except ConfigError as refusal:
                error = str(refusal)
            except TimeoutError:
                error = "the supervisor does not answer"
            if error:
                outcome = Outcome("refused", self.generations.number, *self._served(), self.loop.time() - begun, error)
            else:
                outcome = await self._apply(checked, begun)
            self._record(outcome, by)
            return outcome

    def _fixed(self, checked: Checked) -> str:
        """What cannot change while the gateway runs."""
        if self.birth.data is None and checked.data.absolute() != self.folder.path:
            return f"data: the data folder stays {self.folder.path} until the next start"
        return ""

    def _unchanged(self, checked: Checked) -> list[str]:
        """What the config now says and only the next start takes up."""
        found: list[str] = []
        workers = self.birth.workers or checked.config.workers
        if workers and workers != self.workers:
            found.append(f"workers: {workers} takes effect at the next start; there are {self.workers}")
        if self.admin_socket is not None:
            from tidegate.assembly.config_words import split_address

            admin = checked.config.admin
            host, port = self.admin_socket.getsockname()[:2]
            wanted = split_address(admin.address) if admin is not None else None
            if wanted is None or wanted.port not in (0, port) or wanted.host not in (host, "localhost"):
                found.append(f"admin: the API stays at {address_text(host, port)} until the next start")
        return found

    async def _apply(self, checked: Checked, begun: float) -> Outcome:
        """*checked* is good: write it down, tell everybody, wait for the workers."""
        before = self.generations.number
        number = await asyncio.to_thread(self.generations.write, checked, self.folder, self.peppers[-1])
        if number == before:
            # The same bytes; but what they refer to (certificates, secrets) may have changed.
            number = self.generations.renumber(self.folder)
        self._serve_generation()
        await self._until(lambda: all(wanted >= number for _, wanted in self._acknowledgements()), APPLY_TIME)
        self.channel.send("release", keep=[each.name for each in checked.built.plan.listeners])
        return self._outcome(begun)

    def _outcome(self, begun: float) -> Outcome:
        """How far the wanted generation has come."""
        applied, of = self._served()
        refusals = sorted({w.refusal for w in self.book.workers.values() if w.refusal})
        result = "applied" if applied == of else "partial"
        return Outcome(result, self.generations.number, applied, of, self.loop.time() - begun, "; ".join(refusals))

    def _acknowledgements(self) -> list[tuple[int, int]]:
        """What each connected worker serves and was told to serve."""
        return [self.acknowledged.get(row, (0, 0)) for row in self.link.workers]

    def _served(self) -> tuple[int, int]:
        """Workers that serve the wanted generation, and workers there are."""
        found = self._acknowledgements()
        return sum(served >= self.generations.number for served, _ in found), len(found)

    def _record(self, outcome: Outcome, by: str) -> None:
        self.reloads[outcome.result] += 1
        self.book.reloaded(outcome, by)

    async def _reload_and_say(self, by: str) -> None:
        """A reload that nobody waits for: its result goes to the program log."""
        try:
            outcome = await self.reload(by)
        except Exception:
            traceback.print_exc()
            return
        if outcome.result == "refused":
            say(f"reload refused, generation {outcome.generation} serves on")
            for line in outcome.error.splitlines():
                say(line)
        else:
            say(f"generation {outcome.generation} {outcome.result} on {outcome.applied}/{outcome.of} workers")

    async def _files_changed(self) -> None:
        await self._reload_and_say("file")

    # -- the desk (admin API) -------------------------------------------------------------------------------------

    def live(self) -> bool:
        """Some worker's loop has turned within 2 s."""
        return self.book.live(self._beats(), time.monotonic())

    def readiness(self) -> Readiness:
        """Whether traffic may come."""
        return self.book.readiness()

    async def metrics_text(self) -> str:
        """Prometheus text from fresh counters."""
        await self._collect()
        checks = self.upstreams.prober.counts if self.upstreams is not None else {}
        return self.metrics.text(self.book.own_metrics(self.reloads, checks))

    async def status(self) -> dict[str, Any]:
        """The status document."""
        await self._collect(explain=True)
        return self.book.document(self._beats(), time.monotonic())

    async def usage(self, begin: str, end: str, by: Sequence[str], bucket: str, reprice: bool = False) -> BookedUsage:
        """What model calls came to (C11.1)."""
        assert self.money is not None
        plan = self.generations.plan
        models = plan.models if plan is not None else None
        price_of = (prices_of(models) if models is not None else lambda record: None) if reprice else None
        return await self.money.usage(begin, end, by, bucket, price_of)

    async def signing_keys(self, consumer: str) -> list[dict[str, Any]] | None:
        """The pairs that sign for a consumer's keys (LLM 2)."""
        return pairs_of(self.generations.content, consumer, self.peppers[-1])

    def _beats(self) -> list[float]:
        if self.segment is None:
            return []
        return [beat / 1000.0 for beat in self.segment.heartbeats()[:-1]]

    # -- the bench (test profile) ---------------------------------------------------------------------------------

    def bench(self) -> Control | None:
        """What the admin API serves the harness from; None in a normal start."""
        return self if self.gauge is not None else None

    async def probe(self) -> dict[str, Any]:
        """Figures of control and of every worker, since the last time."""
        assert self.gauge is not None
        self.probes.clear()
        await self._collect()
        return {"control": self.gauge.read(), "workers": {str(row): read for row, read in self.probes.items()}}

    def trap(self, targets: dict[str, str], bodies: dict[str, str]) -> None:
        """Let workers die of these requests: those there are, and those to come."""
        self.traps = {"targets": targets, "bodies": bodies}
        self.link.broadcast("traps", **self.traps)

    # -- admin ----------------------------------------------------------------------------------------------------

    async def _open_admin(self) -> None:
        """The API on the Unix socket, and on the admin address if the config has one (S23.3)."""
        # Imported late: workers are starting meanwhile, and FastAPI takes longer than they do. On a thread, because
        # their first requests have limits to ask about.
        await asyncio.to_thread(import_module, "tidegate.control.admin.app")
        from tidegate.control.admin.app import make_app, trusted
        from tidegate.control.admin.server import make_server

        self._serve_admin(
            make_server(trusted(make_app(self, self.bench()))), bind_private(self.folder.place_socket("control.sock"))
        )
        self._open_admin_address()

    def _open_admin_address(self) -> None:
        """Serve on the admin address, once there is one."""
        from tidegate.control.admin.app import guarded, make_app
        from tidegate.control.admin.server import make_server

        if self.admin_socket is not None and self.door is None:
            here = loopback(self.admin_socket.getsockname()[0])
            self.door = guarded(make_app(self, self.bench()), self._admin_token(), here)
            self._serve_admin(make_server(self.door), self.admin_socket)

    def _admin_token(self) -> str:
        """The token in force; one that is made now is shown, this once (C3.1)."""
        checked = self.generations.checked
        configured = checked.config.admin.token if checked is not None and checked.config.admin is not None else ""
        token = find_token(configured, self.environment, self.folder)
        if token.made:
            say_plain(f"admin token (kept in {self.folder.path / 'admin-token'}): {token.value}")
        return token.value

    def _serve_admin(self, server: Any, listening: socket.socket) -> None:
        self.servers.append(server)
        self._spawn(server.serve(sockets=[listening]))

    # -- time and end ---------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        if self.limits is not None:
            self.limits.tick()
        if self.money is not None:
            self.money.tick()
        self.loop.call_later(TICK, self._tick)

    async def _each_second(self) -> None:
        """Signs of life both ways, and a worker that missed its generation is told again (CF-worker-skew)."""
        while True:
            self.channel.send("alive")
            self.link.cut_silent(self.loop.time())
            for row, connection in list(self.link.workers.items()):
                connection.send("ping")
                _, wanted = self.acknowledged.get(row, (0, 0))
                if wanted < self.generations.number:
                    connection.send("generation", number=self.generations.number)
            if self.limits is not None:
                await asyncio.to_thread(self.limits.sync)
            await asyncio.sleep(1.0)

    async def _close(self) -> None:
        for server in self.servers:
            server.should_exit = True
        self.link.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.wait(self.tasks, timeout=LEAVE_TIME)
        if self.upstreams is not None:
            self.upstreams.close()
        if self.limits is not None:
            self.limits.close()
        if self.money is not None:
            await self.money.close()
