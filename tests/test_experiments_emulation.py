"""The failover experiment on the real topology: a small run and its capture."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from people import Person, ordinary_user

from experiments import data

pytestmark = [pytest.mark.emulation, pytest.mark.timeout(400)]

RUN = [sys.executable, "-m", "experiments.failover"]
SMALL = ["FAULT=agent-kill,link-cut", "DETECTION=bfd-50x3", "TRIALS=1", "CAPTURE=1"]
BETWEEN = ["TOPO=multi_as", "FAULT=as-cut,ha-partition", "TRIALS=1", "SET=delays=off"]
FORBIDDEN = "mip6.mhtype == 5 || mip6.mhtype == 6 || isakmp || ipv6.opt.type == 0xc9"
"""Binding Update and Acknowledgement (decrypted), IKE, a Home Address option (in the clear)."""


@dataclass(frozen=True)
class Run:
    """A finished run."""

    folder: Path
    output: str

    def table(self, table: data.Table) -> list[dict[str, Any]]:
        return data.read_table(self.folder, table)


@pytest.fixture(scope="module")
def somebody() -> Iterator[Person]:
    with ordinary_user() as person:
        yield person


@pytest.fixture(scope="module")
def small(somebody: Person, no_sandbox_because: str) -> Run:
    """A run of two cells as an ordinary user."""
    return run(somebody, SMALL, no_sandbox_because)


@pytest.fixture(scope="module")
def between(somebody: Person, no_sandbox_because: str) -> Run:
    """A run of two cells on Figure 2."""
    return run(somebody, BETWEEN, no_sandbox_because)


def run(somebody: Person, arguments: list[str], no_sandbox_because: str) -> Run:
    """Run the experiment as somebody."""
    if no_sandbox_because:
        pytest.skip(no_sandbox_because)
    results = somebody.home / "results"
    done = somebody.run([*RUN, *arguments], timeout=300, env={"MANYHOMES_RESULTS": str(results)})
    assert done.returncode == 0, done.stdout + done.stderr
    return Run((results / "latest-failover").resolve(), done.stdout)


def test_the_run_is_whole_and_fits_the_schema(small: Run) -> None:
    meta = data.read_meta(small.folder)
    assert (meta["state"], meta["parameters"]["fault"]) == ("complete", ["agent-kill", "link-cut"])
    with (small.folder / "events.jsonl").open() as lines:
        names = [(record := json.loads(line), data.check_event(record))[0]["event"]
                 for line in lines]  # fmt: skip
    assert (names[0], names[-1]) == ("run-begin", "run-end")
    assert {"network-ready", "fault", "route", "agent", "recovered", "repair"} <= set(names)
    for name in ("outage", "timeline"):
        for suffix in ("png", "svg"):
            assert (small.folder / "plots" / f"{name}.{suffix}").stat().st_size > 10_000
    assert list((small.folder / "raw").glob("*/mn.received.gz"))
    assert (small.folder / "logs" / "r1" / "ospf6d.log").exists()
    assert "agent-kill" in small.output


def test_both_cells_have_both_directions(small: Run) -> None:
    summary = data.read_summary(small.folder)
    outages = {
        (r["conditions"]["fault"], r["conditions"]["direction"]): r
        for r in summary
        if r["metric"] == "outage"
    }
    assert set(outages) == {(f, d) for f in ("agent-kill", "link-cut") for d in ("up", "down")}
    for row in outages.values():
        assert 0 <= row["max"] < 15_000


def test_what_the_fault_does_not_touch_loses_nothing(small: Run) -> None:
    rows = [row for row in small.table(data.STREAMS) if row["role"] == "bystander"]
    assert rows
    assert [row["lost_packets"] for row in rows] == [0] * len(rows)


def test_the_repaired_agent_resynchronises_before_it_advertises(small: Run) -> None:
    valid = [row for row in small.table(data.TRIALS) if row["state"] == "valid"]
    assert [row["resynchronised_first"] for row in valid] == [True, True]


def test_every_phase_is_between_fault_and_repair(small: Run) -> None:
    """Their order is not asked for: routing, peers and packets go each at its own pace."""
    for trial in {row["trial"] for row in small.table(data.PHASES)}:
        times = {
            row["phase"]: row["after_fault_ms"]
            for row in small.table(data.PHASES)
            if row["trial"] == trial
        }
        assert {"detected", "withdrawn", "fib-changed", "first-packet", "peers-in-sync"} <= set(
            times
        )
        lasted = (moment(small, trial, "repair") - moment(small, trial, "fault")) / 1e6
        assert all(0 <= time <= lasted for time in times.values()), (times, lasted)


def test_summary_and_figures_come_from_the_folder_alone(small: Run) -> None:
    outages = {row["outage_ms"] for row in small.table(data.STREAMS)}
    told = {row["max"] for row in data.read_summary(small.folder) if row["metric"] == "outage"}
    assert told <= {round(outage, 6) for outage in outages}


def test_a_run_on_figure_2_has_the_same_tables(between: Run) -> None:
    summary = data.read_summary(between.folder)
    found = {
        (r["metric"], r["conditions"]["fault"], r["conditions"].get("direction")): r
        for r in summary
        if "fault" in r["conditions"]
    }
    for fault in ("as-cut", "ha-partition"):
        for direction in ("up", "down"):
            assert found["outage", fault, direction]["n"] == 1
        assert found["signalling", fault, None]["max"] == 0
    assert found["carrier_seen", "as-cut", None]["min"] == 1
    assert "both ends of a cut link saw its carrier go in every trial" in between.output
    names = {row["phase"] for row in between.table(data.PHASES) if row["fault"] == "as-cut"}
    assert {"detected", "withdrawn", "fib-changed", "first-packet", "peers-in-sync"} <= names
    for name in ("outage", "timeline"):
        assert (between.folder / "plots" / f"{name}.png").stat().st_size > 10_000


def test_a_partition_loses_nothing_and_heals_into_one_view(between: Run) -> None:
    streams = [row for row in between.table(data.STREAMS) if row["fault"] == "ha-partition"]
    assert {row["role"] for row in streams} == {"affected"}
    assert [row["lost_packets"] + row["failback_lost_packets"] for row in streams] == 3 * [0]
    (trial,) = [row for row in between.table(data.TRIALS)
                if row["fault"] == "ha-partition" and row["state"] == "valid"]  # fmt: skip
    assert 0 <= trial["agreement_ms"] < 10_000
    assert trial["carrier_at_both_ends"] is None


def tshark(folder: Path, capture: Path, condition: str) -> list[list[str]]:
    """Return frame time and SPI of the decrypted packets that meet a display filter."""
    profile = folder / "wireshark"
    profile.mkdir(exist_ok=True)
    (profile / "esp_sa").write_text((folder / "esp_sa").read_text())
    done = subprocess.run(
        ["tshark", "-r", str(capture), "-o", "esp.enable_encryption_decode:TRUE", "-Y", condition,
         "-T", "fields", "-E", "separator=,", "-e", "frame.time_epoch", "-e", "esp.spi"],
        capture_output=True, text=True, check=True,
        env={"WIRESHARK_CONFIG_DIR": str(profile), "PATH": "/usr/bin:/bin", "HOME": str(folder)},
    )  # fmt: skip
    return list(csv.reader(done.stdout.splitlines()))


def moment(run: Run, trial: int, event: str) -> int:
    """Return when an event of a trial was: CLOCK_MONOTONIC, ns."""
    with (run.folder / "events.jsonl").open() as lines:
        records = [json.loads(line) for line in lines]
    (time_ns,) = [r["time_ns"] for r in records if r["event"] == event and r.get("trial") == trial]
    return int(time_ns)


def epoch(run: Run, trial: int, event: str) -> float:
    """Return the same on the captures' clock."""
    return time.time() - (time.monotonic_ns() - moment(run, trial, event)) / 1e9


