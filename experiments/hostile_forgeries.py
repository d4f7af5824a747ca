"""What a home agent that has turned forges, with all that it rightly held when it turned.

Inter-HA messages lie about mobile nodes, tunnel packets go to mobile nodes under its own sender id
and under that of another. Keys are kept from the moment at which they are seen, whatever becomes of
the SA; numbers go on where they were, so that only a key that nobody takes any more stops it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from ipaddress import IPv6Address
from typing import TypeVar

from agents.core.binding_cache import Binding
from agents.core.context import Context
from agents.core.esp_processing import EspProcessor
from agents.core.outer_header import OuterHeader
from agents.core.peers import Peer
from agents.core.replay_window import sender_id
from agents.core.sa_learning import STATE_NUMBERS, to_wire
from agents.core.security_associations import SaState, SecurityAssociation
from agents.wire import inter_ha, ipv6
from agents.wire.destination_options import OriginIp, serialize_destination_options
from agents.wire.mobility import BU_KEY_MANAGEMENT
from agents.wire.transforms import Mode as SaMode
from agents.wire.udp import serialize_udp
from experiments.probe import PACKET, PADDING
from experiments.probes import PORT

STRANGER_HOST = 0xBAD
"""Host part of a home address that no mobile node has: a lie about it harms no honest flow."""

STRANGER_LIFETIME_MS = 60_000
JUMP = 1 << 16
"""So far above the numbers seen it begins where another sender id is forged."""

MOST_KEPT = 8
"""SAs with mobile nodes, and as many with peers, that are kept: the newest."""

FIRST_FLOW = 101
"""In the probe packets inside forged tunnel packets: number of the flow of the first form."""


class Lie(IntEnum):
    """Forms of forged inter-HA messages."""

    STRANGER = 1
    """A binding of a mobile node that does not exist, with itself as primary."""
    THEFT = 2
    """A newer Binding Update of a mobile node: itself is primary now."""
    SWITCH = 3
    """It took the role of a living primary over: no Binding Update is behind it."""
    KEY = 4
    """A new SA of a mobile node, with a key that only it knows, though another HA is primary."""
    SPI = 5
    """The same, with an SPI out of the range of the home agent that it is told to."""
    THIRD_PARTY = 6
    """Another home agent is primary by a role that this one never claimed."""


class Form(IntEnum):
    """Forms of forged tunnel packets."""

    OWN_SID = 1
    OTHER_SID = 2

    @property
    def flow(self) -> int:
        """The flow that probe packets of this form belong to."""
        return FIRST_FLOW + self - 1


@dataclass(eq=False)
class Kept:
    """An SA that was held once: a copy of it, key and all."""

    held: SecurityAssociation
    copy: SecurityAssociation

    def usable(self) -> SecurityAssociation:
        """Return the copy, its numbers beyond those that the agent itself has used."""
        self.copy.counter = max(self.copy.counter, self.held.counter)
        return self.copy

    def used(self) -> None:
        """The agent's own numbers go on above what was forged."""
        self.held.counter = max(self.copy.counter, self.held.counter)


