import pytest

from tidegate.rules.network_table import NetworkTable


def test_the_longest_prefix_counts() -> None:
    table = NetworkTable([("10.0.0.0/8", "a"), ("10.1.0.0/16", "b"), ("10.1.2.3/32", "c"), ("2001:db8::/32", "d")])
    asked = ("10.9.9.9", "10.1.9.9", "10.1.2.3", "2001:db8::1", "11.0.0.1", "2001:db9::", "junk", "")
    assert [table.find(address) for address in asked] == ["a", "b", "c", "d", None, None, None, None]


def test_everything_is_a_network_too() -> None:
    table = NetworkTable([("0.0.0.0/0", 4), ("::/0", 6)])
    assert (table.find("255.255.255.255"), table.find("ffff::")) == (4, 6)


def test_bits_beyond_the_prefix_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="host bits"):
        NetworkTable([("10.0.0.1/8", 1)])
