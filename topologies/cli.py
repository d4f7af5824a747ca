"""The lab's prompt: Mininet's own commands, and verbs for faults, tables and captures."""

# ruff: noqa: D403  (a docstring here is what `help` prints: it begins with the command)

from __future__ import annotations

import sys
from typing import TextIO

from mininet.cli import CLI
from mininet.log import error, output

from topologies.agents import AgentError
from topologies.capture import Capture
from topologies.cli_membership import MembershipVerbs
from topologies.cli_tables import TableVerbs
from topologies.cli_verbs import UsageError, verb
from topologies.network import Network
from topologies.plan import Role
from topologies.source_validation import SourceCheck, feasible_sources


class LabCLI(TableVerbs, MembershipVerbs, CLI):  # type: ignore[misc]
    """Mininet's prompt on a running network with agents."""

    prompt = "manyhomes> "
    helpStr = (  # noqa: N815 (Mininet's name)
        "A node's name and a command runs it there: `cn1 ping -c 3 mn`. In it other nodes' names\n"
        "stand for their addresses; mn's is its home address. `help fail` tells of one command.\n"
    )

    def __init__(
        self, network: Network, stdin: TextIO = sys.stdin, script: str | None = None
    ) -> None:
        """Run the prompt until its user has had enough; ``script``: run this file instead."""
        self.network = network
        self._captures = {}
        try:
            super().__init__(network.mininet, stdin=stdin, script=script)
        finally:
            self._stop_captures()

    @classmethod
    def initReadline(cls) -> None:  # noqa: N802
        """Keep the history in memory: Mininet's file lies in the user's home directory."""
        import readline  # noqa: F401  (its import gives input() line editing)

    # Breaking and mending.

    @verb
    def do_fail(self, words: list[str]) -> None:
        """fail NODE: kill -9 the agent of a node; its route goes with it. `heal` starts it."""
        agent = self.network.agents[self._one(words, "fail NODE")]
        self._tell(f"agent of {agent.name} killed", agent.kill())

    @verb
    def do_hang(self, words: list[str]) -> None:
        """hang NODE: stop a node's agent (SIGSTOP); its watchdog notices. `heal` lets it go on."""
        agent = self.network.agents[self._one(words, "hang NODE")]
        self._tell(f"agent of {agent.name} hung", agent.hang())

    @verb
    def do_restart(self, words: list[str]) -> None:
        """restart NODE: kill a node's agent and start it at once; a mobile node's with new keys."""
        name = self._one(words, "restart NODE")
        agent = self.network.agents[name]
        if name in self.network.agents.mobile_nodes:
            self._tell(f"agent of {name} restarted", self.network.agents.restart_mobile_node(name))
            return
        if agent.running:
            agent.kill()
        agent.start()
        output(f"agent of {name} restarted\n")

    @verb
    def do_renew(self, words: list[str]) -> None:
        """renew MN: its primary agrees with it on fresh security associations (SET=keys=ike)."""
        self._renew("renew", self._one(words, "renew MN"))

    @verb
    def do_revoke(self, words: list[str]) -> None:
        """revoke MN: as renew, but the old security associations end at once, everywhere."""
        self._renew("revoke", self._one(words, "revoke MN"))

    def _renew(self, command: str, name: str) -> None:
        """Tell the primary of a mobile node in each home, as the home agents that answer see it."""
        mobile = self.network.plan.nodes[self._mobile_nodes(name)[0]]
        renewing = []
        for home in self.network.plan.homes:
            home_address = str(home.home_address(mobile.index))
            primary = self._primary(home_address)
            if primary is not None:
                self.network.agents[primary].ask(command, home_address=home_address)
                renewing.append(primary)
        if not renewing:
            raise ValueError(f"no home agent has a binding of {name}")
        output(f"{', '.join(renewing)} renews\n")

    def _primary(self, home_address: str) -> str | None:
        for agent in self.network.agents.home_agents.values():
            try:
                rows = agent.ask("bindings")
            except AgentError:
                continue
            for row in rows:
                if row["home_address"] == home_address and row["primary"] is not None:
                    return str(row["primary"])
        return None

    @verb
    def do_silence(self, words: list[str]) -> None:
        """silence NODE: the node drops everything in and out, and its links stay up."""
        name = self._one(words, "silence NODE")
        self._tell(f"{name} silent", self.network.faults.silence(name))

    @verb
    def do_cut(self, words: list[str]) -> None:
        """cut A B: cut the link between two neighbours; both see the carrier go."""
        if len(words) != 2:
            raise UsageError("cut A B")
        self._tell(f"link {words[0]}-{words[1]} cut", self.network.faults.cut(*words))

    @verb
    def do_partition(self, words: list[str]) -> None:
        """partition AS: home agents of an AS and all others hear nothing of one another.

        All else still passes. `heal` lets them hear one another again.
        """
        nodes = self.network.plan.of_role(Role.HOME_AGENT)
        here = [node.name for node in nodes if words == [str(node.asn)]]
        there = [node.name for node in nodes if node.name not in here]
        if not here or not there:
            numbers = ", ".join(dict.fromkeys(str(node.asn) for node in nodes))
            raise UsageError(f"partition AS, one of several with home agents; there are {numbers}")
        self._tell(
            f"{', '.join(here)} parted from {', '.join(there)}",
            self.network.faults.partition(here, there),
        )

    @verb
    def do_check(self, words: list[str]) -> None:
        """check ROUTER strict|feasible|loose|off: the router checks sources (docs/anycast.md)."""
        if len(words) != 2 or words[1] not in (*SourceCheck, "off"):
            raise UsageError("check ROUTER " + "|".join((*SourceCheck, "off")))
        name, faults = self._known(words[0]), self.network.faults
        if words[1] == "off":
            self._tell(f"{name} checks no sources", faults.trust_sources(name))
            return
        check, sources = SourceCheck(words[1]), None
        if check is SourceCheck.FEASIBLE and name in self.network.routing.on:
            sources = feasible_sources(self.network.plan, self.network.routing.on[name])
        self._tell(f"{name} checks sources", faults.check_sources(name, check, sources))

    @verb
    def do_heal(self, words: list[str]) -> None:
        """heal: mend links, end silence and checks, let hung agents go on, start killed ones."""
        if words:
            raise UsageError("heal")
        done = self.network.faults.heal() + self.network.agents.heal()
        output("healed: " + (", ".join(done) or "nothing was broken") + "\n")

    @verb
    def do_move(self, words: list[str]) -> None:
        """move MN ACCESS: move a mobile node to another visited network: `move mn v2`."""
        if len(words) != 2:
            raise UsageError("move MN ACCESS, as in: move mn v2")
        self._tell(f"{words[0]} at {words[1]}", self.network.faults.move(*words))

    @verb
    def do_wish(self, words: list[str]) -> None:
        """wish MN HA [WEIGHT]: a mobile node would like to be served by HA; `wish mn any` ends it.

        The lab must have been started with SET=penalty=100, or home agents heed nobody.
        """
        if len(words) not in (2, 3):
            raise UsageError("wish MN HA [WEIGHT], as in: wish mn HA3 2")
        plan = self.network.plan
        index, home = 0, {}
        if words[1] != "any":
            index = plan.nodes[self._home_agents(words[1])[0]].index
            home = {"home": plan.homes.index(plan.home_of(words[1])) + 1}
        weight = words[2] if words[2:] else "1"
        if not weight.isdigit():
            raise UsageError("a weight is 1 to 4")
        agent = self.network.agents[words[0]]
        agent.ask("wish", home_agent=index, weight=int(weight), **home)
        output(f"{words[0]} wishes for {words[1]}\n")

    @verb
    def do_ping(self, words: list[str]) -> None:
        """ping [FROM [TO]]: five pings; without arguments cn1 pings mn's home address."""
        if len(words) > 2:
            raise UsageError("ping [FROM [TO]]")
        source, target = (*words, *("cn1", "mn")[len(words) :])
        address = self.network.nodes[target].IP() if target in self.network.nodes else target
        result = self.network.nodes[self._known(source)].run(
            ["ping", "-c", "5", "-i", "0.2", "-W", "2", address]
        )
        output(result.stdout + result.stderr)

    @verb
    def do_capture(self, words: list[str]) -> None:
        """capture on|off [NODE ...]: record the packets of nodes, a pcapng file each."""
        if not words or words[0] not in ("on", "off"):
            raise UsageError("capture on|off [NODE ...]")
        if words[0] == "off":
            output("\n".join(self._stop_captures()) or "no capture was running")
            output("\n")
            return
        for name in words[1:] or list(self.network.nodes):
            if self._known(name) not in self._captures:
                path = self.network.logs / name / "capture.pcapng"
                path.parent.mkdir(parents=True, exist_ok=True)
                self._captures[name] = Capture(self.network.nodes[name], path)
        output(f"capturing {', '.join(self._captures)} below {self.network.logs}\n")

    def _stop_captures(self) -> list[str]:
        paths = []
        while self._captures:
            _, capture = self._captures.popitem()
            capture.stop()
            paths.append(str(capture.path))
        return paths

    # Names.

    def default(self, line: str) -> None:
        """Run a command on a node, with the names of nodes in it replaced by their addresses."""
        first, rest, line = self.parseline(line)
        if first not in self.mn:
            error(f"unknown command or node: {line.split()[0]}; `help` lists commands, ")
            error("`nodes` nodes\n")
            return
        if not rest:
            error(f"usage: {first} COMMAND\n")
            return
        node = self.mn[first]
        words = [self.mn[word].IP() if word in self.mn else word for word in rest.split(" ")]
        if self.isatty():
            node.sendCmd(" ".join(words))
            self.waitForNode(node)
        else:  # what follows on standard input is for this prompt, not for the command
            output(node.cmd(" ".join(words)))
