"""The supervisor: starts, watches, restarts and signals. It holds the listening sockets, the shared segment, the lock
of the data folder and the pids; it serves no traffic and reads no config (ARCHITECTURE 1).

Its one loop waits on the channels of its children and on signals. It has no event loop, no thread and no handle that
a forked worker could share by accident, so that a dead worker is back in milliseconds.
"""

from __future__ import annotations

import contextlib
import gc
import os
import random
import resource
import select
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import Any, Final, NoReturn

import tidegate
from tidegate.control import upgrade
from tidegate.control.channel import Channel, pair
from tidegate.control.crew import CONTROL, WORKER, Crew, Member, Restarts, charged
from tidegate.control.data_folder import DataFolder, FolderError
from tidegate.control.listening import ListenError, adopt, bound, listen
from tidegate.engine.segment import Segment

BAD_CONFIG: Final = 78
"""Exit code for a config that cannot be used (``EX_CONFIG``)."""
FAILED: Final = 1
CRASHED: Final = 70
"""Exit code of a child that ended by an exception."""
ADMIN: Final = "@admin"
"""The admin listener's name among the sockets; no configured address can be called this."""
TURN: Final = 0.25
"""Seconds between two looks at heartbeats, due restarts and deadlines."""
BIND_TRIES: Final = 20
"""Tries, 50 ms apart, to open an address at start: workers of a killed supervisor let go of theirs in that time."""
UPGRADE_FINISH: Final = 600.0
"""Seconds old workers have to finish after an upgrade (S23.6)."""

MOST_DESCRIPTORS: Final = 1 << 20
"""The kernel's own usual maximum; more would only make a leak last longer."""

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2, signal.SIGCHLD)


class Settings:
    """What ``run`` was asked for; paths absolute."""

    def __init__(self, config: Path, workers: int | None, data: Path | None, test_profile: bool) -> None:
        self.config = config
        self.workers = workers
        self.data = data
        self.test_profile = test_profile


def run(
    config_path: Path | None, workers: int | None = None, data: Path | None = None, test_profile: bool = False
) -> int:
    """Run the gateway until it is told to stop; the exit code.

    *config_path* None means ``./tidegate.yaml``; *workers* and *data* go before what the config says.
    """
    if upgrade.CHECK in os.environ:
        from tidegate.control.worker import rehearse

        return rehearse(DataFolder(Path(os.environ[upgrade.CHECK])))
    config = config_path or Path("tidegate.yaml")
    if config_path is None and not config.is_file():
        say("there is no tidegate.yaml here; write one with `tidegate init`, or try `tidegate demo`")
        return BAD_CONFIG
    settings = Settings(config.absolute(), workers, data.absolute() if data else None, test_profile)
    supervisor = Supervisor(settings)
    held = os.environ.pop(upgrade.RESUME, "")
    if held:
        supervisor.resume(upgrade.take(int(held)))
    return supervisor.run()


