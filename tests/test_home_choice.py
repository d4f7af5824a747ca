"""Which home address new flows use: the rule, its bounds, and what cannot mislead it (rule 14)."""

from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.config import MobileNodeTimers
from agents.core.events import Event
from agents.core.home_choice import STANDING_TRANSITIONS, HomeChoice, Standing, StandingEvent
from agents.core.mobile_events import HomeChosen, HomeStanding, HomeSuspected

TIMERS = MobileNodeTimers()
SERIES = TIMERS.home_probes * TIMERS.home_probe_interval
VERDICT = TIMERS.home_silence + SERIES
"""Seconds from a packet that nothing follows to the verdict."""

SLOWEST = TIMERS.home_silence_limit + SERIES
TICK = 1e-6


class Homes:
    """Two homes or more with a fake clock. Probes to those in `alive` are answered at once."""

    def __init__(self, count: int = 2, bound: bool = True) -> None:
        self.now = 100.0
        self.probes: list[tuple[int, float]] = []
        self.events: list[Event] = []
        self.alive: set[int] = set()
        self.delay = 0.01
        self._answers: list[tuple[float, int]] = []
        addresses = [IPv6Address(f"fd00:192:{168 + n}:1::100") for n in range(count)]
        self.choice = HomeChoice(
            [(each, TIMERS) for each in addresses], self._probe, self.events.append
        )
        self.choice.attached(True, self.now)
        if bound:
            for number in range(1, count + 1):
                self.choice.registered(number, True, self.now)
            self.alive = set(range(1, count + 1))

    def _probe(self, number: int, now: float) -> None:
        self.probes.append((number, now))
        if number in self.alive:
            self._answers.append((now + self.delay, number))

    def until(self, when: float) -> None:
        """Let time pass, timers and answers in their order."""
        while True:
            times = [each for each, _ in self._answers]
            if (timer := self.choice.next_timer()) is not None:
                times.append(timer)
            if not times or min(times) > when:
                break
            self.now = max(self.now, min(times))
            due = [each for each in self._answers if each[0] <= self.now]
            self._answers = [each for each in self._answers if each[0] > self.now]
            for _, number in due:
                self.choice.heard(number, False, self.now)
            self.choice.handle_timer(self.now)
        self.now = when

    def run(self, seconds: float) -> None:
        self.until(self.now + seconds)

    def sent(self, number: int = 1) -> None:
        self.choice.sent(number, self.now)

    def heard(self, number: int = 1, payload: bool = True) -> None:
        self.choice.heard(number, payload, self.now)

    def fail(self, number: int) -> None:
        """Nothing of it answers any more, and a packet was sent there."""
        self.alive.discard(number)
        self.sent(number)
        self.run(VERDICT + TICK)
        assert self.standing(number) is Standing.FAILED

    def standing(self, number: int = 1) -> Standing:
        return self.choice.standing(number)


def test_the_lowest_number_that_works_is_chosen() -> None:
    homes = Homes(3, bound=False)
    choice = homes.choice
    assert choice.chosen == 1  # nothing works: the first
    choice.registered(3, True, homes.now)
    assert choice.chosen == 3
    choice.registered(2, True, homes.now)
    assert choice.chosen == 2
    choice.registered(1, True, homes.now)
    assert choice.chosen == 1
    choice.registered(1, False, homes.now)
    assert choice.chosen == 2
    chosen = [each for each in homes.events if isinstance(each, HomeChosen)]
    assert [(each.previous, each.home) for each in chosen] == [(1, 3), (3, 2), (2, 1), (1, 2)]


def test_silence_after_a_packet_leads_to_the_verdict_in_bounded_time() -> None:
    homes = Homes()
    homes.alive = set()
    homes.sent(1)
    homes.run(TIMERS.home_silence - TICK)
    assert homes.probes == []
    homes.run(SERIES)
    assert [number for number, _ in homes.probes] == [1, 1, 1]
    assert homes.choice.chosen == 1  # suspicion moves nothing
    homes.run(2 * TICK)
    assert homes.standing(1) is Standing.FAILED
    assert homes.choice.chosen == 2
    assert homes.standing(2) is Standing.WORKING


