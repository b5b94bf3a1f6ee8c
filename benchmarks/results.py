"""Results as JSON files in ``results/``, one a claim, and ``RESULTS.md`` made from them.

    python benchmarks/results.py        (writes RESULTS.md again)

A result says what was run, when, on what and how it compares with the gates of the design. A gate that is not met says
so in the table: there is no place to leave it out.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from measure import machine, versions

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "results"
ORDER = (
    "p1", "p2", "p4", "p7", "p8", "p9", "p10", "p11", "p12", "p13", "reloads", "kills", "limits", "inside",
)  # fmt: skip

HEAD = """# Results

Written by `python benchmarks/results.py` from the files in `results/`; do not edit. What each claim means and how it is
measured stands in [README.md](README.md). Medians of the runs; the worst run is shown beside them.

"""


@dataclass
class Gate:
    """One figure against what is asked of it; None where nothing is asked."""

    what: str
    value: float
    unit: str
    first: float | None = None
    goal: float | None = None
    moonshot: float | None = None
    at_least: bool = False
    """True where more is better."""

    def reached(self) -> str:
        """The highest step that is reached."""
        best = "**not met**" if self.first is not None else "**goal not met**"
        steps = [(self.first, "first gate"), (self.goal, "goal"), (self.moonshot, "moonshot")]
        for step, name in steps:
            if step is not None and (self.value >= step if self.at_least else self.value <= step):
                best = name
        return best if any(step is not None for step, _ in steps) else ""


@dataclass
class Result:
    """One claim's figures."""

    name: str
    title: str
    columns: list[str] = field(default_factory=list)
    rows: list[list[Any]] = field(default_factory=list)
    gates: list[Gate] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    command: str = ""
    date: str = ""
    machine: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    quick: bool = False
    """A short run, to see that the script works: its figures are not for quoting."""


def arguments(about: str | None) -> argparse.ArgumentParser:
    """The arguments that every script takes."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="short runs, to see that the script works")
    parser.add_argument("--build", default="", help="compiled or interpreted; empty: compiled where there is one")
    return parser


def begin(name: str, title: str, quick: bool) -> Result:
    """A result with what is known before it is measured."""
    script = Path(sys.argv[0]).name
    return Result(
        name=name,
        title=title,
        command=" ".join(["python", f"benchmarks/{script}", *sys.argv[1:]]),
        date=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        machine=machine(),
        versions=versions(),
        quick=quick,
    )


def finish(result: Result) -> None:
    """Keep *result*, write RESULTS.md again and show the part."""
    FOLDER.mkdir(exist_ok=True)
    content = json.dumps(asdict(result), indent=1, ensure_ascii=False) + "\n"
    new = FOLDER / f".{result.name}.{os.getpid()}"
    new.write_text(content, "utf-8")
    new.replace(FOLDER / f"{result.name}.json")
    write()
    print(part(result))


def figure(value: Any) -> str:
    """A number with the digits that mean something."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|---|" + "--:|" * (len(columns) - 1)]
    lines += ["| " + " | ".join(figure(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def part(result: Result) -> str:
    """The section of one claim."""
    text = [f"## {result.title}", ""]
    if result.quick:
        text += ["**A short run: it shows that the script works, not how fast anything is.**", ""]
    if result.rows:
        text += [table(result.columns, result.rows), ""]
    if result.gates:
        rows = []
        for gate in result.gates:
            sign = "≥" if gate.at_least else "≤"
            steps = [
                f"{sign} {figure(each)}" if each is not None else "" for each in (gate.first, gate.goal, gate.moonshot)
            ]
            rows.append([gate.what, f"{figure(gate.value)} {gate.unit}".strip(), *steps, gate.reached()])
        text += [table(["claim", "measured", "first gate", "goal", "moonshot", "reached"], rows), ""]
    text += [f"- {note}" for note in result.notes]
    facts = "; ".join(f"{name} {value}" for name, value in {**result.machine, **result.versions}.items())
    text += [f"- `{result.command}`, {result.date}; {facts}.", ""]
    return "\n".join(text)


def load(name: str) -> Result | None:
    """The kept result of that name, None without one."""
    path = FOLDER / f"{name}.json"
    if not path.is_file():
        return None
    raw = json.loads(path.read_text("utf-8"))
    raw["gates"] = [Gate(**each) for each in raw["gates"]]
    return Result(**raw)


def write() -> None:
    """Write RESULTS.md."""
    found = [each for each in map(load, ORDER) if each is not None]
    missing = [name for name in ORDER if name not in {each.name for each in found}]
    open_gates = [f"- {each.title.split(':')[0]}: {gate.what}, {figure(gate.value)} {gate.unit}".rstrip()
                  for each in found for gate in each.gates if "not met" in gate.reached()]  # fmt: skip
    text = HEAD
    text += "## What is not met\n\n" + ("\n".join(open_gates) or "Every first gate that was measured is met.") + "\n\n"
    if missing:
        text += f"Not measured yet: {', '.join(missing)}.\n\n"
    text += "\n".join(part(each) for each in found)
    (HERE / "RESULTS.md").write_text(text.rstrip() + "\n", "utf-8")


def middle(values: Sequence[float]) -> float:
    return float(median(values))


if __name__ == "__main__":
    write()