def say(text: str) -> None:
    """One line to the operator."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"tidegate: {text}\n")
        sys.stderr.flush()


class Supervisor:
    """The whole mutable state: ``crew`` (who runs), ``sockets`` (by name), ``folder``, ``lock``, ``segment`` (None
    until control has told the config's needs), ``generation`` (0 until workers may start), and what is under way:
    ``stopping``, ``probe`` (an upgrade's trial), ``upgrading_since``."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.crew = Crew()
        self.sockets: dict[str, socket.socket] = {}
        self.schemes: dict[str, str] = {}
        self.folder: DataFolder | None = None
        self.lock = -1
        self.segment: Segment | None = None
        self.generation = 0
        self.workers = 0
        self.drain_time = 25.0
        self.announced = False
        self.stopping = False
        self.stop_by = float("inf")
        self.asked_twice = False
        self.probe = 0
        self.probe_by = 0.0
        self.upgrading_since = 0.0
        self.blind = False
        """True when the old workers of an upgrade beat in a segment that this program cannot read."""
        self.exit_code: int | None = None
        self.wakeup: tuple[int, int] = (-1, -1)
        self.turned = time.monotonic()
        self.known = ""

    # -- the loop -------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Start and serve until the end; the exit code."""
        os.umask(0o077)
        allow_connections()
        self._take_signals()
        try:
            if not self._start_control():
                return FAILED
            self._warm()
            while self.exit_code is None:
                self._turn()
        except BaseException:
            self._everybody(signal.SIGKILL)
            raise
        return self.exit_code

    def _turn(self) -> None:
        """Hear what happened, then do what is due."""
        self._wait()
        now = time.monotonic()
        if now - self.turned > 4 * TURN:
            self.crew.forgive(now - self.turned - TURN)
        self.turned = now
        self._reap(now)
        self._watch(now)
        self._follow_upgrade(now)
        if self.stopping:
            self._follow_stop(now)
        elif self.exit_code is None:
            self._fill_seats(now)
        self._tell_control()

    def _wait(self) -> None:
        poll = select.poll()
        poll.register(self.wakeup[0], select.POLLIN)
        members: dict[int, Member] = {}
        for member in self.crew.members.values():
            if member.channel is not None:
                members[member.channel.fileno()] = member
                poll.register(member.channel.fileno(), select.POLLIN)
        until = min(TURN, max(0.0, self.crew.next_due() - time.monotonic()))
        for fd, _ in poll.poll(int(until * 1000.0) + 1):
            if fd == self.wakeup[0]:
                for number in os.read(fd, 256):
                    self._signalled(number)
            else:
                self._hear(members[fd])

    # -- signals --------------------------------------------------------------------------------------------------

    def _take_signals(self) -> None:
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.wakeup = (reading, writing)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, lambda *_: None)
        # An upgrade blocks them over its exec; what came meanwhile arrives now.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def _signalled(self, number: int) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self.stop(accept=number == signal.SIGTERM)
        elif number == signal.SIGHUP and not self.stopping:
            control = self.crew.controller()
            if control is not None and control.channel is not None:
                control.channel.send("reload")
        elif number == signal.SIGUSR2 and not self.stopping:
            self.begin_upgrade()

    # -- children -------------------------------------------------------------------------------------------------

    def _fork(self, kind: str, row: int) -> Member | None:
        """Start a process; in the child this never returns."""
        ours, theirs = pair()
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            pid = os.fork()
        except OSError as error:
            say(f"cannot start a {kind}: {error.strerror}")
            ours.close()
            theirs.close()
            return None
        if pid == 0:
            ours.close()
            self._be(kind, row, theirs)
        theirs.close()
        member = Member(kind, row, pid, ours, time.monotonic())
        self.crew.joined(member)
        return member

    def _be(self, kind: str, row: int, channel: Channel) -> NoReturn:
        """The child's life: let go of what is the supervisor's, do the work, leave."""
        code = CRASHED
        try:
            signal.set_wakeup_fd(-1)
            for number in SIGNALS:
                signal.signal(number, signal.SIG_IGN if number == signal.SIGINT else signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            random.seed()
            for fd in (*self.wakeup, self.lock):
                if fd >= 0:
                    os.close(fd)
            for member in self.crew.members.values():
                if member.channel is not None:
                    member.channel.close()
            code = self._work(kind, row, channel)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else CRASHED
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(BaseException):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _work(self, kind: str, row: int, channel: Channel) -> int:
        if kind == CONTROL:
            from tidegate.control.birth import Birth as ControlBirth
            from tidegate.control.control import serve as control

            for opened in self.sockets.values():
                opened.close()
            # Control asks for what it needs: a first start and a restart then go the same way.
            return control(
                ControlBirth(
                    config=self.settings.config,
                    data=self.folder.path if self.folder is not None else self.settings.data,
                    workers=self.settings.workers,
                    fresh=self.generation == 0,
                    test_profile=self.settings.test_profile,
                    channel=channel,
                )
            )
        from tidegate.control.worker import Birth as WorkerBirth
        from tidegate.control.worker import serve as worker

        assert self.folder is not None
        admin = self.sockets.pop(ADMIN, None)
        if admin is not None:
            admin.close()
        return worker(
            WorkerBirth(
                row=row,
                workers=self.workers,
                generation=self.generation,
                folder=self.folder,
                config_folder=self.settings.config.parent,
                sockets=self.sockets,
                segment=self.segment,
                refused=self.crew.charges.refused,
                test_profile=self.settings.test_profile,
                channel=channel,
            )
        )

    def _start_control(self) -> bool:
        return self._fork(CONTROL, -1) is not None

    def _warm(self) -> None:
        """Import what workers need before the first fork, and keep the collector from touching (and so copying) it."""
        import tidegate.control.worker  # noqa: F401

        gc.collect()
        gc.freeze()

    def _fill_seats(self, now: float) -> None:
        if (
            self.crew.control_due <= now
            and not any(m.kind == CONTROL for m in self.crew.members.values())
            and not self._start_control()
        ):
            self.crew.control_due = now + 1.0
        if self.generation:
            for row in self.crew.rows_due(now):
                if self._fork(WORKER, row) is None:
                    self.crew.due[row] = now + 1.0

    def _reap(self, now: float) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            if pid == self.probe:
                self.probe = 0
                self._probed(code)
                continue
            member = self.crew.died(pid, now)
            if member is not None:
                self._buried(member, code)

    def _buried(self, member: Member, code: int) -> None:
        """*member* has ended with *code* (negative: by that signal)."""
        if member.channel is not None:
            member.channel.close()
        if member.kind == CONTROL:
            if self.generation == 0 and not self.stopping:
                # The config was refused (78, control has said why) or the first start failed.
                self.exit_code = code if code > 0 else FAILED
            elif not member.retiring and not self.stopping:
                say(f"control (pid {member.pid}) {ending(code)}; workers keep serving, another starts")
            return
        work = self.segment.working_on(member.row) if self.segment is not None else 0
        if self.segment is not None and self.crew.holder(member.row) is None:
            self.segment.free(member.row)
        if charged(code, member.hung) and self.crew.charges.charge(work):
            say("a request that ended two workers is refused from now on")
            for worker in self.crew.workers():
                if worker.channel is not None:
                    worker.channel.send("refuse", works=self.crew.charges.refused)
        if not member.retiring and not self.stopping:
            wait = max(0.0, self.crew.due.get(member.row, 0.0) - time.monotonic())
            after = f"another starts in {wait:.1f} s" if wait > 0.0 else "another starts"
            reason = "gave no sign of life" if member.hung else ending(code)
            say(f"worker {member.row} (pid {member.pid}) {reason}; {after}")

    def _watch(self, now: float) -> None:
        if self.segment is not None:
            beats = self.segment.heartbeats()
            for member in self.crew.workers():
                member.heard = max(member.heard, beats[member.row] / 1000.0)
            if self.blind:
                for member in self.crew.workers():
                    if member.old:
                        member.heard = now
        for member in [*self.crew.silent(now), *self.crew.overstayed(now)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(member.pid, signal.SIGKILL)

    def _everybody(self, number: int) -> None:
        for pid in list(self.crew.members):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    # -- what children say ----------------------------------------------------------------------------------------

    def _hear(self, member: Member) -> None:
        assert member.channel is not None
        while True:
            try:
                parcel = member.channel.receive()
            except EOFError:
                member.channel.close()
                member.channel = None
                return
            if parcel is None:
                return
            for fd in parcel.fds:
                os.close(fd)
            member.heard = time.monotonic()
            message = parcel.message
            if message["kind"] == "ready":
                self._ready(member)
            elif member.kind == CONTROL and not member.retiring:
                self._ask(member, message)

    def _ready(self, member: Member) -> None:
        member.ready_at = member.ready_at or time.monotonic()
        if not self.announced and self.generation and self.crew.all_ready():
            self.announced = True
            where = ", ".join(
                f"{self.schemes.get(name, 'http')}://{bound(opened)}"
                for name, opened in self.sockets.items()
                if name != ADMIN
            )
            number = f"{self.workers} worker{'s' if self.workers != 1 else ''}"
            admin = f", admin on http://{bound(self.sockets[ADMIN])}" if ADMIN in self.sockets else ""
            say_plain(f"tidegate {tidegate.__version__} listening on {where}, {number}{admin}")

    def _ask(self, control: Member, message: dict[str, Any]) -> None:
        """A request of control; every one of these gets an answer of the same kind."""
        kind = message["kind"]
        assert control.channel is not None
        if kind == "folder":
            control.channel.send("folder", error=self._use_folder(Path(message["path"])))
        elif kind == "listen":
            self._listen(control.channel, message)
        elif kind == "release":
            keep = set(message["keep"])
            for name in [n for n in self.sockets if n not in keep and n != ADMIN]:
                self.sockets.pop(name).close()
        elif kind == "serve":
            self.generation = int(message["generation"])
            self.drain_time = float(message["drain"])
            if not self.crew.seats and not self.stopping:
                self.crew.staff(list(range(self.workers)), time.monotonic())

    def _use_folder(self, path: Path) -> str:
        """Make and lock the data folder; what is wrong with it, or nothing."""
        if self.folder is not None:
            if self.folder.path != path:
                return f"the data folder stays {self.folder.path} until the next start"
            return ""
        folder = DataFolder(path)
        try:
            folder.make()
            self.lock = folder.lock()
        except FolderError as error:
            return str(error)
        self.folder = folder
        return ""

    def _listen(self, channel: Channel, message: dict[str, Any]) -> None:
        """Open what is new among the wanted addresses; hand it to the workers, and segment and admin socket to
        control. All or nothing."""
        wanted: list[tuple[str, str, int, str]] = [(n, h, int(p), s) for n, h, p, s in message["listeners"]]
        admin = message.get("admin")
        if admin:
            wanted.append((ADMIN, admin[0], int(admin[1]), "http"))
        opened: dict[str, socket.socket] = {}
        tries = BIND_TRIES if self.generation == 0 else 1
        try:
            for name, host, port, _ in wanted:
                if name not in self.sockets:
                    opened[name] = open_patiently(host, port, tries)
        except ListenError as error:
            for each in opened.values():
                each.close()
            channel.send("listen", error=str(error))
            return
        if self.segment is None:
            self.workers = int(message["workers"])
            # Twice the rows: in an upgrade the new workers are there before the old ones leave.
            self.segment = Segment.create(2 * self.workers)
        self.sockets.update(opened)
        self.schemes.update({name: scheme for name, _, _, scheme in wanted})
        news = [name for name in opened if name != ADMIN]
        if news:
            for member in self.crew.workers():
                if member.channel is not None:
                    member.channel.send("sockets", [opened[n].fileno() for n in news], names=news)
        fds = [self.segment.fd]
        if ADMIN in self.sockets:
            fds.append(self.sockets[ADMIN].fileno())
        where = {name: bound(each) for name, each in self.sockets.items()}
        channel.send("listen", fds, error="", where=where, workers=self.workers)

    def _tell_control(self) -> None:
        """Tell control about the crew when something has changed."""
        control = self.crew.controller()
        if control is None or control.channel is None:
            self.known = ""
            return
        workers = [
            [m.row, m.pid, bool(m.ready_at), m.retiring or m.old, self.crew.seats.get(m.row, Restarts()).total]
            for m in self.crew.workers()
        ]
        news = {
            "workers": workers,
            "degraded": self.crew.degraded(),
            "stopping": self.stopping,
            "upgrading": bool(self.probe or self.upgrading_since),
            "seats": len(self.crew.seats),
            "refused": len(self.crew.charges.refused),
        }
        text = f"{control.pid} {news}"
        if text != self.known and control.channel.send("crew", **news):
            self.known = text

    # -- the end --------------------------------------------------------------------------------------------------

    def stop(self, accept: bool) -> None:
        """S23.5. The first call drains (*accept*: keep accepting for a while), the second flushes and exits."""
        now = time.monotonic()
        if not self.stopping:
            self.stopping = True
            self.stop_by = now + self.drain_time + 5.0
            if self.announced:
                say("stopping: finishing what is in flight")
            for member in self.crew.workers():
                member.retiring = True
                if member.channel is not None:
                    member.channel.send("drain", accept=accept, finish=-1.0)
            # The workers hold the listeners and take what waits before they let go of them. Held here for longer, the
            # kernel would go on to queue connections that nobody takes, and reset them at the end.
            for name in [name for name in self.sockets if name != ADMIN]:
                self.sockets.pop(name).close()
        elif not self.asked_twice:
            self.asked_twice = True
            self.stop_by = now + 3.0
            for member in self.crew.workers():
                if member.channel is not None:
                    member.channel.send("stop")

    def _follow_stop(self, now: float) -> None:
        """Control leaves after the last worker: limits and metrics are at hand to the end."""
        if now > self.stop_by:
            self._everybody(signal.SIGKILL)
            self.stop_by = now + 1.0
        if self.crew.workers():
            return
        control = self.crew.controller()
        if control is not None:
            control.retiring = True
            self.stop_by = min(self.stop_by, now + 3.0)
            if control.channel is None or not control.channel.send("stop"):
                os.kill(control.pid, signal.SIGKILL)
        elif not self.crew.members and self.exit_code is None:
            for opened in self.sockets.values():
                opened.close()
            self.exit_code = 0

    # -- upgrade --------------------------------------------------------------------------------------------------

    def begin_upgrade(self) -> None:
        """S23.6: try the new program as a child; what follows is in :meth:`_probed`."""
        if self.folder is None or not self.announced:
            say("no upgrade: the gateway is still starting")
        elif self.probe or self.upgrading_since or any(m.old for m in self.crew.members.values()):
            say("no upgrade: the one before has not ended")
        else:
            self.probe = upgrade.probe(str(self.folder.path))
            self.probe_by = time.monotonic() + upgrade.PROBE_TIME
            say("upgrade: trying the new program")

    def _probed(self, code: int) -> None:
        if code != 0:
            say(f"no upgrade: the new program {ending(code)}; the old one goes on")
            return
        if self.stopping:
            return
        assert self.folder is not None and self.segment is not None
        held = upgrade.Held(
            version=tidegate.__version__,
            data=str(self.folder.path),
            generation=self.generation,
            workers=self.workers,
            lock=self.lock,
            segment=self.segment.fd,
            sockets=[
                upgrade.HeldSocket(name, opened.fileno(), self.schemes.get(name, "http"))
                for name, opened in self.sockets.items()
            ],
            members=[
                upgrade.HeldMember(m.kind, m.row, m.pid, m.channel.fileno(), bool(m.ready_at))
                for m in self.crew.members.values()
                if m.channel is not None
            ],
            drain=self.drain_time,
            refused=self.crew.charges.refused,
        )
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            upgrade.become(held)
        except OSError as error:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            say(f"no upgrade: cannot start the new program: {error.strerror}")

    def resume(self, held: upgrade.Held) -> None:
        """Take over from the program before this one, in the same process."""
        now = time.monotonic()
        self.folder = DataFolder(Path(held.data))
        self.lock = held.lock
        self.generation = held.generation
        self.workers = held.workers
        self.drain_time = held.drain
        self.announced = True
        self.crew.charges.refused = list(held.refused)
        for each in held.sockets:
            self.sockets[each.name] = adopt(each.fd)
            self.schemes[each.name] = each.text
        for was in held.members:
            member = Member(was.kind, was.row, was.pid, Channel(socket.socket(fileno=was.fd)), now, old=True)
            member.ready_at = now if was.ready else 0.0
            self.crew.joined(member)
            if was.kind == CONTROL and member.channel is not None:
                # Two controls would be two authorities of one limit: the old one leaves before the new one starts.
                member.retiring = True
                member.channel.send("stop")
                member.leave_by = now + 3.0
        try:
            self.segment = Segment.attach(held.segment)
        except ValueError:
            # Another layout: the new workers see each other in a new one, the old ones stay among themselves.
            self.segment = Segment.create(2 * self.workers)
            self.blind = True
            os.close(held.segment)
        taken = {m.row for m in self.crew.workers()}
        free = [row for row in range(self.segment.rows - 1) if row not in taken]
        self.crew.staff(free[: self.workers], now)
        self.upgrading_since = now
        say(f"upgrade: tidegate {tidegate.__version__} takes over from {held.version}")

    def _follow_upgrade(self, now: float) -> None:
        if self.probe and now > self.probe_by:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.probe, signal.SIGKILL)
        if not self.upgrading_since:
            return
        old = [m for m in self.crew.workers() if m.old]
        if self.crew.all_ready():
            for member in old:
                member.retiring = True
                member.leave_by = now + UPGRADE_FINISH + 5.0
                if member.channel is not None:
                    member.channel.send("drain", accept=False, finish=UPGRADE_FINISH)
            say("upgrade: done, the old workers finish what they have")
        elif now - self.upgrading_since > upgrade.READY_TIME or self.crew.degraded():
            self._give_up_upgrade(old, now)
        else:
            return
        self.upgrading_since = 0.0

    def _give_up_upgrade(self, old: list[Member], now: float) -> None:
        """The new workers do not get ready: the old ones go on, and their seats are the ones to keep filled."""
        self.crew.unstaff(list(self.crew.seats))
        for member in self.crew.workers():
            if not member.old:
                member.retiring = True
                member.leave_by = now + 3.0
                if member.channel is not None:
                    member.channel.send("stop")
        rows = [m.row for m in old]
        self.crew.staff(rows, now)
        for member in old:
            member.old = False
            self.crew.due.pop(member.row, None)
        say("no upgrade: the new workers did not get ready; the old ones go on")


def allow_connections() -> None:
    """As many descriptors as the system lets us have: connections take up to half of them (S3.9)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def open_patiently(host: str, port: int, tries: int) -> socket.socket:
    """:func:`listen`, tried *tries* times 50 ms apart while another program is still on the address."""
    while True:
        try:
            return listen(host, port)
        except ListenError:
            tries -= 1
            if tries <= 0:
                raise
            time.sleep(0.05)


def ending(code: int) -> str:
    """How a process ended, in words."""
    if code < 0:
        try:
            return f"was ended by {signal.Signals(-code).name}"
        except ValueError:
            return f"was ended by signal {-code}"
    return f"ended with code {code}"


def say_plain(text: str) -> None:
    """The line that says where the gateway is; it stands alone."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
