"""What a peer may want beyond the first suite, with strongSwan's charon, in either role.

MODP-2048, ChaCha20-Poly1305, renewal of the IKE SA by us and by both at once, and fragments.
"""

from dataclasses import replace

import pytest

from agents.core.ike.child_sa import ChildSa
from agents.core.ike.ciphers import IkeCipher
from agents.core.ike.events import (
    ChildDeleted,
    ChildRekeyed,
    IkeDeleted,
    IkeEstablished,
    IkeRekeyed,
    IkeRekeyFailed,
)
from agents.wire.ike.numbers import ExchangeType, Group, PayloadType
from agents.wire.transforms import Transform
from tests.figure_1.inside import inside
from tests.strongswan.driver import Fault, Message, Ours
from tests.strongswan.lab import BEGINNERS, HASTY, PAYLOAD, THEIR_PAYLOAD, Lab, begin

pytestmark = [
    pytest.mark.emulation,
    pytest.mark.parametrize("swan", ["fragments"], indirect=True),
]

OUR_SIZE, THEIR_SIZE = 220, 260
"""Octets of an IPv6 packet with a fragment, of ours and of charon's."""


def established(swan: Lab, beginner: str, **changes: object) -> tuple[Ours, ChildSa]:
    """Return our side and the Child SA, both ends up."""
    ours = swan.meet(**changes)  # type: ignore[arg-type]
    begin(ours, beginner)
    return ours, ours.await_child()


@inside
@BEGINNERS
def test_modp_2048(swan: Lab, beginner: str) -> None:
    """For the IKE SA, and for the key exchange of a Child SA's own that charon wants."""
    ours, child = established(
        swan,
        beginner,
        groups=(Group.X25519, Group.MODP_2048),
        proposals=["aes128gcm16-prfsha256-modp2048"],
        their_children={
            "payload": {**THEIR_PAYLOAD, "esp_proposals": ["aes128gcm16-modp2048", "aes128gcm16"]}
        },
    )
    (theirs,) = swan.charon.associations()
    assert theirs["dh-group"] == "MODP_2048"
    assert ours.await_event(IkeEstablished).sa.group == Group.MODP_2048
    swan.check_traffic(ours, child)
    swan.charon.vici.ask("rekey", child="payload")
    new = ours.await_event(ChildRekeyed).child
    ours.await_event(ChildDeleted)
    assert swan.charon.child(new.outbound_spi)["dh-group"] == "MODP_2048"  # type: ignore[index]
    swan.check_traffic(ours, new)


@inside
@BEGINNERS
def test_chacha20_poly1305(swan: Lab, beginner: str) -> None:
    """For the IKE SA and for ESP (RFC 7634)."""
    ours, child = established(
        swan,
        beginner,
        children=[replace(PAYLOAD, transform=Transform.CHACHA20_POLY1305)],
        proposals=["chacha20poly1305-prfsha256-x25519"],
        their_children={"payload": {**THEIR_PAYLOAD, "esp_proposals": ["chacha20poly1305"]}},
    )
    (theirs,) = swan.charon.associations()
    assert theirs["encr-alg"] == "CHACHA20_POLY1305"
    assert ours.await_event(IkeEstablished).sa.sealing_key().cipher is IkeCipher.CHACHA20_POLY1305
    assert swan.charon.child(child.outbound_spi)["encr-alg"] == "CHACHA20_POLY1305"  # type: ignore[index]
    swan.check_traffic(ours, child)


@inside
@BEGINNERS
@pytest.mark.parametrize("curve", ["x25519", "ecp256", "modp2048"])
def test_we_renew_the_ike_sa(swan: Lab, beginner: str, curve: str) -> None:
    """Its Child SAs move along, and both ends go on with them; then charon renews that one."""
    groups = {"x25519": Group.X25519, "ecp256": Group.P256, "modp2048": Group.MODP_2048}
    ours, child = established(
        swan,
        beginner,
        groups=(groups[curve],),
        proposals=[f"aes128gcm16-prfsha256-{curve}", f"chacha20poly1305-prfsha256-{curve}"],
    )
    first = ours.await_event(IkeEstablished).sa
    ours.tell(ours.endpoint.rekey_ike, first)
    rekeyed = ours.await_event(IkeRekeyed)
    second = rekeyed.successor
    assert rekeyed.initiator
    assert ours.await_event(IkeDeleted).reason == "rekeyed"
    ours.wait(lambda: len(swan.charon.associations()) == 1, "the end of the old one at charon")
    (theirs,) = swan.charon.associations()
    assert f"{theirs['initiator-spi']}:{theirs['responder-spi']}" == str(second)
    assert second.children == (child,)
    swan.check_traffic(ours, child)
    swan.charon.vici.ask("rekey", child="payload")
    new = ours.await_event(ChildRekeyed).child
    ours.await_event(ChildDeleted)
    since = len(ours.events)
    swan.charon.vici.ask("rekey", ike="ours")
    third = ours.await_event(IkeRekeyed, since).successor
    ours.wait(lambda: not second.established, "the end of the second one")
    assert third.children == (new,)
    swan.check_traffic(ours, new)
    ours.tell(ours.endpoint.delete, third)
    ours.wait(lambda: not swan.charon.associations(), "charon's end of it")


