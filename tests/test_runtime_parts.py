"""The runtime's small parts: loop, control socket, journal, incarnation, movement, sizes."""

import json
import os
import socket
import threading
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.config import Mode
from agents.core.mtu import inner_mtu
from agents.runtime.agent import Agent
from agents.runtime.care_of import CareOfAddresses, Movement
from agents.runtime.control import CommandError, ControlServer
from agents.runtime.egress import RECORD, EgressFile
from agents.runtime.incarnation import next_incarnation
from agents.runtime.journal import Journal
from agents.runtime.loop import Loop
from agents.runtime.netlink import Address, Link
from tests.runtime_lab import request


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


# The loop


def test_urgent_descriptors_come_first(loop: Loop) -> None:
    order: list[str] = []
    pipes = [os.pipe() for _ in range(4)]
    for number, (reader, writer) in enumerate(pipes):
        os.write(writer, b"x")
        name = "urgent" if number == 2 else "other"
        loop.add_reader(reader, lambda now, n=name: order.append(n), urgent=number == 2)
    loop.run_once()
    assert order == ["urgent", "other", "other", "other"]
    for reader, writer in pipes:
        loop.remove_reader(reader)
        os.close(reader)
        os.close(writer)


def test_a_timer_runs_when_due_and_not_before() -> None:
    clock = Clock()
    loop = Loop(clock)
    called: list[float] = []
    due: list[float | None] = [100.0]
    loop.add_timer(lambda: due[0], called.append)
    loop.run_once()
    assert called == [100.0]
    due[0] = 100.002
    loop.run_once()  # the clock stands: the sleep ends, the time has not come
    assert called == [100.0]
    clock.now = 100.002
    loop.run_once()
    assert called == [100.0, 100.002]
    loop.close()


def test_a_reader_removed_in_the_same_round_is_not_called(loop: Loop) -> None:
    (first, first_in), (second, second_in) = os.pipe(), os.pipe()
    called = []

    def remove_the_other(now: float) -> None:
        called.append(now)
        for descriptor in (first, second):
            loop.remove_reader(descriptor)

    loop.add_reader(first, remove_the_other)
    loop.add_reader(second, remove_the_other)
    os.write(first_in, b"x")
    os.write(second_in, b"x")
    loop.run_once()
    assert len(called) == 1
    for descriptor in (first, first_in, second, second_in):
        os.close(descriptor)


# An agent and its engine


@dataclass
class Happening:
    kind: str = "happened"

    def fields(self) -> Mapping[str, Any]:
        return {"what": "something"}


@dataclass
class FakeEngine:
    counters: Counter[str] = field(default_factory=Counter)
    received: list[bytes] = field(default_factory=list)
    happenings: deque[Happening] = field(default_factory=deque)
    due: float | None = None
    handled: int = 0

    def start(self, now: float) -> None: ...

    def load_keys(self, keyed: object, now: float, /) -> None: ...

    def receive(self, packet: bytes, now: float) -> None:
        if packet == b"poison":
            raise ZeroDivisionError("poison")
        self.received.append(packet)

    def packets_to_send(self, now: float) -> list[bytes]:
        return [b"answer"] if self.received[-1:] == [b"ask"] else []

    def packets_to_deliver(self) -> list[bytes]:
        return []

    def next_timer(self) -> float | None:
        return self.due

    def handle_timer(self, now: float) -> None:
        self.handled += 1
        raise RuntimeError("the timer stays due")

    def next_event(self) -> Happening | None:
        return self.happenings.popleft() if self.happenings else None

    def status(self) -> Any:
        return {"state": "fine"}

    bindings = sas = peers = status