def test_later_packets_do_not_put_the_verdict_off() -> None:
    homes = Homes()
    homes.alive = set()
    began = homes.now
    while homes.standing(1) is Standing.WORKING:
        homes.sent(1)
        homes.run(0.02)
    assert homes.now - began <= VERDICT + 0.02 + TICK


def test_who_sends_nothing_probes_nothing() -> None:
    homes = Homes()
    homes.alive = set()
    homes.run(1000)
    assert homes.probes == []
    assert homes.choice.chosen == 1


def test_one_answer_ends_the_suspicion() -> None:
    homes = Homes()
    homes.alive = set()
    homes.sent(1)
    homes.run(VERDICT - TICK)
    homes.heard(1)
    homes.run(100)
    assert homes.standing(1) is Standing.WORKING
    assert len(homes.probes) == TIMERS.home_probes
    assert not any(isinstance(each, HomeStanding) and each.standing == "failed"
                   for each in homes.events)  # fmt: skip


def test_a_flow_in_one_direction_costs_ever_fewer_probes_and_stays_bounded() -> None:
    homes = Homes()
    began = homes.now
    while homes.now < began + 60:
        homes.sent(1)
        homes.run(0.1)
    assert homes.standing(1) is Standing.WORKING
    assert 5 < len(homes.probes) < 14
    homes.alive = set()
    failed = homes.now
    while homes.standing(1) is Standing.WORKING:
        homes.sent(1)
        homes.run(0.1)
    assert homes.now - failed <= SLOWEST + 0.1 + TICK


def test_payload_makes_it_as_attentive_as_before() -> None:
    homes = Homes()
    for _ in range(600):
        homes.sent(1)
        homes.run(0.1)
    homes.heard(1)
    homes.fail(1)  # within VERDICT


def test_a_hint_brings_the_probes_forward_and_proves_nothing() -> None:
    homes = Homes()
    homes.alive = set()
    homes.sent(1)
    homes.choice.hint(1, homes.now)
    assert len(homes.probes) == 1
    [suspected] = [each for each in homes.events if isinstance(each, HomeSuspected)]
    assert (suspected.home, suspected.cause) == (1, "hint")
    homes.run(SERIES - TICK)
    assert homes.choice.chosen == 1
    homes.run(2 * TICK)
    assert homes.choice.chosen == 2


def test_hints_about_a_home_that_answers_change_nothing() -> None:
    homes = Homes()
    homes.choice.hint(1, homes.now)  # nothing is unanswered
    assert homes.probes == []
    began = homes.now
    while homes.now < began + 30:
        homes.sent(1)
        homes.choice.hint(1, homes.now)
        homes.run(0.02)
    assert homes.standing(1) is Standing.WORKING
    assert homes.choice.chosen == 1
    assert len(homes.probes) <= 30 / TIMERS.home_silence + 1


def test_the_way_back_takes_the_hold_time() -> None:
    homes = Homes()
    homes.fail(1)
    homes.run(5)
    homes.alive = {1, 2}
    homes.heard(1, payload=False)
    assert homes.standing(1) is Standing.RECOVERING
    homes.run(TIMERS.home_hold - 0.02)
    assert homes.choice.chosen == 2
    homes.run(0.04)
    assert homes.standing(1) is Standing.WORKING
    assert homes.choice.chosen == 1


def test_a_home_that_stops_answering_in_the_hold_time_is_not_chosen() -> None:
    homes = Homes()
    homes.fail(1)
    homes.heard(1, payload=False)  # once, and never again
    homes.run(TIMERS.home_hold + 1)
    assert homes.standing(1) is Standing.FAILED
    assert homes.choice.chosen == 2
    heard_at = homes.now
    homes.heard(1, payload=False)
    homes.alive = {1, 2}
    homes.until(heard_at + TIMERS.home_hold - 0.02)
    assert homes.choice.chosen == 2  # the hold time began anew
    homes.run(0.04)
    assert homes.choice.chosen == 1


