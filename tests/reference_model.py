"""What must be true of home agents and mobile nodes, told from what can be seen of them.

The model keeps what was acknowledged and by whom, and nothing of how: from the network it reads
which home agent acknowledged whose Information Update, from the events which Binding Update was
accepted, from hosts and correspondents which packets arrived. `WatchedWorld` calls it after every
single thing that an engine does.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from ipaddress import IPv6Address

from world import CN, World, home_address, mobile_name, own_address

from agents.config import Mode
from agents.core.binding_cache import TOMBSTONE_TIME, newer_sequence
from agents.core.events import BindingAccepted, Event
from agents.core.mobile_events import RegistrationSent
from agents.core.security_associations import SaState
from agents.wire import esp, inter_ha, ipv6

FLOOR_BOUND = 0.1 + 0.05
"""Seconds for which a number received here may be taken once more elsewhere (rule 5), and the way
of the floor that ends it."""

PAYLOAD = ipv6.HEADER_LENGTH + 8
REFUSALS = ("dropped.replay", "dropped.left-of-window")


@dataclass(frozen=True)
class Claim:
    """A version of a binding that a home agent has acknowledged."""

    registration: int
    sequence: int
    care_of_address: IPv6Address
    made: float
    expires: float
    ended: bool = False

    def at_most(self, registration: int, sequence: int) -> bool:
        """Whether that version is this one or a later one (rule 2)."""
        if registration != self.registration:
            return registration > self.registration
        return not newer_sequence(self.sequence, sequence)


@dataclass
class Watched:
    """What is known of one mobile node."""

    sent: dict[int, IPv6Address | None] = field(default_factory=dict)
    """Binding Updates under the present keys: sequence → care-of address, None to deregister."""
    earlier: dict[int, IPv6Address | None] = field(default_factory=dict)
    """Those under the keys before: they count while home agents may not know the new ones."""
    keyed: float = 0.0
    delivered: set[bytes] = field(default_factory=set)
    copies: int = 0
    """Packets that the network gave it once more than they were sent."""
    refused_before: int = 0
    """Replays refused by its earlier engines."""
    read: int = 0
    """Events read."""


class Reference:
    """The reference model; each check names its invariant when it fails."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.mobiles: dict[int, Watched] = defaultdict(Watched)
        self.claims: dict[tuple[int, int], Claim] = {}
        """By HA index and mobile node: what that HA, since its start, has acknowledged."""
        self.disturbed = 0.0
        """When last floors may have been lost: until then, replays elsewhere are not bounded."""
        self._versions: dict[tuple[int, int, int, int], tuple[int, int, bool]] = {}
        self._told: dict[tuple[int, int, int], tuple[float, inter_ha.BindingInformationUpdate]] = {}
        self._taken: dict[bytes, tuple[float, set[tuple[int, int]]]] = {}
        self._read: dict[int, int] = defaultdict(int)
        self._delivered: dict[int, int] = defaultdict(int)
        self._at_correspondent = 0
        self._ciphers: dict[tuple[bytes, bytes], esp.Cipher] = {}
        self._by_own = {own_address(index).packed: index for index in range(1, 64)}
        self.learn_keys()

    def learn_keys(self) -> None:
        """Read what home agents tell one another by the keys that there are now."""
        for pairs in self.world.peer_keys.values():
            for pair in pairs.values():
                for key in pair:
                    ends = key.source.packed, key.destination.packed
                    self._ciphers[ends] = esp.make_cipher(key.transform, key.key)

    # What happens.

    def started(self, index: int) -> None:
        """HA `index` started: it has acknowledged nothing."""
        for key in [each for each in self.claims if each[0] == index]:
            del self.claims[key]

    def left(self, index: int) -> None:
        """HA `index` is gone, and what it reported has been read."""
        self.started(index)
        self.world.events[index].clear()
        self._read[index] = 0

    def keyed(self, number: int) -> None:
        """Mobile node `number` has new keys."""
        watched = self.mobiles[number]
        watched.earlier |= watched.sent
        watched.sent, watched.keyed = {}, self.world.now

    def replaced(self, number: int) -> None:
        """Its engine is about to be replaced by a new one."""
        self.mobiles[number].refused_before += self._refused(number)
        self.world.mobiles[number].engine = None

    def copied(self, packet: bytes, copies: int) -> None:
        """The network gives `copies` more of `packet`."""
        for number, mobile in self.world.mobiles.items():
            if IPv6Address(packet[24:40]) in mobile.addresses:
                self.mobiles[number].copies += copies

    def sent(self, packet: bytes) -> None:
        """A packet left an engine: what home agents tell one another is read."""
        cipher = self._ciphers.get((packet[8:24], packet[24:40]))
        if cipher is None or packet[6] != ipv6.ESP:
            return
        source, destination = IPv6Address(packet[8:24]), IPv6Address(packet[24:40])
        payload, next_header = cipher.open(packet[40:])
        if next_header != ipv6.MOBILITY:
            return
        message = inter_ha.parse_inter_ha(payload, source, destination)
        sender, receiver = self._by_own[packet[8:24]], self._by_own[packet[24:40]]
        if isinstance(message, inter_ha.BindingInformationUpdate):
            key = (sender, receiver, message.identifier)
            if key not in self._told or self._told[key][1] != message:
                self._told[key] = (self.world.now, message)
        elif isinstance(message, inter_ha.BindingInformationAcknowledgement):
            told = self._told.get((receiver, sender, message.identifier))
            if told is not None and message.status.accepted:
                for entry in told[1].entries:
                    self._claim(sender, _claim_of(entry, told[0]), entry.home_address)

    def _claim(self, index: int, claim: Claim, home: IPv6Address) -> None:
        number = int(home) - int(home_address(1)) + 1
        held = self.claims.get((index, number))
        if held is None or not claim.at_most(held.registration, held.sequence):
            self.claims[index, number] = claim

    # What must be true.

    def check(self) -> None:
        """Check all that holds at every moment."""
        self._check_mobile_events()
        self._check_home_agent_events()
        for index in self.world.has:
            for number in self.world.mobiles:
                self._check_binding(index, number)
        self._check_deliveries()

    def _check_mobile_events(self) -> None:
        for number, watched in self.mobiles.items():
            events = self.world.events.get(mobile_name(number), [])
            for event in events[watched.read :]:
                if isinstance(event, RegistrationSent):
                    care_of = event.care_of_address if event.lifetime else None
                    watched.sent[event.sequence] = care_of
            watched.read = len(events)

    def _check_home_agent_events(self) -> None:
        for index in self.world.has:
            events = self.world.events[index]
            for event in events[self._read[index] :]:
                self._check_event(index, event)
            self._read[index] = len(events)

    def _check_event(self, index: int, event: Event) -> None:
        if not isinstance(event, BindingAccepted):
            return
        number = int(event.home_address) - int(home_address(1)) + 1
        watched = self.mobiles[number]
        sent = [watched.sent.get(event.sequence)]
        if watched.keyed <= self.disturbed or self.world.now - watched.keyed < FLOOR_BOUND:
            sent.append(watched.earlier.get(event.sequence))
        # I2: zero replayed Binding Updates; and what is accepted is what was sent.
        assert event.care_of_address in sent, f"I2: HA{index} took {event}, sent were {sent}"
        binding = self.world.binding(index, number)
        assert binding is not None
        registration = binding["registration"]
        assert isinstance(registration, int)
        self._claim(
            index,
            Claim(
                registration,
                event.sequence,
                event.care_of_address,
                self.world.now,
                self.world.now + event.lifetime,
            ),
            event.home_address,
        )

    def _check_binding(self, index: int, number: int) -> None:
        binding = self.world.has[index]._context.cache.get(home_address(number))
        claim = self.claims.get((index, number))
        if binding is None:
            # I4; an ended binding is remembered for a while, and then no more.
            told = claim is None or claim.made + TOMBSTONE_TIME <= self.world.now
            assert told, f"I4: HA{index} has forgotten {claim} of MN{number}"
            self.claims.pop((index, number), None)
            return
        if claim is not None:
            assert claim.at_most(binding.registration, binding.sequence), (
                f"I4: HA{index} acknowledged {claim} of MN{number} and holds {binding}"
            )
            same = (binding.registration, binding.sequence) == (claim.registration, claim.sequence)
            if same and not claim.ended and self.world.now < claim.expires:
                assert binding.bound, f"I4: HA{index} ended {binding} before {claim.expires}"
                assert binding.care_of_address == claim.care_of_address, f"I4: HA{index} {binding}"
        # I5: within an instance and an incarnation neither version goes back, nor does an end.
        key = (index, self.world.incarnations[index], number, binding.registration)
        sequence, epoch, bound = self._versions.get(key, (binding.sequence, 0, True))
        assert not newer_sequence(sequence, binding.sequence), f"I5: HA{index} {sequence} {binding}"
        assert binding.epoch >= epoch, f"I5: HA{index} {epoch} {binding}"
        if sequence == binding.sequence:
            assert bound or not binding.bound, f"I5: HA{index} revived {binding}"
        self._versions[key] = (binding.sequence, binding.epoch, binding.bound)

    def _check_deliveries(self) -> None:
        for number, mobile in self.world.mobiles.items():
            watched = self.mobiles[number]
            for packet in mobile.received[self._delivered[number] :]:
                assert packet[24:40] == home_address(number).packed
                tag = packet[PAYLOAD:]
                assert tag not in watched.delivered, f"I2: MN{number} took a replay"
                watched.delivered.add(tag)
            self._delivered[number] = len(mobile.received)
            refused = self._refused(number) + watched.refused_before
            assert refused <= watched.copies, f"I2: MN{number} refused a fresh packet"
        arrived = self.world.at_correspondent
        for index, packet in arrived[self._at_correspondent :]:
            assert packet[24:40] == CN.packed
            self._check_taken(index, packet[PAYLOAD:])
        self._at_correspondent = len(arrived)

    def _check_taken(self, index: int, tag: bytes) -> None:
        """I2 at home agents: once each, and elsewhere within the bound of rule 5 alone."""
        now, who = self.world.now, (index, self.world.incarnations[index])
        first, takers = self._taken.setdefault(tag, (now, set()))
        assert who not in takers, f"I2: HA{index} took {tag.hex()} twice"
        bounded = now - first <= FLOOR_BOUND or first <= self.disturbed
        assert not takers or bounded, f"I2: HA{index} took {tag.hex()}, taken {now - first} s ago"
        takers.add(who)

    def _refused(self, number: int) -> int:
        engine = self.world.mobiles[number].engine
        return sum(engine.counters.get(name, 0) for name in REFUSALS) if engine else 0

    # What must be true once all is repaired and the bound has passed.

    def holders(self, number: int) -> list[int]:
        """Return the home agents that hold the SAs on which the mobile node sends."""
        spis = self.spis(number, SaState.MATURE)
        return [index for index in self.world.has if spis <= self.spis_at(index, number)]

    def spis(self, number: int, *states: SaState) -> set[int]:
        """Return the SPIs that the mobile node holds in these states, or in any."""
        engine = self.world.mobiles[number].engine
        held = engine._associations if engine is not None else ()
        return {each.spi for each in held if not states or each.state in states}

    def spis_at(self, index: int, number: int, *states: SaState) -> set[int]:
        """Return the SPIs that an HA holds for the mobile node in these states, or in any."""
        held = self.world.has[index]._context.associations.of(home_address(number))
        return {each.spi for each in held if not states or each.state in states}

    def strongest(self, number: int) -> Claim | None:
        """Return the freshest version that a living HA has acknowledged."""
        best: Claim | None = None
        for (index, mobile), claim in self.claims.items():
            if mobile != number or index not in self.world.has:
                continue
            if best is None or not claim.at_most(best.registration, best.sequence):
                best = claim
        return best

    def check_agreement(self, number: int, strongest: Claim | None, holders: list[int]) -> None:
        """I3 and I4 after a heal and its bound; the arguments are what was known before."""
        primaries = self.world.primaries(number)
        assert len(primaries) <= 1, f"I3: MN{number} has the primaries {primaries}"
        for index in self.world.has:
            binding = self.world.has[index]._context.cache.get(home_address(number))
            if strongest is not None:
                assert binding is not None, f"I4: HA{index} lacks {strongest}"
                assert strongest.at_most(binding.registration, binding.sequence), (
                    f"I4: HA{index} holds {binding} and not {strongest}"
                )
        if holders:
            now_held = self.holders(number)
            assert set(now_held) == set(self.world.has), f"I4: MN{number}: SAs only at {now_held}"
            # Replaced SAs may be dying; nothing is sent on them, and they end by themselves.
            known = self.spis(number)
            for index in self.world.has:
                strange = self.spis_at(index, number, SaState.MATURE) - known
                assert not strange, f"I4: HA{index} would send on {strange} to MN{number}"


