"""Mininet node classes: routers, home agents, access routers, mobile and correspondent nodes.

IPv6 only, configured by ``ip -batch`` and sysctls in one go for each node. Every node has a
private /run/frr: FRR 10's mgmtd puts its sockets there whatever it is told.
"""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from typing import Any, ClassVar

from mininet.node import Node

from topologies import addressing
from topologies.delay import Means, means_of
from topologies.namespaces import set_sysctls
from topologies.plan import LinkPlan, Plan, Protocol
from topologies.shaping import end_commands, link_commands

PROMPT = chr(127)
SHELL_DEADLINE = 5.0  # seconds; a shell starts in 20 ms
SHELL_ATTEMPTS = 3
LAN = "lan"
"""The bridge of an access router that holds the links of the mobile nodes."""

# No duplicate address detection on wires that this program lays itself: 1 s for each address.
COMMON_SYSCTLS = {
    "ipv6/conf/all/accept_dad": 0,
    "ipv6/conf/default/accept_dad": 0,
    "ipv6/conf/all/dad_transmits": 0,
    "ipv6/conf/default/dad_transmits": 0,
    "ipv6/conf/all/disable_ipv6": 0,
    "ipv6/conf/default/disable_ipv6": 0,
    "?ipv6/icmp/ratelimit": 0,
}


class ShellError(Exception):
    """A node's shell did not start."""