class FakeAgent(Agent):
    def __init__(self, engine: FakeEngine, journal: Journal) -> None:
        super().__init__(engine, journal)
        self.sent: list[bytes] = []

    def send(self, packets: list[bytes], now: float) -> None:
        self.sent += packets


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[FakeAgent]:
    import signal

    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE)}
    made = FakeAgent(FakeEngine(), Journal(tmp_path / "events.jsonl", "n"))
    yield made
    made.loop.close()
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_fault_costs_one_packet_and_is_logged_once(
    agent: FakeAgent, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    agent.feed(agent.engine.receive, [b"a", b"poison", b"b", b"poison", b"ask"], 1.0)
    agent.pump(1.0)
    engine = agent.engine
    assert isinstance(engine, FakeEngine)
    assert engine.received == [b"a", b"b", b"ask"]
    assert engine.counters["dropped.internal-error"] == 2
    assert capsys.readouterr().err.count("ZeroDivisionError: poison") == 1
    assert agent.sent == [b"answer"]


def test_a_timer_that_fails_does_not_spin(agent: FakeAgent) -> None:
    engine = agent.engine
    assert isinstance(engine, FakeEngine)
    engine.due = 0.0
    rounds = 0

    def count(now: float) -> None:
        nonlocal rounds
        rounds += 1

    agent.loop.add_round(count)
    for _ in range(5):
        agent.loop.run_once()
    assert rounds == 5
    # Each round slept for the pause, so each found the timer due exactly once.
    assert engine.handled <= 5
    assert engine.counters["dropped.internal-error"] == engine.handled >= 2


def test_events_go_to_the_journal_in_order(agent: FakeAgent, tmp_path: Path) -> None:
    engine = agent.engine
    assert isinstance(engine, FakeEngine)
    engine.happenings += [Happening("first"), Happening("second")]
    agent.pump(1.0)
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").open()]
    assert [each["kind"] for each in lines] == ["first", "second"]
    assert lines[0]["node"] == "n"
    assert lines[0]["what"] == "something"
    assert lines[0]["t"] <= lines[1]["t"]


def test_a_full_disk_loses_events_and_counts_them() -> None:
    journal = Journal(Path("/dev/full"), "n")
    journal.write("one")
    assert journal.lost == 1
    journal.close()


# The control socket


def serve(loop: Loop, ready: threading.Event) -> threading.Thread:
    def work() -> None:
        ready.set()
        loop.run()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


@pytest.fixture
def control(tmp_path: Path, loop: Loop) -> Iterator[Path]:
    def refuse(message: Mapping[str, Any], now: float) -> None:
        raise CommandError("not today")

    def break_(message: Mapping[str, Any], now: float) -> None:
        raise RuntimeError("bug")

    # A path longer than the 107 octets that a socket's address can hold.
    directory = tmp_path / ("d" * 120)
    directory.mkdir()
    commands = {
        "load-keys": lambda message, now: {"echo": message.get("x")},
        "refuse": refuse,
        "break": break_,
        "big": lambda message, now: "x" * 3_000_000,
    }
    server = ControlServer(directory / "control.sock", loop, commands)
    thread = serve(loop, threading.Event())
    link = tmp_path / "s"
    link.symlink_to(directory)
    yield link / "control.sock"
    loop.add_round(lambda now: loop.stop())
    thread.join()
    server.close()
    assert not (directory / "control.sock").exists()


def test_requests_are_answered(control: Path) -> None:
    assert request(control, {"cmd": "load-keys", "x": 1}) == {"ok": True, "result": {"echo": 1}}
    assert request(control, {"cmd": "load_keys"})["ok"]
    assert request(control, {"cmd": "refuse"}) == {"ok": False, "error": "not today"}
    assert request(control, {"cmd": "break"}) == {"ok": False, "error": "RuntimeError: bug"}
    assert "known: big" in request(control, {"cmd": "what"})["error"]
    assert "object" in request(control, [1])["error"]
    assert len(request(control, {"cmd": "big"})["result"]) == 3_000_000


def test_nonsense_ends_no_server(control: Path) -> None:
    for data in (b"{\n", b"\xff\xfe\n", b"null\n", b"\n\n", b"x" * 200_000):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(control))
            try:
                client.sendall(data)
                client.shutdown(socket.SHUT_WR)
                while client.recv(65536):
                    pass
            except ConnectionError:
                pass
    assert request(control, {"cmd": "load-keys"})["ok"]


def test_several_requests_in_one_write_are_answered_in_order(control: Path) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(control))
        client.sendall(b"".join(b'{"cmd":"load-keys","x":%d}\n' % n for n in range(50)))
        lines = client.makefile("rb")
        answers = [json.loads(lines.readline())["result"]["echo"] for _ in range(50)]
        lines.close()
    assert answers == list(range(50))


# The incarnation counter


