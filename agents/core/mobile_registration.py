"""The life cycle of a mobile node's home registration, as data: state → trigger → transition.

The draft leaves it to Mobile IPv6: RFC 6275 §11.7.1 (sending), §11.7.3 (acknowledgements),
§11.8 (retransmission). `BindingUpdateList` owns the timers and drives this table.
"""

from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    """Where the home registration stands."""

    NONE = "none"
    """Not wanted: before `start`, or after deregistration."""
    WAITING = "waiting"
    """Wanted, but there is no care-of address, and no binding at the home agent."""
    REGISTERING = "registering"
    """A Binding Update is on its way; no binding is known to exist."""
    REFUSED = "refused"
    """The home agent refused; another try follows after the back-off."""
    BOUND = "bound"
    REFRESHING = "refreshing"
    """Bound, and a further Binding Update is on its way (refresh or movement)."""
    HOLDING = "holding"
    """Bound until the lifetime ends, although the last Binding Update was refused."""
    DETACHED = "detached"
    """Bound, but the care-of address is gone."""
    DEREGISTERING = "deregistering"
    """A Binding Update with lifetime 0 is on its way."""


class Trigger(StrEnum):
    """What can happen to it."""

    START = "start"
    """The verb: a registration is wanted, now where that makes sense."""
    ATTACHED = "attached"
    """Another care-of address became the active one."""
    DETACHED = "detached"
    """No care-of address is left."""
    UPDATE_DUE = "update-due"
    """Refresh time, end of a back-off, or a Binding Refresh Request."""
    TIMEOUT = "timeout"
    """No acknowledgement in time."""
    ACCEPTED = "accepted"
    REFUSED = "refused"
    RENUMBERED = "renumbered"
    """Status 135: the home agent named the last sequence number that it accepted."""
    EXPIRED = "expired"
    """The binding's lifetime ended."""
    DEREGISTER = "deregister"
    """The verb: the registration is no longer wanted."""


class Transition(NamedTuple):
    """The next state, and whether a Binding Update is sent."""

    state: State
    send: bool = False


class IllegalTrigger(Exception):  # noqa: N818 - it names the trigger, as h11's errors do
    """A trigger that cannot occur in this state: a bug of the caller, never of a packet."""


AWAITING = frozenset({State.REGISTERING, State.REFRESHING, State.DEREGISTERING})
"""States in which an acknowledgement is outstanding and the retransmission timer runs."""

HOLDS_BINDING = frozenset({State.BOUND, State.REFRESHING, State.HOLDING, State.DETACHED})
"""States in which the home agent is known to hold a binding of ours."""

BACKING_OFF = frozenset({State.REFUSED, State.HOLDING})
"""States in which a refusal is waited out."""

_REGISTER = Transition(State.REGISTERING, send=True)
_REFRESH = Transition(State.REFRESHING, send=True)
_DEREGISTER = Transition(State.DEREGISTERING, send=True)

