"""The mobile node's host: home address on the TUN, routes, rules, and what the stack must not see.

What is sent from the home address leaves by the TUN, whatever its destination. What is sent from a
care-of address, by the agent or by others, leaves by that address's interface, whose table holds
the router advertisement's default route. No kernel here prefers home addresses by itself.

With several homes each has a TUN, and a table that its home address is looked up in. The default
route is by the TUN of one of them and names its home address as the source: so new flows take it,
and flows that have a source keep to their own home (rule 14).
"""

import shutil
import socket
import subprocess
from collections.abc import Iterable, Sequence
from ipaddress import IPv6Address, IPv6Network
from typing import Final

from agents.config import ConfigError, MobileNodeConfig
from agents.core.mtu import inner_mtu
from agents.runtime.netlink import (
    PROTOCOL_RA,
    ROUTE_UNICAST,
    ROUTE_UNREACHABLE,
    Change,
    Netlink,
    Route,
)

HOME_TABLE: Final = 99
"""Where packets from the home address are looked up: the TUN and nothing else. Further homes have
the tables below it."""

FIRST_TABLE: Final = 100
"""The table, and the mark, of the first visited interface; the others follow."""

_MARK_PRIORITY: Final = 1000
_CARE_OF_PRIORITY: Final = 1001
_HOME_PRIORITY: Final = 1002
_DEFAULT: Final = IPv6Network("::/0")
_DEFAULT_METRIC: Final = 256
_LAST_METRIC: Final = 0xFFFFFFFE
_QUEUE: Final = 1000

# ESP is found behind type 2 routing headers and destination options too. Packets to or from the
# home address on a visited link would be payload in the clear. IKE is answered by the agent, and no
# socket of the stack's is bound to its port.
_RULES: Final = """
table ip6 manyhomes
delete table ip6 manyhomes
table ip6 manyhomes {{
  chain prerouting {{
    type filter hook prerouting priority raw; policy accept;
    iifname {{ {interfaces} }} rt type 2 drop
    iifname {{ {interfaces} }} meta l4proto {{ 50, 135 }} drop
    iifname {{ {interfaces} }} ip6 daddr {{ {homes} }} drop
    iifname {{ {interfaces} }} ip6 saddr {{ {home_agents} }} udp dport 500 drop
  }}
  chain output {{
    type filter hook output priority raw; policy accept;
    oifname {{ {interfaces} }} ip6 saddr {{ {homes} }} drop
  }}
}}
"""


class MobileHost:
    """Sets up the host and keeps the visited interfaces' tables in step with advertisements."""

    def __init__(self, homes: Sequence[MobileNodeConfig], netlink: Netlink) -> None:
        """`homes` share their interfaces; new flows use the first one until `choose`."""
        self._homes = homes
        self._netlink = netlink
        self._interfaces = homes[0].interfaces
        self.tables = {name: FIRST_TABLE + n for n, name in enumerate(self._interfaces)}
        """Table and mark of each visited interface."""

    def set_up(self) -> None:
        """Prepare everything but care-of addresses; what an earlier agent left is replaced."""
        netlink = self._netlink
        for priority in (_MARK_PRIORITY, _CARE_OF_PRIORITY, _HOME_PRIORITY):
            netlink.remove_rules(priority)
        home_tables = [HOME_TABLE - n for n in range(len(self._homes))]
        for table in (*home_tables, *self.tables.values()):
            # Without a route of its own a packet would fall through to the TUN, and in again.
            netlink.add_route(_DEFAULT, 0, table=table, metric=_LAST_METRIC, kind=ROUTE_UNREACHABLE)
        for table in self.tables.values():
            netlink.add_rule(_MARK_PRIORITY, table, mark=table)
        for home, table in zip(self._homes, home_tables, strict=True):
            tun = socket.if_nametoindex(home.tun)
            netlink.set_link(tun, inner_mtu(home.path_mtu, home.mode), _QUEUE)
            netlink.add_address(home.home_address, tun)
            netlink.add_rule(_HOME_PRIORITY, table, source=home.home_address)
            netlink.add_route(_DEFAULT, tun, table=table, metric=_DEFAULT_METRIC)
        self.choose(1)
        self._drop_before_the_stack()

    def choose(self, number: int) -> None:
        """Let new flows use home `number` (from 1): the default route and the source it names."""
        home = self._homes[number - 1]
        source = home.home_address if len(self._homes) > 1 else None
        tun = socket.if_nametoindex(home.tun)
        self._netlink.add_route(_DEFAULT, tun, metric=_DEFAULT_METRIC, source=source)

    def follow_routes(self, changes: Iterable[Change]) -> None:
        """Copy router advertisements' default routes into their interface's table."""
        for change in changes:
            if not isinstance(change, Route) or change.destination != _DEFAULT:
                continue
            if change.protocol != PROTOCOL_RA or change.kind != ROUTE_UNICAST:
                continue
            table = self._table_of(change.interface)
            if table is None:
                continue
            if change.gone:
                self._netlink.remove_route(_DEFAULT, change.interface, table)
            else:
                self._add_default(change, table)

    def care_of_address(self, address: IPv6Address, interface: str, usable: bool) -> None:
        """Route what is sent from a care-of address by its own interface."""
        table = self.tables[interface]
        if usable:
            self._netlink.add_rule(_CARE_OF_PRIORITY, table, source=address)
        else:
            self._netlink.remove_rule(_CARE_OF_PRIORITY, table, source=address)

    def _table_of(self, index: int) -> int | None:
        try:
            return self.tables.get(socket.if_indextoname(index))
        except OSError:
            return None

    def _add_default(self, change: Route, table: int) -> None:
        try:
            self._netlink.add_route(
                _DEFAULT,
                change.interface,
                gateway=change.gateway,
                table=table,
                metric=_DEFAULT_METRIC,
            )
        except OSError:
            # The interface went down since; its routes are announced again when it is back.
            self._netlink.remove_route(_DEFAULT, change.interface, table)

    def _drop_before_the_stack(self) -> None:
        """Raises `ConfigError` when nftables cannot do it."""
        nft = shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin")
        if nft is None:
            raise ConfigError("nft: not found; install the package nftables")
        names = ", ".join(f'"{name}"' for name in self._interfaces)
        rules = _RULES.format(
            interfaces=names,
            homes=", ".join(str(each.home_address) for each in self._homes),
            home_agents=", ".join(str(each.home_agent_address) for each in self._homes),
        )
        done = subprocess.run([nft, "-f", "-"], input=rules, capture_output=True, text=True)
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[0]
            raise ConfigError(f"nft: {reason}; does this kernel have nf_tables?")
