"""Every abuse case of the groups HF HL SL BD AU UP OV PF CF, by id; see ``runner.py`` and ``surface.toml``.

``TIDEGATE_ABUSE=full`` runs the heavy ones at the size their line names, ``TIDEGATE_ABUSE_MUTATE=N`` derives N
neighbours of each raw payload.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from abuse.runner import FULL, REGISTRY, World, digest_of, execute, lines, load

load()
LINES = lines()
pytestmark = pytest.mark.timeout(7200 if FULL else 180)

UNDER_LOAD = ("SL-", "UP-", "OV-", "PF-", "CF-")
"""Groups whose cases send load; a failed one is run once more. The others have one try."""


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    made = World()
    try:
        yield made
    finally:
        made.close()


def test_every_case_has_exactly_one_function_or_a_reason() -> None:
    assert set(REGISTRY) == set(LINES)


@pytest.mark.parametrize("id", LINES)
def test_the_line_is_the_one_its_function_was_written_for(id: str) -> None:
    assert digest_of(LINES[id]) == REGISTRY[id].digest, f"{id} has changed: read its function, then take up the digest"


@pytest.mark.parametrize("id", LINES)
def test_abuse(id: str, request: pytest.FixtureRequest) -> None:
    known = REGISTRY[id]
    if known.function is None:
        pytest.skip(f"not shipped: {known.reason}")
    run = execute(request.getfixturevalue("world"), id)
    if known.xfail:
        assert run.failures, f"{id} passes: take its xfail away ({known.xfail})"
        pytest.xfail(known.xfail)
    if run.failures and id.startswith(UNDER_LOAD):
        # These judge rates and times over a second or two of a shared machine: what is broken fails twice.
        print("again, because of:", *run.failures)
        run = execute(request.getfixturevalue("world"), id)
    assert not run.failures, "\n".join(run.failures)
