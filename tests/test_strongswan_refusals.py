"""What our IKEv2 engine and strongSwan's charon refuse one another, in either role."""

from dataclasses import replace

import pytest

from agents.core.ike.events import ChildEstablished, ChildFailed, IkeEstablished, IkeFailed
from agents.wire.transforms import Transform
from tests.figure_1.inside import inside
from tests.strongswan.driver import Ours
from tests.strongswan.lab import (
    BEGINNERS,
    PAYLOAD,
    SECOND,
    SECRET,
    SWAN,
    THEIR_PAYLOAD,
    THEIR_SECOND,
    TIMERS,
    Lab,
    begin,
)
from tests.strongswan.network import INNER_OURS

pytestmark = pytest.mark.emulation

OTHER = "fd00:dead::/64"


def not_established(swan: Lab, ours: Ours) -> None:
    assert not [each for each in ours.events if isinstance(each, IkeEstablished)]
    swan.charon.wait(lambda: not swan.charon.associations(), "charon to have no SA")


@inside
def test_wrong_secret_of_ours(swan: Lab) -> None:
    """charon refuses; with the right secret the same charon does not."""
    ours = swan.meet(secret=b"wrong")
    ours.initiate()
    assert ours.await_event(IkeFailed).reason == "authentication-failed"
    assert swan.charon.await_line("tried . shared keys?.*but MAC mismatched")
    not_established(swan, ours)
    swan.meet().initiate()
    swan.ours.await_child()


@inside
def test_wrong_secret_of_charon(swan: Lab) -> None:
    """We refuse; with the right secret the same engine of ours does not."""
    ours = swan.meet()
    swan.charon.learn({SWAN: b"wrong", str(INNER_OURS): b"wrong"})
    swan.charon.initiate("payload")
    assert swan.charon.await_line("received AUTHENTICATION_FAILED notify error")
    assert ours.await_event(IkeFailed).reason == "authentication-failed"
    not_established(swan, ours)
    swan.charon.learn({SWAN: SECRET, str(INNER_OURS): SECRET})
    swan.charon.initiate("payload")
    ours.await_child()


@inside
@BEGINNERS
def test_a_stranger(swan: Lab, beginner: str) -> None:
    """An identity that the responder does not know, though the secret is right."""
    if beginner == "ours":
        ours = swan.meet(ours="stranger.example", knows="friend.example")
        begin(ours, beginner)
        assert ours.await_event(IkeFailed).reason == "authentication-failed"
        assert swan.charon.await_line("no matching peer config found|MAC mismatched")
    else:
        ours = swan.meet(swan="stranger.example")
        begin(ours, beginner)
        assert swan.charon.await_line("received AUTHENTICATION_FAILED notify error")
        assert ours.await_event(IkeFailed).reason == "authentication-failed"
    not_established(swan, ours)


@inside
@BEGINNERS
@pytest.mark.parametrize(
    "proposal",
    ["aes128-sha256-x25519", "aes128gcm16-prfsha384-x25519", "aes128gcm16-prfsha256-modp2048"],
)
def test_no_proposal_for_the_ike_sa(swan: Lab, beginner: str, proposal: str) -> None:
    """Another cipher, another PRF, another group: NO_PROPOSAL_CHOSEN, and nobody tries again."""
    ours = swan.meet(proposals=[proposal], timers=replace(TIMERS, retransmit_first=0.1))
    begin(ours, beginner)
    if beginner == "ours":
        assert ours.await_event(IkeFailed).reason == "no-proposal-chosen"
    else:
        assert swan.charon.await_line("received NO_PROPOSAL_CHOSEN notify error")
    not_established(swan, ours)


@inside
@BEGINNERS
def test_no_proposal_for_the_child(swan: Lab, beginner: str) -> None:
    """The IKE SA stands without it, and a second Child SA on it is possible (RFC 7296 §1.2)."""
    both = {
        "payload": {**THEIR_PAYLOAD, "esp_proposals": ["aes128-sha256"]},
        "second": THEIR_SECOND,
    }
    ours = swan.meet(their_children=both, children=[PAYLOAD, SECOND])
    begin(ours, beginner)
    established = ours.await_event(IkeEstablished)
    if beginner == "ours":
        assert ours.await_event(ChildFailed).reason == "no-proposal-chosen"
        child = ours.await_child()
        assert child.name == "second"
        swan.check_traffic(ours, child)
        return
    assert swan.charon.await_line("received NO_PROPOSAL_CHOSEN notify, no CHILD_SA built")
    assert not [each for each in ours.events if isinstance(each, ChildEstablished)]
    assert established.sa.established
    swan.charon.initiate("second")
    swan.check_traffic(ours, ours.await_child())


@inside
def test_no_proposal_for_our_child(swan: Lab) -> None:
    """The same, asked for by us."""
    ours = swan.meet(
        their_children={"payload": {**THEIR_PAYLOAD, "esp_proposals": ["aes128-sha256"]}}
    )
    sa = ours.initiate()
    assert ours.await_event(ChildFailed).reason == "no-proposal-chosen"
    assert sa.established
    good = replace(PAYLOAD, transform=Transform.AES_128_CBC_HMAC_SHA2_256)
    ours.tell(ours.endpoint.create_child, sa, good)
    swan.check_traffic(ours, ours.await_child())


@inside
@BEGINNERS
def test_selectors_without_anything_in_common(swan: Lab, beginner: str) -> None:
    ours = swan.meet(their_children={"payload": {"local_ts": [OTHER], "remote_ts": [OTHER]}})
    begin(ours, beginner)
    established = ours.await_event(IkeEstablished)
    if beginner == "ours":
        assert ours.await_event(ChildFailed).reason == "ts-unacceptable"
    else:
        assert swan.charon.await_line("received TS_UNACCEPTABLE notify, no CHILD_SA built")
    assert not [each for each in ours.events if isinstance(each, ChildEstablished)]
    assert established.sa.established
