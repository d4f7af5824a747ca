"""The siege's parts: frames and cookies, and what a run says, from its rows alone."""

from __future__ import annotations

import random
import socket
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest
from world import own_address

from agents.runtime.gate import Gate, Gatekeeper
from agents.runtime.nftables import NftablesError
from agents.wire import ipv6
from agents.wire.ike.message import parse_message
from agents.wire.ike.numbers import NotifyType, PayloadType
from agents.wire.ike.payloads import Notify
from agents.wire.udp import parse_udp
from experiments import besieger, parameters, plots, siege_attacks, siege_summary
from experiments.data import check_summary, read_table
from experiments.data_siege import ATTACKS, SIEGES, UPDATES
from experiments.run import RunFolder
from experiments.siege import KNOWN

SOURCE, HOME_AGENT = IPv6Address("fd00:10:10:10::500"), IPv6Address("fd00:192:168:1::254")


# Frames and cookies.


def test_frames_survive_their_file(tmp_path: Path) -> None:
    frames = [bytes([n]) * (60 + n) for n in range(40)]
    besieger.write_frames(tmp_path / "frames", frames)
    assert besieger.read_frames((tmp_path / "frames").read_bytes()) == frames


def test_varied_requests_are_ones_that_a_home_agent_reads() -> None:
    """Another SPI and nonce in each, and the checksum is right, or IKE would never see it."""
    made = siege_attacks.ike_init(SOURCE, HOME_AGENT)
    chance = random.Random(1)
    seen = set()
    for number in range(50):
        packet = siege_attacks._ike_varied(made, SOURCE + number, chance)
        parsed = ipv6.parse(packet)
        assert parsed.source == SOURCE + number
        payload = parse_udp(parsed.payload, parsed.source, parsed.destination)[2]
        message = parse_message(payload)
        seen.add((message.header.spi_initiator, payload[-32:]))
    assert len(seen) == 50


def test_a_cookie_comes_first_in_what_is_sent_again() -> None:
    """RFC 7296 §2.6: the rest of the message stays as it was."""
    request = siege_attacks.ike_init(SOURCE, HOME_AGENT)[48:]
    again = parse_message(besieger.with_cookie(request, b"cookie of 32"))
    first, *rest = again.payloads
    assert first == Notify(NotifyType.COOKIE, b"cookie of 32")
    assert tuple(rest) == parse_message(request).payloads
    answer = bytearray(request[:28])
    answer[16] = PayloadType.NOTIFY
    notify = bytes((0, 0, 0, 8 + 5, 0, 0)) + (16390).to_bytes(2) + b"12345"
    assert besieger.cookie_in(bytes(answer) + notify) == b"12345"
    assert besieger.cookie_in(request) == b""
    for length in range(len(answer) + 8):
        assert besieger.cookie_in((bytes(answer) + notify)[:length]) == b""


class Counted:
    """Stands for a packet socket: counts what it is given."""

    def __init__(self) -> None:
        self.bursts: list[int] = []

    def send(self, wanted: int) -> None:
        self.bursts.append(wanted)


class Silent:
    """Stands for a socket to which nothing comes."""

    def __init__(self) -> None:
        self._ends = socket.socketpair()

    def fileno(self) -> int:
        return self._ends[0].fileno()


