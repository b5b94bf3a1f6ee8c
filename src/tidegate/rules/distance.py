"""How far apart two places on Earth are, and which band of distance that is (S11.8)."""

from __future__ import annotations

from math import asin, cos, isfinite, radians, sin, sqrt
from typing import Final

Place = tuple[float, float]
"""Latitude and longitude in degrees, north and east positive."""

EARTH_RADIUS: Final = 6371.0
"""Kilometres, the mean."""
CUTS: Final[tuple[float, ...]] = (500.0, 2000.0, 6000.0)
"""Kilometres: same region, same part of a continent, same side of an ocean."""
LATENCY_CUTS: Final[tuple[float, ...]] = (0.005, 0.020, 0.060)
"""Seconds over the best average: what light in glass needs for ``CUTS``, there and back."""
FARTHEST: Final = 3
"""The band beyond the last cut, and of places unknown."""


def great_circle(a: Place, b: Place) -> float:
    """Kilometres between *a* and *b* on a sphere (haversine)."""
    north_a, north_b = radians(a[0]), radians(b[0])
    half_north = sin((north_b - north_a) / 2.0)
    half_east = sin(radians(b[1] - a[1]) / 2.0)
    chord = half_north * half_north + cos(north_a) * cos(north_b) * half_east * half_east
    return 2.0 * EARTH_RADIUS * asin(sqrt(min(1.0, chord)))


def band(value: float, cuts: tuple[float, ...] = CUTS) -> int:
    """0 for the nearest band, ``len(cuts)`` beyond the last cut; a cut itself still belongs to the nearer band."""
    for number, cut in enumerate(cuts):
        if value <= cut:
            return number
    return len(cuts)


def read_place(text: str | None) -> Place | None:
    """``52.52,13.40`` (or ``;`` between); None for anything else or out of range."""
    if not text or len(text) > 64:
        return None
    north, _, east = text.replace(";", ",").partition(",")
    try:
        place = (float(north), float(east))
    except ValueError:
        return None
    return place if valid(place) else None


def valid(place: Place) -> bool:
    return isfinite(place[0]) and isfinite(place[1]) and abs(place[0]) <= 90.0 and abs(place[1]) <= 180.0
