"""The text messages of one direction of a WebSocket, read beside the bytes that pass (LLM 7, realtime)."""

from __future__ import annotations

from typing import Final

TEXT: Final = 1
CONTINUATION: Final = 0


class TextWatch:
    """Gives whole text messages of at most *limit* bytes; longer ones, binary ones and control frames are passed over.
    The frames themselves are judged elsewhere (``wire/websocket``).

    Mutable state: ``_head`` of a frame as far as it has come; ``_left`` of its payload; ``_mask`` and how much of the
    payload it has been used for; ``_pieces`` of a message that is wanted.
    """

    __slots__ = (
        "_control", "_final", "_head", "_left", "_limit", "_mask", "_pieces", "_size", "_text", "_used", "controls",
    )  # fmt: skip

    def __init__(self, limit: int, controls: bool = False) -> None:
        self._limit = limit
        self.controls: list[tuple[int, bytes]] | None = [] if controls else None
        """Control frames as (opcode, payload so far), where somebody wants them: whoever takes them empties it."""
        self._head = b""
        self._left = 0
        self._mask = b""
        self._used = 0
        self._final = False
        self._text = False
        self._control = False
        """The frame under way is a control frame: it belongs to no message."""
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that *data* completes."""
        found: list[bytes] = []
        at = 0
        size = len(data)
        while at < size or (self._left == 0 and self._text and self._final):
            if self._left == 0:
                self._control = False
                if self._text and self._final:
                    self._end(found)
                    continue
                taken = self._begin(data[at : at + 14 - len(self._head)])
                if taken < 0:
                    self._head += data[at:]
                    break
                at += taken
                continue
            step = min(self._left, size - at)
            if self._control and self.controls:
                code, begun = self.controls[-1]
                self.controls[-1] = (code, begun + self._plain(data[at : at + step]))
            if self._text and not self._control:
                self._size += step
                if self._size <= self._limit:
                    self._pieces.append(self._plain(data[at : at + step]))
            self._left -= step
            at += step
        return found

    def taken_controls(self) -> list[tuple[int, bytes]]:
        """The control frames that are whole; each is given once."""
        controls = self.controls or []
        if self._control and self._left and controls:
            self.controls = controls[-1:]
            return controls[:-1]
        self.controls = []
        return controls

    def _end(self, found: list[bytes]) -> None:
        if self._size <= self._limit:
            found.append(b"".join(self._pieces))
        self._pieces = []
        self._size = 0
        self._text = False
        self._final = False

    def _begin(self, more: bytes) -> int:
        """Read a frame's head; how many bytes of *more* it took, -1 while it is not whole."""
        head = self._head + more
        if len(head) < 2:
            return -1
        length = head[1] & 0x7F
        masked = head[1] & 0x80
        need = 2 + (2 if length == 126 else 8 if length == 127 else 0) + (4 if masked else 0)
        if len(head) < need:
            return -1
        if length == 126:
            length = int.from_bytes(head[2:4], "big")
        elif length == 127:
            length = int.from_bytes(head[2:10], "big")
        taken = need - len(self._head)
        self._head = b""
        self._left = length
        self._mask = head[need - 4 : need] if masked else b""
        self._used = 0
        code = head[0] & 0x0F
        if code & 0x08:
            self._control = True
            if self.controls is not None:
                self.controls.append((code, b""))
        elif code == TEXT:
            self._text = True
            self._final = bool(head[0] & 0x80)
        elif code == CONTINUATION:
            self._final = bool(head[0] & 0x80)
        else:
            self._text = False
            self._final = False
        return taken

    def _plain(self, piece: bytes) -> bytes:
        mask = self._mask
        if not mask:
            return piece
        size = len(piece)
        turn = self._used % 4
        self._used += size
        pattern = (mask[turn:] + mask[:turn]) * (size // 4 + 1)
        return (int.from_bytes(piece, "big") ^ int.from_bytes(pattern[:size], "big")).to_bytes(size, "big")
