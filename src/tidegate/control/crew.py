"""Who works here: which rows must be staffed, who has died or fallen silent, and when the next one starts.

Decides only. The supervisor forks, kills and listens; time is an argument, so every rule is tested without a process.
"""

from __future__ import annotations

import signal
from typing import Final

from tidegate.control.channel import Channel

WORKER: Final = "worker"
CONTROL: Final = "control"

SILENT: Final = 4.0
"""Seconds without a heartbeat after which a worker is killed (S23.6); with its replacement under 5 s in all (C3)."""
SILENT_CONTROL: Final = 15.0
"""The same for control, whose loop may be held by a large config; no traffic waits for it."""
SLOW_START: Final = 60.0
"""Seconds a process may take from its fork to ready."""
SETTLED: Final = 1.0
"""Seconds of ready life after which a death is no longer a sign of a crash loop."""
DELAYS: Final = (0.0, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before the n-th restart in a row that did not settle: two mishaps cost nothing, a loop costs nobody else."""
DEGRADED_AFTER: Final = 3
"""Unsettled deaths in a row that make ``/readyz`` say degraded (PF-crash-loop)."""
DEATHS: Final = 2
"""Deaths charged to one request hash before it is refused (S23.6)."""
MOST_CHARGED: Final = 1024
"""Request hashes remembered with one death; the oldest goes first."""

FAULTS: Final = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT})
"""Signals by which a process kills itself. SIGKILL and SIGTERM come from outside and are never charged."""


class Member:
    """One process. ``ready_at`` 0.0 until it said so; ``heard`` its last sign of life; ``retiring`` once it was asked
    to drain, and ``leave_by`` when it must be gone; ``old`` when it came from before an upgrade; ``hung`` once the
    watchdog killed it."""

    def __init__(self, kind: str, row: int, pid: int, channel: Channel | None, now: float, old: bool = False) -> None:
        self.kind = kind
        self.row = row
        self.pid = pid
        self.channel = channel
        self.started = now
        self.heard = now
        self.ready_at = 0.0
        self.retiring = False
        self.leave_by = float("inf")
        self.old = old
        self.hung = False

    def __repr__(self) -> str:
        words = [w for w in ("retiring", "old", "hung") if getattr(self, w)]
        return f"<Member {self.kind} {self.row} pid {self.pid} {'READY' if self.ready_at else 'STARTING'} {words}>"


class Restarts:
    """When one seat may be filled again."""

    def __init__(self) -> None:
        self.unsettled = 0
        """Deaths in a row before :data:`SETTLED`."""
        self.total = 0

    def died(self, ready_for: float) -> float:
        """The seat's holder died after *ready_for* seconds of ready life; seconds to wait before the next one."""
        self.total += 1
        if ready_for >= SETTLED:
            self.unsettled = 0
            return 0.0
        delay = DELAYS[min(self.unsettled, len(DELAYS) - 1)]
        self.unsettled += 1
        return delay


class Charges:
    """Request hashes that were being worked on when a worker died by its own fault."""

    def __init__(self) -> None:
        self.deaths: dict[int, int] = {}
        self.refused: list[int] = []

    def charge(self, work: int) -> bool:
        """Charge one death to *work* (0: nothing was worked on); True when it is to be refused from now on."""
        if not work or work in self.refused:
            return False
        deaths = self.deaths.pop(work, 0) + 1
        if deaths >= DEATHS:
            self.refused.append(work)
            return True
        self.deaths[work] = deaths
        if len(self.deaths) > MOST_CHARGED:
            del self.deaths[next(iter(self.deaths))]
        return False


class Crew:
    """All processes of one gateway and the seats to fill."""

    def __init__(self) -> None:
        self.members: dict[int, Member] = {}
        self.seats: dict[int, Restarts] = {}
        """Rows that must be staffed by workers."""
        self.control = Restarts()
        self.due: dict[int, float] = {}
        """Row → when its next worker may start."""
        self.control_due = 0.0
        self.charges = Charges()

    def staff(self, rows: list[int], now: float) -> None:
        """From now on these rows must be staffed."""
        for row in rows:
            self.seats[row] = Restarts()
            self.due[row] = now

    def unstaff(self, rows: list[int]) -> None:
        """These rows are no longer filled again; who works there goes on."""
        for row in rows:
            self.seats.pop(row, None)
            self.due.pop(row, None)

    def joined(self, member: Member) -> None:
        """*member* was forked."""
        self.members[member.pid] = member
        if member.kind == WORKER:
            self.due.pop(member.row, None)

    def rows_due(self, now: float) -> list[int]:
        """Rows whose next worker starts now."""
        return [row for row, when in self.due.items() if when <= now]

    def died(self, pid: int, now: float) -> Member | None:
        """Process *pid* has ended: its seat gets a time for the next one. None when it was not ours."""
        member = self.members.pop(pid, None)
        if member is None:
            return None
        ready_for = now - member.ready_at if member.ready_at else 0.0
        if member.kind == CONTROL:
            if not member.old:
                self.control_due = now + self.control.died(ready_for)
        elif member.row in self.seats and self.holder(member.row) is None:
            # One that was asked to leave did not crash.
            delay = 0.0 if member.retiring else self.seats[member.row].died(ready_for)
            self.due[member.row] = now + delay
        return member

    def holder(self, row: int) -> Member | None:
        """The worker in *row*."""
        for member in self.members.values():
            if member.kind == WORKER and member.row == row:
                return member
        return None

    def controller(self) -> Member | None:
        """The control process, if one is there that is not on its way out."""
        for member in self.members.values():
            if member.kind == CONTROL and not member.retiring:
                return member
        return None

    def workers(self) -> list[Member]:
        """All workers, old ones included, by row."""
        return sorted((m for m in self.members.values() if m.kind == WORKER), key=lambda m: m.row)

    def silent(self, now: float) -> list[Member]:
        """Members that must be killed: no heartbeat, or not ready in time. They are marked as hung."""
        found: list[Member] = []
        for member in self.members.values():
            if member.hung:
                continue
            if member.ready_at:
                late = now - member.heard > (SILENT if member.kind == WORKER else SILENT_CONTROL)
            else:
                late = now - member.started > SLOW_START
            if late:
                member.hung = True
                found.append(member)
        return found

    def overstayed(self, now: float) -> list[Member]:
        """Members that were asked to leave and had their time."""
        return [member for member in self.members.values() if now > member.leave_by]

    def forgive(self, seconds: float) -> None:
        """The supervisor itself did not run for *seconds*: nobody is to blame for that time."""
        for member in self.members.values():
            member.heard += seconds
            if not member.ready_at:
                member.started += seconds

    def all_ready(self) -> bool:
        """Whether every seat is held by a worker that is ready."""
        return all((holder := self.holder(row)) is not None and holder.ready_at > 0.0 for row in self.seats)

    def degraded(self) -> list[str]:
        """What is not as it should be, in words for the operator."""
        words: list[str] = []
        looping = [row for row, seat in self.seats.items() if seat.unsettled >= DEGRADED_AFTER]
        if looping:
            words.append(f"{len(looping)} of {len(self.seats)} workers keep dying at start")
        if self.control.unsettled >= DEGRADED_AFTER:
            words.append("the control process keeps dying at start")
        return words

    def next_due(self) -> float:
        """The earliest time at which a seat is to be filled; infinity when none waits."""
        return min(self.due.values(), default=float("inf"))


def charged(code: int, hung: bool) -> bool:
    """Whether the request at hand is to blame for an end with wait status *code* (negative: by that signal)."""
    return hung or -code in FAULTS
