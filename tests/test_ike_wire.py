"""IKE messages: golden vectors, every truncation, what a parser refuses, and fuzzing."""

from contextlib import suppress
from ipaddress import IPv6Address, IPv6Network

import ike_samples as samples
import pytest
import wire_samples
from hypothesis import given
from hypothesis import strategies as st
from ike_world import HA, HOA

from agents.core.ike.ciphers import IkeCipher, SealingKey
from agents.core.ike.protection import open_message, open_sealed, seal
from agents.wire.errors import Reason, WireError
from agents.wire.ike.header import Header, has_higher_version, parse_header
from agents.wire.ike.identity import Identity
from agents.wire.ike.message import parse_chain, parse_message, serialize_chain, serialize_message
from agents.wire.ike.numbers import (
    ExchangeType,
    IdType,
    NotifyType,
    PayloadType,
    exchange_slug,
    slug,
)
from agents.wire.ike.payloads import (
    Encrypted,
    Nonce,
    Notify,
    OpaquePayload,
    Payload,
    SecurityAssociationPayload,
    parse_payload,
    serialize_payload,
)
from agents.wire.ike.proposals import Proposal, ProposalTransform, parse_proposals
from agents.wire.ike.selectors import TrafficSelector, parse_selectors, serialize_selectors

DOCUMENTED = wire_samples.documented_vectors()
MESSAGES = [serialize_message(*message) for message in samples.MESSAGES.values()]
CHAINS = [serialize_chain(chain) for chain in (*samples.CHAINS.values(), samples.OTHERS)]


def refusal(octets: bytes) -> Reason:
    with pytest.raises(WireError) as refused:
        parse_message(octets)
    return refused.value.reason


@pytest.mark.parametrize("name", samples.MESSAGES)
def test_documented_messages_parse(name: str) -> None:
    head, payloads = samples.MESSAGES[name]
    message = parse_message(bytes.fromhex(DOCUMENTED[name]))
    assert message.payloads == payloads
    assert message.encrypted is None
    assert serialize_message(message.header, message.payloads).hex() == DOCUMENTED[name]
    assert (message.header.spi_initiator, message.header.message_id) == (
        head.spi_initiator,
        head.message_id,
    )


@pytest.mark.parametrize("name", samples.CHAINS)
def test_documented_chains_parse(name: str) -> None:
    first, _ = serialize_payload(samples.CHAINS[name][0])
    assert parse_chain(first, bytes.fromhex(DOCUMENTED[name])) == samples.CHAINS[name]


def test_the_documented_protected_message_opens() -> None:
    octets = bytes.fromhex(DOCUMENTED["IKE INFORMATIONAL response, empty, protected"])
    message = parse_message(octets)
    assert open_message(samples.KEY, octets, message) == ()
    for place in range(len(octets)):
        wrong = bytearray(octets)
        wrong[place] ^= 1
        with pytest.raises(WireError):
            open_message(samples.KEY, bytes(wrong), parse_message(bytes(wrong)))


def test_the_documented_fragments_open() -> None:
    chain, first = b"", 0
    for number in (1, 2):
        octets = bytes.fromhex(DOCUMENTED[f"IKE INFORMATIONAL that deletes, fragment {number}"])
        assert octets == samples.fragments()[number - 1]
        fragment = parse_message(octets).fragment
        assert fragment is not None
        assert (fragment.number, fragment.total) == (number, 2)
        chain += open_sealed(samples.KEY, octets, fragment)
        first = first or fragment.first
    assert parse_chain(first, chain) == samples.CHAINS[samples.DELETES]


def test_chacha20_poly1305_as_in_rfc_7634() -> None:
    """Appendix B: a whole IKE message, which says SET_WINDOW_SIZE."""
    key = SealingKey(
        IkeCipher.CHACHA20_POLY1305, bytes(range(0x80, 0xA0)) + bytes.fromhex("a0a1a2a3")
    )
    spis = (int.from_bytes(bytes(range(start, start + 8))) for start in (0xC0, 0xD0))
    head = Header(*spis, ExchangeType.INFORMATIONAL, 9, initiator=False, response=False)
    payloads = (Notify(16385, (10).to_bytes(4)),)
    octets = bytes.fromhex(
        "c0c1c2c3c4c5c6c7d0d1d2d3d4d5d6d72e202500000000090000004529000029"
        "1011121314151617610394701f8d017f7c129248896b71bfe25236efd7cdc67066906315b2"
    )
    assert seal(key, 0x1011121314151617, head, payloads) == octets
    assert open_message(key, octets, parse_message(octets)) == payloads


