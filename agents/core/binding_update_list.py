"""The Binding Update List: the home registration with its sequence numbers and timers.

RFC 6275 §11.1 keeps an entry for each destination of Binding Updates; here that is the home agent
address alone. The life cycle is the table in `mobile_registration`; this is what acts on it.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address

from agents.config import MobileNodeTimers
from agents.core.counters import Dropped
from agents.core.events import Event
from agents.core.mobile_events import (
    RegistrationAcknowledged,
    RegistrationEnded,
    RegistrationRefused,
    RegistrationRenumbered,
    RegistrationSent,
)
from agents.core.mobile_registration import (
    AWAITING,
    BACKING_OFF,
    HOLDS_BINDING,
    State,
    Trigger,
    next_transition,
)
from agents.core.timers import Timer, TimerQueue

LIFETIME_UNIT = 4
"""Seconds; the unit of lifetimes and refresh intervals on the wire (RFC 6275 §6.1.7, §6.2.4)."""

MAX_LIFETIME_UNITS = 0xFFFF

REFRESH_SHARE = 0.75
"""Where the home agent advises nothing: refresh after this share of the lifetime, which leaves
time for retransmissions."""

MAX_OUTSTANDING = 16
"""Binding Updates whose acknowledgement is still recognised, retransmissions included."""

SEQUENCE_OUT_OF_WINDOW = 135
FIRST_REFUSAL = 128


@dataclass(frozen=True, slots=True)
class Update:
    """A Binding Update as sent: `lifetime` in units of 4 s (0 deregisters), `sent` in seconds."""

    sequence: int
    lifetime: int
    care_of_address: IPv6Address
    sent: float


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What the list needs of a Binding Acknowledgement; `lifetime` and `refresh` in units."""

    status: int
    sequence: int
    lifetime: int
    refresh: int | None = None


def is_newer(one: int, other: int) -> bool:
    """Whether sequence number `one` follows `other`, modulo 2^16 (RFC 6275 §9.5.1)."""
    return 0 < (one - other) & 0xFFFF < 0x8000


