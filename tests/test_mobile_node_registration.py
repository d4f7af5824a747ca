"""The mobile node's home registration: its state table, sequence numbers and timers."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.config import MobileNodeTimers
from agents.core.binding_update_list import (
    Acknowledgement,
    HomeRegistration,
    Update,
    is_newer,
)
from agents.core.counters import Dropped
from agents.core.events import Event
from agents.core.mobile_registration import (
    AWAITING,
    BACKING_OFF,
    HOLDS_BINDING,
    TRANSITIONS,
    IllegalTrigger,
    State,
    Trigger,
    next_transition,
)
from agents.core.timers import TimerQueue

V1 = IPv6Address("fd00:10:10:10::100")
V2 = IPv6Address("fd00:10:10:20::100")


@dataclass
class Node:
    """A registration with a fake clock, and all that it sent and reported."""

    lifetime: float = 400.0
    first_sequence: int = 10
    settings: MobileNodeTimers = field(default_factory=MobileNodeTimers)
    now: float = 100.0

    def __post_init__(self) -> None:
        self.timers = TimerQueue()
        self.sent: list[Update] = []
        self.events: list[Event] = []
        self.list = HomeRegistration(
            self.lifetime,
            self.settings,
            self.timers,
            self.first_sequence,
            self.sent.append,
            self.events.append,
        )

    def until(self, when: float) -> None:
        """Let time pass to `when`, timers firing at their own times."""
        while (due := self.timers.next_time()) is not None and due <= when:
            self.now = max(self.now, due)
            self.timers.run(self.now)
        self.now = when

    def answer(self, update: Update, status: int = 0, lifetime: int | None = None) -> Update | None:
        granted = update.lifetime if lifetime is None else lifetime
        return self.list.acknowledge(Acknowledgement(status, update.sequence, granted), self.now)

    def kinds(self) -> list[str]:
        return [each.kind for each in self.events]

    def bind(self) -> None:
        self.list.attach(V1, self.now)
        self.list.start(self.now)
        self.answer(self.sent[-1])
        assert self.list.state is State.BOUND


def registering() -> Node:
    node = Node()
    node.list.attach(V1, node.now)
    node.list.start(node.now)
    return node


def bound() -> Node:
    node = Node()
    node.bind()
    return node


def refused() -> Node:
    node = registering()
    node.answer(node.sent[-1], status=130)
    return node


def refreshing() -> Node:
    node = bound()
    node.list.refresh(node.now)
    return node


def holding() -> Node:
    node = refreshing()
    node.answer(node.sent[-1], status=130)
    return node


def waiting() -> Node:
    node = Node()
    node.list.start(node.now)
    return node


def detached() -> Node:
    node = bound()
    node.list.detach(node.now)
    return node


def deregistering() -> Node:
    node = bound()
    node.list.deregister(node.now)
    return node


REACH: dict[State, Callable[[], Node]] = {
    State.NONE: Node,
    State.WAITING: waiting,
    State.REGISTERING: registering,
    State.REFUSED: refused,
    State.BOUND: bound,
    State.REFRESHING: refreshing,
    State.HOLDING: holding,
    State.DETACHED: detached,
    State.DEREGISTERING: deregistering,
}


@pytest.mark.parametrize("trigger", Trigger)
@pytest.mark.parametrize("state", State)
def test_every_state_and_trigger(state: State, trigger: Trigger) -> None:
    """Each pair either moves as the table says and keeps what its state promises, or raises."""
    assert set(TRANSITIONS) == set(State)
    node = REACH[state]()
    assert node.list.state is state
    if trigger is Trigger.ATTACHED:
        node.list.care_of_address = V2
    elif trigger is Trigger.DETACHED:
        node.list.care_of_address = None
    sent = len(node.sent)
    if trigger not in TRANSITIONS[state]:
        with pytest.raises(IllegalTrigger):
            node.list._handle(trigger, node.now)
        assert node.list.state is state
        assert len(node.sent) == sent
        return
    node.list._handle(trigger, node.now)
    after, sends = next_transition(state, trigger)
    assert node.list.state is after
    assert len(node.sent) == sent + sends
    if sends:
        assert (node.sent[sent].lifetime == 0) is (after is State.DEREGISTERING)
    assert not (node.list.bound and node.list.state not in HOLDS_BINDING)
    # Whoever waits for something has a timer that ends the waiting.
    if node.list.state in AWAITING | BACKING_OFF:
        assert node.timers.next_time() is not None
    if node.list.state in (State.NONE, State.WAITING):
        assert node.timers.next_time() is None
        assert node.list.expires is None


@pytest.mark.parametrize("state", State)
def test_each_state_can_be_left_for_none(state: State) -> None:
    node = REACH[state]()
    node.list.deregister(node.now)
    if node.list.state is State.DEREGISTERING:
        assert node.sent[-1].lifetime == 0
        node.answer(node.sent[-1])
    assert node.list.state is State.NONE
    assert node.timers.next_time() is None


def test_first_registration_retransmits_at_the_rfc_times() -> None:
    """RFC 6275 §11.8: 1.5 s at first, doubled to 32 s; every transmission a higher number."""
    node = registering()
    node.until(100 + 46.5 + 32 + 32)
    assert [round(each.sent - 100, 3) for each in node.sent] == [
        0, 1.5, 4.5, 10.5, 22.5, 46.5, 78.5, 110.5,
    ]  # fmt: skip
    assert [each.sequence for each in node.sent] == list(range(11, 19))


def test_start_again_tries_at_once_and_begins_the_timeouts_anew() -> None:
    """Whoever knows that the route is there now need not wait for the next retransmission."""
    node = registering()
    node.until(106.0)  # sent at 100, 101.5, 104.5; the next would follow at 110.5
    node.list.start(node.now)
    node.until(107.6)
    assert [each.sent for each in node.sent] == [100, 101.5, 104.5, 106, 107.5]
    for _ in range(9):
        node.list.start(node.now)
    node.until(108.0)
    assert len(node.sent) <= 7


def test_refresh_retransmits_at_the_rfc_times() -> None:
    node = Node(lifetime=4000)
    node.bind()
    node.sent.clear()
    node.list.refresh(node.now)
    node.until(node.now + 63)
    assert [round(each.sent - 100, 3) for each in node.sent] == [0, 1, 3, 7, 15, 31, 63]


def test_acknowledgement_of_any_retransmission_counts_from_its_sending() -> None:
    """The lifetime runs from when that Binding Update was sent (§11.7.3)."""
    node = registering()
    node.until(105.0)  # sent at 100, 101.5, 104.5
    accepted = node.answer(node.sent[1], lifetime=10)
    assert accepted is node.sent[1]
    assert node.list.expires == 101.5 + 40
    # The answer to the third retransmission prolongs; the first is no longer awaited.
    node.answer(node.sent[2], lifetime=10)
    assert node.list.expires == 104.5 + 40
    with pytest.raises(Dropped, match="acknowledgement-unexpected"):
        node.answer(node.sent[0], lifetime=10)
    assert node.list.expires == 104.5 + 40


def test_a_shorter_grant_shortens_ours_and_a_longer_one_is_not_believed() -> None:
    node = registering()
    node.answer(node.sent[0], lifetime=60000)
    assert node.list.expires == 100 + 400


def test_refresh_comes_before_the_end_and_follows_the_advice() -> None:
    node = registering()
    update = node.sent[0]
    node.list.acknowledge(Acknowledgement(0, update.sequence, 100, refresh=5), node.now)
    node.until(119.9)
    assert len(node.sent) == 1
    node.until(120.0)
    assert len(node.sent) == 2
    node.answer(node.sent[1])  # no advice: three quarters of 400 s
    node.until(120 + 299.9)
    assert len(node.sent) == 2
    node.until(120 + 300)
    assert len(node.sent) == 3


@pytest.mark.parametrize("advice", [0, 100, 65535])
def test_advice_outside_the_lifetime_is_ignored(advice: int) -> None:
    node = registering()
    node.list.acknowledge(Acknowledgement(0, node.sent[0].sequence, 100, refresh=advice), 100.0)
    node.until(100 + 299.9)
    assert len(node.sent) == 1
    node.until(100 + 300.1)
    assert len(node.sent) == 2


def test_unanswered_refresh_ends_in_a_new_registration_that_goes_on() -> None:
    node = bound()
    node.until(100 + 400 + 64)
    assert node.kinds().count("registration-ended") == 1
    assert node.list.state is State.REGISTERING
    assert not node.list.bound
    before = len(node.sent)
    node.answer(node.sent[-1])
    assert node.list.bound
    assert len(node.sent) == before


def test_status_135_continues_from_the_returned_number() -> None:
    node = registering()
    node.list.acknowledge(Acknowledgement(135, 500, 0), node.now)
    assert [each.sequence for each in node.sent] == [11, 501]
    assert node.list.state is State.REGISTERING
    node.answer(node.sent[-1])
    assert node.list.bound


def test_status_135_for_an_older_transmission_changes_nothing() -> None:
    node = registering()
    node.list.acknowledge(Acknowledgement(135, 500, 0), node.now)
    node.list.acknowledge(Acknowledgement(135, 500, 0), node.now)
    node.list.acknowledge(Acknowledgement(135, 12, 0), node.now)
    assert [each.sequence for each in node.sent] == [11, 501]


def test_status_135_for_ever_is_answered_at_the_pace_of_the_timer() -> None:
    node = registering()
    for _ in range(50):
        node.list.acknowledge(Acknowledgement(135, (node.list.sequence + 9) & 0xFFFF, 0), node.now)
    assert len(node.sent) == 2
    node.until(101.6)
    assert len(node.sent) == 3
    assert is_newer(node.sent[2].sequence, node.sent[1].sequence)


def test_unsolicited_acknowledgements_are_dropped() -> None:
    node = bound()
    before = (node.list.state, node.list.expires, node.list.sequence)
    for status in (0, 1, 128, 133, 135):
        with pytest.raises(Dropped, match="acknowledgement-unexpected"):
            node.list.acknowledge(Acknowledgement(status, 999, 10), node.now)
    assert (node.list.state, node.list.expires, node.list.sequence) == before


@pytest.mark.parametrize("status", [128, 129, 130, 131, 132, 133, 134, 139])
def test_refusal_is_reported_and_tried_again_after_a_growing_back_off(status: int) -> None:
    node = registering()
    gaps = []
    for _ in range(8):
        assert node.answer(node.sent[-1], status=status) is None
        assert node.list.state is State.REFUSED
        count, since = len(node.sent), node.now
        due = node.timers.next_time()
        assert due is not None
        node.until(due)
        assert len(node.sent) == count + 1
        gaps.append(node.now - since)
    assert gaps == [1, 2, 4, 8, 16, 32, 32, 32]
    assert node.kinds().count("registration-refused") == 8
    node.answer(node.sent[-1])
    assert node.list.bound


def test_accepted_without_lifetime_is_no_binding() -> None:
    node = registering()
    node.answer(node.sent[0], lifetime=0)
    assert node.list.state is State.REFUSED
    assert not node.list.bound


def test_refused_refresh_keeps_the_binding_to_its_end() -> None:
    node = holding()
    assert node.list.bound
    expires = node.list.expires
    assert expires == 500
    while node.now < expires:
        due = node.timers.next_time()
        assert due is not None
        node.until(due)
        if node.list.state is State.REFRESHING:
            node.answer(node.sent[-1], status=130)
    assert not node.list.bound


def test_movement_registers_the_new_address_at_once() -> None:
    node = bound()
    node.list.attach(V2, node.now)
    assert node.sent[-1].care_of_address == V2
    assert node.sent[-1].sent == node.now
    assert node.list.bound
    assert node.list.state is State.REFRESHING


def test_acknowledgement_of_the_old_address_does_not_bind_the_new_one() -> None:
    node = registering()
    node.list.attach(V2, node.now)
    with pytest.raises(Dropped):
        node.answer(node.sent[0])
    assert node.list.state is State.REGISTERING
    node.answer(node.sent[1])
    assert node.list.bound


def test_acknowledgement_of_the_registration_does_not_end_the_deregistration() -> None:
    node = registering()
    node.list.deregister(node.now)
    with pytest.raises(Dropped):
        node.answer(node.sent[0])
    assert node.list.state is State.DEREGISTERING
    node.answer(node.sent[1])
    assert node.list.state is State.NONE


def test_no_address_no_packet_and_the_rest_of_the_lifetime_counts_on() -> None:
    node = bound()
    node.list.detach(node.now)
    node.until(100 + 399)
    assert len(node.sent) == 1
    assert node.list.bound
    node.until(100 + 401)
    assert node.list.state is State.WAITING
    assert not node.list.bound
    node.list.attach(V2, node.now)
    assert node.list.state is State.REGISTERING


def test_deregistration_gives_up_when_the_lifetime_is_over() -> None:
    node = bound()
    node.list.deregister(node.now)
    node.until(100 + 400)
    assert node.list.state is State.NONE
    assert all(each.lifetime == 0 for each in node.sent[1:])
    count = len(node.sent)
    assert count > 5
    node.until(10_000)
    assert len(node.sent) == count


def test_sequence_numbers_wrap() -> None:
    node = Node(first_sequence=0xFFFE)
    node.list.attach(V1, node.now)
    node.list.start(node.now)
    node.until(105)
    assert [each.sequence for each in node.sent] == [0xFFFF, 0, 1]
    node.answer(node.sent[1])
    assert [each.sequence for each in node.list.outstanding] == [1]


def test_the_worked_example_of_rfc_6275_section_9_5_1() -> None:
    refused_numbers = {each for each in range(0x10000) if not is_newer(each, 15)}
    assert refused_numbers == set(range(16)) | set(range(32783, 65536))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["attach", "detach", "refresh", "start", "deregister", "wait", "ok", "no", "135"]
            ),
            st.floats(0, 3),
            st.integers(0, 0xFFFF),
        ),
        max_size=40,
    )
)
def test_any_history_keeps_rate_and_numbers(history: list[tuple[str, float, int]]) -> None:
    """Never more than 3 Binding Updates in a second, never a number that is not newer."""
    node = Node(lifetime=8)
    for verb, gap, number in history:
        node.until(node.now + gap)
        last = node.sent[-1] if node.sent else Update(number, 0, V1, 0.0)
        try:
            match verb:
                case "attach":
                    node.list.attach(V1 if number & 1 else V2, node.now)
                case "detach":
                    node.list.detach(node.now)
                case "refresh":
                    node.list.refresh(node.now)
                case "start":
                    node.list.start(node.now)
                case "deregister":
                    node.list.deregister(node.now)
                case "ok":
                    node.answer(last)
                case "no":
                    node.answer(last, status=130)
                case "135":
                    node.list.acknowledge(Acknowledgement(135, number, 0), node.now)
        except Dropped:
            pass
    times = [each.sent for each in node.sent]
    assert all(later - first >= 1.0 for first, later in zip(times, times[3:], strict=False))
    renumbered = any(verb == "135" for verb, _, _ in history)
    if not renumbered:
        numbers = [each.sequence for each in node.sent]
        assert all(is_newer(b, a) for a, b in itertools.pairwise(numbers))
    assert (node.list.expires is not None) >= node.list.bound


# Probes (rule 14)


def test_a_probe_is_a_binding_update_that_is_retransmitted_as_any_other() -> None:
    node = bound()
    node.until(node.now + 10)
    began, before = node.now, len(node.sent)
    for _ in range(3):
        node.list.probe(node.now)
        node.until(node.now + 0.3)
    assert len(node.sent) == before + 3
    assert node.list.attempt == 1
    node.until(began + 8)
    times = [round(each.sent - began, 3) for each in node.sent[before:]]
    assert times == [0.0, 0.3, 0.6, 1.0, 3.0, 7.0]  # RFC 6275 §11.8: 1, 2, 4 s
    assert node.list.attempt == 4
    node.answer(node.sent[before + 1])  # a late answer to a probe is an answer
    assert node.list.state is State.BOUND


def test_probes_stay_under_the_update_rate() -> None:
    node = bound()
    began, before = node.now, len(node.sent)
    for _ in range(100):
        node.list.probe(node.now)
        node.until(node.now + 0.05)
    for each in node.sent[before:]:
        second = [one for one in node.sent if each.sent - 1.0 < one.sent <= each.sent]
        assert len(second) <= 3
    assert len(node.sent) - before <= 3 * (node.now - began) + 3


@pytest.mark.parametrize(
    "state", [each for each in State if each not in (State.BOUND, State.REFRESHING,
                                                     State.REGISTERING)]
)  # fmt: skip
def test_a_probe_hurries_nothing_that_waits_or_has_ended(state: State) -> None:
    node = REACH[state]()
    before = list(node.sent)
    node.list.probe(node.now)
    assert node.sent == before
    assert node.list.state is state
