"""The replay experiment without a network: model, attacker's packets, records, summary, figure."""

from __future__ import annotations

import random
import re
import socket
import struct
import subprocess
import sys
from ipaddress import IPv6Address
from pathlib import Path

import pytest
from experiments_folders import REPLAY_BOUND, replay_folder

from agents.core.replay_window import ReplayWindow
from agents.runtime.egress import EgressFile
from agents.wire import ipv6
from agents.wire.destination_options import HomeAddress, OriginIp, serialize_destination_options
from agents.wire.esp import Transform, make_cipher
from experiments import attacks, data, egress, plots, replay, replay_model, replay_summary, report
from experiments.data import DataError
from experiments.parameters import ParameterError, parse
from experiments.replay_bench import Outcome
from experiments.replay_modes import MODES
from experiments.replay_traffic import Action, run_schedule, times
from experiments.run import REPOSITORY

HA, COA = IPv6Address("fd00:192:168:1::254"), IPv6Address("fd00:10:10:10::100")
HA1, HA2 = IPv6Address("fd00:1:1::1"), IPv6Address("fd00:1:2::2")
KEY = bytes(range(20))


# The model.


@pytest.mark.parametrize(
    ("rates", "loss"),
    [((1, 1), 0.5), ((2, 1), 1 / 3), ((10, 1), 1 / 11), ((1, 1, 1), 2 / 3), ((4, 2, 1), 3 / 7),
     ((5,), 0.0)],
)  # fmt: skip
def test_loss_of_naive_sharing(rates: tuple[int, ...], loss: float) -> None:
    assert replay_model.sharing_loss(rates) == pytest.approx(loss)


@pytest.mark.parametrize("rates", [(), (0, 0), (1, -1)])
def test_rates_that_are_none(rates: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="no rates"):
        replay_model.sharing_loss(rates)


def test_the_loss_is_what_a_window_makes_of_interleaved_counters() -> None:
    chance = random.Random(1)
    for shares in ((1, 1), (2, 1), (10, 1), (1, 1, 1), (4, 2, 1)):
        counters, sent, window = [0] * len(shares), 7000, []
        for _ in range(sent):
            (who,) = chance.choices(range(len(shares)), shares)
            counters[who] += 1
            window.append(counters[who])
        accepted = replay_model.taken(window, [], 1024)
        assert 1 - accepted / sent == pytest.approx(replay_model.sharing_loss(shares), abs=0.02)


def test_the_model_and_the_agents_window_agree() -> None:
    """Two hands wrote them; they must take the same numbers."""
    chance = random.Random(2)
    for _ in range(30):
        seen = [chance.randint(1, 3000) for _ in range(chance.randint(0, 40))]
        numbers = [chance.randint(1, 4000) for _ in range(60)]
        window = ReplayWindow(256)
        taken = [_takes(window, number) for number in (*sorted(seen), *numbers)]
        accepted = sum(taken[len(seen) :])
        assert replay_model.taken(numbers, seen, 256) == accepted


def _takes(window: ReplayWindow, number: int) -> bool:
    try:
        window.check(number)
    except Exception:
        return False
    window.accept(number)
    return True


@pytest.mark.parametrize(
    ("far", "counter", "sent", "lost"),
    [(2000, 100, 1000, 876), (2000, 100, 500, 500), (1000, 100, 50, 0), (1125, 100, 9, 1)],
)
def test_one_far_ahead_packet_silences(far: int, counter: int, sent: int, lost: int) -> None:
    assert replay_model.silenced(far, counter, sent, 1024) == lost
    window = ReplayWindow(1024)
    for number in (*range(1, counter + 1), far):
        window.accept(number)
    genuine = range(counter + 1, counter + sent + 1)
    assert sent - sum(_takes(window, number) for number in genuine) == lost


def test_what_floors_leave_open_and_their_bound() -> None:
    assert replay_model.left_open(range(1, 561), 500) == 60
    assert replay_model.left_open(range(1, 561), 0) == 560
    assert replay_model.floor_bound(1000.0, 0.1, 0.01) == 110


