"""A conversation that the gateway keeps: items, what is asked to change and what has changed, versions, views, receipts
(CRP 1, 3, 4). Values only; ids are in ``context_ids``.

Two words for a change, and they are not the same. An ``Op`` is what a client asks for (CRP 4.2). A ``Change`` is what
came of it and what the log keeps: whoever folds the changes of a line of ancestors, in order, has the context, and asks
no rule again. Times are milliseconds since the epoch; JSON that nobody here looks into is its compact bytes (``Raw``).
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from tidegate.exchange.chat import Raw

Level = Literal["implicit", "id", "delta", "merge"]
Status = Literal["in_progress", "completed", "incomplete", "failed", "cancelled"]
"""Of a version. The head moves with ``completed`` and ``incomplete`` (CRP 5.4)."""
Privacy = Literal["public", "internal", "personal", "sensitive", "secret"]
Elide = Literal["", "never", "placeholder", "summarize", "drop"]
"""What a reduction may do with an item; "" for its type's default."""
Access = Literal["subject", "group", "tenant"]
Kept = Literal["durable", "session", "none"]

PRIVACY: Final[tuple[Privacy, ...]] = ("public", "internal", "personal", "sensitive", "secret")
"""Rising; a class never falls (CRP 10)."""
STATE: Final = "state"
"""The name under which the state object is changed and its payloads lie."""
SETTINGS: Final = "settings"
"""The name under which what a turn asked besides its messages lies (model, tools, system text, sampling)."""


class ItemType(msgspec.Struct, frozen=True):
    """A row of CRP 4.1. ``rank``: the lowest goes first when room is needed."""

    elide: Elide
    rank: int
    keyed: bool = False
    """It must have a ``key``."""
    by_client: bool = True
    """A client may append one."""


ITEM_TYPES: Final[dict[str, ItemType]] = {
    "tool_result": ItemType("placeholder", 0),
    "reasoning": ItemType("drop", 1),
    "document": ItemType("placeholder", 2),
    "media": ItemType("placeholder", 3),
    "tool_call": ItemType("placeholder", 4),
    "message": ItemType("summarize", 5),
    "event": ItemType("drop", 6),
    "place": ItemType("drop", 6),
    "fact": ItemType("never", 7, keyed=True),
    "preference": ItemType("never", 7, keyed=True),
    "summary": ItemType("never", 8),
    "template": ItemType("never", 9),
    "redacted": ItemType("never", 9, by_client=False),
}
VENDOR_TYPE: Final = ItemType("drop", 2)
"""Any ``vendor:type``: kept, returned, never rendered."""


def item_type(name: str) -> ItemType | None:
    """The row of *name*; None for a type nobody knows."""
    return ITEM_TYPES.get(name) or (VENDOR_TYPE if ":" in name else None)


# -- items -------------------------------------------------------------------------------------------------------------


class Geo(msgspec.Struct, frozen=True):
    """Where (RFC 7946, WGS 84): ``point`` is (longitude, latitude), ``bbox`` (west, south, east, north), which crosses
    the antimeridian when west is greater than east. Exactly one of them."""

    point: tuple[float, float] | None = None
    bbox: tuple[float, float, float, float] | None = None