def test_a_failover_causes_no_exchange_and_no_new_sa_on_the_wire(small: Run) -> None:
    """I8: no BU, no IKE, no SPI that was not there before; the packets themselves are seen."""
    for row in small.table(data.TRIALS):
        if row["state"] != "valid":
            continue
        (capture,) = (small.folder / "captures").glob(f"{row['trial']:04}-mn.pcapng")
        folder = capture.parent
        fault = epoch(small, row["trial"], "fault")
        probes = tshark(folder, capture, "esp && udp.port == 7000")
        before = {spi for seen, spi in probes if float(seen) < fault}
        after = {spi for seen, spi in probes if float(seen) > fault}
        assert len(before) == 2, "one SA each way, decrypted"
        assert after == before
        assert tshark(folder, capture, FORBIDDEN) == []
        assert (row["binding_updates"], row["sa_messages"], row["ike_exchanges"]) == (0, 0, 0)


def test_the_filter_finds_a_registration_where_there_is_one(
    sandbox: Callable[..., Any], tmp_path: Path
) -> None:
    done = sandbox([sys.executable, "-m", "tests.failover_captures", str(tmp_path)], timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    captures = tmp_path / "latest-failover" / "captures"
    (capture,) = captures.glob("*-mn.pcapng")
    assert tshark(captures, capture, f"({FORBIDDEN}) && isakmp")
    assert tshark(captures, capture, "mip6.mhtype == 5 && esp"), "a Binding Update, decrypted"
