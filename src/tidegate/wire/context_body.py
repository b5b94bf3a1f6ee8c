"""The body of a context request: uncoded, and one reading of it, whatever encoding it came in (CRP 6.3, 6.4, 14).

JSON, MessagePack and protobuf pass one gate and come out as the same values: those of ``wire/json_text``, where a
number of JSON is a ``msgspec.Raw`` of its digits. What a body inflates to is bounded by size and by ratio, and both are
checked while it inflates.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from tidegate.exchange.context_policy import ContextLimits
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.wire import content_coding
from tidegate.wire.context_msgpack import read_msgpack
from tidegate.wire.json_scan import scan
from tidegate.wire.json_text import loads

JSON: Final = "application/json"
MSGPACK: Final = "application/msgpack"
PROTOBUF: Final = "application/x-protobuf"
ENCODINGS: Final = (JSON, MSGPACK, PROTOBUF)
"""As discovery lists them."""
CODINGS: Final = ("zstd", "dcz", "gzip", "br")

FREE: Final = 1 << 20
"""Bytes that any body may inflate to; beyond, the ratio counts."""

_ALIASES: Final[dict[str, str]] = {
    "": JSON, "application/json": JSON, "application/msgpack": MSGPACK, "application/vnd.msgpack": MSGPACK,
    "application/x-msgpack": MSGPACK, "application/x-protobuf": PROTOBUF, "application/protobuf": PROTOBUF,
}  # fmt: skip
_DCZ: Final = bytes.fromhex("5e2a4d1820000000")
"""How ``dcz`` begins (RFC 9842): a skippable frame of 32 bytes, which are the hash of the dictionary."""
_DCZ_HEAD: Final = 40
_WINDOW_LOG: Final = 23


def media_type(content_type: str) -> str:
    """The media type of a ``Content-Type``, lower case, without parameters. Raises 415 for a charset but UTF-8."""
    name, _, parameters = content_type.partition(";")
    if "charset" in parameters.lower() and "utf-8" not in parameters.lower():
        raise unsupported("JSON is UTF-8.")
    return name.strip().lower()


def encoding_of(media: str) -> str:
    """Which of ``ENCODINGS`` a media type is written in; ``+json`` types are JSON. Raises 415
    ``unsupported_media_type``."""
    found = _ALIASES.get(media)
    if found is None:
        if not media.endswith("+json"):
            raise unsupported("The body is JSON, MessagePack or protobuf.")
        return JSON
    return found


def unsupported(detail: str) -> Fault:
    return Fault("unsupported_media_type", detail, side=CLIENT, fields=[("accept", ", ".join(ENCODINGS))])


def decode(
    content_type: str, content_encoding: str, body: bytes, limits: ContextLimits,
    dictionaries: Mapping[bytes, bytes] | None = None, message: str = "Delta",
) -> Any:  # fmt: skip
    """The value in *body*.

    dictionaries  SHA-256 -> dictionary, for ``dcz``
    message       which message of ``crp.v1`` a protobuf body is

    Raises 400 ``invalid_body`` (``reason``: ``duplicate_key``, ``depth_exceeded``, ``too_many_keys``, ``bad_encoding``,
    ``invalid_json``), 413 ``too_large`` and ``ratio_exceeded``, 415 ``unsupported_media_type``,
    ``unsupported_encoding`` and ``dictionary_unknown``.
    """
    encoding = encoding_of(media_type(content_type))
    clear = inflate(content_encoding, body, limits, dictionaries)
    if encoding == MSGPACK:
        return read_msgpack(clear, limits)
    if encoding == PROTOBUF:
        from tidegate.wire.context_protobuf import read_message

        return read_message(message, clear, limits)
    return read_json(clear, limits)


def read_json(clear: bytes, limits: ContextLimits) -> Any:
    """The value in a JSON body that has passed the gate; numbers keep their text."""
    try:
        scan(clear, max_size=limits.body, depth=limits.depth, keys=limits.members)
    except Fault as fault:
        if fault.code == "body_too_large":
            raise too_large(limits) from None
        raise Fault("invalid_body", fault.detail, reason=fault.code, side=CLIENT) from None
    return loads(clear)


def inflate(
    coding: str, body: bytes, limits: ContextLimits, dictionaries: Mapping[bytes, bytes] | None = None
) -> bytes:  # fmt: skip
    """*body* without its content coding, bounded."""
    name = coding.strip(" \t").lower()
    if not name or name == "identity":
        if len(body) > limits.body:
            raise too_large(limits)
        return body
    cap = min(limits.body, max(FREE, limits.ratio * len(body)))
    try:
        if name == "dcz":
            return _undcz(body, cap, dictionaries or {})
        return content_coding.decode(name, body, cap)
    except Fault as fault:
        if fault.code == "body_too_large":
            if cap < limits.body:
                raise Fault("ratio_exceeded", f"The body inflates by more than {limits.ratio} times.",
                            side=CLIENT) from None  # fmt: skip
            raise too_large(limits) from None
        if fault.code == "unsupported_encoding":
            raise Fault("unsupported_encoding", "", side=CLIENT,
                        fields=[("accept-encoding", ", ".join(CODINGS))]) from None  # fmt: skip
        if fault.code == "bad_encoding":
            raise Fault("invalid_body", "The body is not what its coding says.", reason="bad_encoding",
                        side=CLIENT) from None  # fmt: skip
        raise


def too_large(limits: ContextLimits) -> Fault:
    return Fault("too_large", f"A body has at most {limits.body} bytes.", side=CLIENT)


def dictionary_hash(dictionary: bytes) -> bytes:
    return sha256(dictionary).digest()


def _undcz(body: bytes, cap: int, dictionaries: Mapping[bytes, bytes]) -> bytes:
    """zstd with a dictionary that the head names; the dictionary is raw content, as RFC 9842 has it."""
    if body[: len(_DCZ)] != _DCZ or len(body) < _DCZ_HEAD:
        raise Fault("bad_encoding", side=CLIENT)
    dictionary = dictionaries.get(body[len(_DCZ) : _DCZ_HEAD])
    if dictionary is None:
        raise Fault("dictionary_unknown", "No dictionary has this hash: send the body without one.", side=CLIENT,
                    fields=[("accept-encoding", "zstd, gzip, br")])  # fmt: skip
    from backports import zstd

    decoder = zstd.ZstdDecompressor(
        zstd_dict=zstd.ZstdDict(dictionary, is_raw=True),
        options={zstd.DecompressionParameter.window_log_max: _WINDOW_LOG},
    )
    try:
        clear = decoder.decompress(body[_DCZ_HEAD:], cap + 1)
    except zstd.ZstdError:
        raise Fault("bad_encoding", side=CLIENT) from None
    if len(clear) > cap:
        raise Fault("body_too_large", side=CLIENT)
    if not decoder.eof or decoder.unused_data:
        raise Fault("bad_encoding", side=CLIENT)
    return clear
