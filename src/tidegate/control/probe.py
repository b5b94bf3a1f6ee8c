"""One probe of one endpoint: a TCP connect, or an HTTP/1.1 request over a connection that is kept (S12.3, S12.4).

The smallest client that can judge an answer: status, and a text within the first KiB of the body. Redirects are not
followed. Whatever goes wrong is one word, never an exception.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

from tidegate.ports.plan import HealthPlan, UpstreamTlsPlan

HEAD_LIMIT: Final = 16 * 1024
BODY_MATCH: Final = 1024
BODY_LIMIT: Final = 64 * 1024
"""A longer answer body is not read to its end; its connection is closed instead."""
INTERIM: Final = 8
"""Interim (1xx) answers accepted before the real one."""
SECURE: Final = ("https", "wss")
PASSED: Final = ""


class BadAnswer(Exception):
    """The endpoint answered, but not as it should; ``args[0]`` is the word for it."""


class Stale(Exception):
    """A kept connection ended before the first byte of an answer."""


class Probe:
    """Probes one endpoint. Keeps at most one connection between probes."""

    def __init__(
        self, health: HealthPlan, address: str, port: int, scheme: str, host: str, context: ssl.SSLContext | None,
        server_name: str,
    ) -> None:  # fmt: skip
        self.health = health
        self.address = address
        self.port = health.port or port
        self.context = context if scheme in SECURE and health.kind != "tcp" else None
        self.server_name = server_name
        default = 443 if scheme in SECURE else 80
        bare = f"[{host}]" if ":" in host else host
        name = health.host or (bare if self.port == default else f"{bare}:{self.port}")
        first = f"{health.method} {health.path} HTTP/1.1"
        lines = (first, f"host: {name}", "user-agent: tidegate-probe", "accept: */*")
        head = "\r\n".join(lines) + "\r\n\r\n"
        self.request = head.encode("latin-1")
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def run(self) -> str:
        """ "" when the endpoint passes, else one word: ``refused reset timeout tls unreachable status body answer``."""
        try:
            async with asyncio.timeout(self.health.timeout):
                if self.health.kind == "tcp":
                    await self._connect()
                    self.close()
                else:
                    await self._ask()
            return PASSED
        except TimeoutError:
            word = "timeout"
        except ConnectionRefusedError:
            word = "refused"
        except (ssl.SSLError, ssl.CertificateError):
            word = "tls"
        except (ConnectionError, asyncio.IncompleteReadError, Stale):
            word = "reset"
        except OSError:
            word = "unreachable"
        except BadAnswer as error:
            word = str(error.args[0])
        except (ValueError, asyncio.LimitOverrunError):
            word = "answer"
        except asyncio.CancelledError:
            self.close()
            raise
        self.close()
        return word

    def close(self) -> None:
        """Give up the kept connection."""
        writer, self.writer, self.reader = self.writer, None, None
        if writer is not None:
            writer.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self.close()
        name = self.server_name if self.context is not None else None
        self.reader, self.writer = await asyncio.open_connection(
            self.address, self.port, limit=HEAD_LIMIT, ssl=self.context, server_hostname=name
        )
        return self.reader, self.writer

    async def _ask(self) -> None:
        reader, writer = self.reader, self.writer
        if reader is not None and writer is not None and not reader.at_eof() and not writer.is_closing():
            try:
                await self._exchange(reader, writer)
                return
            except (Stale, ConnectionError):
                pass  # it was closed while idle: that says nothing about the endpoint
        await self._exchange(*await self._connect())

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self.request)
        status, fields = await _read_head(reader)
        seen, whole = b"", True
        if self.health.method != "HEAD" and status not in (204, 304):
            seen, whole = await _read_body(reader, fields)
        if not whole or "close" in fields.get("connection", "").lower() or fields.get("", "") == "HTTP/1.0":
            self.close()
        if not any(low <= status <= high for low, high in self.health.expect):
            raise BadAnswer("status")
        if self.health.body and self.health.body.encode() not in seen:
            raise BadAnswer("body")


async def _read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Status and fields (names lower case; under "" the version) of the final answer head."""
    for _ in range(INTERIM):
        try:
            block = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            if not error.partial:
                raise Stale from None
            raise
        lines = block.decode("latin-1").split("\r\n")
        version, _, rest = lines[0].partition(" ")
        code = rest[:3]
        if not version.startswith("HTTP/1.") or not (code.isascii() and code.isdigit() and len(code) == 3):
            raise BadAnswer("answer")
        status = int(code)
        if status >= 200:
            fields = {"": version}
            for line in lines[1:]:
                name, colon, value = line.partition(":")
                if colon:
                    fields[name.strip().lower()] = value.strip()
            return status, fields
    raise BadAnswer("answer")


async def _read_body(reader: asyncio.StreamReader, fields: dict[str, str]) -> tuple[bytes, bool]:
    """The first KiB of the body, and whether the body was read to an end behind which the connection goes on."""
    if "transfer-encoding" in fields:
        return await _read_chunks(reader)
    length = fields.get("content-length")
    if length is None:
        seen = b""
        while len(seen) < BODY_MATCH:
            data = await reader.read(BODY_MATCH - len(seen))
            if not data:
                break
            seen += data
        return seen, False
    if not (length.isascii() and length.isdigit()):
        raise BadAnswer("answer")
    size = int(length)
    if size > BODY_LIMIT:
        return await reader.readexactly(BODY_MATCH), False
    return (await reader.readexactly(size))[:BODY_MATCH], True


async def _read_chunks(reader: asyncio.StreamReader) -> tuple[bytes, bool]:
    seen = b""
    total = 0
    while total <= BODY_LIMIT:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";", 1)[0].strip(), 16)
        if size < 0:
            raise BadAnswer("answer")
        if size == 0:
            while await reader.readuntil(b"\r\n") != b"\r\n":
                total += 256  # trailers count, so that they end
                if total > BODY_LIMIT:
                    return seen, False
            return seen, True
        total += size
        if total > BODY_LIMIT:
            break
        data = await reader.readexactly(size + 2)
        seen = (seen + data[:-2])[:BODY_MATCH]
    return seen, False


def probe_context(tls: UpstreamTlsPlan) -> ssl.SSLContext:
    """The TLS side of probes, as strict as the data path's (S16.6). Raises ``OSError`` or ``ssl.SSLError``."""
    context = ssl.create_default_context(cafile=tls.ca or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert:
        context.load_cert_chain(tls.cert, tls.key or None)
    return context
