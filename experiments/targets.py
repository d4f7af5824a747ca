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

AS_OUTAGE_MS: Mapping[str, float] = {"as-loss": 400.0}
"""The same in Figure 2, with the detection of AS_DETECTION."""

AS_DETECTION = "bfd-50x3"
NOTHING_LOST = frozenset({"ha-partition"})
"""Faults that may cost no packet: routing and the tunnels stand."""

AGREEMENT_MS: Mapping[str, float] = {"ha-partition": 650.0}
"""Invariant I3 in Figure 2: after a heal all home agents agree within 500 ms and three round trips
between the ASes, of 48 ms each (`agents.core.failure_detection.agreement_bound`)."""

BYSTANDER_LOST = 0.0
FAILBACK_LOST = 0.0
SIGNALLING = 0.0
READY_S: Mapping[str, float] = {"single_as": 9.0, "multi_as": 12.0}
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

SIEGE_RATIO = 5.0
"""The median time from Binding Update to Acknowledgement under siege, by the idle one."""

SIEGE_GAP_MS = 1000.0
"""Between two arrivals of an established flow: what is longer is a flow that was cut."""

SIEGE_SESSIONS_LOST = 0.0


def outage_target(topology: str, fault: str, detection: str) -> float | None:
    """Return the target of a cell of the failover experiment, None if it has none."""
    if topology == "multi_as":
        return AS_OUTAGE_MS.get(fault) if detection == AS_DETECTION else None
    if detection != FAST_DETECTION and fault not in LOCAL_FAULTS:
        return None
    return OUTAGE_MS.get(fault)


def is_headline(topology: str, fault: str, detection: str) -> bool:
    """Return whether a cell's percentile is what its target is about: many trials pay there."""
    fast = AS_DETECTION if topology == "multi_as" else FAST_DETECTION
    return detection == fast and outage_target(topology, fault, detection) is not None
