"""The same messages by scapy, an encoder and decoder of another hand, in both directions."""

import ike_samples as samples
from ike_world import ANYWHERE, HOA
from scapy.contrib import ikev2

from agents.core.ike.ciphers import IkeCipher
from agents.core.ike.negotiation import offer_ike
from agents.wire.ike.message import parse_chain, parse_message, serialize_chain, serialize_message
from agents.wire.ike.numbers import Group, PayloadType
from agents.wire.ike.payloads import SecurityAssociationPayload


def scapy_init() -> ikev2.IKEv2:
    transform = ikev2.IKEv2_Transform
    transforms = (
        transform(next_payload=3, transform_type=1, transform_id=20, length=12, key_length=128)
        / transform(next_payload=3, transform_type=1, transform_id=20, length=12, key_length=256)
        / transform(next_payload=3, transform_type=2, transform_id=5)
        / transform(next_payload=3, transform_type=4, transform_id=31)
        / transform(next_payload=0, transform_type=4, transform_id=19)
    )
    proposal = ikev2.IKEv2_Proposal(
        next_payload=0, proposal=1, proto=1, trans_nb=5, trans=transforms
    )
    return (
        ikev2.IKEv2(
            init_SPI=samples.SPI_I.to_bytes(8),
            resp_SPI=bytes(8),
            next_payload=41,
            exch_type=34,
            flags="Initiator",
        )
        / ikev2.IKEv2_Notify(next_payload=33, proto=0, type=16390, notify=b"cookie")
        / ikev2.IKEv2_SA(next_payload=34, prop=proposal)
        / ikev2.IKEv2_KE(next_payload=40, group=31, ke=bytes(range(100, 132)))
        / ikev2.IKEv2_Nonce(next_payload=43, nonce=samples.NONCE_I)
        / ikev2.IKEv2_VendorID(next_payload=0, vendorID=b"somebody")
    )


def test_scapy_makes_the_same_init_request() -> None:
    head, payloads = samples.MESSAGES["IKE_SA_INIT request"]
    assert bytes(scapy_init()) == serialize_message(head, payloads)
    assert parse_message(bytes(scapy_init())).payloads == payloads


def test_scapy_reads_our_init_response() -> None:
    decoded = ikev2.IKEv2(serialize_message(*samples.MESSAGES["IKE_SA_INIT response"]))
    assert (decoded.exch_type, decoded.flags, decoded.id) == (34, "Response", 0)
    assert decoded.init_SPI == samples.SPI_I.to_bytes(8)
    proposal = decoded[ikev2.IKEv2_SA].prop
    assert (proposal.proto, proposal.trans_nb, proposal.SPIsize) == (1, 3, 0)
    found = []
    transform = proposal.trans
    while isinstance(transform, ikev2.IKEv2_Transform):
        found.append((transform.transform_type, transform.transform_id, transform.key_length))
        transform = transform.payload
    assert found == [(1, 20, 128), (2, 5, None), (4, 31, None)]
    assert decoded[ikev2.IKEv2_KE].group == 31
    assert decoded[ikev2.IKEv2_KE].ke == bytes(range(132, 164))
    assert decoded[ikev2.IKEv2_Nonce].nonce == samples.NONCE_R
    assert decoded[ikev2.IKEv2_Notify].type == 16388


def test_scapy_reads_what_is_inside_an_auth_request() -> None:
    first, octets = serialize_chain(samples.CHAINS["IKE_AUTH request, inside SK"])
    assert first == PayloadType.ID_I
    decoded = ikev2.IKEv2_IDi(octets)
    assert (decoded.IDtype, decoded.ID) == (5, str(HOA))
    assert decoded[ikev2.IKEv2_IDr].IDtype == 2
    assert decoded[ikev2.IKEv2_AUTH].auth_type == 2
    assert decoded[ikev2.IKEv2_AUTH].load == bytes(range(32))
    assert decoded[ikev2.IKEv2_Notify].type == 16391
    assert bytes.fromhex("01000001") == decoded[ikev2.IKEv2_SA].prop.SPI
    (ours,) = decoded[ikev2.IKEv2_TSi].traffic_selector
    assert (ours.IP_protocol_ID, ours.starting_address_v6, ours.length) == (135, str(HOA), 40)
    first_selector, second = decoded[ikev2.IKEv2_TSr].traffic_selector
    assert (first_selector.start_port, first_selector.end_port) == (0x0500, 0x05FF)
    assert (second.starting_address_v6, second.ending_address_v6) == (
        "::",
        str(ANYWHERE.last),
    )


