import pytest

from tidegate.rules.address_hash import START, place, rehash, shares, significant


@pytest.mark.parametrize(
    ("address", "part"),
    [
        ("192.0.2.77", b"\xc0\x00\x02"),
        ("2001:db8:1:2:3:4:5:6", b"\x20\x01\x0d\xb8\x00\x01\x00\x02"),
        ("fe80::1%eth0", b"\xfe\x80\x00\x00\x00\x00\x00\x00"),
        ("::ffff:192.0.2.1", b"\xc0\x00\x02"),
        ("", b""), ("unix:", b""), ("1.2.3", b""), ("1.2.300.4", b""), ("a.b.c.d", b""), ("-1.2.3.4", b""),
    ],
)  # fmt: skip
def test_what_counts_of_an_address_s11_4(address: str, part: bytes) -> None:
    assert significant(address) == part


def test_the_formula_by_hand_s11_4() -> None:
    # (89·113 + 127) mod 6271 = 3913, then ·113 mod 6271 = 3199, then 4040
    assert rehash(START, b"\x7f\x00\x00") == 4040
    assert rehash(4040, b"\x7f\x00\x00") == rehash(rehash(rehash(4040, b"\x7f"), b"\x00"), b"\x00")


def test_places_follow_the_weights() -> None:
    assert [place(n, [2, 0, 1], 3) for n in range(6)] == [0, 0, 2, 0, 0, 2]


def test_fractions_count_in_hundredths() -> None:
    assert shares([1.0, 2.0]) == [1, 2]
    assert shares([0.5, 2.0]) == [50, 200]