def test_incarnations_count_up(tmp_path: Path) -> None:
    assert [next_incarnation(tmp_path / "n") for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize("content", [b"", b"x", b"-1", b"\xff", b"1 2"])
def test_an_unreadable_counter_gives_no_number(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "n"
    path.write_bytes(content)
    assert next_incarnation(path) is None
    assert path.read_bytes() == content


def test_a_counter_that_cannot_be_stored_gives_no_number(tmp_path: Path) -> None:
    assert next_incarnation(tmp_path / "missing" / "n") is None
    (tmp_path / "directory").mkdir()
    assert next_incarnation(tmp_path / "directory") is None


# Egress records


def test_egress_records_are_on_file_after_a_flush(tmp_path: Path) -> None:
    egress = EgressFile(tmp_path / "egress.bin")
    egress.record(0x01000101, 0x0401, 2**40)
    egress.record(0x01000101, 0, 7)
    assert (tmp_path / "egress.bin").read_bytes() == b""
    egress.flush(0.0)
    records = list(RECORD.iter_unpack((tmp_path / "egress.bin").read_bytes()))
    assert [each[1:] for each in records] == [(0x01000101, 0x0401, 2**40), (0x01000101, 0, 7)]
    egress.close()


# Movement

ADDRESS = IPv6Address("fd00:10:10:10::100")
TENTATIVE, OPTIMISTIC, DEPRECATED, FAILED = 0x40, 0x04, 0x20, 0x08


def test_an_address_is_usable_when_checked_and_the_carrier_is_there() -> None:
    care_of = CareOfAddresses(["v1", "v2"])
    found = [Movement(ADDRESS, "v1", True)]
    lost = [Movement(ADDRESS, "v1", False)]
    assert care_of.update([Link(5, "v1", True, False), Link(9, "eth9", True, False)]) == []
    assert care_of.update([Address(5, ADDRESS, TENTATIVE, 0, False)]) == []
    assert care_of.update([Address(5, ADDRESS, TENTATIVE | OPTIMISTIC, 0, False)]) == found
    assert care_of.update([Address(5, ADDRESS, 0, 0, False)]) == []
    assert care_of.update([Link(5, "v1", False, False)]) == lost
    assert care_of.update([Link(5, "v1", True, False)]) == found
    assert care_of.update([Address(5, ADDRESS, DEPRECATED, 0, False)]) == lost
    assert care_of.update([Address(5, ADDRESS, 0, 0, False)]) == found
    assert care_of.update([Address(5, ADDRESS, FAILED | TENTATIVE, 0, False)]) == lost
    assert care_of.update([Address(5, ADDRESS, 0, 0, False)]) == found
    assert care_of.update([Address(5, ADDRESS, 0, 0, True)]) == lost
    # Not on a visited interface, not global.
    assert care_of.update([Address(9, ADDRESS, 0, 0, False)]) == []
    assert care_of.update([Address(5, IPv6Address("fe80::1"), 0, 253, False)]) == []


def test_a_move_reports_the_loss_first() -> None:
    care_of = CareOfAddresses(["v1", "v2"])
    other = IPv6Address("fd00:10:10:20::100")
    links = [Link(5, "v1", True, False), Link(6, "v2", False, False)]
    care_of.update([*links, Address(5, ADDRESS, 0, 0, False), Address(6, other, 0, 0, False)])
    assert care_of.update([Link(6, "v2", True, False), Link(5, "v1", False, False)]) == [
        Movement(ADDRESS, "v1", False),
        Movement(other, "v2", True),
    ]


def test_at_start_the_first_interface_named_is_reported_last() -> None:
    everything = [
        Link(5, "v1", True, False),
        Link(6, "v2", True, False),
        Address(5, ADDRESS, 0, 0, False),
        Address(6, IPv6Address("fd00:10:10:20::100"), 0, 0, False),
    ]
    movements = CareOfAddresses(["v1", "v2"]).replace(everything)
    assert [each.interface for each in movements] == ["v2", "v1"]


def test_a_dump_replaces_what_was_known() -> None:
    care_of = CareOfAddresses(["v1"])
    care_of.update([Link(5, "v1", True, False), Address(5, ADDRESS, 0, 0, False)])
    assert care_of.replace([Link(5, "v1", True, False)]) == [Movement(ADDRESS, "v1", False)]


# Sizes


@pytest.mark.parametrize(
    ("mode", "least"), [(Mode.HARDENED, 1380), (Mode.DRAFT, 1380), (Mode.DRAFT_CBC, 1400)]
)
def test_the_least_path_that_ipv6_can_live_in(mode: Mode, least: int) -> None:
    assert inner_mtu(least, mode) >= 1280 > inner_mtu(least - 1, mode)


def test_inner_mtu_of_an_ethernet_path() -> None:
    assert inner_mtu(1500, Mode.HARDENED) == inner_mtu(1500, Mode.DRAFT) == 1402


@given(st.integers(1280, 9000), st.sampled_from(list(Mode)))
def test_the_largest_inner_packet_fits_and_one_octet_more_does_not(path: int, mode: Mode) -> None:
    iv, block = (16, 16) if mode is Mode.DRAFT_CBC else (8, 4)

    def outer(inner: int) -> int:
        return 40 + 24 + 8 + iv + -(-(inner + 2) // block) * block + 16

    assert outer(inner_mtu(path, mode)) <= path < outer(inner_mtu(path, mode) + 1)
