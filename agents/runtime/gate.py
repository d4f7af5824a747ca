"""What may reach a home agent's process, and how much of it: rules in front of it, in the kernel.

A packet that the agent reads costs it many times what it costs the kernel to drop it. So what
cannot be genuine by what the agent holds (an SPI that is none of its SAs', a Mobility Header
without ESP), and what anybody may send (IKE), is let through at a limited rate only. Nothing is
refused altogether: an SA may be known to a peer first (design §10, rule 10), and whoever is new
begins by IKE. What stands on a known SPI passes, since the ICV alone can tell; what comes from the
care-of address of a binding has a limit of its own for IKE, as has every network (/64).

Binding Updates, by the Destination Options header that payload does not have, and IKE are marked on
their way, and so do not stand in one queue with payload (`agents.ha`).

The agent tells of its SAs before it sends what its changes lead to, so no packet comes too early.
"""

import contextlib
import re
from collections.abc import Callable, Iterable
from ipaddress import IPv6Address
from typing import Final

from agents.config import HomeAgentConfig
from agents.runtime.engine import EngineEvent, HomeAgentEngine
from agents.runtime.nftables import Nftables, NftablesError

TABLE: Final = "manyhomes_gate"

SIGNALLING_MARK: Final = 0x5169
"""What Binding Updates and IKE are marked with, so that they get a queue of their own."""

UNKNOWN_SPI: Final = "limit rate 500/second burst 500 packets"
UNPROTECTED: Final = "limit rate 200/second burst 100 packets"
IKE_NETWORK: Final = "limit rate over 200/second burst 100 packets"
"""From any one /64: some 50 mobile nodes a second may begin there."""

IKE_BOUND: Final = "limit rate over 50/second burst 50 packets"
"""From any one care-of address of a binding."""

IKE_ALL: Final = "limit rate 1000/second burst 500 packets"
STRANGERS: Final = "limit rate 100/second burst 100 packets"
"""To the own address: ESP on no SA, IKE of no peer."""

REMEMBERED: Final = 4096
"""Networks, or addresses, whose rate is watched at once; beyond them IKE has to wait."""

_MOVES: Final = ("binding-accepted", "binding-learnt", "binding-removed")
"""Events after which other care-of addresses are those of bindings."""

_RULES: Final = """
table ip6 {table}
delete table ip6 {table}
table ip6 {table} {{
  counter unknown-spi {{ }}
  counter unprotected {{ }}
  counter ike {{ }}
  counter strangers {{ }}
  set spis {{ typeof esp spi; }}
  set bound {{ type ipv6_addr; }}
  set peers {{ type ipv6_addr; }}
  set addresses {{ type ipv6_addr; size {remembered}; flags dynamic,timeout; timeout 10s; }}
  set networks {{ type ipv6_addr; size {remembered}; flags dynamic,timeout; timeout 10s; }}
  chain arriving {{
    type filter hook prerouting priority raw - 10; policy accept;
    ip6 daddr {home_agent} jump home
    ip6 daddr {own} jump own
  }}
  chain home {{
    ip6 nexthdr 60 meta mark set {mark}
    udp dport {{ 500, 4500 }} meta mark set {mark}
    esp spi @spis accept
    meta l4proto esp {unknown_spi} accept
    meta l4proto esp counter name "unknown-spi" drop
    meta l4proto mobility-header {unprotected} accept
    meta l4proto mobility-header counter name "unprotected" drop
    udp dport {{ 500, 4500 }} jump ike
  }}
  chain ike {{
    ip6 saddr @bound update @addresses {{ ip6 saddr {ike_bound} }} counter name "ike" drop
    ip6 saddr @bound accept
    update @networks {{ ip6 saddr & ffff:ffff:ffff:ffff:: {ike_network} }} counter name "ike" drop
    {ike_all} accept
    counter name "ike" drop
  }}
  chain own {{
    esp spi @spis accept
    meta l4proto {{ esp, mobility-header }} {strangers} accept
    meta l4proto {{ esp, mobility-header }} counter name "strangers" drop
    udp dport {{ 500, 4500 }} ip6 saddr @peers accept
    udp dport {{ 500, 4500 }} {strangers} accept
    udp dport {{ 500, 4500 }} counter name "strangers" drop
  }}
}}
"""

