"""Route-origin validation: FRR's words by version, what is missing, and FRR against the table."""

import json
import shutil
import sys
from collections.abc import Callable
from ipaddress import IPv6Network
from pathlib import Path
from typing import Any

import pytest

from topologies import frr_programs, rpki
from topologies.figure_2 import Shape, multi_as
from topologies.frr_config import DETECTIONS, RoutingOptions, render, validates_origins
from topologies.import_policy import NOT_INVALID, OriginOptions
from topologies.route_origins import State, Vrp

HOME = IPv6Network("fd00:192:168::/48")


@pytest.mark.emulation
def test_frr_judges_by_the_table(sandbox: Callable[..., Any]) -> None:
    done = sandbox([sys.executable, "-m", "tests.rpki_scenario"], timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def _old_frr(monkeypatch: pytest.MonkeyPatch) -> None:
    """An FRR before May 2024: it does not know the word `tcp`."""
    frr_programs._names_transport.cache_clear()
    monkeypatch.setattr(
        frr_programs,
        "_bgpd_dry_run",
        lambda lines: "".join(f"No such command: {each}\n" for each in lines if " tcp " in each),
    )


@pytest.fixture
def _new_frr(monkeypatch: pytest.MonkeyPatch) -> None:
    """An FRR after it: it takes the word."""
    frr_programs._names_transport.cache_clear()
    monkeypatch.setattr(frr_programs, "_bgpd_dry_run", lambda lines: "")


@pytest.fixture(autouse=True)
def _forget_the_version() -> None:
    frr_programs._names_transport.cache_clear()


@pytest.mark.usefixtures("_old_frr")
def test_old_frr_wants_no_word_tcp() -> None:
    assert " rpki cache ::1 8282 preference 1" in frr_programs.rpki_lines()


@pytest.mark.usefixtures("_new_frr")
def test_new_frr_wants_the_word_tcp() -> None:
    assert " rpki cache tcp ::1 8282 preference 1" in frr_programs.rpki_lines()


def test_what_is_missing_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frr_programs, "_bgpd_dry_run", lambda lines: "frr_init: loader error: …\n")
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    with pytest.raises(frr_programs.RoutingError, match=r"Debian package: frr-rpki-rtrlib"):
        rpki.check_installed()
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(frr_programs.RoutingError, match=r"stayrtr is missing; `make setup`"):
        rpki.check_installed()


@pytest.mark.usefixtures("_old_frr")
def test_only_validators_have_the_block_and_the_filter() -> None:
    plan = multi_as(Shape())
    options = RoutingOptions(
        detection=DETECTIONS["bfd-50x3"], origins=OriginOptions(("t1",), (Vrp(HOME, 1),))
    )
    assert validates_origins("t1", options)
    text = render(plan, plan.nodes["t1"], "bgpd", options)
    # A route map is defined before it is used, and every neighbour in another AS meets it.
    assert text.index("rpki cache") < text.index("route-map IMPORT-ROV deny") < text.index("router")
    peers = [line.split()[1] for line in text.splitlines() if line.endswith(" activate")]
    assert len(peers) == 5
    for peer in peers:
        assert f"  neighbor {peer} route-map {NOT_INVALID.name} in" in text
        assert f"  neighbor {peer} soft-reconfiguration inbound" in text
    for other in ("t2", "c1", "br11"):
        assert not validates_origins(other, options)
        assert "rpki" not in render(plan, plan.nodes[other], "bgpd", options)
    nobody = RoutingOptions(detection=DETECTIONS["bfd-50x3"])
    assert "rpki" not in render(plan, plan.nodes["t1"], "bgpd", nobody)


def test_the_caches_file_is_what_validators_export(tmp_path: Path) -> None:
    path = tmp_path / "payloads.json"
    rpki.write_payloads(path, [Vrp(HOME, 1), Vrp(HOME, 2, 64)])
    assert json.loads(path.read_text()) == {
        "roas": [
            {"prefix": "fd00:192:168::/48", "maxLength": 48, "asn": 1},
            {"prefix": "fd00:192:168::/48", "maxLength": 64, "asn": 2},
        ]
    }
    assert list(tmp_path.iterdir()) == [path]


class Vty:
    """A bgpd that answers from a dictionary."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers

    def ask_json(self, command: str) -> Any:
        return self.answers.get(command.split()[-1].replace("-", "_"), {})


def test_answers_of_frr_are_read() -> None:
    bgpd: Any = Vty(
        cache_connection={"connections": [{"state": "disconnected"}, {"state": "connected"}]},
        prefix_table={
            "prefixes": [{"prefix": "fd00::", "prefixLenMin": 16, "prefixLenMax": 20, "asn": "7"}]
        },
        **{
            "fd00:192:168::/48": {
                "prefix": "fd00:192:168::/48",
                "paths": [
                    {
                        "aspath": {"string": "103 3"},
                        "rpkiValidationState": "not found",
                        "bestpath": {"overall": True},
                    },
                    {"aspath": {"string": "Local"}},
                ],
            }
        },
    )
    assert rpki.connected(bgpd)
    assert rpki.payloads_of(bgpd) == {Vrp(IPv6Network("fd00::/16"), 7, 20)}
    assert rpki.routes(bgpd, HOME) == [
        rpki.Judged("103 3", State.NOT_FOUND, True),
        rpki.Judged("", None, False),
    ]
    silent: Any = Vty()
    assert not rpki.connected(silent)
    assert rpki.payloads_of(silent) == frozenset()
    assert rpki.routes(silent, HOME) == []


def test_a_route_that_only_covers_is_not_the_route_asked_for() -> None:
    bgpd: Any = Vty(**{"fd00:192:168::/48": {"prefix": "fd00::/16", "paths": [{}]}})
    assert rpki.routes(bgpd, HOME) == []