class Provenance(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who brought an item, set by the gateway and never changed. ``vendor`` and ``model`` with ``by == "model"``: what
    is bound to its maker goes back to that vendor alone (R7). ``source``: a tool's name, a document's address."""

    by: Literal["client", "model", "tool", "document", "recall", "extractor", "compaction", "gateway"] = "client"
    vendor: str = ""
    model: str = ""
    source: str = ""


class Item(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One revision of one element of a context (CRP 4.1).

    content      JSON, b"" for none. Of what a dialect brought (``message``, ``tool_call``, ``tool_result``,
                 ``reasoning``, ``media``): a JSON string for plain text, else an array of ``exchange.chat`` parts as
                 msgspec writes them (``{"part": "text", "text": ...}``), so that nothing of them is lost
    rev          0 for the first; a patch, merge or splice makes the next one of the same id
    call_id, name  of a tool call and its result
    covers       of a summary: the first and the last item it stands for
    tokens       estimate of its rendered form, made when it was added
    recorded     when its version was made
    digest       SHA-256 of its payload as stored (CRP 1.2); b"" before it is
    extra        unknown members, kept and returned unchanged
    """

    id: str = ""
    type: str
    rev: int = 0
    key: str = ""
    role: str = ""
    content: Raw = b""
    status: str = ""
    pinned: bool = False
    priority: int = 5
    elide: Elide = ""
    ttl: int = 0
    """Seconds after ``recorded``, hard; 0 for none."""
    valid_from: int | None = None
    valid_to: int | None = None
    at: int | None = None
    geo: Geo | None = None
    about: tuple[str, ...] = ()
    privacy: Privacy = "internal"
    schema: str = ""
    must_understand: bool = False
    provenance: Provenance = Provenance()
    supersedes: str = ""
    call_id: str = ""
    name: str = ""
    covers: tuple[str, str] | None = None
    tokens: int = 0
    recorded: int = 0
    digest: bytes = b""
    extra: dict[str, Raw] = {}


class Selector(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which items (CRP 1.5): members are AND-ed, an empty one asks for nothing. ``key`` may end in ``*``; ``between``
    and ``as_of`` in milliseconds; ``near``: (longitude, latitude, radius in metres)."""

    ids: tuple[str, ...] = ()
    type: tuple[str, ...] = ()
    key: str = ""
    about: tuple[str, ...] = ()
    as_of: int | None = None
    between: tuple[int, int] | None = None
    near: tuple[float, float, float] | None = None
    bbox: tuple[float, float, float, float] | None = None
    text: str = ""


# -- what is asked: ops (CRP 4.2) --------------------------------------------------------------------------------------


class OpBase(msgspec.Struct, frozen=True, tag_field="op", kw_only=True):
    """What every op has: its tag, which is its name on the wire."""


class Append(OpBase, frozen=True, tag="append"):
    items: tuple[Item, ...]


class Put(OpBase, frozen=True, tag="put"):
    item: Item


class Remove(OpBase, frozen=True, tag="remove"):
    """Exactly one of ``id`` and ``key``; so in every op that has both."""

    id: str = ""
    key: str = ""


class Patch(OpBase, frozen=True, tag="patch"):
    """RFC 6902: ``patch`` is the JSON array. ``on``: ``"state"`` or an item's id."""

    on: str
    patch: Raw


class Merge(OpBase, frozen=True, tag="merge"):
    """RFC 7396, on ``"state"`` or on the object content of an item."""

    on: str
    value: Raw


class Splice(OpBase, frozen=True, tag="splice"):
    """Text edit: ``at`` and ``delete`` (``del`` on the wire) count Unicode scalar values; ``path`` is a JSON Pointer
    into the content, "" for all of it; ``was``: hex SHA-256 of the old text, "" for not asked."""

    id: str
    at: int
    delete: int = 0
    insert: str = ""
    path: str = ""
    was: str = ""


class Mark(OpBase, frozen=True, tag="mark"):
    """None: as it is."""

    id: str
    pinned: bool | None = None
    priority: int | None = None
    elide: Elide | None = None
    privacy: Privacy | None = None


class Compact(OpBase, frozen=True, tag="compact"):
    """From item ``first`` to item ``last`` (``from`` and ``to`` on the wire), both included."""

    first: str
    last: str
    summary: Item


class Rollback(OpBase, frozen=True, tag="rollback"):
    to: str


class SetPolicy(OpBase, frozen=True, tag="set_policy"):
    """A name as a JSON string, or a patch on the policy as a JSON object."""

    policy: Raw


Op = Append | Put | Remove | Patch | Merge | Splice | Mark | Compact | Rollback | SetPolicy


class OpError(msgspec.Struct, frozen=True):
    """Why a delta is refused (``errors`` of ``delta_invalid``). ``reason`` as CRP 4.2 names them."""

    op: int
    reason: str
    pointer: str = ""


# -- what came of it: changes ------------------------------------------------------------------------------------------


class Added(msgspec.Struct, frozen=True, tag_field="c", tag="add"):
    """New items at the end of the branch, stamped with ids."""

    items: tuple[Item, ...]


class Revised(msgspec.Struct, frozen=True, tag_field="c", tag="rev"):
    """The next revision of an item, whole, in the place of the last."""

    item: Item


class Ended(msgspec.Struct, frozen=True, tag_field="c", tag="end"):
    """A keyed item was superseded: it holds no more from ``valid_to`` on."""

    id: str
    valid_to: int


class Removed(msgspec.Struct, frozen=True, tag_field="c", tag="del"):
    """Items leave the view."""

    ids: tuple[str, ...]


class Marked(msgspec.Struct, frozen=True, tag_field="c", tag="mark", omit_defaults=True):
    """Hints of an item, as they are from now on."""

    id: str
    pinned: bool
    priority: int
    elide: Elide
    privacy: Privacy


class Summed(msgspec.Struct, frozen=True, tag_field="c", tag="sum"):
    """``ids`` leave the view; ``summary`` stands in the place of the first of them (CRP 8.5)."""

    ids: tuple[str, ...]
    summary: Item


class StateChanged(msgspec.Struct, frozen=True, tag_field="c", tag="state"):
    """``patch`` (RFC 6902), ``merge`` (RFC 7396) or ``set`` (the whole object). ``rev`` counts in the context, and
    ``value`` lies in the payload ``state``/``rev``, b"" once it was redacted: then the state becomes ``{}``."""

    how: Literal["patch", "merge", "set"]
    rev: int
    value: Raw = b""
    digest: bytes = b""


class SettingsChanged(msgspec.Struct, frozen=True, tag_field="c", tag="set"):
    """What the turn asked besides messages, whole: ``value`` is JSON in the payload ``settings``/``rev``."""

    rev: int
    value: Raw = b""
    digest: bytes = b""


class PolicyChanged(msgspec.Struct, frozen=True, tag_field="c", tag="policy"):
    policy: Raw


class TemplateChanged(msgspec.Struct, frozen=True, tag_field="c", tag="tmpl"):
    """``name@n``, resolved."""

    ref: str


class EpochBegun(msgspec.Struct, frozen=True, tag_field="c", tag="epoch", omit_defaults=True):
    """The rendered prefix is frozen anew from here (CRP 7.4). ``renderer`` pins the version of the renderer.

    at       when, so that what is valid then is in the epoch's block whoever renders it
    dialect  of the provider it is rendered for
    system, tools  digests of the system text and of the tools as they were sent
    elided   item -> ``placeholder`` or ``dropped``: what a reduction took out of the history, until the next epoch
    """

    reason: str
    renderer: int
    at: int = 0
    dialect: str = ""
    system: str = ""
    tools: str = ""
    elided: dict[str, str] = {}


Change = (
    Added | Revised | Ended | Removed | Marked | Summed | StateChanged | SettingsChanged | PolicyChanged
    | TemplateChanged | EpochBegun
)  # fmt: skip


# -- the log -----------------------------------------------------------------------------------------------------------

EntryKind = Literal["reserve", "commit", "delta", "control"]
FORMAT: Final = 1
"""``v`` of entries written now. A later one is 503 ``entry_version_unsupported``, never a guess (CRP 4.5)."""


class TokenUse(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tokens of one turn: sent to the provider, of them read from its cache (reported, and expected), written to it;
    saved against the whole history; answered."""

    sent: int = 0
    cached: int = 0
    cached_expected: int = 0
    written: int = 0
    saved: int = 0
    output: int = 0


class Note(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a ``control`` entry did: ``rollback revert fork merge redact expire create import``, ``to`` and ``origin``
    (versions), ``items`` it struck, who and why."""

    what: str
    by: str = ""
    why: str = ""
    to: str = ""
    origin: str = ""
    items: tuple[str, ...] = ()


class Answered(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of a commit: what a replay needs besides the items (CRP 5.6)."""

    stop: str = ""
    stop_sequence: str = ""
    model: str = ""
    vendor: str = ""
    target: str = ""
    dialect: str = ""
    """The client's of that turn."""
    created: int = 0
    usage: Raw = b""
    """``exchange.chat.Usage`` as JSON."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One record of the log as the gateway means it. ``wire/context_entry`` writes what is signed (all but ``seq``,
    ``parents`` and ``branch``, which the store decides) and lays contents beside it.

    version   whose it is; a turn's version has a ``reserve`` and a ``commit``, any other one ``delta`` or ``control``
    answer    of a commit: the id-less answer's stop word, model and provider, so that a replay says the same
    """

    v: int = FORMAT
    kind: EntryKind
    version: str = ""
    ts: int = 0
    author: str = ""
    status: Status = "completed"
    changes: tuple[Change, ...] = ()
    use: TokenUse | None = None
    answer: Answered | None = None
    note: Note | None = None
    seq: int = 0
    parents: tuple[str, ...] = ()
    branch: str = ""


class Version(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One immutable node of the history. ``digest`` b"" while it is in progress."""

    id: str
    parents: tuple[str, ...] = ()
    branch: str = ""
    seq: int = 0
    """Of its last entry."""
    ts: int = 0
    author: str = ""
    status: Status = "completed"
    use: TokenUse | None = None
    answer: Answered | None = None
    digest: bytes = b""


class View(msgspec.Struct, frozen=True, kw_only=True):
    """A context as seen at one version: a pure function of the log (CRP 1.1).

    items     in order; superseded and removed ones are not among them, ended ones (``valid_to``) are until an epoch
    by_id     place in ``items``
    by_key    the current item of each key
    settings  of the last turn, JSON, b"" for none
    epoch     the version its epoch began with; ``renderer`` the one it is pinned to
    revs      next revision of ``state`` and ``settings``
    """

    context: str
    version: str = ""
    items: tuple[Item, ...] = ()
    by_id: dict[str, int] = {}
    by_key: dict[str, int] = {}
    state: Raw = b"{}"
    settings: Raw = b""
    template: str = ""
    policy: Raw = b""
    privacy: Privacy = "internal"
    epoch: str = ""
    renderer: int = 1
    revs: tuple[int, int] = (0, 0)
    digest: bytes = b""


# -- a call that uses a context (CRP 3) --------------------------------------------------------------------------------


class Budget(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tokens for this turn; 0: as the policy says."""

    max_input: int = 0
    reserve_output: int = 0


class TemplateWish(msgspec.Struct, frozen=True):
    """``ref`` is ``name@n`` or ``name@latest``; ``vars`` a JSON object."""

    ref: str
    vars: Raw = b"{}"


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a call says about its context, from members and ``Context-*`` fields together (CRP 3.1, 3.2). Empty
    text and None: not said. ``rules/context_wishes`` reads it and says 400 ``context_ambiguous`` where two disagree.

    context    a ``ctx_`` id, from ``context_id``, ``session_id``, ``conversation`` or ``Context-Id``
    session    a name of the client's own
    version    a ``cv_`` id it continues, from ``previous_response_id`` and its sisters, or ``parent`` without context
    parent     the version it believes to be the head, where a context is named too
    addressed  ``ref``, ``version`` or ``none`` (CRP 1.3)
    """

    context: str = ""
    session: str = ""
    version: str = ""
    parent: str = ""
    addressed: Literal["ref", "version", "none"] = "none"
    branch: str = ""
    level: Level = "implicit"
    ops: tuple[Op, ...] = ()
    on_conflict: Literal["reject", "rebase", "fork"] = "reject"
    on_busy: Literal["queue", "reject", "supersede", "fork"] = "queue"
    on_disconnect: Literal["", "finish", "cancel"] = ""
    on_resend: Literal["dedupe", "reject"] = "dedupe"
    policy: Raw = b""
    template: TemplateWish | None = None
    budget: Budget = Budget()
    inherit: bool | None = None
    store: Kept = "durable"
    returned: Literal["none", "minimal", "full"] = "minimal"
    previous_spelling: str = ""
    """The member that named ``version`` (``previous_response_id``): a fault is told in its words."""
    stated: frozenset[str] = frozenset()
    """Members the client wrote itself."""


class Elided(msgspec.Struct, frozen=True, omit_defaults=True):
    """One item that the model does not see as it is: ``placeholder``, ``summary`` or ``dropped``, by which step."""

    id: str
    type: str
    tokens: int
    way: Literal["placeholder", "summary", "dropped"]
    reason: str


class CacheReport(msgspec.Struct, frozen=True):
    """What was expected of the provider's cache, what it told, and why less (CRP 7.5)."""

    expected: int = 0
    reported: int | None = None
    reason: str = ""
    first_divergent_item: str = ""


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """The ``context`` object of an answer. ``version`` "" where the store was out and the route degrades (I9)."""

    id: str
    version: str
    parent: str = ""
    branch: str = "main"
    status: Status = "completed"
    level: Level = "id"
    digest: bytes = b""
    use: TokenUse = TokenUse()
    elided: tuple[Elided, ...] = ()
    recalled: tuple[str, ...] = ()
    cache: CacheReport | None = None
    warnings: tuple[str, ...] = ()
    replayed: bool = False
    degraded: bool = False


TurnState = Literal["resolving", "reserved", "calling", "flowing", "committing", "committed", "ended"]
"""Of a turn in the engine. No upstream byte before ``reserved``; no terminal event before ``committed`` (CRP 5.1)."""