@pytest.mark.parametrize("payload", samples.OTHERS)
def test_payloads_that_are_taken_and_not_sent(payload: Payload) -> None:
    first, octets = serialize_chain([payload])
    assert parse_chain(first, octets) == (payload,)


@pytest.mark.parametrize("octets", MESSAGES)
def test_every_truncation_of_a_message(octets: bytes) -> None:
    for length in range(len(octets)):
        assert refusal(octets[:length]) == Reason.TRUNCATED
        if length < 28:
            continue
        # The same with a length that fits: now the payloads themselves are cut.
        shorter = octets[:24] + length.to_bytes(4) + octets[28:length]
        assert refusal(shorter) in (Reason.TRUNCATED, Reason.FIELD_VALUE)


@pytest.mark.parametrize(("first", "octets"), CHAINS)
def test_every_truncation_of_a_chain(first: int, octets: bytes) -> None:
    for length in range(len(octets)):
        with pytest.raises(WireError):
            parse_chain(first, octets[:length])
    assert parse_chain(first, octets)


@pytest.mark.parametrize(
    "payload", [each for chain in samples.CHAINS.values() for each in chain] + [*samples.OTHERS]
)
def test_a_body_that_is_cut_is_refused_or_another_one(payload: Payload) -> None:
    kind, body = serialize_payload(payload)
    for length in range(len(body)):
        try:
            shorter = parse_payload(kind, False, body[:length])
        except WireError:
            continue
        assert serialize_payload(shorter) == (kind, body[:length])


def test_headers_that_are_refused() -> None:
    good = MESSAGES[0]
    for version in (0x00, 0x10, 0x30, 0xF0):
        octets = good[:17] + bytes((version,)) + good[18:]
        assert refusal(octets) == Reason.VERSION
        assert has_higher_version(octets) is (version > 0x2F)
    assert parse_header(good[:17] + b"\x2f" + good[18:])  # a minor version is ignored
    assert not has_higher_version(good[:17])
    assert refusal(good + b"\0") == Reason.FIELD_VALUE
    assert refusal(bytes(8) + good[8:]) == Reason.FIELD_VALUE
    assert refusal(good[:24] + (27).to_bytes(4) + good[28:]) == Reason.FIELD_VALUE


def test_payload_lengths_that_are_refused() -> None:
    head, _ = samples.MESSAGES["IKE INFORMATIONAL with INVALID_IKE_SPI"]
    octets = serialize_message(head, [Notify(NotifyType.INVALID_IKE_SPI)])
    for length in (0, 3, 9, 0xFFFF):
        assert refusal(octets[:30] + length.to_bytes(2) + octets[32:]) == Reason.TRUNCATED
    assert refusal(octets[:28] + b"\x29" + octets[29:]) == Reason.TRUNCATED  # another one follows
    assert refusal(octets[:16] + b"\0" + octets[17:]) == Reason.FIELD_VALUE  # none is announced


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (PayloadType.NONCE, "00" * 15),
        (PayloadType.NONCE, "00" * 257),
        (PayloadType.ID_I, "05000000fd"),
        (PayloadType.ID_I, "01000000fd"),
        (PayloadType.DELETE, "0304000201000001"),  # one SPI where two are said
        (PayloadType.DELETE, "03000001"),  # an SPI of no octets
        (PayloadType.TS_I, "00000000"),
        (PayloadType.TS_I, "02000000" + "080000280000ffff" + "00" * 32),
        (PayloadType.TS_I, "01000000" + "080000270000ffff" + "00" * 31),
        (PayloadType.TS_I, "01000000" + "080000280000ffff" + "ff" * 16 + "00" * 16),
        (PayloadType.TS_I, "01000000" + "0800002800020001" + "00" * 32),
        (PayloadType.SA, "02000008" + "01010000"),  # another one is announced
        (PayloadType.SA, "00000008" + "01010001"),  # a transform is announced
        (PayloadType.SA, "00000010" + "01010001" + "03000008" + "01000014"),
        (PayloadType.SA, "01000008" + "01010000"),
    ],
)
def test_bodies_that_are_refused(kind: int, body: str) -> None:
    with pytest.raises(WireError) as refused:
        parse_payload(kind, False, bytes.fromhex(body))
    assert refused.value.reason in (Reason.FIELD_VALUE, Reason.TRUNCATED)


