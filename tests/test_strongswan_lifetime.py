"""After establishment with strongSwan's charon: more Child SAs, rekeying, deleting, liveness."""

import pytest

from agents.core.ike.child_sa import ChildSa
from agents.core.ike.events import (
    ChildDeleted,
    ChildEstablished,
    ChildRekeyed,
    IkeDeleted,
    IkeEstablished,
    IkeRekeyed,
)
from agents.wire.ike.numbers import ExchangeType
from tests.figure_1.inside import inside
from tests.strongswan.driver import Fault, Ours
from tests.strongswan.lab import (
    BEGINNERS,
    EITHER,
    SECOND,
    THEIR_PAYLOAD,
    THEIR_SECOND,
    Lab,
    begin,
)

pytestmark = pytest.mark.emulation

DOERS = pytest.mark.parametrize("doer", ["ours", "theirs"])


def established(swan: Lab, beginner: str, **changes: object) -> tuple[Ours, ChildSa]:
    """Return our side and the Child SA, both ends up."""
    ours = swan.meet(**changes)  # type: ignore[arg-type]
    begin(ours, beginner)
    return ours, ours.await_child()


@inside
@BEGINNERS
@DOERS
@pytest.mark.parametrize("group", ["", "-x25519", "-ecp256"])
def test_child_rekey(swan: Lab, beginner: str, doer: str, group: str) -> None:
    """A new Child SA, traffic on it, and the old one deleted by who began (RFC 7296 §2.8).

    charon wants a key exchange of its own for it, or none.
    """
    wanted = {"payload": {**THEIR_PAYLOAD, "esp_proposals": [f"aes128gcm16{group}", "aes128gcm16"]}}
    ours, old = established(swan, beginner, their_children=wanted)
    sa = ours.await_event(IkeEstablished).sa
    if doer == "ours":
        ours.tell(ours.endpoint.rekey_child, sa, old.inbound_spi)
    else:
        swan.charon.vici.ask("rekey", child="payload")
    rekeyed = ours.await_event(ChildRekeyed)
    assert rekeyed.old_spi == old.inbound_spi
    assert rekeyed.initiator is (doer == "ours")
    new = rekeyed.child
    assert {new.inbound_key, new.outbound_key}.isdisjoint({old.inbound_key, old.outbound_key})
    if doer == "ours":
        ours.tell(ours.endpoint.delete_child, sa, old.inbound_spi)
    deleted = ours.await_event(ChildDeleted)
    assert (deleted.spi, deleted.reason) == (
        old.inbound_spi,
        "deleted" if doer == "ours" else "by-peer",
    )
    ours.wait(lambda: not swan.charon.child(old.outbound_spi), "charon's end of the old one")
    swan.check_traffic(ours, new)
    if doer == "theirs":
        curve = {"": None, "-x25519": "CURVE_25519", "-ecp256": "ECP_256"}[group]
        assert swan.charon.child(new.outbound_spi).get("dh-group") == curve
    assert [each.inbound_spi for each in sa.children] == [new.inbound_spi]


@inside
def test_rekey_after_rekey(swan: Lab) -> None:
    """Each end in turn, four times on one IKE SA; packets pass after each."""
    ours, child = established(swan, "ours")
    sa = ours.await_event(IkeEstablished).sa
    for turn in range(4):
        since = len(ours.events)
        if turn % 2:
            swan.charon.vici.ask("rekey", child="payload")
        else:
            ours.tell(ours.endpoint.rekey_child, sa, child.inbound_spi)
        rekeyed = ours.await_event(ChildRekeyed, since)
        if rekeyed.initiator:
            ours.tell(ours.endpoint.delete_child, sa, rekeyed.old_spi)
        assert ours.await_event(ChildDeleted, since).spi == child.inbound_spi
        child = rekeyed.child
        ours.wait(lambda: len(swan.charon.children()) == 1, "one Child SA on charon's side")
        swan.check_traffic(ours, child)


@inside
def test_both_rekey_at_once(swan: Lab) -> None:
    """RFC 7296 §2.8.1: one new Child SA is left, the same one at both ends, and it works."""
    ours, old = established(swan, "ours")
    sa = ours.await_event(IkeEstablished).sa
    ours.busy = True
    swan.charon.vici.ask("rekey", child="payload")
    swan.charon.await_line("generating CREATE_CHILD_SA request")
    ours.busy = False
    ours.tell(ours.endpoint.rekey_child, sa, old.inbound_spi)
    deleted = []

    def settled() -> bool:
        for event in ours.events:
            if isinstance(event, ChildRekeyed) and event.initiator and event not in deleted:
                deleted.append(event)
                ours.tell(ours.endpoint.delete_child, sa, event.old_spi)
        left = [each.outbound_spi for each in sa.children]
        return len(left) == 1 and left != [old.outbound_spi] and left == swan.charon.children()

    ours.wait(settled, "one Child SA at both ends")
    (child,) = sa.children
    swan.check_traffic(ours, child)