@pytest.mark.parametrize(("seconds", "most"), [(0.2, 1000), (100.0, 300)])
def test_a_sender_stops_by_itself(
    seconds: float, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its time or by its count, whatever is asked for; and it never sends all it missed."""
    monkeypatch.setattr(besieger, "MOST_PACKETS", 300 if seconds > 1 else 1_000_000)
    sender = Counted()
    took = besieger.besiege(sender, Silent(), 5000.0, seconds)  # type: ignore[arg-type]
    assert 0 < sum(sender.bursts) <= most
    assert max(sender.bursts) <= besieger.LONGEST_BURST
    assert took < 5


# The gate.


class Recorded:
    """Stands for nftables: keeps the commands, refuses when told so."""

    commands: list[str]
    refuses = False

    def __init__(self) -> None:
        self.commands = []

    def run(self, commands: str) -> str:
        if self.refuses:
            raise NftablesError("refused")
        self.commands.append(commands)
        return "counter ike {\n packets 7 bytes 9\n}\ncounter unknown-spi {\n packets 0 bytes 0\n}"

    def close(self) -> None:
        self.commands.append("closed")


class Held:
    """Stands for a home agent's engine."""

    def __init__(self) -> None:
        self.associations_revision = (1, 0)
        self.spis, self.places = {1, 2}, {SOURCE}

    def inbound_spis(self) -> set[int]:
        return self.spis

    def care_of_addresses(self) -> set[IPv6Address]:
        return self.places

    def peer_addresses(self) -> set[IPv6Address]:
        return {own_address(2)}


class Moved:
    kind = "binding-accepted"

    def __init__(self, where: IPv6Address) -> None:
        self.where = where

    def fields(self) -> dict[str, Any]:
        return {"care_of_address": str(self.where)}


@pytest.fixture
def nftables(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    recorded = Recorded()
    monkeypatch.setattr("agents.runtime.gate.Nftables", lambda: recorded)
    return recorded


def keeper(engine: Held, told: list[str], *, gate: bool = True) -> Gatekeeper:
    from dataclasses import replace

    from world import World

    config = replace(World(1).ha_config(1), gate=gate)
    return Gatekeeper(config, engine, told.append)  # type: ignore[arg-type]


def test_the_gate_follows_associations_and_mobile_nodes(nftables: Recorded) -> None:
    engine, told = Held(), []  # type: ignore[var-annotated]
    kept = keeper(engine, told)
    kept.look()
    assert "add element ip6 manyhomes_gate spis { 1, 2 }" in nftables.commands[-1]
    assert f"bound {{ {SOURCE} }}" in nftables.commands[-1]
    count = len(nftables.commands)
    kept.look()
    kept.take(Moved(SOURCE))  # type: ignore[arg-type]
    assert len(nftables.commands) == count  # nothing is other than before
    engine.associations_revision, engine.spis = (2, 0), {2, 3}
    kept.look()
    assert nftables.commands[-1].splitlines() == [
        "delete element ip6 manyhomes_gate spis { 1 }",
        "add element ip6 manyhomes_gate spis { 3 }",
    ]
    engine.places = {SOURCE + 1}
    kept.take(Moved(SOURCE + 1))  # type: ignore[arg-type]
    assert f"delete element ip6 manyhomes_gate bound {{ {SOURCE} }}" in nftables.commands[-1]
    assert kept.stopped() == {"gate.ike": 7, "gate.unknown-spi": 0}
    assert told == []


def test_a_gate_that_cannot_follow_is_taken_down(nftables: Recorded) -> None:
    """Else it would go on to stop what is genuine: no gate lets all pass."""
    engine, told = Held(), []  # type: ignore[var-annotated]
    kept = keeper(engine, told)
    nftables.refuses = True
    kept.look()
    assert told == ["the gate is taken down: refused"]
    assert kept.stopped() == {}
    kept.look()
    assert len(told) == 1


def test_no_gate_where_none_is_wanted(nftables: Recorded) -> None:
    kept = keeper(Held(), [], gate=False)
    kept.look()
    assert nftables.commands == []


def test_without_nftables_the_agent_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise NftablesError("libnftables.so.1 is missing")

    monkeypatch.setattr("agents.runtime.gate.Nftables", missing)
    told: list[str] = []
    kept = keeper(Held(), told)
    kept.look()
    assert told == ["no gate in front of this agent: libnftables.so.1 is missing"]


def test_the_rules_name_the_home_agent(nftables: Recorded) -> None:
    from world import World

    Gate(World(1).ha_config(1))
    (rules,) = nftables.commands
    assert f"ip6 daddr {HOME_AGENT} jump home" in rules
    assert f"ip6 daddr {own_address(1)} jump own" in rules


# What a run says.


def siege_folder(results: Path, *, rates: bool = True) -> Path:
    """Write a complete run with made-up numbers: two trials of two attacks, and rates."""
    folder = RunFolder.create("siege", parameters.parse(KNOWN, [], {}), results)
    with folder:
        for trial in (1, 2):
            for attack in ("update-clear", "all"):
                _siege(folder, trial, "attacks", attack, 10.0)
            for mbit in (2.5, 10.0) if rates else ():
                _siege(folder, trial, "rates", "all", mbit)
        rows = (read_table(folder.path, table) for table in (SIEGES, UPDATES))
        folder.summary(siege_summary.summarise(*rows))
        folder.complete()
    return folder.path


def _siege(folder: RunFolder, trial: int, part: str, attack: str, mbit: float) -> None:
    for phase in ("idle", "siege"):
        besieged = phase == "siege"
        common = {
            "trial": trial, "part": part, "attack": attack, "phase": phase, "mbit": mbit,
        }  # fmt: skip
        latencies = [1.0 + n / 100 for n in range(9)]
        if besieged:
            latencies = [2 * trial * each for each in latencies[:-1]] + [1000.0]
        for number, latency in enumerate(latencies):
            folder.row(
                UPDATES, **common, after_ms=50.0 * number, latency_ms=latency,
                answered=latency < 1000,
            )  # fmt: skip
        flows = {
            f"{what}_{way}": count
            for way in ("up", "down")
            for what, count in (("sent", 500), ("lost", trial if besieged else 0))
        }
        folder.row(
            SIEGES, **common, begin_ms=0.0, seconds=5.0,
            offered_per_s=mbit * 1000 if besieged else 0.0,
            forwarded_per_s=mbit * 900 if besieged else 0.0,
            taken_per_s=mbit * 500 if besieged else 0.0, cookies_returned=0,
            updates=9, unanswered=int(besieged), median_ms=sorted(latencies)[4],
            p95_ms=max(latencies), max_ms=max(latencies), **flows, gap_up_ms=11.0,
            gap_down_ms=12.0 if trial == 1 else 1200.0, bfd_lost=0, neighbours_lost=0,
            watchdog_trips=0, cpu_ha=0.5,
            cpu_mn=0.1, rss_growth_mb=0.25, bindings=1, sas=4, ike_sas=1, open_exchanges=0,
            refused="bad-icv=7",
        )  # fmt: skip


def test_summary_and_its_verdicts(tmp_path: Path) -> None:
    path = siege_folder(tmp_path)
    rows, updates = read_table(path, SIEGES), read_table(path, UPDATES)
    summary = siege_summary.summarise(rows, updates)
    check_summary(summary)
    found = {(r["metric"], *r["conditions"].values()): r for r in summary}
    ratio = found["ratio_to_idle", "all"]
    assert (ratio["n"], ratio["min"], ratio["max"]) == (2, 2.0, 4.0)
    assert (ratio["target"], ratio["met"]) == (5.0, True)
    latency = found["registration_latency", "all", "siege"]
    assert (latency["n"], latency["max"]) == (18, 1000.0)
    assert found["lost", "all", "siege", "down"]["max"] == 2
    assert found["offered_at_rate", "all", 2.5]["median"] == 2500
    missed = siege_summary.missed(summary)
    # The gap of the second trial is a flow that was cut, whatever the attack.
    assert len(missed) == 2
    assert all(line.startswith("longest_gap") and "down" in line for line in missed)
    (clear, everything) = siege_summary.overview(rows)
    assert clear[0] == "update-clear"
    low, high = siege_summary.by_rate(rows)
    assert low == ["2.5", "2,500", "2,250", "1,250", "3.12", "2 of 18", "6 of 2000", "50%"]
    assert high[0] == "10"
    assert everything[1:8] == ["10,000", "9,000", "5,000", "1.04", "3.12", "3.0", "6 of 2000"]


@pytest.mark.parametrize("rates", [True, False])
def test_figure_from_the_folder_alone(tmp_path: Path, rates: bool) -> None:
    path = siege_folder(tmp_path, rates=rates)
    assert plots.plot(path) == ["siege"]
    text = (path / "plots" / "siege.svg").read_text()
    assert "update-clear" in text
    assert ("Mbit/s" in text) is rates


def test_every_attack_is_explained() -> None:
    assert set(ATTACKS) == set(siege_attacks.ATTACKS)