def test_collisions_of_independent_counters() -> None:
    assert replay_model.counter_collisions([(100, 100, 40), (5,), ()]) == 140
    used = [n for count in (100, 100, 40) for n in range(count)]
    assert replay_model.repetitions(used) == 140


# The egress records.


@pytest.fixture
def records(tmp_path: Path) -> dict[str, list[egress.Sent]]:
    """HA1 sends 30, HA2 20 on one SA in draft mode; each 10 on another, hardened."""
    for name, count, sid in (("HA1", 30, 0x401), ("HA2", 20, 0x801)):
        file = EgressFile(tmp_path / name)
        for number in range(1, count + 1):
            file.record(0x80010003, 0, number)
        for number in range(1, 11):
            file.record(0x80010005, sid, number)
        file.record(0x02FF0001, sid, 1)  # between home agents: not asked for
        file.close()
    return {name: egress.read_egress(tmp_path / name) for name in ("HA1", "HA2")}


def test_collisions_are_counted_from_egress_records(records: dict[str, list[egress.Sent]]) -> None:
    assert egress.spis_of(records, 0x80 << 24) == [0x80010003, 0x80010005]
    draft = egress.count_numbers(records, [0x80010003])
    assert (draft.packets, draft.repeated_numbers, draft.repeated_ivs, draft.model) == (
        50, 20, 20, 20,
    )  # fmt: skip
    hardened = egress.count_numbers(records, [0x80010005])
    assert (hardened.packets, hardened.repeated_numbers, hardened.repeated_ivs) == (20, 10, 0)


def test_a_broken_record_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "egress.bin").write_bytes(bytes(30))
    with pytest.raises(DataError, match="not a whole number"):
        egress.read_egress(tmp_path / "egress.bin")
    with pytest.raises(DataError, match="No such file"):
        egress.read_egress(tmp_path / "none")


# The attacker's packets.


def tunnel_packet(origin: IPv6Address | None, number: int = 7) -> bytes:
    """A packet to the mobile node as a home agent sends it."""
    inner = ipv6.build(HA2, HA1, 59, bytes(20))
    iv = struct.pack("!HHI", 0x401, 0, number)
    sealed = make_cipher(Transform.AES_128_GCM, KEY).seal(0x80010003, number, iv, inner, ipv6.IPV6)
    if origin is None:
        return ipv6.build(HA, COA, ipv6.ESP, sealed)
    header = serialize_destination_options(ipv6.ESP, [OriginIp(origin)])
    return ipv6.build(HA, COA, ipv6.DESTINATION_OPTIONS, header + sealed)


def heard(packet: bytes) -> attacks.Heard:
    found = attacks.hear(bytes(12) + b"\x86\xdd" + packet, down=True)
    assert found is not None
    return found


@pytest.mark.parametrize("origin", [HA1, None])
def test_the_attacker_reads_a_tunnel_packet(origin: IPv6Address | None) -> None:
    packet = heard(tunnel_packet(origin, 9))
    assert (packet.spi, packet.number, packet.origin) == (0x80010003, 9, origin)
    assert packet.iv(8) == struct.pack("!HHI", 0x401, 0, 9)


def test_the_attacker_leaves_signalling_and_others_alone() -> None:
    home = serialize_destination_options(ipv6.ESP, [HomeAddress(HA1)])
    update = ipv6.build(COA, HA, ipv6.DESTINATION_OPTIONS, home + bytes(60))
    for frame in (
        b"\x86\xdd" + update, b"\x86\xdd" + ipv6.build(HA1, HA2, 58, bytes(64)),
        b"\x08\x00" + tunnel_packet(HA1), b"\x86\xdd" + tunnel_packet(HA1)[:60], b"",
    ):  # fmt: skip
        assert attacks.hear(bytes(12) + frame, down=True) is None


def test_a_copy_with_the_same_origin_is_the_packet_itself() -> None:
    packet = tunnel_packet(HA1)
    assert attacks.relabelled(heard(packet), HA1) == packet


