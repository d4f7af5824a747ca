"""Under siege, engines in memory: state stays bounded, and who is honest is served as before.

The packets are those that `make siege` sends, without the gate in front of a home agent.
"""

from __future__ import annotations

import random
from collections import Counter
from ipaddress import IPv6Address

import pytest
from world import ANYCAST, COA, HOA, World, own_address

from agents.core import held_packets, home_agent
from agents.core.ike.admission import MOST_NETWORKS, Admission
from agents.core.ike.config import IkeTimers
from agents.core.ike.events import IkeFailed
from agents.core.ike.sa import IkeSa
from agents.core.key_management import FAILURES_TOLD_PER_SECOND
from agents.core.mobile_events import RegistrationAcknowledged
from agents.wire import ipv6
from agents.wire.udp import parse_udp, serialize_udp
from experiments.besieger import cookie_in, with_cookie
from experiments.data_siege import ATTACKS as TEXTS
from experiments.hijack_forgeries import Known
from experiments.siege_attacks import ATTACKS, FAR, SOURCES, Surroundings

STRANGERS = IPv6Address("fd00:10:10:10::500")
SECONDS, RATE = 2.0, 1000
"""Of the stranger, in the world's time: as many packets as engines see in a test's while."""

REASONS = {
    "update-clear": {"unprotected-mobility-message"},
    "update-bad-icv": {"bad-icv"},
    "update-replayed": {"replay"},
    "ike-init": set(),
    "ike-cookie": set(),
    "esp-unknown-spi": {"unknown-spi", "spi-question-limit"},
    "esp-bad-icv": {"bad-icv"},
    "esp-to-mn": {"bad-icv", "unknown-spi"},
    "inter-ha": {"inter-ha-from-stranger", "inter-ha-in-the-clear", "unknown-spi"},
    "all": {
        "unprotected-mobility-message", "bad-icv", "replay", "unknown-spi",
        "inter-ha-from-stranger", "inter-ha-in-the-clear",
    },
}  # fmt: skip
"""Why packets of each attack are dropped, and for no other reason."""


class Besieged:
    """A world with its mobile node registered, and a stranger that has heard it."""

    def __init__(self) -> None:
        self.world = world = World(3, ike=True)
        world.start_all()
        world.start_mn()
        world.seen.clear()
        self.updates = [self._update() for _ in range(3)]
        world.up()
        world.down(1)
        world.run(0.1)
        self.known = self._known()
        self.near = Surroundings(
            own=bytes(6),
            router=bytes(6),
            mobile=bytes(6),
            addresses=[STRANGERS + n for n in range(SOURCES)],
            home_agents={f"HA{n}": own_address(n) for n in (1, 2, 3)},
            updates=self.updates,
        )
        self.requests: dict[bytes, bytes] = {}

    def _update(self) -> bytes:
        """Let the mobile node register once more, and return its Binding Update."""
        assert self.world.mn is not None
        self.world.mn.refresh(self.world.now)
        self.world.run(0.5)
        return [each for each in self.world.seen if self._is(each, ipv6.DESTINATION_OPTIONS)][-1]

    def _is(self, packet: bytes, first: int) -> bool:
        return packet[6] == first and packet[24:40] == ANYCAST.packed

    def _known(self) -> Known:
        assert self.world.mn is not None
        spis = {(each.mode.value, each.source == HOA): each.spi for each in self.world.mn.keyed()}
        return Known(
            home_agent=ANYCAST, home_address=HOA, care_of=COA,
            correspondent=IPv6Address("fd00:c::1"),
            spi_ack=spis["transport", False], spi_down=spis["tunnel", False],
            spi_update=spis["transport", True], spi_up=spis["tunnel", True],
            sid=1 << 10 | 1, peers=(own_address(1), own_address(2)), spi_peers=0,
        )  # fmt: skip

    def answer(self, packet: bytes) -> None:
        """Return a cookie that the stranger is asked for, as `experiments.besieger` does."""
        source, destination = IPv6Address(packet[8:24]), IPv6Address(packet[24:40])
        if packet[6] != ipv6.UDP or not STRANGERS <= destination < STRANGERS + SOURCES:
            return
        payload = parse_udp(packet[40:], source, destination)[2]
        request, cookie = self.requests.get(payload[:8]), cookie_in(payload)
        if request is not None and cookie:
            udp = serialize_udp(destination, 500, source, 500, with_cookie(request, cookie))
            self.world.inject(ipv6.build(destination, source, ipv6.UDP, udp))

    def besiege(self, name: str) -> None:
        """Let the stranger send, and everybody go on, for `SECONDS`."""
        attack, world = ATTACKS[name], self.world
        packets = attack.make(self.known, self.near, random.Random(99))[: int(SECONDS * RATE)]
        if attack.returns_cookies:
            self.requests = {each[48:56]: each[48:] for each in packets if each[6] == ipv6.UDP}
        for number, packet in enumerate(packets):
            world.after(number / RATE, lambda packet=packet: world.inject(packet))
        for number in range(int(SECONDS * 10)):
            world.after(number / 10, lambda: world.mn and world.mn.refresh(world.now))
        for _ in range(int(SECONDS * 20)):
            world.run(1 / 20)
            for each in world.seen:
                self.answer(each)
            world.seen.clear()

    def dropped(self) -> Counter[str]:
        """Return why anybody dropped packets, key management apart."""
        assert self.world.mn is not None
        found: Counter[str] = Counter()
        for each in (*self.world.has.values(), self.world.mn):
            found += Counter(
                {n.removeprefix("dropped."): c for n, c in each.counters.items() if "dropped." in n}
            )
        return found