@inside
@BEGINNERS
@DOERS
def test_one_more_child(swan: Lab, beginner: str, doer: str) -> None:
    """CREATE_CHILD_SA for a second pair of SAs, beside the first."""
    two = {"payload": THEIR_PAYLOAD, "second": THEIR_SECOND}
    ours, first = established(swan, beginner, their_children=two, children=[EITHER])
    sa = ours.await_event(IkeEstablished).sa
    since = len(ours.events)
    if doer == "ours":
        ours.tell(ours.endpoint.create_child, sa, SECOND)
    else:
        swan.charon.initiate("second")
    second = ours.await_event(ChildEstablished, since).child
    ours.wait(lambda: swan.charon.child(second.outbound_spi), "charon's side of it")
    assert second.inbound_spi != first.inbound_spi
    assert second.inbound_key != first.inbound_key
    swan.check_traffic(ours, second)
    assert len(swan.charon.associations()) == 1


@inside
@BEGINNERS
@DOERS
def test_delete_of_a_child(swan: Lab, beginner: str, doer: str) -> None:
    """Both directions of the pair go, the IKE SA stays (RFC 7296 §1.4.1)."""
    ours, child = established(swan, beginner)
    sa = ours.await_event(IkeEstablished).sa
    if doer == "ours":
        ours.tell(ours.endpoint.delete_child, sa, child.inbound_spi)
    else:
        swan.charon.vici.ask("terminate", child="payload", timeout="-1")
    deleted = ours.await_event(ChildDeleted)
    assert deleted.spi == child.inbound_spi
    assert deleted.reason == ("deleted" if doer == "ours" else "by-peer")
    ours.wait(lambda: not swan.charon.children(), "charon's end of it")
    assert sa.established
    assert [each["state"] for each in swan.charon.associations()] == ["ESTABLISHED"]


@inside
@BEGINNERS
@DOERS
def test_delete_of_the_ike_sa(swan: Lab, beginner: str, doer: str) -> None:
    """It ends at both ends; what becomes of our Child SAs is the host's business (rule 8)."""
    ours, _ = established(swan, beginner)
    sa = ours.await_event(IkeEstablished).sa
    if doer == "ours":
        ours.tell(ours.endpoint.delete, sa)
    else:
        swan.charon.vici.ask("terminate", ike="ours", timeout="-1")
    assert ours.await_event(IkeDeleted).reason == ("deleted" if doer == "ours" else "by-peer")
    ours.wait(lambda: not swan.charon.associations(), "charon's end of it")
    assert not [each for each in ours.events if isinstance(each, ChildDeleted)]


@inside
@BEGINNERS
def test_liveness_asked_by_us(swan: Lab, beginner: str) -> None:
    ours, _ = established(swan, beginner)
    sa = ours.await_event(IkeEstablished).sa
    before = len(ours.messages)
    for _ in range(2):
        heard = sa.last_heard
        ours.tell(ours.endpoint.check_liveness, sa)
        ours.wait(lambda heard=heard: sa.last_heard > heard, "charon's sign of life")
    asked = [(each.exchange, each.outgoing, each.response) for each in ours.messages[before:]]
    ask = (ExchangeType.INFORMATIONAL, True, False)
    answer = (ExchangeType.INFORMATIONAL, False, True)
    assert asked == [ask, answer] * 2
    assert sa.established


@inside
@BEGINNERS
def test_liveness_asked_by_charon(swan: Lab, beginner: str) -> None:
    """Twice, so that the first answer did satisfy it."""
    ours, child = established(swan, beginner, dpd_delay="1s")

    def answered() -> set[int]:
        return {
            each.message_id
            for each in ours.messages
            if each.exchange == ExchangeType.INFORMATIONAL and each.outgoing and each.response
        }

    ours.wait(lambda: len(answered()) == 2, "answers to two different questions")
    assert sum("sending DPD request" in each for each in swan.charon.lines) == 2
    assert swan.charon.child(child.outbound_spi)


@inside
@BEGINNERS
def test_charon_renews_the_ike_sa(swan: Lab, beginner: str) -> None:
    """Its Child SAs move to the new one (RFC 7296 §1.3.2), and both ends can go on with them."""
    ours, child = established(swan, beginner)
    first = ours.await_event(IkeEstablished).sa
    swan.charon.vici.ask("rekey", ike="ours")
    second = ours.await_event(IkeRekeyed).successor
    ours.wait(lambda: not first.established, "the end of the old IKE SA")
    assert second.established
    assert second.children == (child,)
    swan.check_traffic(ours, child)
    ours.tell(ours.endpoint.rekey_child, second, child.inbound_spi)
    ours.await_event(ChildRekeyed)
    ours.tell(ours.endpoint.delete_child, second, child.inbound_spi)
    ours.await_event(ChildDeleted)
    swan.charon.vici.ask("terminate", ike="ours", timeout="-1")
    ours.wait(lambda: not second.established, "the end of the new one")


@inside
def test_charon_says_that_it_knows_of_no_other(swan: Lab) -> None:
    """INITIAL_CONTACT (RFC 7296 §2.4) is counted and ends nothing (rule 8)."""
    ours, _ = established(swan, "ours", unique="no")
    first = ours.await_event(IkeEstablished).sa
    ours.faults.append(Fault(False, ExchangeType.INFORMATIONAL, False, 0))
    (association,) = swan.charon.associations()
    swan.charon.forget(association)
    ours.wait(lambda: not ours.faults, "its delete, which is lost")
    since = len(ours.events)
    swan.charon.initiate("payload")
    child = ours.await_event(ChildEstablished, since).child
    assert swan.charon.await_line(r"generating IKE_AUTH request 1 \[.*N\(INIT_CONTACT\)")
    assert ours.endpoint.counters["received.initial-contact"] == 1
    assert first.established
    swan.check_traffic(ours, child)
