"""Messages between our IKEv2 engine and strongSwan's charon lost and repeated; an end that dies."""

import pytest

from agents.core.ike.config import IkeTimers
from agents.core.ike.events import (
    ChildDeleted,
    ChildEstablished,
    ChildRekeyed,
    IkeDeleted,
    IkeEstablished,
)
from agents.wire.ike.numbers import ExchangeType
from tests.figure_1.inside import inside
from tests.strongswan.driver import Fault, Message, Ours
from tests.strongswan.lab import (
    BEGINNERS,
    EITHER,
    HASTY,
    SECOND,
    THEIR_PAYLOAD,
    THEIR_SECOND,
    Lab,
    begin,
)

pytestmark = [
    pytest.mark.emulation,
    pytest.mark.parametrize("swan", ["hasty"], indirect=True),
]

EXCHANGES = pytest.mark.parametrize("exchange", ["IKE_SA_INIT", "IKE_AUTH"])
PARTS = pytest.mark.parametrize("part", ["request", "response"])
LOST, TWICE = 0, 2


def fault(ours: Ours, exchange: str, part: str, beginner: str, copies: int) -> None:
    """Plan what happens to one message of an exchange that `beginner` begins."""
    outgoing = (beginner == "ours") == (part == "request")
    ours.faults.append(Fault(outgoing, ExchangeType[exchange], part == "response", copies))


def requests(ours: Ours, exchange: str, outgoing: bool) -> list[Message]:
    """Return every copy of the requests of an exchange."""
    return [
        each
        for each in ours.messages
        if each.exchange == ExchangeType[exchange]
        and each.outgoing is outgoing
        and not each.response
    ]


def once(swan: Lab, ours: Ours) -> None:
    """Exactly one IKE SA and one Child SA, the same at both ends, and it works."""
    child = ours.await_child()
    assert [each.kind for each in ours.events] == ["ike-established", "child-established"]
    assert swan.charon.children() == [child.outbound_spi]
    swan.check_traffic(ours, child)


@inside
@BEGINNERS
@EXCHANGES
@PARTS
def test_lost_message(swan: Lab, beginner: str, exchange: str, part: str) -> None:
    """The beginner repeats its request octet for octet (RFC 7296 §2.1); all is as without loss."""
    ours = swan.meet(timers=HASTY)
    fault(ours, exchange, part, beginner, LOST)
    begin(ours, beginner)
    once(swan, ours)
    copies = [each.octets for each in requests(ours, exchange, beginner == "ours")]
    assert len(copies) >= 2
    assert len(set(copies)) == 1


@inside
@BEGINNERS
@EXCHANGES
@PARTS
def test_repeated_message(swan: Lab, beginner: str, exchange: str, part: str) -> None:
    """A second copy changes nothing; to a request it earns the same response again."""
    ours = swan.meet(timers=HASTY)
    fault(ours, exchange, part, beginner, TWICE)
    begin(ours, beginner)
    once(swan, ours)
    assert not ours.faults
    if part == "request" and beginner == "theirs":
        answers = [
            each.octets
            for each in ours.messages
            if each.exchange == ExchangeType[exchange] and each.outgoing
        ]
        assert len(answers) >= 2
        assert len(set(answers)) == 1


@inside
@pytest.mark.parametrize("doer", ["ours", "theirs"])
@pytest.mark.parametrize("what", ["CREATE_CHILD_SA", "INFORMATIONAL"])
@PARTS
@pytest.mark.parametrize("copies", [LOST, TWICE])
def test_later_exchanges(swan: Lab, doer: str, what: str, part: str, copies: int) -> None:
    """One more Child SA, or the delete of one, with a message lost or repeated."""
    two = {"payload": THEIR_PAYLOAD, "second": THEIR_SECOND}
    ours = swan.meet(their_children=two, children=[EITHER], timers=HASTY)
    begin(ours, "ours")
    first = ours.await_child()
    sa = ours.await_event(IkeEstablished).sa
    since = len(ours.events)
    fault(ours, what, part, doer, copies)
    if what == "INFORMATIONAL":
        if doer == "ours":
            ours.tell(ours.endpoint.delete_child, sa, first.inbound_spi)
        else:
            swan.charon.vici.ask("terminate", child="payload", timeout="-1")
        assert ours.await_event(ChildDeleted, since).spi == first.inbound_spi
        ours.wait(lambda: not swan.charon.children(), "charon's end of it")
    else:
        if doer == "ours":
            ours.tell(ours.endpoint.create_child, sa, SECOND)
        else:
            swan.charon.initiate("second")
        child = ours.await_event(ChildEstablished, since).child
        ours.wait(lambda: swan.charon.child(child.outbound_spi), "charon's side of it")
        swan.check_traffic(ours, child)
        assert len(swan.charon.children()) == len(sa.children) == 2
    assert not ours.faults
    again = 2 if copies == LOST else 1
    ours.wait(lambda: len(requests(ours, what, doer == "ours")) >= again, "every request")
    assert len(ours.events) == since + 1
    sent = requests(ours, what, doer == "ours")
    assert len({each.octets for each in sent}) == 1


@inside
@BEGINNERS
def test_charon_dies(swan: Lab, beginner: str) -> None:
    """Stopped, it answers nothing: we find out, keep the Child SA, and can begin anew."""
    timers = IkeTimers(retransmit_first=0.1, retransmit_factor=1.5, tries=5, liveness_interval=0.2)
    ours = swan.meet(timers=timers)
    begin(ours, beginner)
    ours.await_child()
    with swan.charon.stopped():
        assert ours.await_event(IkeDeleted).reason == "peer-lost"
    assert not [each for each in ours.events if isinstance(each, ChildDeleted)]
    copies = requests(ours, "INFORMATIONAL", True)
    assert [each.octets for each in copies[-5:]] == [copies[-1].octets] * 5
    since = len(ours.events)
    ours.initiate()
    child = ours.await_event(ChildEstablished, since).child
    swan.check_traffic(ours, child)


@inside
@BEGINNERS
def test_we_die(swan: Lab, beginner: str) -> None:
    """charon asks, repeats itself, and gives up: we did not speak for somebody dead."""
    ours = swan.meet(dpd_delay="1s")
    begin(ours, beginner)
    ours.await_child()
    ours.deaf = True
    swan.charon.await_line("giving up after 4 retransmits")
    swan.charon.wait(lambda: not swan.charon.associations(), "charon to forget us")


@inside
@BEGINNERS
def test_everything_once_more(swan: Lab, beginner: str) -> None:
    """Whatever passed so far arrives again, at either end: nothing changes."""
    ours = swan.meet()
    begin(ours, beginner)
    old = ours.await_child()
    sa = ours.await_event(IkeEstablished).sa
    ours.tell(ours.endpoint.rekey_child, sa, old.inbound_spi)
    child = ours.await_event(ChildRekeyed).child
    ours.tell(ours.endpoint.delete_child, sa, old.inbound_spi)
    ours.await_event(ChildDeleted)
    events, theirs = len(ours.events), swan.charon.children()
    ours.replay()
    swan.check_traffic(ours, child)
    ours.tell(ours.endpoint.check_liveness, sa)
    asked = requests(ours, "INFORMATIONAL", True)[-1].message_id
    ours.wait(
        lambda: ours.messages[-1].response and ours.messages[-1].message_id == asked,
        "a sign of life behind all that",
    )
    assert ours.events[events:] == []
    assert swan.charon.children() == theirs == [child.outbound_spi]
    states = [each["state"] for each in swan.charon.associations()]
    assert states.count("ESTABLISHED") == 1
