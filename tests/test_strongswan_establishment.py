"""Our IKEv2 engine and strongSwan's charon establish, in either role; traffic passes both ways."""

from dataclasses import replace
from ipaddress import IPv6Network

import pytest

from agents.core.ike.events import ChildDeleted, ChildEstablished, ChildFailed, IkeEstablished
from agents.wire.ike.identity import Identity
from agents.wire.ike.numbers import ExchangeType, Group
from agents.wire.ike.selectors import TrafficSelector
from agents.wire.transforms import Mode, Transform
from tests.figure_1.inside import inside
from tests.strongswan.driver import Message, Ours
from tests.strongswan.lab import BEGINNERS, PAYLOAD, SWAN, THEIR_PAYLOAD, Lab, begin
from tests.strongswan.network import INNER_OURS, INNER_THEIRS, OURS, THEIRS

pytestmark = pytest.mark.emulation

CURVES = {"x25519": Group.X25519, "ecp256": Group.P256}
ESP_PROPOSALS = {
    Transform.AES_128_GCM: "aes128gcm16",
    Transform.AES_128_CBC_HMAC_SHA2_256: "aes128-sha256",
    Transform.CHACHA20_POLY1305: "chacha20poly1305",
}
NAMES = {"x25519": "CURVE_25519", "ecp256": "ECP_256"}


def distinct(ours: Ours) -> list[Message]:
    """Return every message so far, repetitions left out.

    charon drops an answer to IKE_SA_INIT that comes while it is still at work on the last one, and
    then repeats its request.
    """
    return list({each.octets: each for each in ours.messages}.values())


@inside
@BEGINNERS
@pytest.mark.parametrize("curve", CURVES)
def test_establishment(swan: Lab, beginner: str, curve: str) -> None:
    """Four messages; both ends agree on who, how and what for; packets pass."""
    ours = swan.meet(groups=(CURVES[curve],), proposals=[f"aes128gcm16-prfsha256-{curve}"])
    begin(ours, beginner)
    child = ours.await_child()
    established = ours.await_event(IkeEstablished)
    assert established.initiator is (beginner == "ours")
    assert str(established.peer) == SWAN
    assert [each.port for each in distinct(ours)] == [500, 500, 4500, 4500]

    (theirs,) = swan.charon.associations()
    assert theirs["state"] == "ESTABLISHED"
    assert theirs["remote-id"] == str(INNER_OURS)
    assert theirs["dh-group"] == NAMES[curve]
    assert (theirs["encr-alg"], theirs["encr-keysize"]) == ("AES_GCM_16", "128")
    assert f"{theirs['initiator-spi']}:{theirs['responder-spi']}" == str(established.sa)

    (their_child,) = theirs["child-sas"].values()
    spis = [int(their_child[key], 16) for key in ("spi-in", "spi-out")]
    assert spis == [child.outbound_spi, child.inbound_spi]
    assert their_child["mode"] == "TUNNEL"
    assert their_child["local-ts"] == [str(each) + "/128" for each in child.remote]
    assert their_child["remote-ts"] == [str(each) + "/128" for each in child.local]
    assert child.encapsulation == (4500, 4500)
    swan.check_traffic(ours, child)


@inside
@BEGINNERS
def test_another_group_is_asked_for(swan: Lab, beginner: str) -> None:
    """INVALID_KE_PAYLOAD: the beginner sent X25519, the other end takes P-256 alone."""
    if beginner == "ours":
        ours = swan.meet(proposals=["aes128gcm16-prfsha256-ecp256"])
    else:
        ours = swan.meet(groups=(Group.P256,))
    begin(ours, beginner)
    child = ours.await_child()
    first = ExchangeType.IKE_SA_INIT, beginner == "ours"
    assert [(each.exchange, each.outgoing) for each in distinct(ours)].count(first) == 2
    assert swan.charon.associations()[0]["dh-group"] == "ECP_256"
    swan.check_traffic(ours, child)


@inside
@BEGINNERS
@pytest.mark.parametrize("transform", Transform)
def test_esp_transforms(swan: Lab, beginner: str, transform: Transform) -> None:
    name = ESP_PROPOSALS[Transform(transform)]
    ours = swan.meet(
        children=[replace(PAYLOAD, transform=Transform(transform))],
        their_children={"payload": {**THEIR_PAYLOAD, "esp_proposals": [name]}},
    )
    begin(ours, beginner)
    child = ours.await_child()
    assert child.transform == transform
    swan.check_traffic(ours, child)


@inside
@BEGINNERS
def test_aes_256_for_the_ike_sa(swan: Lab, beginner: str) -> None:
    ours = swan.meet(proposals=["aes256gcm16-prfsha256-x25519"])
    begin(ours, beginner)
    ours.await_child()
    assert swan.charon.associations()[0]["encr-keysize"] == "256"


