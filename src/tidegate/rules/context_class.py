"""Which conversations only a route may serve that is tagged for contents of class ``sensitive`` (CRP 10)."""

from __future__ import annotations

from tidegate.exchange.context import Privacy, View
from tidegate.exchange.fault import CLIENT, Fault
from tidegate.rules.context_begin import higher


def is_sensitive(context: Privacy, view: View) -> bool:
    """Does *view*, of a conversation whose class is *context*, hold what needs a tagged route? A class never falls, so
    what was sensitive once stays so. Of a secret nothing but its name goes out: there the items themselves decide."""
    found = higher(context, view.privacy)
    if found == "secret":
        return any(item.privacy == "sensitive" for item in view.items)
    return found == "sensitive"


def check_class(context: Privacy, view: View, *, tagged: bool) -> None:
    """Raises 422 ``policy_forbidden`` for sensitive contents where the route is not *tagged* for them."""
    if not tagged and is_sensitive(context, view):
        raise Fault("policy_forbidden", "This route is not tagged for sensitive contents.", reason="sensitive",
                    side=CLIENT)  # fmt: skip
