"""Every life cycle is a table; every (state, event) pair is walked."""

from enum import StrEnum

import pytest

from agents.core.binding_cache import BINDING_TRANSITIONS, BindingEvent, BindingState
from agents.core.home_choice import STANDING_TRANSITIONS, Standing, StandingEvent
from agents.core.ike.states import (
    CHILD_TRANSITIONS,
    IKE_TRANSITIONS,
    LARVAL,
    ChildState,
    ChildTrigger,
    IkeState,
    IkeTrigger,
)
from agents.core.peers import PEER_TRANSITIONS, VALID, PeerEvent, PeerState
from agents.core.security_associations import SA_TRANSITIONS, SaEvent, SaState

TABLES = {
    "binding": (BINDING_TRANSITIONS, BindingState, BindingEvent, BindingState.NONE),
    "peer": (PEER_TRANSITIONS, PeerState, PeerEvent, PeerState.UNKNOWN),
    "sa": (SA_TRANSITIONS, SaState, SaEvent, SaState.LARVAL),
    "home": (STANDING_TRANSITIONS, Standing, StandingEvent, Standing.NONE),
    "ike": (IKE_TRANSITIONS, IkeState, IkeTrigger, IkeState.INIT_SENT),
    "ike-child": (CHILD_TRANSITIONS, ChildState, ChildTrigger, ChildState.INSTALLED),
}


@pytest.mark.parametrize("name", TABLES)
def test_every_state_is_reached_and_nothing_else(name: str) -> None:
    table, states, events, first = TABLES[name]
    assert set(table) == set(states)
    reached: set[StrEnum] = {first}
    if name == "ike":
        reached.add(IkeState.HALF_OPEN)  # where the other end begins
    open_states = list(reached)
    while open_states:
        for event, state in table[open_states.pop()].items():  # type: ignore[index]
            assert event in set(events)
            assert state in set(states)
            if state not in reached:
                reached.add(state)
                open_states.append(state)
    assert reached == set(states)


def test_peers_answer_every_event_in_every_state() -> None:
    for state in PeerState:
        assert set(PEER_TRANSITIONS[state]) == set(PeerEvent)
        # A restart always needs a new table, silence always ends in invalid.
        assert PEER_TRANSITIONS[state][PeerEvent.RESTARTED] is PeerState.RESYNC
        assert PEER_TRANSITIONS[state][PeerEvent.MISSED_OUT] is PeerState.INVALID
    assert PeerState.INVALID not in VALID


def test_dead_associations_stay_dead() -> None:
    assert SA_TRANSITIONS[SaState.DEAD] == {}
    for state in (SaState.LARVAL, SaState.MATURE, SaState.DYING):
        assert SA_TRANSITIONS[state][SaEvent.DELETED] is SaState.DEAD


def test_what_has_ended_stays_ended_and_anything_can_end() -> None:
    for state in IkeState:
        ends = IKE_TRANSITIONS[state].get(IkeTrigger.ENDED)
        assert ends is (None if state is IkeState.DEAD else IkeState.DEAD)
        # Nobody is believed without proof, and nothing established begins anew.
        assert (IkeTrigger.RETRIED in IKE_TRANSITIONS[state]) <= (state in LARVAL)
    for child in ChildState:
        gone = CHILD_TRANSITIONS[child].get(ChildTrigger.DELETED)
        assert gone is (None if child is ChildState.GONE else ChildState.GONE)
    assert ChildTrigger.REKEY not in CHILD_TRANSITIONS[ChildState.REKEYED]