def test_attributes_that_are_not_known_are_kept_and_show() -> None:
    odd = ProposalTransform(1, 20, 128, bytes.fromhex("0003000401020304"))
    plain = ProposalTransform(1, 20, 128)
    for transform in (odd, plain, ProposalTransform(1, 20, None, bytes.fromhex("80010002"))):
        proposal = Proposal(1, 1, b"", (transform,))
        assert parse_proposals(proposal.serialize(last=True)) == (proposal,)
    assert odd != plain


def test_unknown_payloads_and_the_critical_bit() -> None:
    """RFC 7296 §2.5: the bit counts for types that the RFC does not have."""
    for kind, critical, refused in ((200, True, True), (200, False, False), (47, True, False)):
        payload = OpaquePayload(kind, b"x", critical)
        _, octets = serialize_chain([payload])
        assert octets[1] == 0x80 * critical
        assert parse_chain(kind, octets) == (payload,)
        assert payload.must_be_understood is refused
    vendor = serialize_chain([Nonce(bytes(16))])[1]
    marked = vendor[:1] + b"\x80" + vendor[2:]
    assert parse_chain(PayloadType.NONCE, marked) == (Nonce(bytes(16)),)


def test_nothing_may_follow_an_encrypted_payload() -> None:
    head, _ = samples.MESSAGES["IKE INFORMATIONAL with INVALID_IKE_SPI"]
    octets = serialize_message(head, [Encrypted(41, b"data")])
    message = parse_message(octets)
    assert message.encrypted == Encrypted(41, b"data")
    longer = octets[:24] + (len(octets) + 4).to_bytes(4) + octets[28:] + bytes(4)
    assert refusal(longer) == Reason.FIELD_VALUE
    with pytest.raises(WireError) as refused:
        open_sealed(samples.KEY, octets, Encrypted(41, bytes(24)))
    assert refused.value.reason == Reason.TRUNCATED
    with pytest.raises(WireError) as refused:
        open_message(samples.KEY, MESSAGES[0], parse_message(MESSAGES[0]))
    assert refused.value.reason == Reason.FIELD_MISSING