def test_scapy_makes_the_same_rekey_request() -> None:
    transform = ikev2.IKEv2_Transform
    selector = ikev2.IPv6TrafficSelector
    theirs = (
        ikev2.IKEv2_Notify(next_payload=33, proto=3, SPI=bytes.fromhex("01000001"), type=16393)
        / ikev2.IKEv2_SA(
            next_payload=40,
            prop=ikev2.IKEv2_Proposal(
                next_payload=0,
                proto=3,
                SPI=bytes.fromhex("01000001"),
                trans_nb=2,
                trans=transform(
                    next_payload=3, transform_type=1, transform_id=20, length=12, key_length=128
                )
                / transform(next_payload=0, transform_type=5, transform_id=0),
            ),
        )
        / ikev2.IKEv2_Nonce(next_payload=44, nonce=samples.NONCE_I)
        / ikev2.IKEv2_TSi(
            next_payload=45,
            traffic_selector=[
                selector(
                    IP_protocol_ID=0,
                    length=40,
                    starting_address_v6=str(HOA),
                    ending_address_v6=str(HOA),
                )
            ],
        )
        / ikev2.IKEv2_TSr(
            next_payload=0,
            traffic_selector=[
                selector(
                    IP_protocol_ID=0,
                    length=40,
                    starting_address_v6="::",
                    ending_address_v6=str(ANYWHERE.last),
                )
            ],
        )
    )
    chain = samples.CHAINS["CREATE_CHILD_SA request that rekeys, inside SK"]
    assert bytes(theirs) == serialize_chain(chain)[1]
    assert parse_chain(PayloadType.NOTIFY, bytes(theirs)) == chain


def test_scapy_and_deletes() -> None:
    chain = samples.CHAINS["IKE INFORMATIONAL that deletes, inside SK"]
    decoded = ikev2.IKEv2_Delete(serialize_chain(chain)[1])
    assert (decoded.proto, decoded.SPInum) == (3, 2)
    assert [bytes.fromhex("01000001"), bytes.fromhex("01000002")] == decoded.SPI
    theirs = ikev2.IKEv2_Delete(next_payload=0, proto=1, SPIsize=0, SPInum=0)
    assert serialize_chain([chain[1]])[1] == bytes(theirs)


def test_scapy_and_fragments() -> None:
    """RFC 7383 §2.5: number, total, and a next payload in fragment 1 alone."""
    for number, octets in enumerate(samples.fragments(), 1):
        decoded = ikev2.IKEv2(octets)
        assert decoded.next_payload == PayloadType.SKF
        fragment = decoded[ikev2.IKEv2_Encrypted_Fragment]
        assert (fragment.frag_number, fragment.frag_total) == (number, 2)
        assert fragment.next_payload == (PayloadType.DELETE if number == 1 else PayloadType.NONE)
        ours = parse_message(octets).fragment
        assert ours is not None
        assert bytes(fragment.load) == ours.data
        theirs = ikev2.IKEv2_Encrypted_Fragment(
            next_payload=ours.first, frag_number=number, frag_total=2, load=ours.data
        )
        assert bytes(theirs) == octets[28:]


def test_scapy_reads_a_proposal_of_the_other_suites() -> None:
    (proposal,) = offer_ike((Group.MODP_2048,), (IkeCipher.CHACHA20_POLY1305,), bytes(range(8)))
    chain = serialize_chain([SecurityAssociationPayload((proposal,))])[1]
    decoded = ikev2.IKEv2_SA(chain).prop
    assert (decoded.SPIsize, decoded.SPI, decoded.trans_nb) == (8, bytes(range(8)), 3)
    assert decoded.trans.key_length is None
    assert [each.transform_id for each in layers(decoded.trans)] == [28, 5, 14]


def layers(transform: ikev2.IKEv2_Transform) -> list[ikev2.IKEv2_Transform]:
    found = []
    while isinstance(transform, ikev2.IKEv2_Transform):
        found.append(transform)
        transform = transform.payload
    return found
