"""What a home agent answers to Binding Updates (RFC 6275 §9.5.1, §10.3.1), packet by packet."""

from dataclasses import replace
from ipaddress import IPv6Address

import pytest
from world import ANYCAST, COA, HOA, World

from agents.core.esp_processing import EspProcessor
from agents.core.outer_header import OuterHeader
from agents.core.security_associations import SecurityAssociation
from agents.keys import KeyedAssociation, SaMode
from agents.wire import esp, ipv6, mobility
from agents.wire.checksum import pseudo_header_checksum
from agents.wire.destination_options import HomeAddress, serialize_destination_options
from agents.wire.mobility import BindingUpdate
from agents.wire.mobility_options import (
    AlternateCareOfAddress,
    MultiSenderCapable,
    join_sid_tables,
)
from agents.wire.status import BindingErrorStatus, Status


class Client:
    """A mobile node's hand: builds any Binding Update, reads any answer."""

    def __init__(self, home_address: IPv6Address = HOA, **options: object) -> None:
        self.world = World(2, **options)  # type: ignore[arg-type]
        self.world.start_all()
        self.home_address = home_address
        self.keys = tuple(
            replace(
                key,
                source=home_address if key.source == HOA else key.source,
                destination=home_address if key.destination == HOA else key.destination,
            )
            for key in self.world.mobile_keys()
        )
        self.world.has[1].load_keys(self.keys, self.world.now)
        self.world.run(0.1)
        self.processor = EspProcessor(self.world.random.randbytes, 0)
        self.sas = {
            (key.mode, key.destination == ANYCAST): _association(key, home_address)
            for key in self.keys
        }

    def seal(
        self,
        update: mobility.MobilityMessage,
        source: IPv6Address = COA,
        option: IPv6Address | None = None,
    ) -> bytes:
        option = option or self.home_address
        header = mobility.serialize_mobility(update, self.home_address, ANYCAST)
        sealed = self.processor.seal(self.sas[SaMode.TRANSPORT, True], header, ipv6.MOBILITY)
        extension = serialize_destination_options(ipv6.ESP, [HomeAddress(option)])
        return OuterHeader(source, ANYCAST, ipv6.DESTINATION_OPTIONS, extension).wrap(sealed)

    def send(self, packet: bytes) -> mobility.MobilityMessage | None:
        """Give the packet to HA1; return the message that it answers with, opened."""
        engine = self.world.has[1]
        engine.receive(packet, self.world.now)
        answers = [
            each for each in engine.packets_to_send(self.world.now) if each[8:24] == ANYCAST.packed
        ]
        if not answers:
            return None
        (answer,) = answers
        parsed = ipv6.parse(answer)
        if parsed.next_header == ipv6.MOBILITY:
            return mobility.parse_mobility(parsed.payload, ANYCAST, parsed.destination)
        for mode in (SaMode.TRANSPORT, SaMode.TUNNEL):
            association = self.sas[mode, False]
            if int.from_bytes(parsed.payload[:4]) == association.spi:
                payload, _ = esp.make_cipher(association.transform, association.key).open(
                    parsed.payload
                )
                if mode is SaMode.TUNNEL:
                    payload = ipv6.parse(payload).payload
                else:
                    assert parsed.routing is not None
                    assert parsed.routing.home_address == self.home_address
                return mobility.parse_mobility(payload, ANYCAST, self.home_address)
        raise AssertionError("an answer under an unknown SPI")

    def answer(self, update: BindingUpdate, **how: IPv6Address) -> mobility.BindingAcknowledgement:
        message = self.send(self.seal(update, **how))
        assert isinstance(message, mobility.BindingAcknowledgement)
        return message

    @property
    def drops(self) -> dict[str, int]:
        counters = self.world.has[1].counters
        return {name: count for name, count in counters.items() if name.startswith("dropped.")}


def _association(key: KeyedAssociation, home_address: IPv6Address) -> SecurityAssociation:
    return SecurityAssociation(
        spi=key.spi,
        home_address=home_address,
        source=key.source,
        destination=key.destination,
        mode=key.mode,
        transform=key.transform,
        key=key.key,
    )


