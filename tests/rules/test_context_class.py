"""Twin of rules/context_class.py: what needs a route that is tagged for it (CRP 10)."""

from __future__ import annotations

import pytest

from tidegate.exchange.context import PRIVACY, Added, Item, Privacy, Removed, View
from tidegate.exchange.fault import Fault
from tidegate.rules.context_class import check_class, is_sensitive
from tidegate.rules.context_fold import fold


def view_of(*classes: Privacy) -> View:
    items = tuple(Item(id=f"m{n}", type="message", privacy=privacy) for n, privacy in enumerate(classes))
    return fold(View(context="ctx"), (Added(items),), "cv_1", 1)


@pytest.mark.parametrize("privacy", PRIVACY)
def test_one_item_and_the_class_of_the_context_decide_alike(privacy: Privacy) -> None:
    assert is_sensitive("internal", view_of(privacy)) is (privacy == "sensitive")
    assert is_sensitive(privacy, view_of("internal")) is (privacy == "sensitive")


def test_beside_a_secret_the_items_decide() -> None:
    assert is_sensitive("secret", view_of("secret", "personal")) is False
    assert is_sensitive("internal", view_of("secret", "sensitive")) is True


def test_what_was_sensitive_once_stays_so() -> None:
    assert is_sensitive("internal", fold(view_of("sensitive", "internal"), (Removed(("m0",)),), "cv_2", 2)) is True


def test_only_a_tagged_route_serves_what_is_sensitive() -> None:
    check_class("internal", view_of("personal"), tagged=False)
    check_class("internal", view_of("sensitive"), tagged=True)
    with pytest.raises(Fault) as caught:
        check_class("internal", view_of("sensitive"), tagged=False)
    fault = caught.value
    assert (fault.code, fault.status, fault.reason, fault.side) == ("policy_forbidden", 422, "sensitive", "client")