def test_a_relabelled_copy_still_opens_and_one_with_another_sid_does_not() -> None:
    cipher = make_cipher(Transform.AES_128_GCM, KEY)
    copy = ipv6.parse(attacks.relabelled(heard(tunnel_packet(HA1)), HA2))
    assert copy.origin == HA2
    assert cipher.open(copy.payload)[1] == ipv6.IPV6
    forged = ipv6.parse(attacks.relabelled(heard(tunnel_packet(HA1)), HA2, b"\x08\x01"))
    assert forged.payload[8:10] == b"\x08\x01"
    with pytest.raises(Exception, match="ICV"):
        cipher.open(forged.payload)


def test_crafting_packets_leaves_nothing_at_home(tmp_path: Path) -> None:
    code = "from experiments import attacks; attacks.framed(bytes(40), bytes(6), bytes(6))"
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        env=environment, cwd=REPOSITORY,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_frames_go_to_a_station_from_the_attackers_own_port() -> None:
    frame = attacks.framed(b"\x60" + bytes(60), bytes(range(6)), bytes(range(6, 12)))
    assert frame[:14] == bytes(range(12)) + b"\x86\xdd"
    assert frame[14:] == b"\x60" + bytes(60)


# Schedules.


def test_actions_happen_in_their_order_and_sources_are_read() -> None:
    here, there = socket.socketpair()
    done: list[object] = []

    class Reader:
        def fileno(self) -> int:
            return here.fileno()

        def read(self) -> None:
            done.append(here.recv(10))

    with here, there:
        run_schedule(
            [
                Action(0.02, lambda: done.append("late")),
                Action(0.0, lambda: (done.append("early"), there.send(b"x"))),  # type: ignore[func-returns-value]
            ],
            [Reader()],
        )
    assert done == ["early", b"x", "late"]


def test_times_keep_the_rate() -> None:
    assert times(4.0, 3) == [0.0, 0.25, 0.5]
    first, second = times(4.0, 2, random.Random(1))
    assert 0 <= first < 0.25
    assert second - first == pytest.approx(0.25)


def test_outcomes_account_for_every_packet() -> None:
    outcome = Outcome(3, {"replay": 2, "bad-icv": 1})
    assert (outcome.total, outcome.reasons()) == (6, "bad-icv=1 replay=2")


# Parameters, summary, figure.


def test_unknown_modes_and_parts_are_named() -> None:
    assert parse(replay.KNOWN, ["SET=mode=hardened part=relabel"], {}).settings == {
        "mode": "hardened", "part": "relabel",
    }  # fmt: skip
    for text in ("mode=none", "part=none", "nothing=1"):
        with pytest.raises(ParameterError, match="unknown"):
            parse(replay.KNOWN, [f"SET={text}"], {})


def test_the_control_has_neither_origin_nor_floors_and_all_keep_records() -> None:
    assert all(options.egress_record for options in MODES.values())
    control = MODES["draft-no-origin"]
    assert not control.origin_option
    assert control.home_agent_timers.floor_interval > 1000
    assert all(MODES[mode].origin_option for mode in ("draft", "draft-cbc", "hardened"))


def summary_of(folder: Path) -> dict[tuple[object, ...], data.SummaryRow]:
    return {(row["metric"], *row["conditions"].values()): row for row in data.read_summary(folder)}


