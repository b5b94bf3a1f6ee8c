"""The part of a config that conversations run on: repository, policies, what a route does with them (CRP 8, 11).

As ``config``: values and their bounds only. A policy's words are all optional: what is unset is that of the policy it
extends, so nothing here has a default but "unset".
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, model_validator

from tidegate.assembly.config_words import Name, Section, unique
from tidegate.ports.settings import Duration, Size

Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Tokens = Annotated[int, Field(ge=1, le=100_000_000)]
Level = Literal["implicit", "id", "delta", "merge"]
Reduction = Literal["clear_tool_results", "drop_reasoning", "dedupe_documents", "summarize", "drop_oldest"]


class Repository(Section):
    """Where conversations are kept (CRP 11). Besides these keys it takes those of the place named (``url`` ...)."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)

    use: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")] = "sqlite"
    """The place: ``sqlite`` in the data folder, ``memory`` (one worker, lost at exit), ``valkey`` or ``postgres``."""
    durability: Literal["process", "full"] = "process"
    """What an acknowledged turn survives: the end of the ``process``, or ``full``, loss of power too (CRP 11.3)."""
    on_outage: Literal["fail_closed", "degrade"] = "fail_closed"
    """While the store is out: 503, or ``degrade``, an answer to what the client sent alone, marked as such (I9)."""
    ttl: Annotated[Duration, Field(ge=1, le=400 * 86_400)] = 30 * 86_400.0
    """How long a conversation lives after its last turn; 400 days at most (CRP 10)."""
    hot: Annotated[Size, Field(ge=1 << 20, le=1 << 40)] = 256 << 20
    """Conversations that each worker keeps at hand, in bytes; those used longest ago go first."""

    @property
    def settings(self) -> dict[str, Any]:
        """What the place asks for."""
        return self.__pydantic_extra__ or {}


# -- policies ----------------------------------------------------------------------------------------------------------


class PolicyBudget(Section):
    """Tokens of one prompt, not money (CRP 8.2)."""

    max_input: Literal["auto"] | Tokens | None = None
    """Tokens a prompt may have; ``auto``: the window of the model at hand."""
    reserve_output: Annotated[int, Field(ge=0, le=100_000_000)] | None = None
    """Of these, left free for the answer."""
    trigger: Annotated[Fraction, Field(gt=0)] | None = None
    """Share of the limit at which the prompt is reduced, in one step: each step costs the provider's cache."""
    target: Annotated[Fraction, Field(gt=0)] | None = None
    """Share it is reduced to."""

    @model_validator(mode="after")
    def _consistent(self) -> PolicyBudget:
        if self.trigger is not None and self.target is not None and self.target > self.trigger:
            raise ValueError("target is above trigger, so a reduction would end where it began")
        return self


class PolicyKeep(Section):
    """What a reduction leaves alone (CRP 8.3)."""

    first_turns: Annotated[int, Field(ge=0, le=1000)] | None = None
    """Turns at the beginning; a turn begins with each message of the user."""
    last_turns: Annotated[int, Field(ge=0, le=1000)] | None = None
    """Turns at the end."""
    pinned: Literal["always", "never"] | None = None
    """Pinned items: kept, or ``never`` more than others."""
    tool_pairs: Literal["atomic"] | None = None
    """A tool's call and its result go together; there is no other way."""


class PolicyRecall(Section):
    """Bringing back what was left out, where the new input speaks of it (CRP 8.6)."""

    use: Literal["bm25"] | None = None
    """How it is found: by words."""
    share: Fraction | None = None
    """Share of the limit it may take; 0: nothing is brought back."""
    place: Literal["tail"] | None = None
    """Where it stands: behind the history, so that the prefix stays what it was."""
    k_max: Annotated[int, Field(ge=1, le=256)] | None = None
    """Items at most."""


class PolicyCompaction(Section):
    """Summaries of what is old (CRP 8.5)."""

    model: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    """The model that writes them; ``same``: the one the conversation runs on."""
    mode: Literal["background", "client", "off"] | None = None
    """Between turns, only when a ``client`` asks, or ``off``."""
    idle: bool | None = None
    """Also shortly before the provider's cache lapses, when reading is still cheap."""
    max_tokens: Annotated[int, Field(ge=16, le=100_000)] | None = None
    """Length of a summary."""
    keep_user_verbatim: bool | None = None
    """What the user wrote stays word for word."""
    deadline: Annotated[Duration, Field(gt=0, le=600)] | None = None
    """Longest time for one; a failure never fails a turn."""


class ContextPolicy(Section):
    """What gives way when a conversation does not fit (CRP 8). Unset words are those of the policy it extends."""

    name: Name
    """Its name; one of ``chat-default``, ``agent-default`` and ``verbatim`` changes the one built in."""
    extends: Name | None = None
    """The policy it begins as; unset: the built-in one of its name, else ``chat-default``."""
    budget: PolicyBudget | None = None
    """Tokens of one prompt."""
    order: Annotated[tuple[Reduction, ...], AfterValidator(unique), Field(max_length=8)] | None = None
    """What is tried, in this order; empty: nothing ever gives way."""
    keep: PolicyKeep | None = None
    """What is left alone."""
    min_reclaim: Fraction | None = None
    """A step that frees less than this share of the limit is not taken unless it must be."""
    recall: PolicyRecall | None = None
    """Bringing back what was left out."""
    compact: PolicyCompaction | None = None
    """Summaries."""
    on_overflow: Literal["truncate", "error"] | None = None
    """What becomes of a prompt that still does not fit: cut, or refused with 413 ``context_overflow``."""
    parent_required: bool | None = None
    """Refuse (428) turns that do not say which version they continue."""
    caps: Annotated[tuple[Literal["budget", "order", "keep", "min_reclaim", "recall", "compact", "on_overflow"], ...],
                    AfterValidator(unique)] | None = None  # fmt: skip
    """Words that a request or a conversation may change; unset: all of them; empty: none."""


# -- routes ------------------------------------------------------------------------------------------------------------


class LlmContexts(Section):
    """Conversations kept for calls to models (CRP 3)."""

    policy: Name = "chat-default"
    """The policy of conversations that name none."""
    implicit: Literal["hints", "store"] = "hints"
    """Chat and Messages calls that name no conversation: ``hints`` keeps hashes for a day, ``store`` keeps them whole
    like any other (CRP 6.2)."""
    levels: Annotated[tuple[Level, ...], AfterValidator(unique), Field(min_length=1)] = (
        "implicit", "id", "delta", "merge",
    )  # fmt: skip
    """How much of the protocol clients may use."""
    sensitive: bool = False
    """Serve conversations of class ``sensitive`` here: providers behind it keep nothing and stay in their region."""
    upstream_store: bool = False
    """Let providers keep conversations too; off: they are asked not to, so that deleting here is all it takes."""


class PlaneContexts(Section):
    """The context plane: conversations read and changed without a model (CRP 2.2)."""

    policy: Name = "chat-default"
    """The policy of conversations that name none."""
    sensitive: bool = False
    """Serve conversations of class ``sensitive`` here."""
