"""A home agent's process: `python -m agents.ha CONFIG`.

Exit codes: 0 ended by SIGTERM, 1 a fault while running, 2 a configuration or host that cannot work.
"""

import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from agents.config import ConfigError, HomeAgentConfig, RouteOptimisation, load_home_agent
from agents.core.mtu import inner_mtu
from agents.isolation_commands import IsolationCommands
from agents.runtime.agent import BATCH, Agent, log_to, one_line, text_parameter
from agents.runtime.connectivity import Connectivity, has_route
from agents.runtime.control import Command, CommandError
from agents.runtime.egress import EgressFile
from agents.runtime.engine import EngineEvent, HomeAgentEngine
from agents.runtime.gate import SIGNALLING_MARK, Gatekeeper
from agents.runtime.hook import Hook
from agents.runtime.incarnation import next_incarnation
from agents.runtime.isolated import read_isolated, write_isolated
from agents.runtime.journal import Journal
from agents.runtime.netlink import Monitor, Netlink
from agents.runtime.returns import read_returns, write_returns
from agents.runtime.sockets import EchoSocket, OutboundSocket, PeerSocket
from agents.runtime.tun import Tun
from agents.runtime.watchdog import Watchdog, WatchdogDied

if TYPE_CHECKING:
    from agents.core.home_agent import HomeAgent
    from agents.core.ike.credentials import Credentials

REVOCATION_EVENTS: Final = ("revocations-learned", "revocations-heard")

HOME_METRIC: Final = 1
"""Below any routing daemon's: the own home link wins over the way to another home agent's."""

_QUEUE: Final = 1000

_SIGNALLING: Final = "-sig"
"""Of the name of the device by which Binding Updates and IKE come: they wait for no payload."""

_SIGNALLING_TABLE: Final = 90
"""Number of its routing table, and of the rule's priority: before the main table's."""


class PacketReader(Protocol):
    """A socket on the own address."""

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        ...

    def read(self) -> bytes | None:
        """Return one whole packet; empty for one to pass over, None when there is none."""
        ...


class Devices:
    """What a home agent holds of its host: TUN, sockets, netlink. Raises `OSError`."""

    def __init__(self, config: HomeAgentConfig) -> None:
        self.netlink = Netlink()
        self.monitor = Monitor()
        self.peers = PeerSocket(config.address)
        self.echoes: PacketReader | None = None
        if config.route_optimisation is not RouteOptimisation.OFF:
            self.echoes = EchoSocket(config.address)
        self.ike: PacketReader | None = None
        if config.credentials.given:
            from agents.runtime.ike_socket import IkeSocket

            self.ike = IkeSocket(config.address)
        self.outbound = OutboundSocket()
        # When a process is killed the kernel lets go of what it opened last first, and takes some
        # 15 ms for each device: the home route must not wait for the other one.
        self.signalling = Tun(f"{config.tun}{_SIGNALLING}")
        self.tun = Tun(config.tun)
        self.interface = self._set_up(config.tun, config.path_mtu)
        self.netlink.add_route(
            IPv6Network(config.home_agent_address), self.interface, metric=HOME_METRIC
        )
        self._lead_signalling(config)

    def _set_up(self, name: str, mtu: int) -> int:
        interface = socket.if_nametoindex(name)
        self.netlink.set_link(interface, mtu, _QUEUE)
        return interface

    def _lead_signalling(self, config: HomeAgentConfig) -> None:
        """What the gate has marked goes into the second device; without a gate nothing is."""
        interface = self._set_up(self.signalling.name, config.path_mtu)
        whole = IPv6Network(config.home_agent_address)
        self.netlink.add_route(whole, interface, table=_SIGNALLING_TABLE)
        self.netlink.add_rule(_SIGNALLING_TABLE, _SIGNALLING_TABLE, mark=SIGNALLING_MARK)