@pytest.mark.parametrize("name", ATTACKS)
def test_each_attack_leaves_state_bounded_and_registrations_as_they_were(name: str) -> None:
    siege = Besieged()
    world = siege.world
    before = siege.dropped()
    answered = len(world.found("mn", RegistrationAcknowledged))
    siege.besiege(name)
    reasons = siege.dropped() - before
    assert set(reasons) == REASONS[name]
    if name not in ("ike-init", "ike-cookie", "all"):
        assert reasons.total() > 0.9 * SECONDS * RATE
    # Every Binding Update is acknowledged within a round trip. (RFC 6275's 3 a second, twice.)
    acknowledged = world.found("mn", RegistrationAcknowledged)[answered:]
    assert len(acknowledged) >= 6
    assert {round(each.fields()["delay"], 3) for each in acknowledged} == {0.002}  # type: ignore[call-overload]
    # Nobody became primary, nothing moved, nothing was learnt.
    assert world.primaries() == {"HA1"}
    for each in world.has.values():
        status = each.status()
        assert (status["bindings"], status["sas"]) == (1, 4)
        assert status["held_questions"] <= held_packets.MAX_KEYS  # type: ignore[operator]
        timers = IkeTimers()
        most = timers.admissions_per_second * (SECONDS + 1) + timers.cookie_threshold
        assert status["ike_sas"] <= most  # type: ignore[operator]
        assert status["open_exchanges"] <= 4 * home_agent.QUESTIONS_PER_SECOND  # type: ignore[operator]
    world.run(60.0)
    for each in world.has.values():
        status = each.status()
        assert (status["held_questions"], status["open_exchanges"]) == (0, 0)
        assert status["ike_sas"] <= 1  # type: ignore[operator]
    world.down(1)
    world.up()
    world.run(0.1)
    assert len(world.at_correspondent) >= 2


def test_the_names_are_those_that_data_md_explains() -> None:
    assert list(ATTACKS) == list(TEXTS) == list(REASONS)


def test_questions_that_strangers_lead_to_are_few() -> None:
    """Rule 10: an SPI in a peer's range, or a home address, is asked about, but not at any rate."""
    siege = Besieged()
    world = siege.world
    siege.besiege("esp-unknown-spi")
    asked = world.has[1].counters["sent.SaInformationRequest"]
    allowed = home_agent.QUESTIONS_PER_SECOND * (SECONDS + 1)
    assert 0 < asked <= 2 * allowed  # of both peers
    for number in range(2000):
        to = ipv6.build(IPv6Address("fd00:c::1"), HOA + 0x1000 + number, ipv6.UDP, bytes(8))
        world.has[1].receive(to, world.now)
    asked = world.has[1].counters["sent.BindingInformationRequest"]
    assert 0 < asked <= 2 * home_agent.QUESTIONS_PER_SECOND
    assert world.has[1].counters["dropped.binding-question-limit"] >= 1700


def test_a_newcomer_gets_in_beside_those_who_return_cookies() -> None:
    """RFC 8019: the stranger has its network's share of what is let in, and who is new goes on.

    From another network at once; from the stranger's own, once there is some of its share.
    """
    siege = Besieged()
    world = siege.world
    siege.besiege("ike-cookie")
    counters = world.has[1].key_counters()
    assert counters["ike.dropped.admission-limit"] > 0
    world.start_mn(number=2, at=IPv6Address("fd00:10:10:20::101"), settle=0.1)
    world.run(1.0)
    newcomer = world.mobiles[2].engine
    assert newcomer is not None
    assert newcomer.registration.bound
    world.run(1.0)  # the stranger's share of a second is not used up
    world.start_mn(number=3, at=IPv6Address("fd00:10:10:10::102"), settle=0.1)
    world.run(1.0)
    newcomer = world.mobiles[3].engine
    assert newcomer is not None
    assert newcomer.registration.bound


def test_a_stranger_does_not_fill_the_journal() -> None:
    world = World(1, ike=True)
    world.start_all()
    keys = world.has[1]._keys
    assert keys is not None
    sa = IkeSa(False, 1, ANYCAST, COA)
    failed = IkeFailed(sa, None, "authentication-failed")
    keys._endpoint._context.events.extend([failed] * 500)
    keys.pump(world.now)
    world.run(0.0)
    told = world.found(1, IkeFailed)
    assert 1 <= len(told) <= FAILURES_TOLD_PER_SECOND
    assert world.has[1].key_counters()["ike.failures-untold"] == 500 - len(told)


def test_networks_are_forgotten_when_there_are_many() -> None:
    admission = Admission(IkeTimers().admissions_per_second)
    for number in range(3 * MOST_NETWORKS):
        assert admission.allow(IPv6Address(number << 64 | 1), 0.0)
        assert len(admission) <= MOST_NETWORKS
    last = IPv6Address((3 * MOST_NETWORKS - 1) << 64 | 2)
    allowed = sum(admission.allow(last, 0.0) for _ in range(100))
    assert allowed == IkeTimers().admissions_per_second - 1


def test_numbers_far_to_the_right_move_no_window() -> None:
    """What has a bad ICV must not count as received: the mobile node goes on with its own."""
    siege = Besieged()
    world = siege.world
    siege.besiege("esp-bad-icv")
    (received,) = (
        each["received"]
        for each in world.has[1].sas()
        if int(str(each["spi"]), 16) == siege.known.spi_up
    )
    assert isinstance(received, int)
    assert received < FAR
