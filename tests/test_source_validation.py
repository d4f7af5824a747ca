"""Rules for checks of sources, as nftables gets them; what they do is tried on Figures 1 and 2."""

from ipaddress import IPv6Network

from topologies.figure_1 import figure_1
from topologies.source_validation import SourceCheck, checked_interfaces, rules

HOME = IPv6Network("fd00:192:168::/48")
AS_1 = IPv6Network("fd00:1::/32")


def checks(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip().startswith("iifname")]


def test_strict_asks_for_the_way_back_by_the_same_link() -> None:
    text = rules(SourceCheck.STRICT, ["br-r1", "br-r2"])
    assert checks(text) == [
        f'iifname "{way}" fib saddr . iif oif missing counter name "{way}" drop'
        for way in ("br-r1", "br-r2")
    ]
    assert "ip6 saddr { ::, fe80::/10 } accept" in text


def test_loose_asks_for_any_way_back() -> None:
    (line,) = checks(rules(SourceCheck.LOOSE, ["t1-br"]))
    assert line == 'iifname "t1-br" fib saddr oif missing counter name "t1-br" drop'


def test_feasible_sources_are_those_given_on_the_interfaces_given() -> None:
    text = rules(SourceCheck.FEASIBLE, ["br-r1", "br-t1"], {"br-r1": [HOME, AS_1]})
    assert checks(text) == [
        f'iifname "br-r1" ip6 saddr != {{ {AS_1}, {HOME} }} counter name "br-r1" drop'
    ]


def test_hosts_links_are_not_looked_at() -> None:
    plan = figure_1()
    assert checked_interfaces(plan, "r2") == ["r2-HA2", "r2-br", "r2-r1", "r2-r3"]
    assert checked_interfaces(plan, "v1") == ["v1-t1"]
    assert checked_interfaces(plan, "mn") == []
