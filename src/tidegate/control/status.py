"""What control knows of the node, and what follows from it: alive, ready, degraded, and the page that explains (S23.4).

Pure bookkeeping: control puts in what it hears, the admin API reads; time is an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import tidegate
from tidegate.control.admin.desk import Outcome, Readiness
from tidegate.control.bookkeeper import Standing

ALIVE: Final = 2.0
"""Seconds within which some worker's loop must have turned (S23.4)."""

Missing = Callable[[], str]
"""Says what is not there yet, or ""."""


class WorkerView:
    """One worker process: what the supervisor and its own reports say."""

    def __init__(self, row: int, pid: int) -> None:
        self.row = row
        self.pid = pid
        self.ready = False
        self.leaving = False
        self.restarts = 0
        self.generation = 0
        self.in_flight = 0
        self.refusal = ""
        self.ledger_trouble = ""
        """Why this worker cannot write its ledger."""
        self.lines_owed = 0
        self.lines_lost = 0
        self.explain: dict[str, Any] = {}

    def document(self, beat: float | None) -> dict[str, Any]:
        """For the status page; *beat* seconds since its last heartbeat."""
        state = "leaving" if self.leaving else "ready" if self.ready else "starting"
        document: dict[str, Any] = {
            "row": self.row,
            "pid": self.pid,
            "state": state,
            "generation": self.generation,
            "in_flight": self.in_flight,
            "restarts": self.restarts,
        }
        if beat is not None:
            document["heartbeat_ms"] = round(beat * 1000.0)
        if self.refusal:
            document["refused"] = self.refusal
        if self.ledger_trouble:
            document["ledger_error"] = self.ledger_trouble
        if self.lines_lost:
            document["ledger_lines_lost"] = self.lines_lost
        return document


