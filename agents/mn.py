"""A mobile node's process: `python -m agents.mn CONFIG [CONFIG …]`, a configuration for each home.

Exit codes: 0 ended by SIGTERM, 1 a fault while running, 2 a configuration or host that cannot work.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.config import ConfigError, MobileNodeConfig
from agents.core.mobile_events import HomeChosen
from agents.core.wishes import Wish
from agents.home_configs import load_mobile_homes
from agents.runtime.agent import BATCH, Agent, log_to, one_line, text_parameter
from agents.runtime.care_of import CareOfAddresses, Movement
from agents.runtime.control import Command, CommandError
from agents.runtime.egress import EgressFile
from agents.runtime.engine import EngineEvent, MobileNodeEngine
from agents.runtime.journal import Journal
from agents.runtime.mobile_host import MobileHost
from agents.runtime.netlink import Monitor, Netlink
from agents.runtime.sockets import InboundSocket, OutboundSocket
from agents.runtime.tun import Tun
from agents.runtime.used_keys import claim_keys

if TYPE_CHECKING:
    from agents.core.ike.credentials import Credentials


class MobileNodeProcess(Agent):
    """A mobile node's engine between its host and the visited links."""

    engine: MobileNodeEngine

    def __init__(
        self,
        homes: Sequence[MobileNodeConfig],
        engine: MobileNodeEngine,
        journal: Journal,
        egress: EgressFile | None = None,
        credentials: "Sequence[Credentials | None]" = (),
    ) -> None:
        """Open devices and sockets and set up the host; raises `OSError` and `ConfigError`.

        `homes` are the configurations of `engine`, or of the engines that it stands for, in order;
        `credentials` are theirs.
        """
        super().__init__(engine, journal, egress)
        self._homes = homes
        self._credentials = credentials
        self._netlink = Netlink()
        self._monitor = Monitor()
        self._tuns = {each.home_address.packed: Tun(each.tun) for each in homes}
        self._host = MobileHost(homes, self._netlink)
        self._host.set_up()
        interfaces = homes[0].interfaces
        self._addresses = CareOfAddresses(interfaces)
        self._outbound = {name: OutboundSocket(mark) for name, mark in self._host.tables.items()}
        self._senders: dict[bytes, OutboundSocket] = {}
        self._unsendable = 0
        for name in interfaces:
            inbound = _open_inbound(name, errors=len(homes) > 1)
            self.loop.add_reader(inbound.fileno(), partial(self._on_inbound, inbound))
        for tun in self._tuns.values():
            self.loop.add_reader(tun.descriptor, partial(self._on_tun, tun))
        self.loop.add_reader(self._monitor.fileno(), self._on_change)

    def start(self, now: float) -> None:
        """Set the engine going with the addresses that there are."""
        self.call(self.engine.start, now)
        self._read_everything(now)

    def send(self, packets: list[bytes], now: float) -> None:
        """Send each packet by the interface whose care-of address is its source."""
        source = packets[0][8:24]
        if len(packets) == 1 or all(each[8:24] == source for each in packets):
            self._send_from(source, packets)
            return
        for packet in packets:
            self._send_from(packet[8:24], [packet])

    def deliver(self, packets: list[bytes]) -> None:
        """Give the host what came through the tunnel: by the TUN of its home address."""
        if len(self._tuns) == 1:
            next(iter(self._tuns.values())).write(packets)
            return
        for home_address, tun in self._tuns.items():
            own = [each for each in packets if each[24:40] == home_address]
            if own:
                tun.write(own)

    def on_event(self, event: EngineEvent, now: float) -> None:
        """Let new flows use another home; keep what is revoked for the next start."""
        if isinstance(event, HomeChosen):
            self._host.choose(event.home)
        elif event.kind in ("revocations-learned", "revocations-heard"):
            self._keep_lists()

    def _keep_lists(self) -> None:
        """What is revoked stays so after a restart."""
        from agents.credential_files import keep_lists

        try:
            for home, credentials in zip(self._homes, self._credentials, strict=True):
                if credentials is not None:
                    keep_lists(credentials, home.directory)
        except OSError as error:
            self.journal.write("notice", {"text": f"a revocation list is not kept: {error}"})

    def commands(self) -> dict[str, Command]:
        """Add a mobile node's verbs."""
        return {
            **super().commands(),
            "deregister": self._deregister,
            "register": self._register,
            "refresh": self._refresh,
            "wish": self._wish,
            "load-keys": self._load_keys,
            "load-secrets": self._load_secrets,
        }

    def counters(self) -> dict[str, int]:
        """Add what device and sockets refused."""
        refused = sum(each.refused for each in self._outbound.values())
        return {
            **super().counters(),
            **self.engine.key_counters(),
            "runtime.tun-refused": sum(each.refused for each in self._tuns.values()),
            "runtime.send-refused": refused + self._unsendable,
        }

    def _send_from(self, source: bytes, packets: list[bytes]) -> None:
        sender = self._senders.get(source)
        if sender is None:
            self._unsendable += len(packets)
        else:
            sender.send(packets)

    def _on_inbound(self, inbound: InboundSocket, now: float) -> None:
        packets = []
        for _ in range(BATCH):
            packet = inbound.read()
            if packet is None:
                break
            packets.append(packet)
        self.feed(self.engine.receive, packets, now)
        self.pump(now)

    def _on_tun(self, tun: Tun, now: float) -> None:
        self.drain(tun.read, self.engine.encapsulate, now)

    def _on_change(self, now: float) -> None:
        changes = self._monitor.read()
        if changes is None:  # notifications were lost
            self._read_everything(now)
        elif changes:
            self._host.follow_routes(changes)
            self._move(self._addresses.update(changes), now)

    def _read_everything(self, now: float) -> None:
        everything = self._netlink.dump()
        self._host.follow_routes(everything)
        self._move(self._addresses.replace(everything), now)

    def _move(self, movements: list[Movement], now: float) -> None:
        for address, interface, usable in movements:
            if address.packed in self._tuns:
                continue
            self.journal.write(
                "care-of-address",
                {"address": str(address), "interface": interface, "usable": usable},
            )
            self._host.care_of_address(address, interface, usable)
            if usable:
                self._senders[address.packed] = self._outbound[interface]
                self.call(self.engine.care_of_address_added, address, interface, now)
            else:
                self.call(self.engine.care_of_address_removed, address, now)
                del self._senders[address.packed]

    def _deregister(self, request: Mapping[str, Any], now: float) -> str:
        self.call(self._meant(request).deregister, now)
        return "deregistering"

    def _register(self, request: Mapping[str, Any], now: float) -> str:
        self.call(self._meant(request).start, now)
        return "registering"

    def _refresh(self, request: Mapping[str, Any], now: float) -> str:
        self.call(self._meant(request).refresh, now)
        return "refreshing"

    def _wish(self, request: Mapping[str, Any], now: float) -> str:
        home_agent, weight = request.get("home_agent"), request.get("weight", 1)
        if not (isinstance(home_agent, int) and isinstance(weight, int)):
            raise CommandError('"home_agent": give an index, 0 for any; "weight": 1 to 4')
        try:
            self._meant(request).wish(Wish(home_agent, weight), now)
        except ValueError as error:
            raise CommandError(str(error)) from error
        self.pump(now)
        return "wished"

    def _meant(self, request: Mapping[str, Any]) -> MobileNodeEngine:
        """Return the home that a request names by its number, or all; raises `CommandError`."""
        number = request.get("home")
        if number is None:
            return self.engine
        if not isinstance(number, int):
            raise CommandError('"home": no home has that name; give its number')
        try:
            return self.engine.home(number)
        except ValueError as error:
            raise CommandError(str(error)) from error

    def _load_secrets(self, request: Mapping[str, Any], now: float) -> int:
        """Use the pre-shared keys in `path` from now on; how many are of homes of this node."""
        from agents.shared_secrets import read_secret_file

        loaded = 0
        try:
            secrets = read_secret_file(Path(text_parameter(request, "path")))
            for number, home in enumerate(self._homes, 1):
                if (secret := secrets.get(home.home_address)) is not None:
                    self.engine.home(number).load_secret(secret, now)
                    loaded += 1
        except ValueError as error:
            raise CommandError(str(error)) from error
        if not loaded:
            raise CommandError("path: no secret of a home of this node stands there")
        return loaded

    def _load_keys(self, request: Mapping[str, Any], now: float) -> int:
        from agents.keys import read_key_file

        try:
            path = Path(text_parameter(request, "path"))
            associations = read_key_file(path)
            claim_keys(self._homes[0].directory / "used-keys", associations, path)
            self.engine.load_keys(associations, now)
        except ConfigError as error:
            raise CommandError(str(error)) from error
        self.pump(now)
        return len(associations)