@inside
@BEGINNERS
@pytest.mark.parametrize(
    ("identity", "theirs"),
    [
        ("mn.example", "mn.example"),
        ("mn@home.example", "mn@home.example"),
        ("#6d6e", "keyid:#6d6e"),
    ],
)
def test_identities(swan: Lab, beginner: str, identity: str, theirs: str) -> None:
    """A name, a mailbox, and an opaque key id; every other test uses the home address."""
    octets = bytes.fromhex(identity[1:]) if identity.startswith("#") else None
    ours = swan.meet(ours=Identity.of(octets or identity), knows=theirs)
    begin(ours, beginner)
    ours.await_child()
    assert ours.await_event(IkeEstablished).initiator is (beginner == "ours")


@inside
@BEGINNERS
def test_selectors_are_narrowed(swan: Lab, beginner: str) -> None:
    """The responder grants the part that it may: a /128 of the /64 that was asked for."""
    wide = "fd00:c::/64"
    if beginner == "ours":
        asked = replace(PAYLOAD, remote=(TrafficSelector.of(IPv6Network(wide)),))
        ours = swan.meet(children=[asked])
    else:
        ours = swan.meet(their_children={"payload": {**THEIR_PAYLOAD, "local_ts": [wide]}})
    begin(ours, beginner)
    child = ours.await_child()
    assert child.remote == (TrafficSelector.of(INNER_THEIRS),)
    their_child = swan.charon.child(child.outbound_spi)
    assert their_child is not None
    assert their_child["local-ts"] == [f"{INNER_THEIRS}/128"]
    swan.check_traffic(ours, child)


# Transport mode. The data path of charon 5.9 refuses what was agreed (`unsupported mode`), so the
# first two of these tests see the negotiation alone. The selectors are the ends themselves: with
# NAT detection forced, charon puts their addresses in the place of others (RFC 7296 §2.23.1).

OUR_HOSTS = replace(
    PAYLOAD,
    local=(TrafficSelector.of(OURS),),
    remote=(TrafficSelector.of(THEIRS),),
    mode=Mode.TRANSPORT,
)
THEIR_HOSTS = {"local_ts": [f"{THEIRS}/128"], "remote_ts": [f"{OURS}/128"], "mode": "transport"}


@inside
def test_we_grant_transport_mode(swan: Lab) -> None:
    ours = swan.meet(children=[OUR_HOSTS], their_children={"payload": THEIR_HOSTS})
    swan.charon.initiate("payload")
    child = ours.await_event(ChildEstablished).child
    assert child.mode is Mode.TRANSPORT
    assert child.local == (TrafficSelector.of(OURS),)
    swan.charon.await_line(r"parsed IKE_AUTH response 1 \[.*N\(USE_TRANSP\)")
    if swan.refuses_transport_mode():
        deleted = ours.await_event(ChildDeleted)
        assert (deleted.spi, deleted.reason) == (child.inbound_spi, "by-peer")
    else:
        assert swan.charon.child(child.outbound_spi)["mode"] == "TRANSPORT"


@inside
def test_charon_grants_transport_mode(swan: Lab) -> None:
    ours = swan.meet(children=[OUR_HOSTS], their_children={"payload": THEIR_HOSTS})
    sa = ours.initiate()
    swan.charon.await_line(r"parsed IKE_AUTH request 1 \[.*N\(USE_TRANSP\)")
    if swan.refuses_transport_mode():
        assert ours.await_event(ChildFailed).reason == "no-proposal-chosen"
    else:
        assert ours.await_child().mode is Mode.TRANSPORT
    assert sa.established


@inside
def test_home_addresses_in_transport_mode_are_not_for_encapsulation(swan: Lab) -> None:
    """charon compares what it put in their place with what it is configured for."""
    wanted = {"payload": {**THEIR_PAYLOAD, "mode": "transport_proxy"}}
    ours = swan.meet(children=[replace(PAYLOAD, mode=Mode.TRANSPORT)], their_children=wanted)
    sa = ours.initiate()
    assert ours.await_event(ChildFailed).reason == "ts-unacceptable"
    assert sa.established


@inside
def test_charon_declines_transport_mode(swan: Lab) -> None:
    """We insist on it, so what came out as tunnel mode is deleted (RFC 7296 §1.3.1)."""
    wanted = {"payload": {**THEIR_HOSTS, "mode": "tunnel"}}
    ours = swan.meet(children=[OUR_HOSTS], their_children=wanted)
    sa = ours.initiate()
    assert ours.await_event(ChildFailed).reason == "mode-mismatch"
    swan.charon.await_line("received DELETE for ESP CHILD_SA")
    ours.wait(lambda: not swan.charon.children(), "charon to have no Child SA")
    assert sa.established
    assert not [each for each in ours.events if isinstance(each, ChildEstablished)]


@inside
def test_we_decline_transport_mode(swan: Lab) -> None:
    """charon does not insist, and has it in tunnel mode."""
    wanted = {"payload": {**THEIR_PAYLOAD, "mode": "transport_proxy"}}
    ours = swan.meet(their_children=wanted)
    swan.charon.initiate("payload")
    child = ours.await_child()
    assert child.mode is Mode.TUNNEL
    assert swan.charon.await_line(r"generating IKE_AUTH request 1 \[.*N\(USE_TRANSP\)")
    swan.check_traffic(ours, child)
