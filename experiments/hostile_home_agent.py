"""A home agent that turns: the real agent, with its own keys and certificate, until it is told.

    python -m experiments.hostile_home_agent CONFIG

It runs in a home agent's node in place of `agents.ha`, and is one until the command `turn` comes on
its control socket. From then on it drops what it draws, and notes it; it lies to the other home
agents, forges tunnel packets to mobile nodes, begins IKE with all of them, answers theirs, and
never takes its route away. It keeps every key that it has held. What comes of its deeds, those tell
whom they are done to. It does all this to the testbed around it, at fixed rates, `MOST_DEEDS` times
and for `LONGEST_S` at most, and then stops by itself.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.config import ConfigError
from agents.core.counters import Dropped
from agents.core.events import Event
from agents.core.home_agent import HomeAgent
from agents.core.ike_packets import receivers_spi, to_datagram
from agents.ha import HomeAgentProcess, prepare
from agents.runtime.agent import one_line
from agents.runtime.control import Command, CommandError
from agents.wire import ipv6
from agents.wire.errors import WireError
from agents.wire.ike.identity import Identity
from experiments.hostile_forgeries import Forger, Form, Lie
from experiments.hostile_records import FILE, Deed, Drawn, RecordFile

TICK_S = 0.02
LIE_TICKS = 2
"""Ticks from one lie to the next; each goes to one home agent, forms and listeners in turn."""

IKE_TICKS = 25
"""Ticks from one IKE_SA_INIT to the next, listeners in turn."""

MOST_DEEDS = 20_000
LONGEST_S = 20.0


class HostileHomeAgent(HomeAgent):
    """A home agent's engine, and what it does once it has turned."""

    deeds: RecordFile
    turned = False
    _begun = 0.0
    _ticks = 0
    _done = 0
    _other: int | None = None
    _lies: tuple[Lie, ...] = ()
    _forger: Forger

    def turn(self, lies: Sequence[Lie], other: int | None, now: float) -> None:
        """Turn hostile, or tell these `lies` from now on; `other`: whose sender id is forged."""
        self._lies, self._other = tuple(lies), other
        if not self.turned:
            self.turned, self._begun = True, now
            self._forger = Forger(self._context)
            self.deeds.note(Deed.TURNED)

    def stop_deeds(self) -> None:
        """Do nothing more; what is drawn is still dropped."""
        if self.turned and self._done < MOST_DEEDS:
            self._done = MOST_DEEDS
            self.deeds.note(Deed.STOPPED)

    @property
    def busy(self) -> bool:
        """Whether it goes on."""
        return self.turned and self._done < MOST_DEEDS

    def receive(self, packet: bytes, now: float) -> None:
        """Take one packet; what is drawn from others ends here, but IKE may yet be of use."""
        if not self.turned or packet[24:40] == self._own:
            super().receive(packet, now)
        elif packet[8:24] == self._own:
            pass  # its own kernel complains that it cannot send
        elif packet[24:40] != self._anycast:
            self.deeds.note(Deed.DRAWN, Drawn.CORRESPONDENT)
        elif packet[6] == ipv6.UDP:
            self.deeds.note(Deed.DRAWN, Drawn.KEY_EXCHANGE)
            if self._is_own_ike(packet):
                super().receive(packet, now)
        else:
            self.deeds.note(Deed.DRAWN, Drawn.MOBILE)

    def _is_own_ike(self, packet: bytes) -> bool:
        """Whether it begins IKE, or belongs to an IKE SA of its own: others get no help from it."""
        try:
            spi = receivers_spi(to_datagram(ipv6.parse(packet)))
        except (Dropped, WireError):
            return False
        return spi >> 56 in (0, self._context.config.index)

    def next_event(self) -> Event | None:
        """Return the next event; it does not withdraw the home prefix any more."""
        event = super().next_event()
        while self.turned and event is not None and event.kind == "withdraw-prefix":
            event = super().next_event()
        return event

    def tick(self, now: float) -> None:
        """Do what is due, every `TICK_S`."""
        if now - self._begun > LONGEST_S:
            self.stop_deeds()
            return
        self._ticks += 1
        self._forger.look(self._other)
        for form in Form:
            for packet in self._forger.tunnel(form, self._ticks, time.monotonic_ns()):
                self.deeds.note(Deed.TUNNEL, form, number=self._ticks)
                self._do(packet)
        targets = self._forger.targets
        turn, rest = divmod(self._ticks, LIE_TICKS)
        if rest == 0 and self._lies and targets:
            lie = self._lies[turn // len(targets) % len(self._lies)]
            self._lie(lie, targets[turn % len(targets)], now)
        turn, rest = divmod(self._ticks, IKE_TICKS)
        if rest == 0:
            self._begin_ike(turn, now)

    def _lie(self, lie: Lie, index: int, now: float) -> None:
        packet = self._forger.lie(lie, index, now)
        if packet is not None:
            self.deeds.note(Deed.UPDATE, lie, index, self._ticks)
            self._do(packet)

    def _begin_ike(self, turn: int, now: float) -> None:
        """Begin an IKE SA with the next of all home agents and mobile nodes that it knows."""
        own, anycast = self._context.config.address, self._context.config.home_agent_address
        known = [
            (self._peer_keys, Identity.of(each.address), own, each.address, each.index)
            for each in self._context.peers
        ] + [
            (self._keys, Identity.of(each.home_address), anycast, each.care_of_address, 0)
            for each in self._context.cache
            if each.bound
        ]
        if not known:
            return
        keys, identity, local, remote, index = known[turn % len(known)]
        if keys is None:
            return
        try:
            keys._endpoint.initiate(identity, local, remote, now)
        except KeyError:  # nobody that it could name
            return
        self.deeds.note(Deed.IKE, int(index == 0), index, self._ticks)
        self._done += 1
        keys.pump(now)

    def _do(self, packet: bytes) -> None:
        self._done += 1
        self._context.to_send.append(packet)


class HostileProcess(HomeAgentProcess):
    """Its process: the same, with two commands more."""

    engine: HostileHomeAgent
    _next = 0.0

    def commands(self) -> dict[str, Command]:
        """Add what the experiment says to it."""
        return {**super().commands(), "turn": self._turn, "stop-deeds": self._stop_deeds}

    def begin(self, directory: Path) -> None:
        """Open the record of its deeds, and have the time for them; raises `OSError`."""
        self.engine.deeds = RecordFile(directory / FILE)
        self.loop.add_timer(lambda: self._next if self.engine.busy else None, self._tick)
        self.loop.add_round(lambda now: self.engine.deeds.flush())

    def _turn(self, request: Mapping[str, Any], now: float) -> str:
        """Turn: `lies` names forms, `other` is the index of whose sender id is to be forged."""
        try:
            lies = [Lie[str(each).upper()] for each in request.get("lies", ())]
            other = request.get("other")
            self.engine.turn(lies, None if other is None else int(other), now)
        except (KeyError, TypeError, ValueError) as error:
            raise CommandError(f"turn: {error}") from error
        self._next = now
        return "turned"

    def _stop_deeds(self, request: Mapping[str, Any], now: float) -> str:
        self.engine.stop_deeds()
        return "stopped"

    def _tick(self, now: float) -> None:
        # From the time that it was due, but never a burst for time that was lost.
        self._next = max(self._next + TICK_S, now)
        self.call(self.engine.tick, now)


def main(arguments: list[str]) -> int:
    """Run it; return the exit code."""
    if len(arguments) != 1:
        print("usage: python -m experiments.hostile_home_agent CONFIG", file=sys.stderr)
        return 2
    path = Path(arguments[0])
    try:
        agent = prepare(path, HostileProcess, HostileHomeAgent)
        assert isinstance(agent, HostileProcess)
        agent.begin(path.parent)
    except (ConfigError, OSError) as error:
        print(f"hostile_home_agent: {one_line(error)}", file=sys.stderr)
        return 2
    return agent.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