def main(arguments: list[str]) -> int:
    """Run a mobile node; return the exit code."""
    if not arguments:
        print("usage: python -m agents.mn CONFIG [CONFIG ...]", file=sys.stderr)
        return 2
    try:
        agent = _prepare([Path(each) for each in arguments])
    except (ConfigError, OSError) as error:
        print(f"mn: {one_line(error)}", file=sys.stderr)
        return 2
    return agent.run()


def _prepare(paths: Sequence[Path]) -> MobileNodeProcess:
    """Build everything; raises `ConfigError` and `OSError` while they can still be read."""
    homes = load_mobile_homes(paths)
    first = homes[0]
    from agents.keys import read_key_file

    egress = EgressFile(first.directory / "egress.bin") if first.egress_record else None
    credentials = [_credentials(each) for each in homes]
    engine = _make_engine(homes, credentials, egress.record if egress is not None else None)
    keys = {
        each.key_file: read_key_file(each.key_file) for each in homes if each.key_file != Path()
    }
    engine.load_keys([each for own in keys.values() for each in own], time.monotonic())
    journal = Journal(first.directory / "events.jsonl", first.name)
    agent = MobileNodeProcess(homes, engine, journal, egress, credentials)
    for path, own in keys.items():
        claim_keys(first.directory / "used-keys", own, path)
    journal.write("agent-started", {"pid": os.getpid()})
    agent.open_control(first.directory)
    log_to(first.directory)
    agent.start(time.monotonic())
    journal.write("agent-ready")
    return agent


