"""Replay floors: what an HA tells the others of numbers that it has seen (design §10, rule 5).

A dead primary hands nothing over, so floors travel while numbers move: every `interval`, or after
`packets` on one SA. The first is not sent at once but `interval` after the first packet: packets
sent before a change of route, still on their way to the previous HA, shall not meet a floor
that their successors raised.
"""

from collections.abc import Callable

from agents.core.context import Context
from agents.core.events import TrafficBegan
from agents.core.replay_window import SingleWindow
from agents.core.security_associations import SecurityAssociation
from agents.core.timers import TimerQueue
from agents.wire import inter_ha

Send = Callable[[list[SecurityAssociation], float], None]


class FloorReporter:
    """Collects the SAs whose numbers moved, and reports them in time."""

    def __init__(self, timers: TimerQueue, interval: float, packets: int, send: Send) -> None:
        self._timers = timers
        self._interval = interval
        self._packets = packets
        self._send = send
        self._moved: dict[int, SecurityAssociation] = {}
        self._scheduled = False

    def moved(self, association: SecurityAssociation, now: float) -> None:
        """A packet was received (or sent) on `association`."""
        association.unreported += 1
        if association.unreported == 1:
            self._moved[id(association)] = association
            if not self._scheduled:
                self._scheduled = True
                self._timers.schedule(now + self._interval, self._report_all)
        elif association.unreported >= self._packets:
            self._moved.pop(id(association), None)
            association.unreported = 0
            self._send([association], now)

    def _report_all(self, now: float) -> None:
        self._scheduled = False
        self.flush(now)

    def flush(self, now: float) -> None:
        """Report now what is to be reported."""
        moved, self._moved = list(self._moved.values()), {}
        for association in moved:
            association.unreported = 0
        if moved:
            self._send(moved, now)


class Floors:
    """What this HA tells of its windows and counters, and does with what its peers tell."""

    def __init__(self, context: Context) -> None:
        self._context = context
        timers = context.config.timers
        self._reporter = FloorReporter(
            context.timers, timers.floor_interval, timers.floor_packets, self._send
        )

    def received(self, association: SecurityAssociation, now: float) -> None:
        """An authentic packet of a mobile node arrived on `association`."""
        if not association.served:
            self._begin_to_serve(association)
        self._reporter.moved(association, now)

    def sent(self, association: SecurityAssociation, now: float) -> None:
        """A packet went to a mobile node that has but one window (rule 7)."""
        self._reporter.moved(association, now)

    def settle(self, now: float) -> None:
        """Tell at once: there may be no later (rule 6)."""
        self._reporter.flush(now)

    def _send(self, moved: list[SecurityAssociation], now: float) -> None:
        """Tell every valid peer how far numbers have come (rule 5)."""
        entries = [floor for each in moved if (floor := self._floor(each)) is not None]
        for part in inter_ha.fit(entries):
            for peer in self._context.peers.valid():
                identifier = self._context.exchanges.new_identifier(peer.index)
                self._context.send_to_peer(
                    peer, inter_ha.ReplayFloor(entries=part, identifier=identifier)
                )

    def _floor(self, association: SecurityAssociation) -> inter_ha.FloorEntry | None:
        if association.inbound:
            assert isinstance(association.windows, SingleWindow)
            return inter_ha.FloorEntry(association.spi, 0, association.windows.window.highest)
        # Mobile nodes choose the SPIs that they receive on, so two may choose the same: the SA
        # is named by that of its twin towards the home agents.
        twin = self._twin(association, inbound=True)
        if twin is None:
            return None
        return inter_ha.FloorEntry(twin.spi, 0, association.counter, outbound=True)

    def receive(self, message: inter_ha.ReplayFloor) -> None:
        """Raise what is held here to a peer's floors."""
        for entry in message.entries:
            association = self._context.associations.by_spi(entry.spi)
            if association is None:
                self._context.counters["floor-for-unknown-spi"] += 1
            elif entry.outbound:
                twin = self._twin(association, inbound=False)
                if twin is not None:
                    twin.outbound_floor = max(twin.outbound_floor, entry.number)
            else:
                assert isinstance(association.windows, SingleWindow)
                window = association.windows.window
                if entry.number > window.highest:
                    association.served = False
                association.inbound_floor = max(association.inbound_floor, entry.number)
                window.raise_floor(entry.number)

    def _twin(
        self, association: SecurityAssociation, *, inbound: bool
    ) -> SecurityAssociation | None:
        wanted = (association.mode, association.generation, inbound)
        for each in self._context.associations.of(association.home_address):
            if (each.mode, each.generation, each.inbound) == wanted:
                return each
        return None

    def _begin_to_serve(self, association: SecurityAssociation) -> None:
        """Open the window at the higher of floor and first number, lower bits set (rule 5)."""
        association.served = True
        assert isinstance(association.windows, SingleWindow)
        window = association.windows.window
        self._context.report(
            TrafficBegan(association.home_address, window.highest, association.inbound_floor)
        )
        window.raise_floor(window.highest)
