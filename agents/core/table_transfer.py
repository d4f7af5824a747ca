"""Whole tables between home agents (design §9): driven by the one who asks, window by window."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from agents.core.context import Context
from agents.core.peers import Peer
from agents.wire import inter_ha

WINDOW = 16
"""Segments that may be on their way at once."""

TableEntry = inter_ha.BindingEntry | inter_ha.SaEntry | inter_ha.MemberEntry


@dataclass(slots=True)
class Fetch:
    """One table on its way here."""

    identifier: int
    mutual: bool
    received: set[int] = field(default_factory=set)
    wanted: int = 0
    total: int | None = None
    entries: int = 0


@dataclass(slots=True)
class Snapshot:
    """One table on its way out, as it stood when it was asked for."""

    identifier: int
    segments: list[tuple[TableEntry, ...]]


class TableTransfer:
    """Fetches the tables of peers, and serves them this HA's."""

    def __init__(
        self,
        context: Context,
        table: Callable[[], Sequence[TableEntry]],
        learn: Callable[[Peer, Sequence[TableEntry], float], None],
        complete: Callable[[Peer, int, float], None],
        asked: Callable[[Peer, bool, float], None],
    ) -> None:
        """`table` gives all entries here; `learn` takes a peer's; `complete` tells the end.

        `asked(peer, mutual, now)` is told, before entries are looked up, that a peer begins to
        fetch the table here.
        """
        self._context = context
        self._table = table
        self._learn = learn
        self._complete = complete
        self._asked = asked
        self._fetches: dict[int, Fetch] = {}
        self._snapshots: dict[int, Snapshot] = {}

    def fetch(self, peer: Peer, now: float) -> None:
        """Begin to get the table of `peer`, as it is now."""
        previous = self._fetches.get(peer.index)
        if previous is not None:
            if not (previous.wanted or previous.received):
                return  # its snapshot is still to be made, or to be made anew: see `forget`
            self._context.exchanges.answered(peer.index, previous.identifier, now)
        identifier = self._context.exchanges.new_identifier(peer.index)
        self._fetches[peer.index] = Fetch(identifier, mutual=peer.untold)
        self._ask(peer, now)

    def forget(self, peer: Peer, now: float) -> None:
        """Give `peer` no old snapshot, and let nothing be fetched from it."""
        self._snapshots.pop(peer.index, None)
        fetch = self._fetches.pop(peer.index, None)
        if fetch is not None:
            self._context.exchanges.answered(peer.index, fetch.identifier, now)

    def request(self, peer: Peer, request: inter_ha.TableRequest, now: float) -> None:
        """Send the segments that `peer` asks for."""
        snapshot = self._snapshots.get(peer.index)
        if snapshot is None or snapshot.identifier != request.identifier:
            self._asked(peer, request.mutual, now)
            snapshot = Snapshot(request.identifier, inter_ha.fit(self._table()))
            self._snapshots[peer.index] = snapshot
        end = request.first_segment + min(request.window, WINDOW)
        for number in range(request.first_segment, min(end, len(snapshot.segments))):
            entries = snapshot.segments[number]
            self._context.send_to_peer(
                peer,
                inter_ha.TableSegment(
                    number=number, entries=entries, identifier=request.identifier
                ),
            )
        if end >= len(snapshot.segments):
            self._context.send_to_peer(
                peer,
                inter_ha.TableEnd(segments=len(snapshot.segments), identifier=request.identifier),
            )

    def segment(self, peer: Peer, segment: inter_ha.TableSegment, now: float) -> None:
        """A part of the table arrived; entries carry versions, so their order does not matter."""
        fetch = self._fetch_for(peer, segment.identifier)
        if fetch is None or segment.number in fetch.received:
            return
        fetch.received.add(segment.number)
        fetch.entries += len(segment.entries)
        self._learn(peer, segment.entries, now)
        self._advance(peer, fetch, now)

    def end(self, peer: Peer, end: inter_ha.TableEnd, now: float) -> None:
        """The sender told how many segments there are."""
        fetch = self._fetch_for(peer, end.identifier)
        if fetch is not None:
            fetch.total = end.segments
            self._advance(peer, fetch, now)

    def _fetch_for(self, peer: Peer, identifier: int) -> Fetch | None:
        fetch = self._fetches.get(peer.index)
        return fetch if fetch is not None and fetch.identifier == identifier else None

    def _advance(self, peer: Peer, fetch: Fetch, now: float) -> None:
        asked = fetch.wanted
        while fetch.wanted in fetch.received:
            fetch.received.discard(fetch.wanted)
            fetch.wanted += 1
        if fetch.total is not None and fetch.wanted >= fetch.total:
            del self._fetches[peer.index]
            self._context.exchanges.answered(peer.index, fetch.identifier, now)
            self._complete(peer, fetch.entries, now)
        elif fetch.wanted >= asked - asked % WINDOW + WINDOW:
            self._ask(peer, now)

    def _ask(self, peer: Peer, now: float) -> None:
        fetch = self._fetches[peer.index]
        request = inter_ha.TableRequest(
            first_segment=fetch.wanted,
            window=WINDOW,
            mutual=fetch.mutual,
            identifier=fetch.identifier,
        )

        def outcome(answered: bool, then: float) -> None:
            if not answered and self._fetch_for(peer, fetch.identifier) is not None:
                del self._fetches[peer.index]
                peer.fetching = False  # the next sign of life begins again

        self._context.exchange(peer, request, now, outcome)
