"""Which home address a new flow uses, of a mobile node that has several (draft §4.2; rule 14).

New flows use the home address with the lowest number whose home registration works; flows that
exist keep theirs. Nobody tells a mobile node that all home agents of a home network are gone, so it
finds out as RFC 5534 does: what is sent and nothing heard for a while makes it probe, here by
Binding Updates, and probes without an answer are the verdict. No sockets, no clock: `probe` is
called when one is due, `report` with each event.
"""

from collections.abc import Callable, Sequence
from enum import StrEnum
from ipaddress import IPv6Address

from agents.config import MobileNodeTimers
from agents.core.events import Event
from agents.core.mobile_events import HomeChosen, HomeStanding, HomeSuspected
from agents.core.timers import Timer, TimerQueue


class Standing(StrEnum):
    """What the mobile node believes of one of its home networks."""

    NONE = "none"
    """No binding, and none that failed."""
    WORKING = "working"
    FAILED = "failed"
    """Probes had no answer. Binding Updates go on, as RFC 6275 §11.8 paces them."""
    RECOVERING = "recovering"
    """Heard again; not chosen before it has worked for the hold time."""


class StandingEvent(StrEnum):
    """What moves it from one standing to the next."""

    REGISTERED = "registered"
    """A home agent acknowledged a binding."""
    ENDED = "ended"
    """There is no binding any more: expired, refused, deregistered."""
    HEARD = "heard"
    """An authentic packet: tunnelled payload, or the acknowledgement of a Binding Update."""
    UNANSWERED = "unanswered"
    """As many probes as are sent, and nothing heard."""
    HELD = "held"
    """The hold time is over."""


STANDING_TRANSITIONS: dict[Standing, dict[StandingEvent, Standing]] = {
    Standing.NONE: {
        StandingEvent.REGISTERED: Standing.WORKING,
        StandingEvent.ENDED: Standing.NONE,
        StandingEvent.HEARD: Standing.NONE,
        StandingEvent.UNANSWERED: Standing.NONE,
        StandingEvent.HELD: Standing.NONE,
    },
    Standing.WORKING: {
        StandingEvent.REGISTERED: Standing.WORKING,
        StandingEvent.ENDED: Standing.NONE,
        StandingEvent.HEARD: Standing.WORKING,
        StandingEvent.UNANSWERED: Standing.FAILED,
        StandingEvent.HELD: Standing.WORKING,
    },
    Standing.FAILED: {
        StandingEvent.REGISTERED: Standing.RECOVERING,
        # The lifetime ends while nobody answers: that is no fresh start.
        StandingEvent.ENDED: Standing.FAILED,
        StandingEvent.HEARD: Standing.RECOVERING,
        StandingEvent.UNANSWERED: Standing.FAILED,
        StandingEvent.HELD: Standing.FAILED,
    },
    Standing.RECOVERING: {
        StandingEvent.REGISTERED: Standing.RECOVERING,
        StandingEvent.ENDED: Standing.FAILED,
        StandingEvent.HEARD: Standing.RECOVERING,
        StandingEvent.UNANSWERED: Standing.FAILED,
        StandingEvent.HELD: Standing.WORKING,
    },
}

_RANK = {
    Standing.NONE: 0,
    Standing.FAILED: 0,
    Standing.RECOVERING: 1,
    Standing.WORKING: 2,
}
_WATCHED = frozenset({Standing.WORKING, Standing.RECOVERING})


class _Home:
    """One home address and what is known of it. Times in seconds."""

    def __init__(self, number: int, address: IPv6Address, settings: MobileNodeTimers) -> None:
        self.number = number
        self.address = address
        self.settings = settings
        self.standing = Standing.NONE
        self.unanswered: float | None = None
        """When the first packet was sent after the last one was heard."""
        self.patience = settings.home_silence
        self.probes = 0
        """Probes sent without an answer; 0 outside of a series."""
        self.hinted = float("-inf")
        self.held_until = 0.0
        self.check: Timer | None = None
        self.next_probe: Timer | None = None