def test_padding_of_other_implementations_is_taken() -> None:
    """Any padding, up to 255 octets, of any content (RFC 7296 §3.14)."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    head, _ = samples.MESSAGES["IKE INFORMATIONAL with INVALID_IKE_SPI"]
    for pad, reason in ((b"\x05" * 5, None), (b"", Reason.PADDING)):
        plain = pad + bytes((len(pad) or 9,))
        length = 8 + len(plain) + 16
        authenticated = head.serialize(28 + 4 + length)[:16] + b"\x2e"
        authenticated += head.serialize(28 + 4 + length)[17:] + b"\0\0" + (4 + length).to_bytes(2)
        iv = bytes(8)
        octets = authenticated + iv
        octets += AESGCM(bytes(range(16))).encrypt(bytes(range(16, 20)) + iv, plain, authenticated)
        if reason is None:
            assert open_message(samples.KEY, octets, parse_message(octets)) == ()
            continue
        with pytest.raises(WireError) as refused:
            open_message(samples.KEY, octets, parse_message(octets))
        assert refused.value.reason == reason


def test_too_long_for_a_payload() -> None:
    head, _ = samples.MESSAGES["IKE INFORMATIONAL with INVALID_IKE_SPI"]
    with pytest.raises(ValueError, match="65536"):
        serialize_chain([Notify(16400, bytes(0x10000 - 8))])
    with pytest.raises(ValueError, match="protected"):
        seal(samples.KEY, 0, head, [Notify(16400, bytes(0xFFFF - 8))])


def test_identities_as_text() -> None:
    assert Identity.of(HOA) == Identity.of(str(HOA)) == Identity(IdType.IPV6_ADDR, HOA.packed)
    assert Identity.of("ha1.example").kind == IdType.FQDN
    assert Identity.of("mn@example").kind == IdType.RFC822_ADDR
    assert Identity.of(b"key").kind == IdType.KEY_ID
    texts = [str(Identity.of(each)) for each in (HOA, "ha1.example", "mn@example", b"k")]
    assert texts == [str(HOA), "ha1.example", "mn@example", "id-11:6b"]
    assert str(Identity(IdType.FQDN, b"\x1b[31m")) == "id-2:1b5b33316d"
    assert str(Identity(IdType.IPV6_ADDR, b"\xfd")) == "id-5:fd"
    with pytest.raises(ValueError, match="ascii"):
        Identity.of("häuser.example")


def test_selectors_as_text() -> None:
    network = TrafficSelector.of(IPv6Network("fd00::/64"))
    assert (network.first, network.last) == (IPv6Address("fd00::"), IPv6Network("fd00::/64")[-1])
    assert str(TrafficSelector.of(HA, 135)) == f"{HA}/135"
    assert str(TrafficSelector(17, HA, HA, 1, 2)) == f"{HA}/17[1-2]"
    assert str(network) == "fd00::-fd00::ffff:ffff:ffff:ffff"


def test_names_of_numbers() -> None:
    assert slug(NotifyType.TS_UNACCEPTABLE) == "ts-unacceptable"
    assert slug(9999) == "notify-9999"
    assert (exchange_slug(35), exchange_slug(38)) == ("ike-auth", "exchange-38")


# Any octets: a message or a refusal


@given(st.binary(max_size=200), st.integers(0, 255))
def test_any_octets_are_parsed_or_refused(octets: bytes, kind: int) -> None:
    length = (28 + len(octets)).to_bytes(4)
    for parse in (
        lambda: parse_message(octets),
        lambda: parse_message(
            b"\1" * 16 + bytes((kind,)) + b"\x20\x22\x08" + bytes(4) + length + octets
        ),
        lambda: parse_chain(kind, octets),
        lambda: parse_payload(kind, True, octets),
    ):
        with suppress(WireError):
            parse()


@given(st.sampled_from(CHAINS), st.data())
def test_damaged_chains_are_parsed_or_refused(
    chain: tuple[int, bytes], data: st.DataObject
) -> None:
    first, octets = chain
    damaged = bytearray(octets)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    try:
        payloads = parse_chain(first, bytes(damaged))
    except WireError:
        return
    serialize_chain(payloads)


def selectors() -> st.SearchStrategy[TrafficSelector]:
    addresses = st.integers(0, 2**128 - 1).map(IPv6Address)
    ranges = st.tuples(addresses, addresses).map(sorted)
    ports = st.tuples(st.integers(0, 65535), st.integers(0, 65535)).map(sorted)
    return st.builds(
        lambda protocol, span, port: TrafficSelector(protocol, *span, *port),
        st.integers(0, 255),
        ranges,
        ports,
    )


@given(st.lists(selectors(), min_size=1, max_size=5))
def test_selectors_there_and_back(chosen: list[TrafficSelector]) -> None:
    assert parse_selectors(serialize_selectors(tuple(chosen))) == tuple(chosen)


@given(
    st.lists(
        st.builds(
            Proposal,
            st.integers(0, 255),
            st.integers(0, 255),
            st.binary(max_size=8),
            st.lists(
                st.builds(
                    ProposalTransform,
                    st.integers(0, 255),
                    st.integers(0, 65535),
                    st.none() | st.integers(0, 65535),
                ),
                max_size=4,
            ).map(tuple),
        ),
        min_size=1,
        max_size=3,
    ).map(tuple)
)
def test_proposals_there_and_back(proposals: tuple[Proposal, ...]) -> None:
    payload = SecurityAssociationPayload(proposals)
    kind, body = serialize_payload(payload)
    assert parse_payload(kind, False, body) == payload