def update(sequence: int = 1, lifetime: int = 10, **changes: object) -> BindingUpdate:
    made = BindingUpdate(
        sequence, lifetime, options=(AlternateCareOfAddress(COA), MultiSenderCapable())
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def test_accepted_with_table() -> None:
    client = Client()
    answer = client.answer(update(lifetime=10))
    assert (answer.status, answer.sequence, answer.lifetime) == (Status.ACCEPTED, 1, 10)
    assert answer.multihomed
    table = join_sid_tables(answer.options)
    assert table is not None
    assert [(each.index, str(each.address)) for each in table[1]] == [
        (1, "fd00:1:1::1"),
        (2, "fd00:1:2::2"),
    ]


def test_acknowledged_even_when_not_asked_for() -> None:
    assert Client().answer(update(acknowledge=False)).status is Status.ACCEPTED


def test_lifetime_is_cut_to_policy() -> None:
    assert Client().answer(update(lifetime=0xFFFF)).lifetime == 105  # 420 s


def test_without_capability_no_multihomed_bit() -> None:
    client = Client()
    answer = client.answer(update(options=(AlternateCareOfAddress(COA),)))
    assert answer.status is Status.ACCEPTED
    assert not answer.multihomed
    assert answer.options == ()


@pytest.mark.parametrize(
    ("last", "next_", "status"),
    [
        (15, 16, Status.ACCEPTED),
        (15, 32782, Status.ACCEPTED),
        (15, 32783, Status.SEQUENCE_NUMBER_OUT_OF_WINDOW),
        (15, 15, Status.SEQUENCE_NUMBER_OUT_OF_WINDOW),
        (15, 0, Status.SEQUENCE_NUMBER_OUT_OF_WINDOW),
        (15, 65535, Status.SEQUENCE_NUMBER_OUT_OF_WINDOW),
        (65535, 0, Status.ACCEPTED),
        (65535, 5, Status.ACCEPTED),
        (65535, 65534, Status.SEQUENCE_NUMBER_OUT_OF_WINDOW),
    ],
)
def test_sequence_modulo_65536(last: int, next_: int, status: Status) -> None:
    """The worked example of RFC 6275 §9.5.1, and the wrap."""
    client = Client()
    client.answer(update(last))
    answer = client.answer(update(next_))
    assert answer.status is status
    if status is Status.SEQUENCE_NUMBER_OUT_OF_WINDOW:
        assert answer.sequence == last


def test_replayed_update_is_dropped_by_esp() -> None:
    client = Client()
    packet = client.seal(update())
    assert client.send(packet) is not None
    assert client.send(packet) is None
    assert client.drops == {"dropped.replay": 1}


def test_home_address_outside_the_home_network() -> None:
    client = Client(IPv6Address("fd00:192:169:1::100"))
    assert client.answer(update()).status is Status.NOT_HOME_SUBNET


def test_no_alternate_care_of_address() -> None:
    answer = Client().answer(update(options=()))
    assert answer.status is Status.REASON_UNSPECIFIED


def test_care_of_address_in_the_home_network() -> None:
    inside = IPv6Address("fd00:192:168:1::77")
    answer = Client().answer(update(options=(AlternateCareOfAddress(inside),)))
    assert answer.status is Status.INVALID_CARE_OF_ADDRESS


def test_type_change_and_no_home_registration() -> None:
    client = Client()
    assert client.send(client.seal(update(home_registration=False))) is None
    assert client.drops == {"dropped.not-a-home-registration": 1}
    client.answer(update(2))
    answer = client.answer(update(3, home_registration=False))
    assert answer.status is Status.REGISTRATION_TYPE_CHANGE_DISALLOWED


def test_deregistration_twice() -> None:
    client = Client()
    client.answer(update(1))
    gone = client.answer(update(2, lifetime=0))
    assert (gone.status, gone.lifetime) == (Status.ACCEPTED, 0)
    again = client.answer(update(3, lifetime=0))
    assert again.status is Status.NOT_HOME_AGENT_FOR_THIS_MOBILE_NODE
    # An old sequence does not revive it; a newer one does, as a new instance.
    assert client.answer(update(2)).status is Status.SEQUENCE_NUMBER_OUT_OF_WINDOW
    assert client.answer(update(4)).status is Status.ACCEPTED


def test_cache_full() -> None:
    client = Client()
    client.world.has[1]._context.cache._most = 0
    assert client.answer(update()).status is Status.INSUFFICIENT_RESOURCES


def test_home_address_of_another_mobile_node() -> None:
    """RFC 3776 §4.2: one SA, one home address."""
    client = Client()
    other = IPv6Address("fd00:192:168:1::101")
    assert client.send(client.seal(update(), option=other)) is None
    assert client.drops == {"dropped.home-address-not-of-this-sa": 1}


def test_tunnel_form_of_rfc_4877() -> None:
    client = Client()
    header = mobility.serialize_mobility(update(), HOA, ANYCAST)
    inner = ipv6.build(HOA, ANYCAST, ipv6.MOBILITY, header)
    sealed = client.processor.seal(client.sas[SaMode.TUNNEL, True], inner, ipv6.IPV6)
    answer = client.send(OuterHeader(COA, ANYCAST, ipv6.ESP).wrap(sealed))
    assert isinstance(answer, mobility.BindingAcknowledgement)
    assert answer.status is Status.ACCEPTED


def test_unprotected_update_is_dropped() -> None:
    client = Client()
    header = mobility.serialize_mobility(update(), HOA, ANYCAST)
    extension = serialize_destination_options(ipv6.MOBILITY, [HomeAddress(HOA)])
    packet = OuterHeader(COA, ANYCAST, ipv6.DESTINATION_OPTIONS, extension).wrap(header)
    assert client.send(packet) is None
    assert client.drops == {"dropped.unprotected-mobility-message": 1}
    assert client.answer(update()).status is Status.ACCEPTED  # it still lives


def test_binding_errors() -> None:
    client = Client()
    extension = serialize_destination_options(ipv6.UDP, [HomeAddress(HOA)])
    packet = OuterHeader(COA, ANYCAST, ipv6.DESTINATION_OPTIONS, extension).wrap(bytes(8))
    error = client.send(packet)
    assert error == mobility.BindingError(BindingErrorStatus.UNKNOWN_BINDING, HOA)
    unknown = mobility.UnknownMobilityMessage(99, bytes(2))
    header = mobility.serialize_mobility(unknown, COA, ANYCAST)
    error = client.send(ipv6.build(COA, ANYCAST, ipv6.MOBILITY, header))
    assert isinstance(error, mobility.BindingError)
    assert error.status is BindingErrorStatus.UNRECOGNIZED_MESSAGE_TYPE
    protected = client.send(client.seal(unknown))
    assert isinstance(protected, mobility.BindingError)


def test_payload_proto_earns_a_parameter_problem() -> None:
    client = Client()
    header = bytearray(mobility.serialize_mobility(update(), COA, ANYCAST))
    header[0] = ipv6.UDP
    header[4:6] = bytes(2)
    checksum = pseudo_header_checksum(COA, ANYCAST, ipv6.MOBILITY, bytes(header))
    header[4:6] = checksum.to_bytes(2, "big")
    engine = client.world.has[1]
    engine.packets_to_send(client.world.now)
    engine.receive(ipv6.build(COA, ANYCAST, ipv6.MOBILITY, bytes(header)), client.world.now)
    (answer,) = engine.packets_to_send(client.world.now)
    assert (answer[6], answer[40], answer[41]) == (ipv6.ICMPV6, 4, 0)
    assert int.from_bytes(answer[44:48]) == ipv6.HEADER_LENGTH  # the offending octet


def test_errors_are_limited_in_rate() -> None:
    client = Client()
    extension = serialize_destination_options(ipv6.UDP, [HomeAddress(HOA)])
    packet = OuterHeader(COA, ANYCAST, ipv6.DESTINATION_OPTIONS, extension).wrap(bytes(8))
    sent = sum(client.send(packet) is not None for _ in range(1000))
    assert sent == 20
    assert client.world.has[1].counters["errors-suppressed"] == 980