def _claim_of(entry: inter_ha.BindingEntry, told: float) -> Claim:
    return Claim(
        entry.registration,
        entry.sequence,
        entry.care_of_address,
        told,
        told + entry.remaining_ms / 1000,
        entry.deleted,
    )


class WatchedWorld(World):
    """A world in which the reference model looks at everything as it happens."""

    def __init__(self, seed: int, **home_agent: object) -> None:
        self.reference: Reference | None = None
        self.repeated: list[tuple[int, int, int]] = []
        self.recorded: list[bytes] = []
        super().__init__(3, Mode.HARDENED, seed, key_exchange=True, **home_agent)
        self.reference = Reference(self)

    def start_ha(self, index: int, **changes: object):  # type: ignore[no-untyped-def]
        assert self.reference is not None
        self.reference.started(index)
        return super().start_ha(index, **changes)

    def _add_peer_keys(self, index: int) -> None:
        super()._add_peer_keys(index)
        assert self.reference is not None
        self.reference.learn_keys()

    def _record(self, spi: int, sid: int, number: int) -> None:
        super()._record(spi, sid, number)
        if self.sealed[spi, sid, number] > 1:
            self.repeated.append((spi, sid, number))

    def _send(self, packet: bytes) -> None:
        assert self.reference is not None
        self.reference.sent(packet)
        super()._send(packet)

    def _collect(self) -> None:
        super()._collect()
        if self.seen:
            self.recorded = (self.recorded + self.seen)[-400:]
            self.seen.clear()
        assert self.repeated == [], f"I1: {self.repeated}"
        assert self.reference is not None
        self.reference.check()
