"""What IPsec still protects when the route is lost, and what it does not: counted packet by packet.

The hijacker draws everything by a more specific announcement that nobody filters. It reads what it
can, answers correspondents, forges, reflects; when its announcement is gone it forges towards the
home agents, and lets go what it had drawn. The model stands beside every count.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv6Address

from agents.keys import SaMode, read_key_file
from experiments import hijack_forgeries as forgeries
from experiments.data_hijack import DRAWN, FORGERIES
from experiments.hijack_attacks import Attacks
from experiments.hijack_bench import GONE_S, MOBILE
from experiments.hijack_cases import HIJACKER_NODE, SPECIFIC, Case
from experiments.hijack_forgeries import Known
from experiments.hijack_trial import HONEST, RATE
from experiments.hijacker import DESTINATION_OPTIONS, ESP, UDP, Drawn
from experiments.replay_traffic import Action, times
from topologies.network import RUNTIME

MANY = 100
"""Packets a leg."""

UPDATES = 3
"""As many Binding Updates as RFC 6275 §12 lets go in a second."""

FEW = 50
"""Forgeries a form."""

FAR = 1_000_000
"""Where forged sequence numbers begin: no window refuses them before the key does."""

STRAY_SPI = 0xFFFF_0001
LOST = Case("protection", "more specific, nobody filters", lie=SPECIFIC)


class Protection(Attacks):
    """One trial of it."""

    def run(self) -> None:
        """Lose the route and win it back; write all rows."""
        bench = self.bench
        controls = self._controls()
        bench.routing.apply(LOST, filtering=False)
        self._correspondents(controls["cn-hoa"])
        tunnelled, updates = self._mobile_node(controls["mn-ha"])
        known = self._known()
        self._towards_the_mobile_node(known, tunnelled, updates)
        bench.routing.apply(HONEST, filtering=False)
        self._towards_the_home_agents(known, tunnelled, updates)
        bench.back_to_base()
        alive = bench.alive()
        for row in self.rows:
            row["alive"] = alive
            row["as_expected"] = row["as_expected"] and alive
            self.note(FORGERIES, row)

    # What is drawn.

    def _controls(self) -> dict[str, int]:
        """Return how many marks arrive in the clear where nobody hijacks, either way."""
        bench = self.bench
        down = sum(bench.send_down(name, MANY, RATE).honest for name in bench.correspondents)
        before = bench.traffic.delivered_up()
        self._send_up(MANY)
        bench.wait(lambda: bench.traffic.delivered_up() - before >= MANY, GONE_S)
        return {"cn-hoa": down, "mn-ha": bench.traffic.delivered_up() - before}

    def _send_up(self, count: int) -> None:
        self.bench.run(
            [Action(after, self.bench.traffic.mobile.send) for after in times(RATE, count)]
        )

    def _correspondents(self, control: int) -> None:
        """Draw what correspondents send, read it, and answer it."""
        bench = self.bench
        questions: list[Drawn] = []
        readable = 0
        for name in bench.correspondents:
            fate = bench.send_down(name, MANY, RATE)
            readable += fate.drawn
            questions += [each for each in bench.hijacker.drawn if each.next_header == UDP]
        sent = MANY * len(bench.correspondents)
        self._drawn("cn-hoa", sent, questions, readable, len(questions), control)
        answers = [forgeries.answer(each, self.payload()) for each in questions]
        got = self.inject(answers, self.arrived_at_correspondents)
        self.forgery("cn", "answer", len(answers), got, len(answers), {})

    def _mobile_node(self, control: int) -> tuple[list[Drawn], list[Drawn]]:
        """Draw tunnel packets and Binding Updates of the mobile node; return both."""
        bench = self.bench
        bench.forget()
        before = self.counters("mn")["sent.BindingUpdate"]
        self._send_up(MANY)
        for _ in range(UPDATES):
            bench.network.agents[MOBILE].ask("wish", home_agent=0)  # a Binding Update now
        bench.wait(lambda: len(self._of(ESP)) >= MANY, 2 * GONE_S)
        sent = 0

        def all_drawn() -> bool:
            nonlocal sent
            sent = self.counters("mn")["sent.BindingUpdate"] - before
            return len(self._of(DESTINATION_OPTIONS)) == sent >= UPDATES

        bench.wait(all_drawn, 2 * GONE_S)
        tunnelled, updates = self._of(ESP), self._of(DESTINATION_OPTIONS)
        mark = bench.traffic.mobile.mark
        for leg, count, packets in (
            ("mn-ha", MANY, tunnelled),
            ("update", sent, updates),
        ):
            readable = sum(mark in packet.octets for packet in packets)
            self._drawn(leg, count, packets, readable, 0, control)
        return tunnelled, updates

    def _of(self, next_header: int) -> list[Drawn]:
        return [each for each in self.bench.hijacker.drawn if each.next_header == next_header]

    def _drawn(
        self, leg: str, sent: int, packets: Sequence[Drawn], readable: int, expected: int,
        control: int,
    ) -> None:  # fmt: skip
        home = self.bench.home.home_address().packed
        care_of = self.bench.care_of(self.bench.base).packed
        locating = sum(home in each.octets and care_of in each.octets for each in packets)
        located = len(packets) if leg == "update" else 0
        self.note(
            DRAWN,
            {
                "trial": self.number,
                "leg": leg,
                "sent": sent,
                "drawn": len(packets),
                "readable": readable,
                "expected": expected,
                "locating": locating,
                "control": control,
                "as_expected": len(packets) == sent > 0
                and readable == expected
                and locating == located
                and control >= MANY,
            },
        )

    # What is forged.

    def _known(self) -> Known:
        bench = self.bench
        home = bench.home.home_address()
        spis = {
            (each.mode, each.source == home): each.spi
            for each in read_key_file(RUNTIME / "keys" / f"{MOBILE}.toml")
        }
        (name, sender), *_, (last, _) = bench.network.agents.home_agents.items()
        incarnation = int(sender.ask("status")["incarnation"])
        return Known(
            home_agent=bench.home.home_agent_address,
            home_address=home,
            care_of=bench.care_of(bench.base),
            correspondent=bench.plan.address_of(bench.correspondents[0]),
            spi_ack=spis[SaMode.TRANSPORT, False],
            spi_down=spis[SaMode.TUNNEL, False],
            spi_update=spis[SaMode.TRANSPORT, True],
            spi_up=spis[SaMode.TUNNEL, True],
            peers=(bench.plan.address_of(name), bench.plan.address_of(last)),
            spi_peers=self._spi_of_peers(name, last),
            sid=bench.plan.nodes[name].index << 10 | incarnation,
        )

    def _spi_of_peers(self, sender: str, receiver: str) -> int:
        """Return the SPI of the SA from one home agent to another, from their key file."""
        own = self.bench.plan.address_of(receiver)
        keys = read_key_file(RUNTIME / "keys" / f"{sender}-{receiver}.toml")
        return next(each.spi for each in keys if each.destination == own)

    def _towards_the_mobile_node(
        self, known: Known, tunnelled: Sequence[Drawn], updates: Sequence[Drawn]
    ) -> None:
        sequence = int(self.bench.network.agents[MOBILE].ask("bindings")[0]["sequence"])
        own = [*tunnelled[:FEW], *updates]
        forms: dict[str, list[bytes]] = {
            "clear-ack": [forgeries.acknowledgement(known, sequence, None) for _ in range(FEW)],
            "esp-ack": [forgeries.acknowledgement(known, sequence, FAR + n) for n in range(FEW)],
            "clear-tunnel": [
                forgeries.tunnel_down(known, None, 0, self.payload()) for _ in range(FEW)
            ],
            "esp-tunnel": [
                forgeries.tunnel_down(known, known.spi_down, FAR + n, self.payload())
                for n in range(FEW)
            ],
            "stray-tunnel": [
                forgeries.tunnel_down(known, STRAY_SPI, n, self.payload())
                for n in range(1, FEW + 1)
            ],
            "reflected": [forgeries.reflected(each, known) for each in own],
        }
        for form, packets in forms.items():
            # The stack throws away a packet in a packet; no agent sees it.
            self.attack("mn", form, packets, self.mobile_got, counted=form != "clear-tunnel")

    def _towards_the_home_agents(
        self, known: Known, tunnelled: Sequence[Drawn], updates: Sequence[Drawn]
    ) -> None:
        bench = self.bench
        up = bench.traffic.delivered_up
        copies = [each.octets for each in tunnelled]
        # While nothing newer has come they are what the mobile node sent, and late.
        self.attack("ha", "held-back", copies, up, expected=len(copies), counted=False)
        bench.back_to_base()
        before = up()
        self._send_up(MANY)
        bench.need("the mobile node's packets", lambda: up() - before >= MANY)
        self.attack("ha", "replayed", copies, bench.traffic.first.total)
        self.attack(
            "ha", "replayed-update", [each.octets for each in updates], self.rebound()
        )  # fmt: skip
        own = bench.plan.address_of(HIJACKER_NODE)
        # What comes to a home agent's own address without ESP the stack throws away.
        for form, packets, got, counted in (
            ("clear-update", self._updates(known, own, None), self.rebound(), True),
            ("esp-update", self._updates(known, own, FAR), self.rebound(), True),
            ("esp-tunnel", self._tunnels(known), self.arrived_at_correspondents, True),
            ("clear-inter-ha", self._inter_ha(known, None), self.rebound(), False),
            ("esp-inter-ha", self._inter_ha(known, FAR), self.rebound(), True),
        ):
            self.attack("ha", form, packets, got, counted=counted)

    def _updates(self, known: Known, own: IPv6Address, first: int | None) -> list[bytes]:
        """Return updates to an address of the hijacker's, in ESP from this number on, or not."""
        sequence = int(self.bench.network.agents[MOBILE].ask("bindings")[0]["sequence"])
        return [
            forgeries.update(
                known, (sequence + n) % 65536, None if first is None else first + n, own
            )
            for n in range(1, FEW + 1)
        ]

    def _inter_ha(self, known: Known, first: int | None) -> list[bytes]:
        return [forgeries.inter_ha(known, None if first is None else first + n) for n in range(FEW)]

    def _tunnels(self, known: Known) -> list[bytes]:
        return [forgeries.tunnel_up(known, FAR + n, self.payload()) for n in range(FEW)]
