import pytest

from tidegate.rules.distance import CUTS, FARTHEST, LATENCY_CUTS, band, great_circle, read_place


@pytest.mark.parametrize(
    ("a", "b", "kilometres"),
    [
        ((52.52, 13.405), (52.52, 13.405), 0.0),
        ((52.52, 13.405), (48.8566, 2.3522), 877.5),
        ((51.5074, -0.1278), (40.7128, -74.006), 5570.2),
        ((0.0, 179.5), (0.0, -179.5), 111.2),
        ((90.0, 0.0), (-90.0, 77.0), 20015.1),
    ],
)
def test_great_circles(a: tuple[float, float], b: tuple[float, float], kilometres: float) -> None:
    assert great_circle(a, b) == pytest.approx(kilometres, abs=0.5)
    assert great_circle(b, a) == pytest.approx(great_circle(a, b))


def test_bands_end_at_500_2000_and_6000_km_s11_8() -> None:
    assert [band(km) for km in (0, 500, 500.1, 2000, 2001, 6000, 6001, 20_000)] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [band(s, LATENCY_CUTS) for s in (-1.0, 0.005, 0.006, 0.06, 1.0)] == [0, 0, 1, 2, 3]
    assert len(CUTS) == len(LATENCY_CUTS) == FARTHEST


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("52.5,13.4", (52.5, 13.4)), ("52.5; 13.4", (52.5, 13.4)), (" -1 , -2 ", (-1.0, -2.0)), (None, None),
        ("", None), ("52.5", None), ("nan,1", None), ("91,0", None), ("0,181", None), ("1,2,3", None), ("inf,0", None),
        ("1," + "0" * 99, None),
    ],
)  # fmt: skip
def test_places_are_read_or_refused(text: str | None, place: tuple[float, float] | None) -> None:
    assert read_place(text) == place
