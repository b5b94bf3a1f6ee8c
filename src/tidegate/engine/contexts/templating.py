"""The template that a call wishes for: found, compiled, filled into the system text of its turn (CRP 9)."""

from __future__ import annotations

import re
from typing import Final

from tidegate.engine.contexts.repository import Repository
from tidegate.exchange.chat import Message, Text
from tidegate.exchange.context import TemplateWish, View
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.rules.context_template import Template, Values, compile_template, system_text, tail_text

_REF: Final = re.compile(r"([A-Za-z0-9_.-]{1,128})@(latest|[1-9][0-9]{0,8})").fullmatch


class Filling:
    """A template at hand. ``ref`` names its number, also where the latest one was asked for."""

    __slots__ = ("ref", "template", "wish")

    def __init__(self, ref: str, template: Template, wish: TemplateWish) -> None:
        self.ref: str = ref
        self.template: Template = template
        self.wish: TemplateWish = wish

    def system(self, view: View, now: int) -> tuple[Message, ...]:
        """Its system text with the call's values, () for none. Raises 422 ``slot_missing``."""
        text = system_text(self.template, Values(view, self.wish.vars, now))
        return (Message("system", (Text(text=text),)),) if text else ()

    def tail(self, view: View, now: int) -> str:
        return tail_text(self.template, Values(view, self.wish.vars, now))


async def fetch(repository: Repository, tenant: str, wish: TemplateWish) -> Filling:
    """Raises 404 ``template_not_found``."""
    found = _REF(wish.ref)
    if found is None:
        raise template_not_found()
    name, number = found[1], found[2]
    store = repository.store
    if number == "latest":
        n = await repository.ask(store, store.latest_template(tenant, name))
    else:
        n = int(number)
    body = await repository.ask(store, store.template(tenant, name, n)) if n else None
    if body is None:
        raise template_not_found()
    return Filling(f"{name}@{n}", compile_template(body, repository.limits), wish)


def template_not_found() -> Fault:
    return Fault("template_not_found", "No template has this name and number.", reason="context.template.ref",
                 side=CLIENT)  # fmt: skip