class Forger:
    """Makes forgeries out of what one engine holds."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._peers: dict[int, Kept] = {}
        self._mobiles: dict[tuple[int, IPv6Address], Kept] = {}
        self._incarnations: dict[int, int] = {}
        self._bindings: dict[IPv6Address, Binding] = {}
        self._counter = 0
        config = context.config
        own = sender_id(config.index, context.incarnation)
        self._as_itself = EspProcessor(context.random_bytes, own)
        self._as_other: EspProcessor | None = None
        self._other: Peer | None = None
        self._other_counters: dict[tuple[int, IPv6Address], int] = {}

    def look(self, other: int | None = None) -> None:
        """Keep what the engine holds now; `other`: the index of whose sender id will be forged."""
        context = self._context
        for peer in context.peers:
            sending = peer.associations.sending
            if sending is not None:
                _keep(self._peers, peer.index, sending.outbound)
                self._incarnations[peer.index] = peer.incarnation
            if peer.index == other:
                self._other = peer
                sid = sender_id(peer.index, peer.incarnation)
                self._as_other = EspProcessor(context.random_bytes, sid)
        for each in context.associations:
            if not each.inbound and each.mode is SaMode.TUNNEL and each.state is not SaState.DEAD:
                _keep(self._mobiles, (each.spi, each.destination), each)
        for name in list(self._mobiles)[:-MOST_KEPT]:
            del self._mobiles[name]
        for binding in context.cache:
            if binding.bound and int(binding.home_address) & 0xFFFF != STRANGER_HOST:
                self._bindings[binding.home_address] = replace(binding)

    @property
    def targets(self) -> list[int]:
        """Return the indexes of the peers that were ever spoken to."""
        return sorted(self._peers)

    # Lies to home agents.

    def lie(self, form: Lie, index: int, now: float) -> bytes | None:
        """Return a packet that tells a lie to a peer, or None where there is nothing to lie with.

        Its SA may be gone at either end long since: that is for the receiver to find out.
        """
        binding = next(iter(self._bindings.values()), None)
        self._counter += 1
        message = self._message(form, binding, index, now)
        kept = self._peers.get(index)
        if message is None or kept is None:
            return None
        own, destination = kept.copy.source, kept.copy.destination
        message = replace(message, receiver_incarnation=self._incarnations[index])
        header = inter_ha.serialize_inter_ha(message, own, destination)
        sealed = self._as_itself.seal(kept.usable(), header, ipv6.MOBILITY)
        kept.used()
        return ipv6.build(own, destination, ipv6.ESP, sealed)

    def _message(
        self, form: Lie, binding: Binding | None, index: int, now: float
    ) -> inter_ha.InterHaMessage | None:
        identifier = self._context.exchanges.new_identifier(index)
        if form is Lie.STRANGER:
            return inter_ha.BindingInformationUpdate(
                entries=(self._stranger(),), identifier=identifier
            )
        if binding is None:
            return None
        own = self._context.config.index
        role = max(binding.epoch, 1) + self._counter
        match form:
            case Lie.THEFT:
                # The binding as it was, but newer, and this home agent's: no packet is diverted.
                entry = replace(
                    binding.to_wire(now),
                    sequence=binding.sequence + self._counter & 0xFFFF,
                    primary=own,
                    epoch=role,
                )
                return inter_ha.BindingInformationUpdate(entries=(entry,), identifier=identifier)
            case Lie.SWITCH:
                return inter_ha.PrimaryHaSwitch(
                    home_address=binding.home_address,
                    epoch=role,
                    index=own,
                    previous=binding.primary,
                    identifier=identifier,
                )
            case Lie.THIRD_PARTY:
                entry = replace(binding.to_wire(now), primary=index, epoch=role)
                return inter_ha.BindingInformationUpdate(entries=(entry,), identifier=identifier)
            case _:
                return self._new_key(form, binding, index, identifier)

    def _stranger(self) -> inter_ha.BindingEntry:
        config = self._context.config
        return inter_ha.BindingEntry(
            home_address=config.home_prefix[STRANGER_HOST],
            care_of_address=config.address,
            sequence=self._counter & 0xFFFF,
            flags=BU_KEY_MANAGEMENT,
            remaining_ms=STRANGER_LIFETIME_MS,
            registration=1,
            primary=config.index,
            epoch=self._counter,
        )

    def _new_key(
        self, form: Lie, binding: Binding, index: int, identifier: int
    ) -> inter_ha.InterHaMessage | None:
        """Return word of an SA towards the home agents that only this one has a key of."""
        held = self._context.associations.of(binding.home_address)
        like = next((each for each in held if each.inbound and each.mode is SaMode.TUNNEL), None)
        if like is None:
            return None
        random_bytes = self._context.random_bytes
        octet = self._context.config.index if form is Lie.KEY else index
        entry = replace(
            to_wire(like),
            spi=octet << 24 | int.from_bytes(random_bytes(3)),
            key=random_bytes(len(like.key)),
            generation=like.generation + 1,
            state=STATE_NUMBERS[SaState.LARVAL],
            highest=0,
        )
        return inter_ha.SaInformationUpdate(entries=(entry,), identifier=identifier)

    # Packets to mobile nodes.

    def tunnel(self, form: Form, number: int, time_ns: int) -> Iterator[bytes]:
        """Yield a forged tunnel packet on each SA with a mobile node that was ever held.

        Inside is a probe packet of `form.flow`, sequence `number`: whoever gets it can tell.
        """
        for kept in self._mobiles.values():
            binding = self._bindings.get(kept.copy.home_address)
            if binding is None:
                continue
            inner = self._probe(binding.home_address, form, number, time_ns)
            sealed, origin = self._seal(form, kept, inner)
            if sealed is None:
                continue
            extension = serialize_destination_options(ipv6.ESP, [OriginIp(origin)])
            yield OuterHeader(
                self._context.config.home_agent_address,
                binding.care_of_address,
                ipv6.DESTINATION_OPTIONS,
                extension,
            ).wrap(sealed)

    def _seal(self, form: Form, kept: Kept, inner: bytes) -> tuple[bytes | None, IPv6Address]:
        if form is Form.OWN_SID:
            sealed = self._as_itself.seal(kept.usable(), inner, ipv6.IPV6)
            kept.used()
            return sealed, self._context.config.address
        if self._as_other is None or self._other is None:
            return None, self._context.config.address
        name = kept.copy.spi, kept.copy.destination
        number = self._other_counters.get(name, JUMP)
        like = replace(kept.copy, counter=number)
        self._other_counters[name] = number + 1
        return self._as_other.seal(like, inner, ipv6.IPV6), self._other.address

    def _probe(self, home_address: IPv6Address, form: Form, number: int, time_ns: int) -> bytes:
        own = self._context.config.address
        payload = PACKET.pack(number, form.flow, 0, time_ns) + PADDING
        datagram = serialize_udp(own, PORT, home_address, PORT, payload)
        return ipv6.build(own, home_address, ipv6.UDP, datagram)


Name = TypeVar("Name", bound=Hashable)


def _keep(kept: dict[Name, Kept], name: Name, association: SecurityAssociation) -> None:
    """Keep a copy unless there is one of this very SA."""
    known = kept.get(name)
    if known is None or known.held is not association:
        kept[name] = Kept(association, replace(association))