@inside
@BEGINNERS
@pytest.mark.parametrize("attempt", range(2))
def test_both_renew_the_ike_sa_at_once(swan: Lab, beginner: str, attempt: int) -> None:
    """RFC 7296 §2.8.2: one new IKE SA is left, the same one at both ends, with the Child SA."""
    ours, child = established(swan, beginner)
    sa = ours.await_event(IkeEstablished).sa
    ours.busy = True
    swan.charon.vici.ask("rekey", ike="ours")
    swan.charon.await_line("generating CREATE_CHILD_SA request")
    ours.busy = False
    ours.tell(ours.endpoint.rekey_ike, sa)

    def settled() -> bool:
        left = [
            f"{each['initiator-spi']}:{each['responder-spi']}"
            for each in swan.charon.associations()
        ]
        return left == [str(each) for each in ours.endpoint.sas()] != [str(sa)]

    ours.wait(settled, "one IKE SA at both ends")
    (left,) = ours.endpoint.sas()
    assert [each.successor for each in ours.events if isinstance(each, IkeRekeyed)] == [left]
    assert left.children == (child,)
    assert sum(each.exchange == ExchangeType.CREATE_CHILD_SA for each in ours.messages) >= 4
    swan.check_traffic(ours, child)
    ours.tell(ours.endpoint.check_liveness, left)
    heard = left.last_heard
    ours.wait(lambda: left.last_heard > heard, "an answer under it")


@inside
@BEGINNERS
def test_charon_renews_a_child_while_we_renew_the_ike_sa(swan: Lab, beginner: str) -> None:
    """RFC 7296 §2.25.2: each has to wait; the Child SA lives on, and the second time it works."""
    ours, child = established(swan, beginner)
    sa = ours.await_event(IkeEstablished).sa
    ours.busy = True
    swan.charon.vici.ask("rekey", child="payload")
    swan.charon.await_line("generating CREATE_CHILD_SA request")
    ours.busy = False
    ours.tell(ours.endpoint.rekey_ike, sa)
    assert ours.await_event(IkeRekeyFailed).reason == "temporary-failure"
    swan.charon.await_line("received TEMPORARY_FAILURE")
    assert sa.established
    swan.check_traffic(ours, child)
    ours.tell(ours.endpoint.rekey_ike, sa)
    assert ours.await_event(IkeRekeyed).successor.children == (child,)
    ours.wait(lambda: len(swan.charon.associations()) == 1, "one IKE SA at charon")
    swan.check_traffic(ours, child)


def fragments(messages: list[Message], outgoing: bool) -> list[Message]:
    """Return the messages of one direction that are fragments."""
    return [
        each
        for each in messages
        if each.octets[16] == PayloadType.SKF and each.outgoing is outgoing
    ]


@inside
@BEGINNERS
def test_fragments(swan: Lab, beginner: str) -> None:
    """RFC 7383: IKE_AUTH and CREATE_CHILD_SA of both ends in fragments of at most that size."""
    ours, child = established(swan, beginner, fragment_size=OUR_SIZE)
    sa = ours.await_event(IkeEstablished).sa
    assert sa.fragmentation
    ours.tell(ours.endpoint.rekey_ike, sa)
    ours.await_event(IkeDeleted)
    ours.tell(ours.endpoint.rekey_child, sa, child.inbound_spi)
    new = ours.await_event(ChildRekeyed).child
    ours.tell(ours.endpoint.delete_child, sa, child.inbound_spi)
    ours.await_event(ChildDeleted)
    swan.check_traffic(ours, new)
    for outgoing, size in ((True, OUR_SIZE), (False, THEIR_SIZE)):
        cut = fragments(ours.messages, outgoing)
        assert len(cut) >= 2
        assert ExchangeType.IKE_AUTH in {each.exchange for each in cut}
        sizes = [len(each.octets) + 4 + 48 for each in ours.messages if each.outgoing is outgoing]
        assert max(sizes[1:]) <= size
    assert ours.endpoint.counters["fragments-received"] == len(fragments(ours.messages, False))


@inside
@BEGINNERS
@pytest.mark.parametrize("outgoing", [True, False])
def test_a_fragment_is_lost_and_another_comes_twice(
    swan: Lab, beginner: str, outgoing: bool
) -> None:
    """The whole message is repeated; what is there already is ignored by either end."""
    ours = swan.meet(fragment_size=OUR_SIZE, timers=HASTY)
    response = outgoing is (beginner == "theirs")
    for copies in (2, 0):
        ours.faults.append(Fault(outgoing, ExchangeType.IKE_AUTH, response, copies))
    begin(ours, beginner)
    child = ours.await_child()
    assert not ours.faults
    swan.check_traffic(ours, child)
    assert len(fragments(ours.messages, outgoing)) >= 4
