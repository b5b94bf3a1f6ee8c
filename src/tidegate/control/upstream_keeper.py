"""What a node knows of its upstreams in one place: addresses, places in the shared segment, active checks."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from tidegate.control.data_folder import DataFolder
from tidegate.control.prober import Prober
from tidegate.control.resolver import Resolver
from tidegate.engine.segment import Segment, SlotTable, endpoint_key
from tidegate.ports.plan import Plan

SLOTS: Final = "authority/slots.json"
"""Places by name, so that a restarted control goes on with those the workers use."""


class UpstreamKeeper:
    """Follows a plan's upstreams; calls *changed* when workers must hear of new places or addresses."""

    def __init__(self, segment: Segment, folder: DataFolder, changed: Callable[[], None]) -> None:
        self.segment = segment
        self.folder = folder
        self.changed = changed
        self.endpoint_slots = SlotTable(segment.endpoints)
        self.upstream_slots = SlotTable(segment.upstreams)
        self.prober = Prober(segment.row(segment.control))
        self.resolver = Resolver(self._resolved)
        self.plan: Plan | None = None
        self._recall_slots()

    def follow(self, plan: Plan) -> None:
        """Keep to *plan* from now on."""
        self.plan = plan
        self.resolver.follow(plan.upstreams)
        self._place()

    def _resolved(self) -> None:
        self._place()
        self.changed()

    def _place(self) -> None:
        """Give every endpoint its place, then check it."""
        assert self.plan is not None
        keys: list[str] = []
        addresses = {name: self.resolver.addresses(name) for name in self.plan.upstreams}
        for name, upstream in self.plan.upstreams.items():
            for target in upstream.targets:
                for address in addresses[name].get((target.host, target.port)) or [target.host]:
                    keys.append(endpoint_key(name, f"{address}:{target.port}"))
        before = (self.endpoint_slots.export_slots(), self.upstream_slots.export_slots())
        for slot in self.endpoint_slots.assign(keys):
            self._clear(slot)
        self.upstream_slots.assign(self.plan.upstreams)
        if before != (self.endpoint_slots.export_slots(), self.upstream_slots.export_slots()):
            self._keep_slots()
        self.prober.apply(self.plan.upstreams, addresses, self.endpoint_slots)

    def _clear(self, slot: int) -> None:
        """A place goes to another endpoint: what the prober said of the one before is void."""
        row = self.segment.row(self.segment.control)
        offset = row.endpoint(slot)
        if offset >= 0:
            row.words[row.base + offset] = 0

    def addresses(self) -> dict[str, list[list[Any]]]:
        """Upstream → [[host, port, address], ...]: what was found beyond what is written. An empty list is news too."""
        return {
            name: [[host, port, a] for (host, port), found in self.resolver.addresses(name).items() for a in found]
            for name in (self.plan.upstreams if self.plan is not None else ())
        }

    def slots(self) -> dict[str, int]:
        """``<upstream>`` and ``<upstream>|<address:port>`` → place, as the engine reads it."""
        return for_engine(self.endpoint_slots.export_slots(), self.upstream_slots.export_slots())

    def missing(self) -> str:
        """What readiness waits for (S23.4)."""
        return "" if self.prober.first_round_done() else "the first round of health checks is not done"

    def close(self) -> None:
        """Stop checking and finding."""
        self.prober.close()
        self.resolver.close()

    def _keep_slots(self) -> None:
        state = {"endpoints": self.endpoint_slots.export_slots(), "upstreams": self.upstream_slots.export_slots()}
        self.folder.replace(SLOTS, json.dumps(state).encode())

    def _recall_slots(self) -> None:
        endpoints, upstreams = read_slots(self.folder)
        self.endpoint_slots.import_slots(endpoints)
        self.upstream_slots.import_slots(upstreams)


def kept_slots(folder: DataFolder) -> dict[str, int]:
    """The places as control last kept them, for a worker that is born while control is not there (C8.5)."""
    return for_engine(*read_slots(folder))


def read_slots(folder: DataFolder) -> tuple[dict[str, int], dict[str, int]]:
    """Places of endpoints and of upstreams; none when there is no file, or none of ours."""
    try:
        state = json.loads((folder.path / SLOTS).read_bytes())
        endpoints, upstreams = dict(state["endpoints"]), dict(state["upstreams"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}, {}
    if not all(type(slot) is int for slot in (*endpoints.values(), *upstreams.values())):
        return {}, {}
    return endpoints, upstreams


def for_engine(endpoints: dict[str, int], upstreams: dict[str, int]) -> dict[str, int]:
    """Both kinds of places under the names the engine knows them by."""
    found = dict(upstreams)
    for key, slot in endpoints.items():
        found["|".join(key.rsplit(" ", 1))] = slot
    return found