class HomeAgentProcess(Agent):
    """A home agent's engine between its TUN device, its peers and the routing table."""

    engine: HomeAgentEngine

    def __init__(
        self,
        config: HomeAgentConfig,
        engine: HomeAgentEngine,
        devices: Devices,
        journal: Journal,
        watchdog: Watchdog,
        egress: EgressFile | None = None,
        credentials: "Credentials | None" = None,
    ) -> None:
        super().__init__(engine, journal, egress)
        self._config = config
        self._credentials = credentials
        self._own = config.address.packed
        self._returns = config.directory / "returns"
        self._isolated = config.directory / "isolated"
        self._watchdog = watchdog
        self._netlink = devices.netlink
        self._monitor = devices.monitor
        possible = (devices.peers, devices.ike, devices.echoes)
        self._peer_sockets: list[PacketReader] = [each for each in possible if each is not None]
        self._outbound = devices.outbound
        self._tun, self._signalling = devices.tun, devices.signalling
        self._interface = devices.interface
        self._connectivity = Connectivity()
        self._gatekeeper = Gatekeeper(
            config, engine, lambda text: journal.write("notice", {"text": text})
        )
        loop = self.loop
        self._metric_hook = Hook(loop, config.metric_command, "metric", self._metric_told)
        loop.add_reader(watchdog.fileno(), self._on_watchdog, urgent=True)
        loop.add_timer(watchdog.next_beat, watchdog.beat)
        loop.add_timer(self._connectivity.deadline, self._check_connectivity)
        for each in self._peer_sockets:
            loop.add_reader(each.fileno(), partial(self._on_peer, each))
        for tun in (self._signalling, self._tun):
            loop.add_reader(tun.descriptor, partial(self._on_tun, tun), urgent=tun is not self._tun)
        loop.add_reader(self._monitor.fileno(), self._on_change)

    def start(self, now: float) -> None:
        """Set the engine going."""
        self.call(self.engine.start, now)
        self._check_connectivity(now)

    def pump(self, now: float) -> None:
        """Let in what may come now, then pass on what the engine has: answers come after it."""
        self._gatekeeper.look()
        super().pump(now)

    def send(self, packets: list[bytes], now: float) -> None:
        """Send to peers by a socket, everything else by the TUN: it is forwarded from there."""
        own = self._own
        from_own = [each for each in packets if each[8:24] == own]
        if not from_own:
            self._tun.write_each(packets)
            return
        self._outbound.send(from_own)
        self._tun.write_each([each for each in packets if each[8:24] != own])

    def deliver(self, packets: list[bytes]) -> None:
        """Forward the mobile nodes' packets to their correspondents."""
        self._tun.write(packets)

    def on_event(self, event: EngineEvent, now: float) -> None:
        """Put the home route up or take it down, and tell routing by which metric."""
        self._gatekeeper.take(event)
        if event.kind == "advertise-prefix":
            self._add_home_route(self._config.home_prefix)
            if self.engine.last_advertised is not None:
                write_returns(self._returns, self.engine.last_advertised)
        elif event.kind == "withdraw-prefix":
            if event.fields()["reason"] == "leaving":
                # What still comes is served, but routing advertises the whole prefix alone.
                for half in self._config.home_prefix.subnets():
                    self._add_home_route(half)
            self._remove_home_route()
        elif event.kind == "left":
            self.stop(0)
        elif event.kind in ("peer-isolated", "peer-readmitted"):
            if not write_isolated(self._isolated, self.engine.isolated):
                text = "who is isolated cannot be written down: isolate again after a restart"
                self.journal.write("notice", {"text": text})
        elif event.kind in REVOCATION_EVENTS:
            self._keep_lists()
        elif event.kind == "metric-changed":
            self._metric_hook.run(event.fields()["metric"])

    def _keep_lists(self) -> None:
        """What is revoked stays so after a restart."""
        from agents.credential_files import keep_lists

        assert self._credentials is not None
        try:
            keep_lists(self._credentials, self._config.directory)
        except OSError as error:
            self.journal.write("notice", {"text": f"a revocation list is not kept: {error}"})

    def commands(self) -> dict[str, Command]:
        """Add a home agent's verbs."""
        return {
            **super().commands(),
            "load-keys": self._load_keys,
            "add-peer": self._add_peer,
            "dismiss": self._dismiss,
            "leave": self._leave,
            **IsolationCommands(self.engine, self._carry_out).commands(),
            "renew": lambda request, now: self._renew(self.engine.renew, request, now),
            "paths": lambda request, now: self.engine.paths(),
            "gate": lambda request, now: self._gatekeeper.stopped(),
            "revoke": lambda request, now: self._renew(self.engine.revoke, request, now),
        }

    def counters(self) -> dict[str, int]:
        """Add what device and sockets refused."""
        return {
            **super().counters(),
            **self.engine.key_counters(),
            "runtime.tun-refused": self._tun.refused,
            "runtime.send-refused": self._outbound.refused,
        }

    def _on_tun(self, tun: Tun, now: float) -> None:
        self.drain(tun.read, self.engine.receive, now)

    def _on_peer(self, opened: PacketReader, now: float) -> None:
        packets = []
        for _ in range(BATCH):
            packet = opened.read()
            if packet is None:
                break
            if packet:
                packets.append(packet)
        self.feed(self.engine.receive, packets, now)
        self.pump(now)

    def _on_change(self, now: float) -> None:
        if self._monitor.read() != []:
            self._check_connectivity(now)

    def _check_connectivity(self, now: float) -> None:
        """Tell the engine when there is no route to any peer any more, and when one is back."""
        peers = self.engine.peers()
        reachable = not peers or any(has_route(IPv6Address(each["address"])) for each in peers)
        told = self._connectivity.observe(reachable, now)
        if told is not None:
            self.journal.write("connectivity", {"reachable": reachable})
            self.call(self.engine.connectivity, reachable, now)

    def _on_watchdog(self, now: float) -> None:
        try:
            tripped = self._watchdog.tripped()
        except WatchdogDied:
            self.journal.write("watchdog-died")
            self._remove_home_route()
            self.stop(1)
            return
        if tripped:
            # The route may have been put back between the watchdog's removal and this line.
            self._remove_home_route()
            self.call(self.engine.resynchronise, now)

    def _metric_told(self, metric: str, code: int) -> None:
        self.journal.write("metric-told", {"metric": int(metric), "exit_code": code})

    def _add_home_route(self, prefix: IPv6Network) -> None:
        self._netlink.add_route(
            prefix,
            self._interface,
            metric=HOME_METRIC,
            locked_mtu=inner_mtu(self._config.path_mtu, self._config.mode),
        )

    def _remove_home_route(self) -> None:
        self._netlink.remove_route(self._config.home_prefix, self._interface)

    def _load_keys(self, request: Mapping[str, Any], now: float) -> int:
        from agents.keys import read_key_file

        try:
            associations = read_key_file(Path(text_parameter(request, "path")))
            self.engine.load_keys(associations, now)
        except ConfigError as error:
            raise CommandError(str(error)) from error
        self.pump(now)
        return len(associations)

    def _add_peer(self, request: Mapping[str, Any], now: float) -> str:
        """Take the home agent `name` in: `index`, own `address`, and the `key_file` of the two.

        Without `key_file` the two know each other by certificate.
        """
        from agents.config import peer_config
        from agents.keys import read_key_file

        try:
            peer = peer_config(request)
            keys = () if peer.key_file == Path() else read_key_file(peer.key_file)
            self.engine.add_peer(peer, keys, now)
        except ValueError as error:
            raise CommandError(str(error)) from error
        self.pump(now)
        self._check_connectivity(now)
        return "added"

    def _dismiss(self, request: Mapping[str, Any], now: float) -> str:
        """Reckon with the peer `name` no more; `reason` for the journal."""
        name = text_parameter(request, "name")
        reason = request.get("reason", "operator")
        index = next((each["index"] for each in self.engine.peers() if each["name"] == name), None)
        if index is None:
            raise CommandError(f"name: {name} is no peer")
        self.engine.dismiss(index, str(reason), now)
        self.pump(now)
        self._check_connectivity(now)
        return "dismissed"

    def _carry_out(self, now: float) -> None:
        """An operator has decided something: what follows leaves at once."""
        self.pump(now)
        self._check_connectivity(now)

    def _leave(self, request: Mapping[str, Any], now: float) -> str:
        """Go for good; the process ends, with exit code 0, when all is handed over."""
        try:
            self.engine.leave(now)
        except ValueError as error:
            raise CommandError(str(error)) from error
        self.pump(now)
        return "leaving"

    def _renew(
        self,
        verb: Callable[[IPv6Address, float], None],
        request: Mapping[str, Any],
        now: float,
    ) -> str:
        """Renew or revoke the SAs of `home_address`: here, if this HA is its primary."""
        try:
            verb(IPv6Address(text_parameter(request, "home_address")), now)
        except ValueError as error:
            raise CommandError(str(error)) from error
        self.pump(now)
        return "renewing"

    def run(self) -> int:
        """Work until told to end; the route goes before the device does."""
        try:
            return super().run()
        finally:
            self._remove_home_route()
            self._gatekeeper.close()
            self._metric_hook.close()
            self._tun.close()
            self._signalling.close()
            self._watchdog.close()