class HomeChoice:
    """Watches the homes of one mobile node; `chosen` is the number (from 1) for new flows."""

    def __init__(
        self,
        homes: Sequence[tuple[IPv6Address, MobileNodeTimers]],
        probe: Callable[[int, float], None],
        report: Callable[[Event], None],
    ) -> None:
        """`homes` in order of preference; `probe(number, now)` sends a Binding Update."""
        self.chosen = 1
        self._homes = [
            _Home(number, address, settings)
            for number, (address, settings) in enumerate(homes, start=1)
        ]
        self._probe = probe
        self._report = report
        self._timers = TimerQueue()
        self._attached = False

    def standing(self, number: int) -> Standing:
        """Return how a home stands."""
        return self._homes[number - 1].standing

    # What happens

    def attached(self, there: bool, now: float) -> None:
        """Learn whether there is a care-of address; without one no home is judged."""
        if there is self._attached:
            return
        self._attached = there
        for home in self._homes:
            self._forget(home)
            home.patience = home.settings.home_silence
            if home.standing is Standing.RECOVERING:
                self._expect(home, now)

    def registered(self, number: int, bound: bool, now: float) -> None:
        """Learn whether a home has a binding that payload may use."""
        event = StandingEvent.REGISTERED if bound else StandingEvent.ENDED
        self._step(self._homes[number - 1], event, now)

    def sent(self, number: int, now: float) -> None:
        """A packet left for a home that will be answered if all is well, sooner or later."""
        home = self._homes[number - 1]
        if home.unanswered is None and home.standing in _WATCHED:
            self._expect(home, now)

    def heard(self, number: int, payload: bool, now: float) -> None:
        """An authentic packet came from a home: `payload`, or an acknowledgement."""
        home = self._homes[number - 1]
        home.unanswered = None
        if payload:
            home.patience = home.settings.home_silence
        elif home.probes:
            # Who sends and is sent nothing is told apart by probes alone: ever fewer of them.
            limit = home.settings.home_silence_limit
            home.patience = min(2 * home.patience, max(limit, home.settings.home_silence))
        self._end_probing(home)
        if home.standing is Standing.WORKING:
            return
        self._step(home, StandingEvent.HEARD, now)
        if home.standing is not Standing.RECOVERING:
            return
        if now >= home.held_until:
            self._step(home, StandingEvent.HELD, now)
        else:
            self._expect(home, now)  # it has to go on showing that it lives

    def hint(self, number: int, now: float) -> None:
        """Somebody says that a home cannot be reached: probe at once, believe nothing.

        Nobody can protect such a message; it counts while a packet is unanswered, and once in
        `home_silence`.
        """
        home = self._homes[number - 1]
        if home.unanswered is None or home.probes or home.standing not in _WATCHED:
            return
        if now - home.hinted >= home.settings.home_silence:
            home.hinted = now
            self._suspect(home, "hint", now)

    def next_timer(self) -> float | None:
        """Return when `handle_timer` is due."""
        return self._timers.next_time()

    def handle_timer(self, now: float) -> None:
        """Run what is due."""
        self._timers.run(now)

    # Silence and probes

    def _expect(self, home: _Home, now: float) -> None:
        """Something has to be heard within `patience` from now."""
        if not self._attached:
            return
        home.unanswered = now
        self._schedule_check(home, now + home.patience)

    def _schedule_check(self, home: _Home, when: float) -> None:
        """One timer a home, whatever the number of packets; it may come early, never late."""
        if home.check is not None:
            if home.check.when <= when:
                return
            home.check.cancel()
        home.check = self._timers.schedule(when, lambda now: self._check(home, now))

    def _check(self, home: _Home, now: float) -> None:
        home.check = None
        if home.unanswered is None or home.probes or home.standing not in _WATCHED:
            return
        when = home.unanswered + home.patience
        if now < when:
            self._schedule_check(home, when)
        else:
            self._suspect(home, "silence", now)

    def _suspect(self, home: _Home, cause: str, now: float) -> None:
        self._report(HomeSuspected(home.number, home.address, cause))
        self._send_probe(home, now)

    def _send_probe(self, home: _Home, now: float) -> None:
        home.probes += 1
        when = now + home.settings.home_probe_interval
        home.next_probe = self._timers.schedule(when, lambda then: self._unanswered(home, then))
        self._probe(home.number, now)

    def _unanswered(self, home: _Home, now: float) -> None:
        if home.probes < home.settings.home_probes:
            self._send_probe(home, now)
            return
        self._forget(home)
        home.patience = home.settings.home_silence
        self._step(home, StandingEvent.UNANSWERED, now)

    def _end_probing(self, home: _Home) -> None:
        home.probes = 0
        if home.next_probe is not None:
            home.next_probe.cancel()
            home.next_probe = None

    def _forget(self, home: _Home) -> None:
        home.unanswered = None
        self._end_probing(home)

    # Standing and choice

    def _step(self, home: _Home, event: StandingEvent, now: float) -> None:
        before, home.standing = home.standing, STANDING_TRANSITIONS[home.standing][event]
        if home.standing is before:
            return
        if home.standing is Standing.RECOVERING:
            home.held_until = now + home.settings.home_hold
            self._timers.schedule(home.held_until, lambda then: self._hold_over(home, then))
            self._expect(home, now)
        else:
            self._forget(home)
        self._report(HomeStanding(home.number, home.address, str(home.standing), str(event)))
        self._choose()

    def _hold_over(self, home: _Home, now: float) -> None:
        """End the hold, unless it began anew, or an answer is still waited for: `heard` does it."""
        waits = home.probes or not self._attached
        if home.standing is Standing.RECOVERING and not waits and now >= home.held_until:
            self._step(home, StandingEvent.HELD, now)

    def _choose(self) -> None:
        """The lowest number that works; else one that recovers; else it stays as it is."""
        current = self._homes[self.chosen - 1]
        best = max(_RANK[each.standing] for each in self._homes)
        if best < _RANK[Standing.WORKING] and _RANK[current.standing] == best:
            return
        home = next(each for each in self._homes if _RANK[each.standing] == best)
        if home is not current:
            self.chosen = home.number
            self._report(HomeChosen(home.number, home.address, current.number))
