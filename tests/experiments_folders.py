"""Run folders as an experiment would write them, for tests of what reads them."""

from __future__ import annotations

import random
from pathlib import Path

from experiments import failover_summary, parameters, renewal_summary
from experiments.data import (
    EXCHANGES,
    GOODPUT,
    PACKETS,
    PHASES,
    RENEWALS,
    STREAMS,
    TAKEOVERS,
    TRIALS,
    EventName,
)
from experiments.parameters import Known
from experiments.run import RunFolder

FAULTS = ("agent-kill", "agent-hang", "agent-restart", "node-silent", "link-cut")
DETECTIONS = ("bfd-10x3", "bfd-50x3", "ospf-1-4")
KNOWN = Known(("single_as",), 3, 1, {"FAULT": FAULTS, "DETECTION": DETECTIONS})


def typical_outage(fault: str, detection: str, chance: random.Random) -> float:
    """About as long as the design's sketch saw it, in ms."""
    if fault == "node-silent":
        wait = {"bfd-10x3": 25.0, "bfd-50x3": 120.0, "ospf-1-4": 3000.0}[detection]
        return wait + chance.uniform(8, 40 if wait < 1000 else 900)
    base = {"agent-kill": 20.0, "agent-hang": 55.0, "agent-restart": 22.0, "link-cut": 14.0}
    return base[fault] + chance.uniform(0, 14)


def failover_folder(results: Path, trials: int = 6, seed: int = 1) -> Path:
    """Write a complete failover run with made-up numbers."""
    chance = random.Random(seed)
    folder = RunFolder.create("failover", parameters.parse(KNOWN, [], {}), results)
    number = 0
    with folder:
        for _ in range(trials):
            for detection in DETECTIONS:
                for fault in FAULTS:
                    number += 1
                    _trial(folder, number, fault, detection, chance, number <= 15)
        folder.event(EventName.RUN_END, state="complete")
        folder.summary(failover_summary.rows(folder.path, {"bfd-10x3": [6.5]}))
        folder.complete()
    return folder.path


def _trial(
    folder: RunFolder, trial: int, fault: str, detection: str, chance: random.Random, first: bool
) -> None:
    cell = {
        "scheme": "shared-sa",
        "topology": "single_as",
        "fault": fault,
        "detection": detection,
        "trial": trial,
    }
    folder.row(TRIALS, **cell, state="valid", fault_time_ns=10**9, injection_ms=0.4, load=1.0,
               phase_ms=100.0, resynchronised_first=True, binding_updates=0, sa_messages=0,
               ike_exchanges=0)  # fmt: skip
    base = typical_outage(fault, detection, chance)
    for direction, correspondent, role, outage in (
        ("up", "cn1", "affected", base + chance.uniform(0, 2)),
        ("down", "cn1", "affected", base + chance.uniform(0, 4)),
        ("down", "cn2", "bystander", 0.0),
    ):
        folder.row(STREAMS, **cell, direction=direction, correspondent=correspondent, role=role,
                   outage_ms=outage, lost_packets=round(outage), late_packets=0,
                   duplicated_packets=0, reordered_packets=0, longest_gap_ms=outage + 1,
                   delay_before_ms=0.5,
                   delay_after_ms=0.6, failback_lost_packets=0, failback_reordered_packets=0,
                   failback_longest_gap_ms=1.2)  # fmt: skip
        if first:
            for n in range(-20, int(base * 1.5) + 30):
                sent = n + 0.3
                alive = role == "bystander" or not 0 <= sent < outage
                folder.row(PACKETS, **cell, direction=direction, correspondent=correspondent,
                           sequence=n + 1000, sent_ms=sent,
                           arrived_ms=sent + 0.5 if alive else None)  # fmt: skip
    for phase, share in (("detected", 0.4), ("withdrawn", 0.55), ("fib-changed", 0.85),
                         ("first-packet", 1.02), ("peers-in-sync", 7.0)):  # fmt: skip
        folder.row(PHASES, **cell, phase=phase, after_fault_ms=base * share)


