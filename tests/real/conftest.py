"""Every test of this folder runs real programs, in a network of its own where the system allows it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from real.processes import find_nginx, own_network


@pytest.fixture(scope="session")
def nginx_program() -> str:
    """For the whole session, and so before the network is left: installing needs the machine's own."""
    return find_nginx()


@pytest.fixture(scope="module", autouse=True)
def network() -> Iterator[bool]:
    """True in a namespace of our own."""
    with own_network() as own:
        yield own