class HomeRegistration:
    """The home registration of one mobile node.

    `send` is called with each Binding Update that must leave now, `report` with each event.
    """

    def __init__(
        self,
        lifetime: float,
        settings: MobileNodeTimers,
        timers: TimerQueue,
        first_sequence: int,
        send: Callable[[Update], None],
        report: Callable[[Event], None],
    ) -> None:
        self.state = State.NONE
        self.care_of_address: IPv6Address | None = None
        self.expires: float | None = None
        """When the binding ends at the home agent, as far as we know."""
        self.sequence = first_sequence
        """The number last used."""
        self._units = max(1, min(int(lifetime) // LIFETIME_UNIT, MAX_LIFETIME_UNITS))
        self._settings = settings
        self._timers = timers
        self._send = send
        self._report = report
        self._outstanding: dict[int, Update] = {}
        self._sent_times: deque[float] = deque(maxlen=max(1, settings.max_updates_per_second))
        self._attempt = 0
        self._timeout = 0.0
        self._back_off = 0.0
        self._renumbered = False
        self._retransmission: Timer | None = None
        self._refresh: Timer | None = None
        self._expiry: Timer | None = None

    @property
    def bound(self) -> bool:
        """Whether the home agent holds a binding that payload may use."""
        return self.state in HOLDS_BINDING

    @property
    def attempt(self) -> int:
        """How often the Binding Update has been sent in this exchange."""
        return self._attempt

    @property
    def outstanding(self) -> tuple[Update, ...]:
        """The Binding Updates whose acknowledgement would still count."""
        return tuple(self._outstanding.values())

    # Verbs

    def start(self, now: float) -> None:
        """Register, at once where there is a care-of address, else as soon as there is one."""
        self._handle(Trigger.START, now)
        if self.state is State.WAITING and self.care_of_address is not None:
            self._handle(Trigger.ATTACHED, now)

    def deregister(self, now: float) -> None:
        """Have the binding deleted (RFC 6275 §11.7.1: lifetime 0)."""
        self._handle(Trigger.DEREGISTER, now)

    def attach(self, address: IPv6Address, now: float) -> None:
        """Make `address` the care-of address: register it at once."""
        self.care_of_address = address
        self._outstanding.clear()  # they told of another address
        self._handle(Trigger.ATTACHED, now)

    def detach(self, now: float) -> None:
        """There is no care-of address any more."""
        self.care_of_address = None
        self._outstanding.clear()
        self._handle(Trigger.DETACHED, now)

    def refresh(self, now: float) -> None:
        """The home agent asked for a Binding Update (RFC 6275 §6.1.2)."""
        self._handle(Trigger.UPDATE_DUE, now)

    def probe(self, now: float) -> None:
        """Find out whether the home agent answers, by a Binding Update (rule 14).

        One that is on its way is sent once more: its retransmissions stay as RFC 6275 §11.8 paces
        them, and MAX_UPDATE_RATE holds. A refusal that is waited out is not hurried.
        """
        if self.state is State.BOUND:
            self._handle(Trigger.UPDATE_DUE, now)
        elif self.state in (State.REGISTERING, State.REFRESHING) and not self._too_many(now):
            self._send_one(now)

    def acknowledge(self, answer: Acknowledgement, now: float) -> Update | None:
        """Process an authentic Binding Acknowledgement (RFC 6275 §11.7.3).

        Return the Binding Update that it accepts, None if it refuses. Raise `Dropped` if it
        answers none that is outstanding.
        """
        if answer.status == SEQUENCE_OUT_OF_WINDOW:
            self._renumber(answer, now)
            return None
        update = self._outstanding.get(answer.sequence)
        if update is None:
            raise Dropped("acknowledgement-unexpected")
        for sequence in [each for each in self._outstanding if not is_newer(each, answer.sequence)]:
            del self._outstanding[sequence]
        granted = min(answer.lifetime, update.lifetime)
        if answer.status >= FIRST_REFUSAL or (update.lifetime and not granted):
            self._refuse(answer, now)
            return None
        self._accept(update, answer, granted, now)
        return update

    # Acknowledgements

    def _accept(self, update: Update, answer: Acknowledgement, granted: int, now: float) -> None:
        self._back_off = 0.0
        self._handle(Trigger.ACCEPTED, now)
        self._report(
            RegistrationAcknowledged(
                care_of_address=update.care_of_address,
                sequence=answer.sequence,
                status=answer.status,
                lifetime=granted * LIFETIME_UNIT,
                delay=now - update.sent,
            )
        )
        if self.state is State.NONE:
            self._report(RegistrationEnded("deregistered"))
            return
        # Both counted from sending, so that the home agent never ends before we do (§11.7.3).
        self._set_expiry(update.sent + granted * LIFETIME_UNIT)
        advice = answer.refresh
        if advice is not None and 0 < advice < granted:
            refresh = float(advice * LIFETIME_UNIT)
        else:
            refresh = granted * LIFETIME_UNIT * REFRESH_SHARE
        self._schedule_refresh(update.sent + refresh)

    def _refuse(self, answer: Acknowledgement, now: float) -> None:
        self._handle(Trigger.REFUSED, now)
        retry = self._back_off if self.state in BACKING_OFF else 0.0
        self._report(RegistrationRefused(answer.sequence, answer.status, retry))
        if self.state is State.NONE:
            self._report(RegistrationEnded("deregistered"))

    def _renumber(self, answer: Acknowledgement, now: float) -> None:
        """Continue from the number that the home agent named; once an exchange."""
        if not self._outstanding:
            raise Dropped("acknowledgement-unexpected")
        if is_newer(self.sequence, answer.sequence):
            return  # it answers an older transmission; a newer one is on its way
        self.sequence = answer.sequence
        if self._renumbered and self.state in AWAITING:
            return  # the retransmission timer goes on: no loop at the pace of the round trip
        self._renumbered = True
        self._report(RegistrationRenumbered(answer.sequence))
        self._handle(Trigger.RENUMBERED, now)

    # Transitions

    def _handle(self, trigger: Trigger, now: float) -> None:
        before = self.state
        transition = next_transition(before, trigger)
        self.state = transition.state
        self._settle(before, trigger, now)
        if transition.send:
            self._begin(trigger, now)

    def _settle(self, before: State, trigger: Trigger, now: float) -> None:
        """Stop the timers that the new state does not have, forget what it must not match."""
        if self.state not in AWAITING:
            _cancel(self._retransmission)
        if self.state is not State.BOUND and self.state not in BACKING_OFF:
            _cancel(self._refresh)
        if trigger in (Trigger.START, Trigger.ATTACHED):
            self._back_off = 0.0
        if trigger is Trigger.REFUSED and self.state in BACKING_OFF and before not in BACKING_OFF:
            settings = self._settings
            self._back_off = min(
                self._back_off * 2 or settings.acknowledgement_timeout,
                settings.max_acknowledgement_timeout,
            )
            self._schedule_refresh(now + self._back_off)
        changed = self.state is not before
        if self.state is State.DEREGISTERING and changed:
            if self.expires is None:
                # The home agent may have accepted what it did not yet acknowledge.
                self._set_expiry(now + self._units * LIFETIME_UNIT)
            self._outstanding.clear()
        elif before is State.DEREGISTERING and changed:
            self._outstanding.clear()
        if self.state is State.NONE:
            self._outstanding.clear()
        if self.state is not State.DEREGISTERING and not self.bound:
            self.expires = None
            _cancel(self._expiry)

    def _begin(self, trigger: Trigger, now: float) -> None:
        """Send a Binding Update: the first of an exchange, or a retransmission (§11.8)."""
        settings = self._settings
        if trigger is Trigger.TIMEOUT:
            self._timeout = min(self._timeout * 2, settings.max_acknowledgement_timeout)
        else:
            first = self.state is State.REGISTERING
            self._timeout = (
                settings.first_registration_timeout if first else settings.acknowledgement_timeout
            )
            self._attempt = 0
            if trigger is not Trigger.RENUMBERED:
                self._renumbered = False
        self._transmit(now)

    def _transmit(self, now: float) -> None:
        """Send now, or as soon as MAX_UPDATE_RATE allows (RFC 6275 §12)."""
        _cancel(self._retransmission)
        if self._too_many(now):
            self._retransmission = self._timers.schedule(self._sent_times[0] + 1.0, self._transmit)
            return
        self._attempt += 1
        self._retransmission = self._timers.schedule(now + self._timeout, self._time_out)
        self._send_one(now)

    def _too_many(self, now: float) -> bool:
        times = self._sent_times
        return len(times) == times.maxlen and now < times[0] + 1.0

    def _send_one(self, now: float) -> None:
        self._sent_times.append(now)
        assert self.care_of_address is not None, f"{self.state} without a care-of address"
        self.sequence = (self.sequence + 1) & 0xFFFF
        lifetime = 0 if self.state is State.DEREGISTERING else self._units
        update = Update(self.sequence, lifetime, self.care_of_address, now)
        if len(self._outstanding) >= MAX_OUTSTANDING:
            del self._outstanding[next(iter(self._outstanding))]
        self._outstanding[update.sequence] = update
        self._report(
            RegistrationSent(
                care_of_address=update.care_of_address,
                sequence=update.sequence,
                lifetime=lifetime * LIFETIME_UNIT,
                attempt=self._attempt,
                state=self.state,
            )
        )
        self._send(update)

    # Timers

    def _time_out(self, now: float) -> None:
        self._handle(Trigger.TIMEOUT, now)

    def _schedule_refresh(self, when: float) -> None:
        _cancel(self._refresh)
        self._refresh = self._timers.schedule(when, self._update_due)

    def _update_due(self, now: float) -> None:
        self._handle(Trigger.UPDATE_DUE, now)

    def _set_expiry(self, when: float) -> None:
        self.expires = when
        _cancel(self._expiry)
        self._expiry = self._timers.schedule(when, self._expire)

    def _expire(self, now: float) -> None:
        self.expires = None
        self._report(RegistrationEnded("expired"))
        self._handle(Trigger.EXPIRED, now)


def _cancel(timer: Timer | None) -> None:
    if timer is not None:
        timer.cancel()