TRANSITIONS: dict[State, dict[Trigger, Transition]] = {
    State.NONE: {
        Trigger.START: Transition(State.WAITING),
        Trigger.ATTACHED: Transition(State.NONE),
        Trigger.DETACHED: Transition(State.NONE),
        Trigger.UPDATE_DUE: Transition(State.NONE),
        Trigger.DEREGISTER: Transition(State.NONE),
    },
    State.WAITING: {
        Trigger.START: Transition(State.WAITING),
        Trigger.ATTACHED: _REGISTER,
        Trigger.DETACHED: Transition(State.WAITING),
        Trigger.UPDATE_DUE: Transition(State.WAITING),
        Trigger.DEREGISTER: Transition(State.NONE),
    },
    State.REGISTERING: {
        Trigger.START: _REGISTER,
        Trigger.ATTACHED: _REGISTER,
        Trigger.DETACHED: Transition(State.WAITING),
        Trigger.UPDATE_DUE: _REGISTER,
        Trigger.TIMEOUT: _REGISTER,
        Trigger.ACCEPTED: Transition(State.BOUND),
        Trigger.REFUSED: Transition(State.REFUSED),
        Trigger.RENUMBERED: _REGISTER,
        Trigger.DEREGISTER: _DEREGISTER,
    },
    State.REFUSED: {
        Trigger.START: _REGISTER,
        Trigger.ATTACHED: _REGISTER,
        Trigger.DETACHED: Transition(State.WAITING),
        Trigger.UPDATE_DUE: _REGISTER,
        Trigger.ACCEPTED: Transition(State.BOUND),
        Trigger.REFUSED: Transition(State.REFUSED),
        Trigger.RENUMBERED: Transition(State.REFUSED),
        Trigger.DEREGISTER: Transition(State.NONE),
    },
    State.BOUND: {
        Trigger.START: Transition(State.BOUND),
        Trigger.ATTACHED: _REFRESH,
        Trigger.DETACHED: Transition(State.DETACHED),
        Trigger.UPDATE_DUE: _REFRESH,
        # Answers to the remaining retransmissions of an update that is acknowledged already.
        Trigger.ACCEPTED: Transition(State.BOUND),
        Trigger.REFUSED: Transition(State.HOLDING),
        Trigger.RENUMBERED: Transition(State.BOUND),
        Trigger.EXPIRED: _REGISTER,
        Trigger.DEREGISTER: _DEREGISTER,
    },
    State.REFRESHING: {
        Trigger.START: Transition(State.REFRESHING),
        Trigger.ATTACHED: _REFRESH,
        Trigger.DETACHED: Transition(State.DETACHED),
        Trigger.UPDATE_DUE: _REFRESH,
        Trigger.TIMEOUT: _REFRESH,
        Trigger.ACCEPTED: Transition(State.BOUND),
        Trigger.REFUSED: Transition(State.HOLDING),
        Trigger.RENUMBERED: _REFRESH,
        # The retransmission timer runs on.
        Trigger.EXPIRED: Transition(State.REGISTERING),
        Trigger.DEREGISTER: _DEREGISTER,
    },
    State.HOLDING: {
        Trigger.START: _REFRESH,
        Trigger.ATTACHED: _REFRESH,
        Trigger.DETACHED: Transition(State.DETACHED),
        Trigger.UPDATE_DUE: _REFRESH,
        Trigger.ACCEPTED: Transition(State.BOUND),
        Trigger.REFUSED: Transition(State.HOLDING),
        Trigger.RENUMBERED: Transition(State.HOLDING),
        Trigger.EXPIRED: Transition(State.REFUSED),
        Trigger.DEREGISTER: _DEREGISTER,
    },
    State.DETACHED: {
        Trigger.START: Transition(State.DETACHED),
        Trigger.ATTACHED: _REFRESH,
        Trigger.DETACHED: Transition(State.DETACHED),
        Trigger.UPDATE_DUE: Transition(State.DETACHED),
        Trigger.EXPIRED: Transition(State.WAITING),
        # Nothing can be sent: the binding ends with its lifetime.
        Trigger.DEREGISTER: Transition(State.NONE),
    },
    State.DEREGISTERING: {
        Trigger.START: _REGISTER,
        Trigger.ATTACHED: _DEREGISTER,
        Trigger.DETACHED: Transition(State.NONE),
        Trigger.UPDATE_DUE: Transition(State.DEREGISTERING),
        Trigger.TIMEOUT: _DEREGISTER,
        Trigger.ACCEPTED: Transition(State.NONE),
        # Also status 133: the home agent has no such binding any more.
        Trigger.REFUSED: Transition(State.NONE),
        Trigger.RENUMBERED: _DEREGISTER,
        Trigger.EXPIRED: Transition(State.NONE),
        Trigger.DEREGISTER: Transition(State.DEREGISTERING),
    },
}


def next_transition(state: State, trigger: Trigger) -> Transition:
    """Return the transition; raise `IllegalTrigger` where the table has none."""
    try:
        return TRANSITIONS[state][trigger]
    except KeyError:
        raise IllegalTrigger(f"{trigger} cannot happen while {state}") from None