def main(arguments: list[str]) -> int:
    """Run a home agent; return the exit code."""
    if len(arguments) != 1:
        print("usage: python -m agents.ha CONFIG", file=sys.stderr)
        return 2
    try:
        agent = prepare(Path(arguments[0]))
    except (ConfigError, OSError) as error:
        print(f"ha: {one_line(error)}", file=sys.stderr)
        return 2
    return agent.run()


def prepare(
    path: Path,
    process_class: "type[HomeAgentProcess] | None" = None,
    engine_class: "type[HomeAgent] | None" = None,
) -> HomeAgentProcess:
    """Build everything; raises `ConfigError` and `OSError` while they can still be read.

    The classes stand in for `HomeAgentProcess` and `HomeAgent`: an experiment brings its own.
    """
    config = load_home_agent(path)
    # First of all: the watchdog stays small, and inherits no descriptor.
    watchdog = Watchdog.start(config.home_prefix, config.directory / "events.jsonl", config.name)
    from agents.core.home_agent import HomeAgent
    from agents.keys import read_key_file

    _check_forwarding()
    peer_keys = {
        each.index: read_key_file(each.key_file) for each in config.peers if each.key_file != Path()
    }
    mobile_keys = [read_key_file(each) for each in config.key_files]
    secrets, credentials = _read_secrets(config), _read_credentials(config)
    devices = Devices(config)
    egress = EgressFile(config.directory / "egress.bin") if config.egress_record else None
    # After all that can go wrong: a start that failed must not use up the first incarnation.
    incarnation = next_incarnation(config.directory / "incarnation")
    engine = (engine_class or HomeAgent)(
        config,
        incarnation,
        os.urandom,
        peer_keys,
        egress.record if egress is not None else None,
        secrets=secrets,
        credentials=credentials,
        last_advertised=read_returns(config.directory / "returns"),
        isolated=read_isolated(config.directory / "isolated"),
    )
    journal = Journal(config.directory / "events.jsonl", config.name)
    agent = (process_class or HomeAgentProcess)(
        config, engine, devices, journal, watchdog, egress, credentials
    )
    journal.write("agent-started", {"incarnation": incarnation, "pid": os.getpid()})
    if incarnation == 1:
        # Later ones cannot know how far an SA of the file has been used.
        for associations in mobile_keys:
            engine.load_keys(associations, time.monotonic())
    elif mobile_keys:
        journal.write(
            "notice",
            {"text": "not the first start: SAs come from peers or by load-keys, not from files"},
        )
    agent.open_control(config.directory)
    log_to(config.directory)
    agent.start(time.monotonic())
    journal.write("agent-ready")
    return agent


def _read_secrets(config: HomeAgentConfig) -> Mapping[IPv6Address, bytes] | None:
    """Return the pre-shared keys of mobile nodes, or None if it has no files of them."""
    if not config.secret_files:
        return None
    from agents.shared_secrets import read_secret_files

    return read_secret_files(config.secret_files)


def _read_credentials(config: HomeAgentConfig) -> "Credentials | None":
    """Return what certificates there are, which have to be this home agent's."""
    if not config.credentials.given:
        return None
    from agents.credential_files import check_own, read_credentials, recall_lists

    credentials = read_credentials(config.credentials)
    recall_lists(credentials, config.directory)
    check_own(credentials, config.credentials, config.address, config.home_agent_address)
    return credentials


def _check_forwarding() -> None:
    setting = Path("/proc/sys/net/ipv6/conf/all/forwarding")
    if setting.read_text().strip() != "1":
        raise ConfigError(
            f"{setting}: a home agent forwards packets; sysctl -w net.ipv6.conf.all.forwarding=1"
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