class SixNode(Node):  # type: ignore[misc]
    """A Mininet node that speaks IPv6 alone and configures itself from a plan.

    ``static_routes``: (prefix, gateway) pairs, for plain Mininet where no FRR runs.
    """

    sysctls: ClassVar[dict[str, int]] = {}

    def __init__(self, name: str, plan: Plan, **params: Any) -> None:
        self.plan = plan
        self._shaped = False
        params.setdefault("privateDirs", ["/run/frr"])
        super().__init__(name, **params)
        set_sysctls(self.pid, COMMON_SYSCTLS | self.sysctls)

    def startShell(self, mnopts: str | None = None) -> None:  # noqa: N802
        """Start the node's shell; unlike Mininet's, with a deadline and further attempts.

        Mininet waits for the prompt without a limit and takes it only as the very last character
        read: seen to hang about once in sixty starts.
        """
        if self.shell:
            return
        for _ in range(SHELL_ATTEMPTS):
            if self._try_shell(mnopts):
                return
        raise ShellError(
            f"{self.name}: no prompt from the node's shell in {SHELL_ATTEMPTS} attempts of "
            f"{SHELL_DEADLINE:.0f} s; is the machine overloaded?"
        )

    def _try_shell(self, mnopts: str | None) -> bool:
        opts = ("-cd" if mnopts is None else mnopts) + ("n" if self.inNamespace else "")
        command = ["mnexec", opts, "env", "PS1=" + PROMPT, "bash", "--norc", "--noediting", "-is",
                   "mininet:" + self.name]  # fmt: skip
        self.master, self.slave = pty.openpty()
        self.shell = self._popen(
            command, stdin=self.slave, stdout=self.slave, stderr=self.slave, close_fds=False
        )
        self.stdin = self.stdout = os.fdopen(self.master, "r")
        self.pid = self.shell.pid
        self.pollOut = select.poll()
        self.pollOut.register(self.stdout)
        self.outToNode[self.stdout.fileno()] = self
        self.inToNode[self.stdin.fileno()] = self
        self.execed, self.lastCmd, self.lastPid, self.readbuf = False, None, None, ""
        if not self._await_prompt():
            self.shell.send_signal(signal.SIGKILL)
            self.shell.wait()
            self.stdin.close()
            os.close(self.slave)
            self.shell = None
            return False
        self.waiting = False
        self.cmd("unset HISTFILE; stty -echo; set +m")
        return True

    def _await_prompt(self) -> bool:
        deadline = time.monotonic() + SHELL_DEADLINE
        seen = b""
        while (left := deadline - time.monotonic()) > 0:
            if not self.pollOut.poll(left * 1000):
                return False
            try:
                seen += os.read(self.stdout.fileno(), 1024)
            except OSError:  # the shell is gone
                return False
            if PROMPT.encode() in seen:
                return True
        return False

    def terminate(self) -> None:
        """End the shell, once: Mininet does it twice to a node that leaves, and complains."""
        if self.shell:
            super().terminate()

    def config(self, **_params: Any) -> dict[str, Any]:
        """Give the links of this node their addresses, routes and rates, all at once."""
        self._batch(["ip", "-6", "-batch", "-"], ["link set lo up", *self.commands()])
        if not self._shaped:
            netem = means_of(self.plan) is Means.NETEM
            self._batch(["tc", "-batch", "-"], link_commands(self.plan, self.name, netem=netem))
            self._shaped = True
        return {}

    def attach(self, link: LinkPlan) -> None:
        """Configure this node's end of a link that came after :meth:`config`."""
        for end in self.plan.ends_of(self.name):
            if end.link is link:
                lines = self.link_commands(end.interface, f"{end.address}/64", up=link.up)
                self._batch(["ip", "-6", "-batch", "-"], lines)
                shape = end_commands(end.interface, link, netem=means_of(self.plan) is Means.NETEM)
                self._batch(["tc", "-batch", "-"], shape)

    def _batch(self, command: list[str], lines: list[str]) -> None:
        if not lines:
            return
        result = self.run(command, "\n".join(lines) + "\n")
        if result.returncode != 0:
            raise RuntimeError(f"{self.name}: {command[0]} -batch: {result.stderr.strip()}")

    def commands(self) -> list[str]:
        """Return the lines for ``ip -6 -batch`` that configure this node."""
        lines = []
        for end in self.plan.ends_of(self.name):
            lines += self.link_commands(end.interface, f"{end.address}/64", up=end.link.up)
        for prefix, gateway in self.params.get("static_routes") or ():
            lines.append(f"route replace {prefix} via {gateway}")
        return lines

    def link_commands(self, interface: str, address: str, *, up: bool) -> list[str]:
        """Return the lines that configure one link."""
        state = "up" if up else "down"
        return [
            f"addr add {address} dev {interface} nodad",
            f"link set {interface} {state}",
        ]

    def IP(self, _intf: object = None) -> str:  # noqa: N802
        """Return the node's own IPv6 address, so that Mininet's pingall pings it."""
        return str(self.plan.address_of(self.name))

    def run(
        self, command: list[str], text: str | None = None, *, check: bool = False,
        timeout: float = 30.0,
    ) -> subprocess.CompletedProcess[str]:  # fmt: skip
        """Run a command in the node and wait for it."""
        return subprocess.run(
            ["mnexec", "-a", str(self.pid), *command],
            input=text, capture_output=True, text=True, check=check, timeout=timeout,
        )  # fmt: skip

    def spawn(self, command: list[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a command in the node; the Popen's pid is the command's own.

        It gets a session of its own: kernels with CONFIG_SCHED_AUTOGROUP share the processor out
        between sessions first, so that a daemon with a 10 ms timer does not queue behind whatever
        else this program or this machine does. And Ctrl-C in a terminal does not reach it.
        """
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("start_new_session", True)
        return subprocess.Popen(["mnexec", "-a", str(self.pid), *command], **options)

    def python(self, module: str, *arguments: str, **options: Any) -> subprocess.Popen[Any]:
        """Start ``python -m module`` in the node with this interpreter."""
        return self.spawn([sys.executable, "-m", module, *arguments], **options)


class Router(SixNode):
    """Forwards, and runs FRR when the lab starts it."""

    sysctls: ClassVar[dict[str, int]] = {
        "ipv6/conf/all/forwarding": 1,
        "ipv6/conf/default/forwarding": 1,
        # A cut link must keep its address for the time when it is healed.
        "ipv6/conf/all/keep_addr_on_down": 1,
        "ipv6/conf/default/keep_addr_on_down": 1,
        "ipv6/conf/all/accept_ra": 0,
        "ipv6/conf/default/accept_ra": 0,
    }

    def __init__(self, name: str, plan: Plan, **params: Any) -> None:
        super().__init__(name, plan, **params)
        if plan.ecmp is not None:
            set_sysctls(self.pid, {"ipv6/fib_multipath_hash_policy": plan.ecmp.policy})


class BorderRouter(Router):
    """A router between ASes; beside others of its AS, one that has the last word on a packet."""

    def commands(self) -> list[str]:
        """Let no packet that BGP has no way for go to another border router, and come back.

        Each originates a default route into the AS, and would take the other's.
        """
        lines = super().commands()
        if self.plan.interior_peers(self.name) and not self.params.get("static_routes"):
            lines.append("route replace unreachable default metric 1024")
        return lines


class HomeAgent(Router):
    """A router that also runs a home agent's process."""


class AccessRouter(Router):
    """A router with a visited network: mobile nodes hang on one bridge."""

    def commands(self) -> list[str]:
        """Put the ports of the mobile nodes into a bridge, which carries the address.

        One more port, a pair of its own, keeps the bridge's carrier up while no mobile node is
        there: the kernel tells of a bridge's carrier only once a second, and until then no router
        advertisement leaves (seen: every handover took 1.0 s).
        """
        lines = [
            f"link add {LAN} type bridge mcast_snooping 0 forward_delay 0",
            f"link add {LAN}-port type veth peer name {LAN}-end",
            f"link set {LAN}-port master {LAN} up",
            f"link set {LAN}-end addrgenmode none up",
        ]
        lines += super().commands()
        access = [e for e in self.plan.ends_of(self.name) if e.link.protocol is Protocol.ACCESS]
        if access:
            lines += [f"addr add {access[0].address}/64 dev {LAN} nodad"]
        return [*lines, f"link set {LAN} up"]

    def link_commands(self, interface: str, address: str, *, up: bool) -> list[str]:
        """As any router's, except that a mobile node's port has no address."""
        for end in self.plan.ends_of(self.name):
            if end.interface == interface and end.link.protocol is Protocol.ACCESS:
                state = "up" if up else "down"
                return [f"link set {interface} master {LAN}", f"link set {interface} {state}"]
        return super().link_commands(interface, address, up=up)


class Correspondent(SixNode):
    """A fixed host: an address and a default route."""

    sysctls: ClassVar[dict[str, int]] = {
        "ipv6/conf/all/accept_ra": 0,
        "ipv6/conf/default/accept_ra": 0,
    }

    def commands(self) -> list[str]:
        """Add the default route by the neighbouring router."""
        end = next(self.plan.ends_of(self.name))
        return [*super().commands(), f"route replace default via {end.neighbour_address}"]


class Stranger(Correspondent):
    """A host that nobody knows, on a visited network beside the mobile nodes: an attacker's."""


class MobileNode(SixNode):
    """A host that forms its care-of address by SLAAC with the interface token.

    The kernel installs care-of addresses (optimistic: usable at once) and each router
    advertisement's default route; this has metric 4096 where the kernel lets it be set, so that
    the agent's default route by its TUN wins in the main table with any lower metric (256, say).
    The agent copies the advertised route into a table of its own for packets from the care-of
    address and to the HA address. Rules are the agent's, addresses the kernel's.

    ``static_routes`` given (plain Mininet): no SLAAC, a static care-of address on the first link.
    """

    sysctls: ClassVar[dict[str, int]] = {
        "ipv6/conf/all/keep_addr_on_down": 0,
        "ipv6/conf/default/keep_addr_on_down": 0,
        "ipv6/conf/all/use_tempaddr": 0,
        "ipv6/conf/default/use_tempaddr": 0,
        "ipv6/conf/all/addr_gen_mode": 0,
        "ipv6/conf/default/accept_ra": 1,
        "ipv6/conf/default/router_solicitation_delay": 0,
        "ipv6/conf/default/router_solicitation_interval": 1,
        "ipv6/conf/default/router_solicitations": -1,
        "?ipv6/conf/default/ra_defrtr_metric": 4096,
    }

    def __init__(self, name: str, plan: Plan, dad: str = "optimistic", **params: Any) -> None:
        """``dad``: "optimistic", "plain" (the address waits for 1 s) or "off"."""
        super().__init__(name, plan, **params)
        on, optimistic = dad != "off", dad == "optimistic"
        set_sysctls(
            self.pid,
            {
                "ipv6/conf/default/accept_dad": int(on),
                "ipv6/conf/default/dad_transmits": int(on),
                "?ipv6/conf/default/optimistic_dad": int(optimistic),
                "?ipv6/conf/default/use_optimistic": int(optimistic),
                "?ipv6/conf/all/optimistic_dad": int(optimistic),
                "?ipv6/conf/all/use_optimistic": int(optimistic),
            },
        )

    def link_commands(self, interface: str, address: str, *, up: bool) -> list[str]:
        """Set the token, then the link; the address itself comes by SLAAC."""
        if self.params.get("static_routes"):
            return super().link_commands(interface, address, up=up) if up else []
        state = "up" if up else "down"
        index = self.plan.nodes[self.name].index
        token = addressing.INTERFACE_TOKEN + (index - 1)
        return [f"token set {token} dev {interface}", f"link set {interface} {state}"]

    def IP(self, _intf: object = None) -> str:  # noqa: N802
        """Return the home address; in plain Mininet, without agents, the care-of address."""
        if self.params.get("static_routes"):
            return super().IP()
        return str(self.plan.homes[0].home_address(self.plan.nodes[self.name].index))
