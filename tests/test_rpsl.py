"""A registry's text: read, refused with line and cure, made into a filter that says the same."""

import contextlib
import re
from ipaddress import IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topologies import import_policy
from topologies.import_policy import NOT_INVALID, ImportFilter, registered_only
from topologies.route_origins import State
from topologies.rpsl import Route6, RpslError, parse, render

HOME = IPv6Network("fd00:192:168::/48")

REGISTRY = """\
# what a registry's dump looks like
mntner:   MAINT-LAB
auth:     nobody

route6:   fd00:192:168::/48   # the home network
descr:    served from
          two places
+         at once
ORIGIN:   as1
mnt-by:   MAINT-LAB
source:   LAB

route6:   fd00:192:168::/48
origin:   AS2
mnt-by:   MAINT-LAB
source:   LAB
"""


def test_objects_are_read() -> None:
    assert parse(REGISTRY) == (Route6(HOME, 1), Route6(HOME, 2))
    assert parse("") == ()


def one(**changes: str) -> str:
    """One object, an attribute a line; each can be changed, or left out by an empty text."""
    lines = {"route6": "fd00:1::/32", "origin": "AS1", "mnt-by": "M", "source": "S"} | changes
    return "".join(f"{name}: {value}\n" for name, value in lines.items() if value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (one(origin=""), "reg:1: fd00:1::/32 has no `origin:`: add the line"),
        (one(source=""), "reg:1: .* has no `source:`"),
        (one(**{"mnt-by": ""}), "reg:1: .* has no `mnt-by:`"),
        (one(origin="1"), "reg:2: '1' is no AS number: write one as AS64512"),
        (one(origin="AS0"), "reg:2: 'AS0' is no AS number"),
        (one(origin="AS4294967296"), "reg:2: .* is no AS number"),
        (one(route6="fd00:1::1/32"), "reg:1: .* is no IPv6 prefix .*host bits set.*: write one"),
        (one(route6="fd00:1::"), "reg:1: .* is no IPv6 prefix .no length."),
        (one(route6="192.168.1.0/24"), "reg:1: .* is no IPv6 prefix"),
        ("\n\n what is this\n", "reg:3: a continuation of nothing"),
        ("route6 fd00::/16\n", "reg:1: 'route6 fd00::/16' is no attribute: write `name: value`"),
        (one() + one(), "reg:5: a second `route6:` in one object: an empty line ends"),
        (one() + "\n" + one(), "reg:6: fd00:1::/32 from AS1 stands at line 1 too: leave one"),
    ],
)
def test_what_is_wrong_is_told_with_line_and_cure(text: str, said: str) -> None:
    with pytest.raises(RpslError, match=said):
        parse(text, "reg")


routes = st.builds(
    lambda bits, length, origin: Route6(
        IPv6Network((bits << 96 >> (128 - length) << (128 - length), length)), origin
    ),
    st.integers(0, 2**32 - 1),
    st.integers(0, 64),
    st.integers(1, 2**32 - 1),
)


@given(st.lists(routes, unique=True, max_size=8))
def test_what_is_written_is_read_again(registered: list[Route6]) -> None:
    assert list(parse(render(registered))) == registered


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(RpslError):
        parse(text)


class Router:
    """What FRR makes of a filter's lines, from FRR's manual: sequences in order, then deny."""

    def __init__(self, filter_: ImportFilter) -> None:
        self.paths: dict[str, str] = {}
        self.prefixes: dict[str, list[str]] = {}
        self.entries: list[tuple[str, dict[str, str]]] = []
        for line in filter_.lines:
            words = line.split()
            if words[:3] == ["bgp", "as-path", "access-list"]:
                self.paths[words[3]] = words[5].replace("_", "(^|[ ]|$)")
            elif words[:2] == ["ipv6", "prefix-list"]:
                self.prefixes.setdefault(words[2], []).append(words[6])
            elif words[0] == "route-map":
                assert words[1] == filter_.name
                self.entries.append((words[2], {}))
            elif words[0] == "match":
                self.entries[-1][1][words[1]] = words[-1]
            else:
                assert line == "exit"

    def admits(self, prefix: IPv6Network, path: str, state: State) -> bool:
        for verdict, matches in self.entries:
            if (
                ("as-path" not in matches or re.search(self.paths[matches["as-path"]], path))
                and ("ipv6" not in matches or str(prefix) in self.prefixes[matches["ipv6"]])
                and ("rpki" not in matches or matches["rpki"] == state)
            ):
                return verdict == "permit"
        return False


@pytest.mark.parametrize("filter_", [registered_only(parse(REGISTRY)), registered_only(()),
                                     NOT_INVALID, import_policy.EVERYTHING],
                         ids=lambda each: each.name)  # fmt: skip
@pytest.mark.parametrize("prefix", [HOME, IPv6Network("fd00:192:168:1::/64")], ids=str)
@pytest.mark.parametrize("path", ["1", "101 1", "2", "1 3", "103 3 1", "11", "103 21"])
@pytest.mark.parametrize("state", State)
def test_lines_and_model_of_a_filter_agree(
    filter_: ImportFilter, prefix: IPv6Network, path: str, state: State
) -> None:
    origin = int(path.split()[-1])
    assert Router(filter_).admits(prefix, path, state) == filter_.admits(prefix, origin, state)


def test_a_registry_stops_a_hijacker_and_not_a_forger() -> None:
    filter_ = registered_only(parse(REGISTRY))
    router = Router(filter_)
    assert router.admits(HOME, "102 2", State.NOT_FOUND)
    assert not router.admits(HOME, "103 3", State.NOT_FOUND)
    assert not router.admits(IPv6Network("fd00:192:168:1::/64"), "101 1", State.NOT_FOUND)
    assert router.admits(HOME, "103 3 1", State.NOT_FOUND)


def test_a_file_on_the_command_line(
    tmp_path: object, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(str(tmp_path))
    with open("registry", "w") as file:
        file.write(REGISTRY)
    assert import_policy.main(["registry"]) == 0
    assert "bgp as-path access-list IMPORT-IRR-AS2 permit _2$" in capsys.readouterr().out
    with open("registry", "a") as file:
        file.write("\nroute6: fd00::/16\n")
    assert import_policy.main(["registry"]) == 2
    assert capsys.readouterr().err.startswith("error: registry:18: fd00::/16 has no `origin:`")
    assert import_policy.main(["missing"]) == 2
    assert import_policy.main([]) == 2
