"""What the results are held against, in one place."""

from __future__ import annotations

from collections.abc import Mapping

OUTAGE_MS: Mapping[str, float] = {
    "agent-kill": 50.0,
    "agent-hang": 100.0,
    "node-silent": 50.0,
    "link-cut": 50.0,
}
"""95th percentile of the outage in ms, by fault, with the fastest detection."""

FAST_DETECTION = "bfd-10x3"
LOCAL_FAULTS = frozenset({"agent-kill", "agent-hang"})
"""Faults that the failed node itself notices: any detection setting shall meet their target."""

BYSTANDER_LOST = 0.0
FAILBACK_LOST = 0.0
SIGNALLING = 0.0
READY_S = 9.0
TUNNEL_GOODPUT_MBIT_S = 400.0

EXCHANGE_MS: Mapping[str, float] = {
    "registration": 100.0,
    "update-mn": 5.0,
    "update-ha": 5.0,
    "update-peers": 10.0,
    "takeover": 10.0,
}
"""95th percentile of what the renewal experiment times, in ms."""

RENEWAL_LOST = 0.0
RENEWALS_BEGUN = 1.0
FAILOVER_IKE = 0.0


OPTIMISATION_LOST = 0.0
OPTIMISATION_CHANGES = 0.0
"""While the busier correspondent alternates: hysteresis and hold time keep roles and choices."""


def outage_target(fault: str, detection: str) -> float | None:
    """Return the target of a cell of the failover experiment, None if it has none."""
    if detection != FAST_DETECTION and fault not in LOCAL_FAULTS:
        return None
    return OUTAGE_MS.get(fault)