def test_the_summary_has_the_fixed_names(tmp_path: Path) -> None:
    rows = summary_of(replay_folder(tmp_path))
    for mode in ("draft", "draft-cbc", "hardened"):
        for attack, direction in (
            ("relabel", "down"), ("far-ahead", "down"), ("new-primary", "up"),
        ):  # fmt: skip
            row = rows["replays_accepted", mode, attack, direction]
            assert (row["experiment"], row["unit"], row["n"]) == ("replay", "packets", 3)
            assert tuple(row["conditions"]) == ("mode", "attack", "direction")
    assert sum(metric == "replays_accepted" for metric, *_ in rows) == 9
    assert rows["replays_accepted", "draft", "relabel", "down"]["median"] == 395
    assert rows["replays_accepted", "draft", "relabel", "down"]["target"] is None
    hardened = rows["replays_accepted", "hardened", "relabel", "down"]
    assert (hardened["target"], hardened["met"]) == (0.0, True)
    bounded = rows["replays_accepted", "hardened", "new-primary", "up"]
    assert (bounded["median"], bounded["target"], bounded["met"]) == (57, REPLAY_BOUND, True)
    assert rows["sharing_loss", "draft-no-origin", "4:2:1"]["median"] == pytest.approx(3 / 7, 1e-5)
    assert rows["genuine_lost", "draft", "far-ahead", "down"]["median"] == 876
    assert ("nonce_collisions", "draft-cbc", "egress") not in rows
    unexpected = [row for (metric, *_), row in rows.items() if metric == "unexpected"]
    assert len(unexpected) == 4 + 4 + 3 * 3 + 1
    assert all(row["met"] for row in unexpected)


@pytest.mark.parametrize(
    ("part", "mode", "words"),
    [
        ("sharing", "draft", "4:2:1: loss 0.429, model 0.000"),
        ("nonces", "hardened", "1 nonces repeat, model 0"),
        ("relabel", "hardened", r"\(origin-HA2\): 1 of 200 accepted, model 0"),
        ("far-ahead", "draft-cbc", "0 of 1 accepted, model 1"),
        ("new-primary", "hardened", "58 of 560 accepted, model 57.*bound 110"),
    ],
)
def test_what_is_not_as_the_model_says_is_told(
    tmp_path: Path, part: str, mode: str, words: str
) -> None:
    folder = replay_folder(tmp_path, **{part: mode})
    told = "\n".join(replay_summary.unexpected(folder))
    assert mode in told
    assert re.search(words, told), told
    unexpected = {k: r for k, r in summary_of(folder).items() if k[0] == "unexpected"}
    assert [key[1:] for key, row in unexpected.items() if not row["met"]] == [(mode, part)]


def test_nothing_is_told_of_a_run_as_the_model_says(tmp_path: Path) -> None:
    assert replay_summary.unexpected(replay_folder(tmp_path)) == []


def test_the_figure_comes_from_the_folder_alone(tmp_path: Path) -> None:
    folder = replay_folder(tmp_path)
    assert plots.plot(folder) == ["replay"]
    svg = (folder / "plots" / "replay.svg").read_text()
    assert (folder / "plots" / "replay.png").stat().st_size > 10_000
    for words in ("bound of rule 5: 110", "One far-ahead packet", "876", "ratio of the HAs"):
        assert words in svg


def test_a_run_of_one_part_can_be_drawn(tmp_path: Path) -> None:
    folder = replay_folder(tmp_path)
    (folder / "sharing.csv").unlink()
    rows = [row for row in data.read_table(folder, data.ATTACKS) if row["attack"] == "relabel"]
    (folder / "attacks.csv").write_text(
        "\n".join([",".join(data.ATTACKS.header), *(",".join(data.ATTACKS.check(r)) for r in rows)])
    )
    assert plots.plot(folder) == ["replay"]


def test_an_empty_folder_cannot_be_drawn(tmp_path: Path) -> None:
    folder = replay_folder(tmp_path)
    for name in ("sharing", "nonces", "attacks"):
        (folder / f"{name}.csv").unlink()
    with pytest.raises(DataError, match="no observation"):
        plots.plot(folder)


def test_the_tables_tell_everything(tmp_path: Path) -> None:
    folder = replay_folder(tmp_path)
    summary = data.read_summary(folder)
    assert replay_summary.attack_table(summary).row_count == 10
    assert replay_summary.sharing_table(summary).row_count == 5
    text = report.replay([dict(row) for row in summary])
    assert (
        "| loss, home agents sending 4:2:1: model 0.429 | 0.429 | 0.000 | 0.000 | 0.000 |" in text
    )
    assert "57 of 1,120, at most 110" in text
    assert "| 395 of 400 | 395 of 400 | 0 of 400 |" in text