def _make_engine(
    homes: Sequence[MobileNodeConfig],
    credentials: "Sequence[Credentials | None]",
    record: Callable[[int, int, int], None] | None,
) -> MobileNodeEngine:
    """Return the engine of one home, or what stands for those of several."""
    from agents.core.mobile_node import MobileNode

    engines = [
        MobileNode(each, os.urandom, record, _secret(each), own)
        for each, own in zip(homes, credentials, strict=True)
    ]
    if len(engines) == 1:
        return engines[0]
    from agents.core.mobile_homes import MobileHomes

    return MobileHomes(engines)


def _secret(config: MobileNodeConfig) -> bytes | None:
    """Return the pre-shared key, or None where keys come from a file; raises `ConfigError`."""
    if not config.secret_files:
        return None
    from agents.shared_secrets import read_secret_files

    secret = read_secret_files(config.secret_files).get(config.home_address)
    if secret is None:
        raise ConfigError(f"{config.secret_files[0]}: no secret of {config.home_address}; add one")
    return secret


def _credentials(config: MobileNodeConfig) -> "Credentials | None":
    """Return what certificates there are, whose own has to be of the home address."""
    if not config.credentials.given:
        return None
    from agents.credential_files import check_own, read_credentials, recall_lists

    credentials = read_credentials(config.credentials)
    recall_lists(credentials, config.directory)
    check_own(credentials, config.credentials, config.home_address)
    return credentials


def _open_inbound(name: str, errors: bool) -> InboundSocket:
    try:
        return InboundSocket(name, errors)
    except OSError as error:
        raise ConfigError(
            f"interface {name}: {error.strerror}; name an interface of this node"
        ) from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
