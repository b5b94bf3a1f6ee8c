"""Which items a selector means: by name, kind, time, place and words (CRP 1.4, 1.5). Members are AND-ed."""

from __future__ import annotations

from collections.abc import Iterable
from math import atan2, cos, degrees, radians, sin
from typing import Final

from tidegate.exchange.context import Geo, Item, Selector
from tidegate.rules.distance import great_circle
from tidegate.rules.item_messages import text_of

POLE: Final = 90.0
"""Degrees of latitude at which every longitude is the same place."""

Box = tuple[float, float, float, float]
"""West, south, east, north; across the antimeridian when west is greater than east."""


def select(items: Iterable[Item], selector: Selector, now: int) -> list[Item]:
    """Those of *items* that *selector* means, in their order. *now* in milliseconds: what has outlived its ``ttl`` is
    never among them."""
    return [item for item in items if alive(item, now) and fits(item, selector)]


def alive(item: Item, now: int) -> bool:
    """``ttl`` is hard: from its last millisecond on the item is gone (CRP 7.4)."""
    return not item.ttl or now < item.recorded + item.ttl * 1000


def fits(item: Item, selector: Selector) -> bool:
    """The cheap members first: words and places are looked at only where all else is right."""
    if selector.ids and item.id not in selector.ids:
        return False
    if selector.type and item.type not in selector.type:
        return False
    if selector.key and not _key_fits(item.key, selector.key):
        return False
    if selector.about and not set(selector.about).intersection(item.about):
        return False
    if selector.as_of is not None and not valid_at(item, selector.as_of):
        return False
    if selector.between is not None and not _falls_between(item, *selector.between):
        return False
    if selector.near is not None:
        east, north, radius = selector.near
        if item.geo is None or distance(item.geo, east, north) > radius:
            return False
    if selector.bbox is not None and (item.geo is None or not _touches(item.geo, selector.bbox)):
        return False
    return not selector.text or _says(item, selector.text)


def valid_at(item: Item, time: int) -> bool:
    """``valid_from <= time < valid_to``. What took another's place and tells no beginning holds since it was
    recorded; whatever else tells none has always held."""
    begin = item.valid_from
    if begin is None and item.supersedes:
        begin = item.recorded
    return (begin is None or begin <= time) and (item.valid_to is None or time < item.valid_to)


def _key_fits(key: str, wanted: str) -> bool:
    """``travel.*`` is every key that begins with ``travel.``"""
    if wanted.endswith("*"):
        return bool(key) and key.startswith(wanted[:-1])
    return key == wanted


def _falls_between(item: Item, begin: int, end: int) -> bool:
    """``begin <= at < end``; without ``at`` the time for which it is valid reaches into that, and without that either
    it was recorded in it."""
    if item.at is not None:
        return begin <= item.at < end
    if item.valid_from is None and item.valid_to is None:
        return begin <= item.recorded < end
    return (item.valid_from is None or item.valid_from < end) and (item.valid_to is None or begin < item.valid_to)


def _says(item: Item, text: str) -> bool:
    """Every word of *text* stands in its content, key or tags, case aside."""
    held = "\n".join((item.key, *item.about, text_of(item))).casefold()
    return all(word in held for word in text.casefold().split())


# -- places ------------------------------------------------------------------------------------------------------------


def distance(geo: Geo, east: float, north: float) -> float:
    """Metres along a great circle from (*east*, *north*) to the nearest of *geo*; 0.0 inside of it."""
    if geo.point is not None:
        return great_circle((north, east), (geo.point[1], geo.point[0])) * 1000.0
    if geo.bbox is None:
        return float("inf")
    west, south, edge, top = geo.bbox
    if _within_longitudes(east, west, edge):
        nearest = min(max(north, south), top)
        return great_circle((north, east), (nearest, east)) * 1000.0
    return min(_to_meridian(east, north, side, south, top) for side in (west, edge)) * 1000.0


def _to_meridian(east: float, north: float, meridian: float, south: float, top: float) -> float:
    """Kilometres to the stretch of *meridian* between two latitudes: nearest at the foot of the perpendicular, where
    that lies on it, else at an end."""
    away = radians(meridian - east)
    foot = degrees(atan2(sin(radians(north)), cos(radians(north)) * cos(away)))
    ends = [south, top]
    if south < foot < top:
        ends.append(foot)
    return min(great_circle((north, east), (end, meridian)) for end in ends)


def _touches(geo: Geo, box: Box) -> bool:
    west, south, east, north = box
    if geo.point is not None:
        longitude, latitude = geo.point
        if not south <= latitude <= north:
            return False
        return abs(latitude) >= POLE or _within_longitudes(longitude, west, east)
    if geo.bbox is None:
        return False
    begin, low, end, high = geo.bbox
    if low > north or south > high:
        return False
    if (high >= POLE and north >= POLE) or (low <= -POLE and south <= -POLE):
        return True
    return _within_longitudes(begin, west, east) or _within_longitudes(west, begin, end)


def _within_longitudes(longitude: float, west: float, east: float) -> bool:
    """Both spellings of the antimeridian, 180 and -180, are the same line."""
    if east - west >= 360.0:
        return True
    return (longitude - west) % 360.0 <= (east - west) % 360.0
