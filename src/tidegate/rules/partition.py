"""Which bucket of a policy a request falls into: the partition of S9, tenant first (invariant 8).

A partition is one string, ``tenant|kind:value``. The value comes last and the tenant cannot hold a bar, so no caller
can choose a value that reads as another one's partition.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from ipaddress import IPv6Address
from typing import Final

from tidegate.exchange.exchange import Exchange
from tidegate.exchange.fault import CLIENT, Fault

SKIP: Final = ""
"""The partition of a request that the policy leaves alone (``missing: skip``, S9.8)."""

_BY: Final = re.compile(r"(?:consumer|tenant|key|ip|header:[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}|claim:[^\s]{1,64})\Z")
_LONGEST: Final = 128
"""A longer client-chosen value is kept as its digest, so a header cannot blow up the authority's keys."""

Partition = Callable[[Exchange], str]


def network(address: str) -> str:
    """*address* as limits see it: IPv4 whole, IPv6 cut to its /64 (one subscriber's usual share). Text that is no
    address stands for itself."""
    if ":" not in address:
        return address
    try:
        return f"{int(IPv6Address(address.partition('%')[0])) >> 64:016x}/64"
    except ValueError:
        return address


def reads_identity(by: str) -> bool:
    """True when *by* needs a verified caller."""
    return by in ("consumer", "tenant", "key") or by.startswith("claim:")


def check_by(by: str) -> str:
    """*by* if it is one of ``consumer tenant key ip header:NAME claim:NAME``; ``ValueError`` otherwise."""
    if _BY.match(by) is None:
        raise ValueError("by is one of consumer, tenant, key, ip, header:NAME and claim:NAME")
    return by


def partition_by(by: str, missing: str = "ip") -> Partition:
    """The function that names the partition of a request.

    *by* is what :func:`check_by` accepts. *missing* says what happens without the value (S9.8): ``ip`` takes the client
    address instead, ``deny`` raises ``forbidden``, ``skip`` gives ``SKIP``.
    """
    if by == "ip":
        return _address
    if missing == "ip":
        instead = _address
    elif missing == "deny":
        instead = _deny
    else:
        instead = _skip
    if by == "consumer":
        return _consumer(instead)
    if by == "tenant":
        return _tenant_wide(instead)
    if by == "key":
        return _key(instead)
    kind, _, name = by.partition(":")
    return _header(name.lower(), instead) if kind == "header" else _claim(name, instead)


def _tenant(x: Exchange) -> str:
    identity = x.identity
    if identity is None:
        return "default"
    tenant = identity.tenant
    if "|" in tenant or "%" in tenant:
        return tenant.replace("%", "%25").replace("|", "%7C")
    return tenant


def _bounded(value: str) -> str:
    if len(value) <= _LONGEST:
        return value
    return "sha256:" + hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()


def _address(x: Exchange) -> str:
    return f"{_tenant(x)}|ip:{network(x.client_ip)}"


def _deny(x: Exchange) -> str:
    raise Fault("forbidden", "What this limit counts by is missing from the request.", side=CLIENT)


def _skip(x: Exchange) -> str:
    return SKIP


def _consumer(instead: Partition) -> Partition:
    def consumer(x: Exchange) -> str:
        identity = x.identity
        return instead(x) if identity is None else f"{_tenant(x)}|consumer:{_bounded(identity.consumer)}"

    return consumer


def _tenant_wide(instead: Partition) -> Partition:
    def tenant(x: Exchange) -> str:
        return instead(x) if x.identity is None else f"{_tenant(x)}|tenant"

    return tenant


def _key(instead: Partition) -> Partition:
    def key(x: Exchange) -> str:
        identity = x.identity
        if identity is None or not identity.key_id:
            return instead(x)
        return f"{_tenant(x)}|key:{_bounded(identity.key_id)}"

    return key


def _header(name: str, instead: Partition) -> Partition:
    def header(x: Exchange) -> str:
        value = x.get(name)
        return f"{_tenant(x)}|header:{_bounded(value)}" if value else instead(x)

    return header


def _claim(name: str, instead: Partition) -> Partition:
    def claim(x: Exchange) -> str:
        value = None if x.identity is None else x.identity.claims.get(name)
        if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
            return instead(x)
        return f"{_tenant(x)}|claim:{_bounded(str(value))}"

    return claim