def test_where_none_works_it_stays_and_takes_the_first_that_recovers() -> None:
    homes = Homes()
    homes.fail(1)
    assert homes.choice.chosen == 2
    homes.fail(2)
    assert homes.choice.chosen == 2
    homes.alive = {1, 2}
    homes.heard(1, payload=False)
    assert homes.choice.chosen == 1  # recovering is better than failed
    homes.heard(2, payload=False)
    assert homes.choice.chosen == 1


def test_without_a_care_of_address_nobody_is_judged() -> None:
    homes = Homes()
    homes.alive = set()
    homes.sent(1)
    homes.run(TIMERS.home_silence + TICK)
    assert homes.probes
    homes.choice.attached(False, homes.now)
    homes.sent(1)
    homes.run(100)
    assert homes.standing(1) is Standing.WORKING
    homes.choice.attached(True, homes.now)
    homes.fail(1)


def test_a_lifetime_that_ends_in_silence_is_no_fresh_start() -> None:
    homes = Homes()
    homes.fail(1)
    homes.choice.registered(1, False, homes.now)
    assert homes.standing(1) is Standing.FAILED
    homes.choice.registered(1, True, homes.now)
    assert homes.standing(1) is Standing.RECOVERING


# Histories

steps = st.lists(
    st.tuples(
        st.sampled_from(
            ("sent", "heard", "acknowledged", "hint", "die", "live", "bound", "unbound", "attach",
             "detach", "wait")
        ),
        st.integers(1, 3),
        st.floats(0, 3),
    ),
    max_size=60,
)  # fmt: skip


@given(steps)
def test_any_history(history: list[tuple[str, int, float]]) -> None:
    homes = Homes(3)
    choice = homes.choice
    for what, number, seconds in history:
        before, told = choice.chosen, len(homes.events)
        match what:
            case "sent":
                homes.sent(number)
            case "heard" | "acknowledged":
                homes.heard(number, what == "heard")
            case "hint":
                choice.hint(number, homes.now)
            case "die":
                homes.alive.discard(number)
            case "live":
                homes.alive.add(number)
            case "bound" | "unbound":
                choice.registered(number, what == "bound", homes.now)
            case "attach" | "detach":
                choice.attached(what == "attach", homes.now)
            case "wait":
                homes.run(seconds)
        working = [n for n in (1, 2, 3) if homes.standing(n) is Standing.WORKING]
        if working:
            assert choice.chosen == working[0]
        moves = [each for each in homes.events[told:] if isinstance(each, HomeChosen)]
        if choice.chosen != before:
            assert moves
            assert moves[-1].home == choice.chosen
        elif what != "wait":
            assert not moves
    # The future is bounded, whatever the past: what is sent to the dead is noticed.
    choice.attached(True, homes.now)
    homes.alive = set()
    homes.run(homes.delay + TICK)  # answers that were on their way
    for number in (1, 2, 3):
        homes.sent(number)
    homes.run(SLOWEST + TIMERS.home_hold + VERDICT)
    assert all(homes.standing(n) in (Standing.FAILED, Standing.NONE) for n in (1, 2, 3))


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 2)), max_size=60), st.floats(0.001, 0.29))
def test_who_answers_in_time_never_fails(events: list[tuple[bool, float]], delay: float) -> None:
    """Whatever is sent, heard or hinted at: a home that answers probes keeps its standing."""
    homes = Homes()
    homes.delay = delay
    for hint, seconds in events:
        homes.sent(1)
        if hint:
            homes.choice.hint(1, homes.now)
        homes.run(seconds)
    assert homes.standing(1) is Standing.WORKING
    assert homes.choice.chosen == 1


@pytest.mark.parametrize("standing", Standing)
def test_every_standing_takes_every_event(standing: Standing) -> None:
    assert set(STANDING_TRANSITIONS[standing]) == set(StandingEvent)