class StatusBook:
    """Everything the admin API answers from."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self.wall = wall
        self.started = wall()
        self.generation = 0
        self.seats = 0
        self.workers: dict[int, WorkerView] = {}
        """By pid."""
        self.degraded: list[str] = []
        self.stopping = False
        self.upgrading = False
        self.quarantined = 0
        self.listeners: dict[str, str] = {}
        self.open_routes: list[str] = []
        self.warnings: list[str] = []
        self.reload: dict[str, Any] | None = None
        self.reload_error: dict[str, Any] | None = None
        self.missing: list[Missing] = []
        """Parts of readiness beyond workers: health round, keys, key sets."""
        self.books: Callable[[], Standing | None] = lambda: None
        self.lines_lost = 0
        """Lines that the ledgers of workers lost which are no more."""

    # -- what is heard --------------------------------------------------------------------------------------------

    def crew(self, message: dict[str, Any]) -> list[WorkerView]:
        """The supervisor's news; the workers that are gone by it."""
        present = {int(pid) for _, pid, *_ in message["workers"]}
        gone = [self.workers.pop(pid) for pid in list(self.workers) if pid not in present]
        self.lines_lost += sum(view.lines_lost for view in gone)
        for row, pid, ready, leaving, restarts in message["workers"]:
            view = self.workers.get(pid)
            if view is None:
                view = self.workers[pid] = WorkerView(row, pid)
            view.ready, view.leaving, view.restarts = bool(ready), bool(leaving), int(restarts)
        self.degraded = list(message["degraded"])
        self.stopping = bool(message["stopping"])
        self.upgrading = bool(message["upgrading"])
        self.seats = int(message["seats"])
        self.quarantined = int(message["refused"])
        return gone

    def report(self, pid: int, message: dict[str, Any]) -> None:
        """A worker's own news."""
        view = self.workers.get(pid)
        if view is None:
            return
        view.generation = int(message["generation"])
        view.in_flight = int(message.get("in_flight", view.in_flight))
        view.refusal = str(message.get("refusal", ""))
        if "ledger" in message:
            view.ledger_trouble, view.lines_owed, view.lines_lost = message["ledger"]
        if "explain" in message:
            view.explain = message["explain"]

    def reloaded(self, outcome: Outcome, by: str) -> None:
        """A reload has ended; an error stays until a reload succeeds (S23.1)."""
        entry: dict[str, Any] = {
            "at": self.wall(),
            "by": by,
            "result": outcome.result,
            "generation": outcome.generation,
            "milliseconds": round(outcome.seconds * 1000.0, 1),
        }
        if outcome.error:
            entry["error"] = outcome.error
            self.reload_error = entry
        else:
            self.reload_error = None
        self.reload = entry

    # -- what follows ---------------------------------------------------------------------------------------------

    @staticmethod
    def live(beats: Sequence[float], now: float) -> bool:
        """Whether some worker's loop has turned in time; *beats* are monotonic seconds, 0.0 for none."""
        return any(beat and now - beat <= ALIVE for beat in beats)

    def readiness(self) -> Readiness:
        """Ready: a worker serves the wanted generation and nothing needed is missing; else what is. While ready, what
        is degraded."""
        if self.stopping:
            return Readiness(False, ("the gateway is stopping",))
        staff = [w for w in self.workers.values() if not w.leaving]
        serving = [w for w in staff if w.ready]
        if not serving:
            return Readiness(False, ("no worker is ready", *self.degraded))
        lacking = [reason for missing in self.missing if (reason := missing())]
        if not any(w.generation >= self.generation for w in serving):
            lacking.insert(0, f"no worker serves generation {self.generation} yet")
        if lacking:
            return Readiness(False, tuple(lacking))
        reasons = list(self.degraded)
        if len(serving) < self.seats:
            reasons.append(f"{len(serving)} of {self.seats} workers are ready")
        behind = [w for w in serving if w.generation < self.generation]
        if behind:
            reasons.append(f"{len(behind)} workers do not serve generation {self.generation}")
        return Readiness(True, (*reasons, *self._doubts()))

    def _doubts(self) -> list[str]:
        """What is wrong with the money (LLM 10.1): other traffic goes on, and calls are served where they can be."""
        standing = self.books()
        found = [standing.doubt()] if standing is not None and standing.doubt() else []
        staff = [view for view in self.workers.values() if not view.leaving]
        broken = [view.ledger_trouble for view in staff if view.ledger_trouble]
        if broken:
            found.append(f"the ledger of {len(broken)} of {len(staff)} workers cannot be written: {broken[0]}")
        return found

    def _money(self, standing: Standing) -> dict[str, Any]:
        """For the status page."""
        return {
            "open": standing.open,
            "behind_seconds": round(standing.behind, 1),
            "error": standing.trouble,
            "damaged_lines": standing.damaged,
            "overruns": standing.overrun,
        }

    def _money_metrics(self) -> dict[str, dict[str, Any]]:
        standing = self.books()
        if standing is None:
            return {}
        views = self.workers.values()
        lost = self.lines_lost + sum(view.lines_lost for view in views)
        return {
            "books_open": gauge([], [[[], int(standing.open and not standing.trouble)]]),
            "books_behind_seconds": gauge([], [[[], round(standing.behind, 3)]]),
            "budget_overruns_total": counter([], [[[], standing.overrun]]),
            "ledgers_broken": gauge([], [[[], sum(bool(view.ledger_trouble) for view in views)]]),
            "ledger_lines_owed": gauge([], [[[], sum(view.lines_owed for view in views)]]),
            "ledger_lines_lost_total": counter([], [[[], lost]]),
            "ledger_lines_damaged_total": counter([], [[[], standing.damaged]]),
        }

    def document(self, beats: Sequence[float], now: float) -> dict[str, Any]:
        """``/api/v1/status``."""
        readiness = self.readiness()
        workers = sorted(self.workers.values(), key=lambda w: (w.row, w.pid))
        document: dict[str, Any] = {
            "version": tidegate.__version__,
            "uptime_seconds": round(self.wall() - self.started, 1),
            "ready": readiness.ready,
            "reasons": list(readiness.reasons),
            "generation": self.generation,
            "listeners": self.listeners,
            "workers": [w.document(age(beats, w.row, now)) for w in workers],
            "upstreams": by_upstream(workers),
            "open_routes": self.open_routes,
            "quarantined": self.quarantined,
            "last_reload": self.reload,
        }
        standing = self.books()
        if standing is not None:
            document["books"] = self._money(standing)
        if self.reload_error is not None:
            document["config_error"] = self.reload_error
        if self.warnings:
            document["warnings"] = self.warnings
        if self.upgrading:
            document["upgrading"] = True
        return document

    def own_metrics(
        self, reloads: Mapping[str, int], checks: Mapping[tuple[str, str], int]
    ) -> dict[str, dict[str, Any]]:
        """Control's metrics in the form of a worker's snapshot (S26.8); *checks* are probes by upstream and result."""
        serving = [w.generation for w in self.workers.values() if w.ready and not w.leaving]
        states = {"ready": 0, "starting": 0, "leaving": 0}
        for view in self.workers.values():
            states["leaving" if view.leaving else "ready" if view.ready else "starting"] += 1
        restarts = sum(view.restarts for view in self.workers.values())
        return {
            "config_generation": gauge([], [[[], min(serving, default=0)]]),
            "config_reloads_total": counter(["result"], [[[result], count] for result, count in reloads.items()]),
            "health_checks_total": counter(
                ["upstream", "result"], [[[*which], count] for which, count in checks.items()]
            ),
            "workers": gauge(["state"], [[[state], count] for state, count in states.items()]),
            "worker_restarts_total": counter([], [[[], restarts]]),
            **self._money_metrics(),
        }


def age(beats: Sequence[float], row: int, now: float) -> float | None:
    """Seconds since row's last heartbeat."""
    return now - beats[row] if row < len(beats) and beats[row] else None


def by_upstream(workers: Sequence[WorkerView]) -> dict[str, Any]:
    """Every upstream as each worker sees it: ``{upstream: {worker row: view}}``."""
    found: dict[str, Any] = {}
    for view in workers:
        for name, explained in view.explain.items():
            found.setdefault(name, {})[str(view.row)] = explained
    return found


def gauge(labels: list[str], series: list[Any]) -> dict[str, Any]:
    return {"type": "gauge", "labels": labels, "series": series}


def counter(labels: list[str], series: list[Any]) -> dict[str, Any]:
    return {"type": "counter", "labels": labels, "series": series}
