"""Content codings with bounds: gzip, br and zstd, one at a time (S3.4, S20). Libraries load at the first use."""

from __future__ import annotations

import sys
import zlib
from typing import TYPE_CHECKING, Any, Final

from tidegate.exchange.fault import CLIENT, IF_IDEMPOTENT, UPSTREAM, Fault

if TYPE_CHECKING:
    from types import ModuleType

CODINGS: Final = ("zstd", "br", "gzip")
"""What can be read and written, in the order preferred for answers (S20.1)."""

_LEVELS: Final = {"zstd": 3, "br": 4, "gzip": 6}
_MAX_MEMBERS: Final = 1024
_PIECE: Final = 64 * 1024
"""Input goes to the libraries in pieces, so that what they hand back unread is never more than this."""
_BROTLI_BUFFER: Final = 256 * 1024
_ZSTD_WINDOW_LOG: Final = 23
"""8 MiB, the most that RFC 9659 lets a ``zstd`` content coding ask for."""


def decode(coding: str, body: bytes, limit: int, *, upstream: bool = False) -> bytes:
    """*body* without its content coding; never more than *limit* bytes of it are made.

    *coding* is the value of ``content-encoding``; "" and ``identity`` give the body back. Raises
    ``unsupported_encoding`` for a list or an unknown coding, ``bad_encoding`` for data that is not what it says or is
    cut off, ``body_too_large`` past the limit or past 1,024 members. With *upstream* the faults are
    ``bad_upstream`` and ``upstream_too_large`` (S20.3).
    """
    name = coding.strip(" \t").lower()
    if name == "" or name == "identity":
        if len(body) > limit:
            raise _fault("body_too_large", upstream)
        return body
    try:
        if name == "gzip" or name == "x-gzip":
            return _gunzip(body, limit, upstream)
        if name == "zstd":
            return _unzstd(body, limit, upstream)
        if name == "br":
            return _unbrotli(body, limit, upstream)
    except Fault:
        raise
    except Exception:
        # The libraries have an exception class each; all of them mean that the data is not what it says.
        raise _fault("bad_encoding", upstream) from None
    raise _fault("unsupported_encoding", upstream)


class Encoder:
    """Codes one body in pieces. *coding* is one of ``CODINGS``; the level is the one of S20.1."""

    __slots__ = ("_codec", "coding")

    def __init__(self, coding: str) -> None:
        level = _LEVELS[coding]
        self.coding = coding
        self._codec: Any
        if coding == "gzip":
            self._codec = zlib.compressobj(level, zlib.DEFLATED, 31)
        elif coding == "br":
            import brotli  # type: ignore[import-not-found,import-untyped,unused-ignore]

            self._codec = brotli.Compressor(quality=level)
        else:
            self._codec = _zstd().ZstdCompressor(level=level)

    def feed(self, data: bytes, last: bool, flush: bool = False) -> bytes:
        """The coded bytes that are ready once *data* is taken; with *last* all that remain. *flush* gives out
        everything now, for a stream whose reader waits, at some cost in size."""
        codec = self._codec
        if self.coding == "gzip":
            out: bytes = codec.compress(data)
            if last:
                return out + codec.flush()  # type: ignore[no-any-return]
            return out + codec.flush(zlib.Z_SYNC_FLUSH) if flush else out
        if self.coding == "br":
            out = codec.process(data)
            if last:
                return out + codec.finish()  # type: ignore[no-any-return]
            return out + codec.flush() if flush else out
        mode = codec.FLUSH_FRAME if last else codec.FLUSH_BLOCK if flush else codec.CONTINUE
        return codec.compress(data, mode)  # type: ignore[no-any-return]


def _gunzip(body: bytes, limit: int, upstream: bool) -> bytes:
    view = memoryview(body)
    pieces: list[bytes] = []
    position = total = 0
    members = 1
    inflater = zlib.decompressobj(31)
    while position < len(view):
        if inflater.eof:
            members += 1
            if members > _MAX_MEMBERS:
                raise _fault("body_too_large", upstream)
            inflater = zlib.decompressobj(31)
        piece = view[position : position + _PIECE]
        out = inflater.decompress(piece, limit - total + 1)
        position += len(piece) - len(inflater.unconsumed_tail) - len(inflater.unused_data)
        total += len(out)
        if total > limit:
            raise _fault("body_too_large", upstream)
        pieces.append(out)
    if not inflater.eof:
        raise _fault("bad_encoding", upstream)
    return b"".join(pieces)


def _unzstd(body: bytes, limit: int, upstream: bool) -> bytes:
    zstd = _zstd()
    options = {zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
    view = memoryview(body)
    pieces: list[bytes] = []
    position = total = 0
    members = 1
    decoder = zstd.ZstdDecompressor(options=options)
    while position < len(view) or not (decoder.eof or decoder.needs_input):
        if decoder.eof:
            members += 1
            if members > _MAX_MEMBERS:
                raise _fault("body_too_large", upstream)
            decoder = zstd.ZstdDecompressor(options=options)
        piece = view[position : position + _PIECE] if decoder.needs_input else b""
        out = decoder.decompress(piece, limit - total + 1)
        position += len(piece) - len(decoder.unused_data)
        total += len(out)
        if total > limit:
            raise _fault("body_too_large", upstream)
        pieces.append(out)
    if not decoder.eof:
        raise _fault("bad_encoding", upstream)
    return b"".join(pieces)


def _unbrotli(body: bytes, limit: int, upstream: bool) -> bytes:
    import brotli

    view = memoryview(body)
    pieces: list[bytes] = []
    total = 0
    decoder = brotli.Decompressor()
    for position in range(0, len(view), _PIECE):
        out = decoder.process(view[position : position + _PIECE], output_buffer_limit=_BROTLI_BUFFER)
        while out:
            total += len(out)
            if total > limit:
                raise _fault("body_too_large", upstream)
            pieces.append(out)
            if decoder.is_finished():
                break
            out = decoder.process(b"", output_buffer_limit=_BROTLI_BUFFER)
    if not decoder.is_finished():
        raise _fault("bad_encoding", upstream)
    return b"".join(pieces)


def _zstd() -> ModuleType:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd  # type: ignore[no-any-return,unused-ignore]


def _fault(code: str, upstream: bool) -> Fault:
    if upstream:
        code = "upstream_too_large" if code == "body_too_large" else "bad_upstream"
        return Fault(code, "", reason="protocol", side=UPSTREAM, retry=IF_IDEMPOTENT)
    return Fault(code, side=CLIENT, close=code == "body_too_large")