_COUNTER = re.compile(r"counter ([\w-]+) \{\s*packets (\d+)")


class Gate:
    """The rules of one home agent. They stay when the process dies: the next one replaces them."""

    def __init__(self, config: HomeAgentConfig) -> None:
        """Put up the rules, with no SA known; raises `NftablesError`."""
        self._nftables = Nftables()
        self._nftables.run(
            _RULES.format(
                table=TABLE,
                home_agent=config.home_agent_address,
                own=config.address,
                mark=SIGNALLING_MARK,
                remembered=REMEMBERED,
                unknown_spi=UNKNOWN_SPI,
                unprotected=UNPROTECTED,
                ike_network=IKE_NETWORK,
                ike_bound=IKE_BOUND,
                ike_all=IKE_ALL,
                strangers=STRANGERS,
            )
        )
        self._known: dict[str, frozenset[object]] = {}

    def admit(
        self,
        spis: Iterable[int],
        bound: Iterable[IPv6Address],
        peers: Iterable[IPv6Address],
    ) -> None:
        """Let these pass: inbound SPIs, care-of addresses of bindings, own addresses of peers.

        What is not among them any more passes no longer. Raises `NftablesError`.
        """
        held: dict[str, frozenset[object]] = {
            "spis": frozenset(spis),
            "bound": frozenset(bound),
            "peers": frozenset(peers),
        }
        commands = []
        for name, wanted in held.items():
            known = self._known.get(name, frozenset())
            for verb, elements in (("delete", known - wanted), ("add", wanted - known)):
                if elements:
                    listed = ", ".join(map(str, elements))
                    commands.append(f"{verb} element ip6 {TABLE} {name} {{ {listed} }}")
        if commands:
            self._nftables.run("\n".join(commands))
        self._known = held

    def stopped(self) -> dict[str, int]:
        """Return how many packets were dropped, by reason; raises `NftablesError`."""
        listed = self._nftables.run(f"list counters table ip6 {TABLE}")
        return {f"gate.{name}": int(count) for name, count in _COUNTER.findall(listed)}

    def close(self) -> None:
        """Take down the rules."""
        self._nftables.run(f"delete table ip6 {TABLE}")
        self._nftables.close()


class Gatekeeper:
    """Keeps a home agent's gate in step with its engine; without nftables there is no gate."""

    def __init__(
        self, config: HomeAgentConfig, engine: HomeAgentEngine, notice: Callable[[str], None]
    ) -> None:
        """Put up the gate if the configuration wants one; `notice` is told why there is none."""
        self._engine, self._notice = engine, notice
        self._revision: tuple[int, ...] = ()
        self._bound: set[IPv6Address] = set()
        self._gate: Gate | None = None
        if config.gate:
            try:
                self._gate = Gate(config)
            except NftablesError as error:
                notice(f"no gate in front of this agent: {error}")

    def look(self) -> None:
        """Let in what may come now, if SAs or peers are others than before."""
        if self._gate is not None and self._engine.associations_revision != self._revision:
            self._admit(self._gate)

    def take(self, event: EngineEvent) -> None:
        """Follow mobile nodes: their care-of addresses have a share of their own."""
        if self._gate is None or event.kind not in _MOVES:
            return
        where = event.fields().get("care_of_address")
        if where is None or IPv6Address(where) not in self._bound:
            self._admit(self._gate)

    def stopped(self) -> dict[str, int]:
        """Return how many packets were dropped, by reason; nothing without a gate."""
        try:
            return {} if self._gate is None else self._gate.stopped()
        except NftablesError:
            return {}

    def close(self) -> None:
        """Take down the gate."""
        gate, self._gate = self._gate, None
        if gate is not None:
            with contextlib.suppress(NftablesError):
                gate.close()

    def _admit(self, gate: Gate) -> None:
        """Tell the gate what may come; one that cannot follow is given up, and lets all pass."""
        engine = self._engine
        self._revision, self._bound = engine.associations_revision, engine.care_of_addresses()
        try:
            gate.admit(engine.inbound_spis(), self._bound, engine.peer_addresses())
        except NftablesError as error:
            self._notice(f"the gate is taken down: {error}")
            self.close()