def throughput_folder(results: Path, seed: int = 1) -> Path:
    """Write a complete throughput run with made-up numbers."""
    chance = random.Random(seed)
    folder = RunFolder.create("throughput", parameters.parse(Known(("single_as",), 3, 1), [], {}),
                              results)  # fmt: skip
    number = 0
    with folder:
        for _ in range(3):
            for mode, path, direction, agents, cap, rate in (
                ("none", "raw", "down", 0, None, 9000), ("none", "raw", "up", 0, None, 9400),
                ("hardened", "tunnel", "down", 1, None, 420), ("hardened", "tunnel", "up", 1, None,
                390), ("draft", "tunnel", "down", 1, None, 430), ("draft", "tunnel", "up", 1, None,
                410),
                *((mode, "aggregate", "down", n, 50.0, 46 * n) for mode in ("hardened", "draft")
                  for n in (1, 2, 3)),
                *(("draft-no-origin", "aggregate", "down", n, 50.0, 46 * n ** 0.2)
                  for n in (1, 2, 3)),
            ):  # fmt: skip
                number += 1
                folder.row(GOODPUT, trial=number, topology="single_as", mode=mode, path=path,
                           direction=direction, home_agents=agents, detection="bfd-50x3",
                           cap_mbit_s=cap,
                           goodput_mbit_s=rate * chance.uniform(0.95, 1.05), retransmits=3,
                           replay_drops=0, seconds=4.0)  # fmt: skip
        folder.summary([])
        folder.complete()
    return folder.path


RENEWAL_MS = {"registration": 40.0, "update-mn": 1.6, "update-ha": 0.9, "update-peers": 2.0}


def renewal_folder(results: Path, seed: int = 1, lost: int = 0, ike: int = 0) -> Path:
    """Write a complete renewal run with made-up numbers.

    `lost`: packets that one disturbed renewal of the draft loses; `ike`: exchanges of a failover.
    """
    chance = random.Random(seed)
    folder = RunFolder.create("renewal", parameters.parse(Known(("single_as",), 3, 1), [], {}),
                              results)  # fmt: skip
    with folder:
        for trial in range(1, 7):
            mode = "hardened" if trial <= 3 else "draft"
            common = {"trial": trial, "topology": "single_as", "mode": mode}
            takes_over = {"takeover": 1.1} if mode == "hardened" else {}
            for name, base in {**RENEWAL_MS, **takes_over}.items():
                folder.row(EXCHANGES, **common, exchange=name, undisturbed=True,
                           duration_ms=base * chance.uniform(0.8, 1.5))  # fmt: skip
            calm = trial != 6
            for cause in ("asked", "new-primary", "numbers")[:: 1 if takes_over else 2]:
                for name, base in (("renewed", 15.0), ("deleted", 2520.0)):
                    took = base * chance.uniform(1, 1.1) * (1 if calm else 9)
                    folder.row(EXCHANGES, **common, exchange=name, cause=cause, duration_ms=took,
                               undisturbed=calm)  # fmt: skip
                for flow, (direction, other) in enumerate(
                    (("down", "cn1"), ("up", "cn1"), ("down", "cn2")), 1
                ):
                    gone = 0 if calm or flow > 1 else lost
                    folder.row(RENEWALS, **common, cause=cause, primary="HA1", direction=direction,
                               correspondent=other, flow=flow, renewals_begun=1, sent_packets=2700,
                               lost_packets=gone, duplicated_packets=0, reordered_packets=0,
                               longest_gap_ms=2.0 if calm else 90.0, sender_pause_ms=1.2,
                               undisturbed=calm)  # fmt: skip
            if takes_over:
                folder.row(TAKEOVERS, **common, home_agent="HA2", ike_exchanges=ike,
                           ike_sa_inits=1)  # fmt: skip
        folder.summary(renewal_summary.rows(folder.path))
        folder.complete()
    return folder.path
