"""The lab's verbs that look: tables of agents and routers, and how all are."""

# ruff: noqa: D403  (a docstring here is what `help` prints: it begins with the command)

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mininet.log import error, output

from topologies import catchment
from topologies.agents import AgentError
from topologies.cli_verbs import LabVerbs, UsageError, verb
from topologies.tables import table


class TableVerbs(LabVerbs):
    """`show` and `status`."""

    @verb
    def do_show(self, words: list[str]) -> None:
        """show bc|bul|sa|peers|paths|routes|counters|catchment [NODE]: tables of agents, routers.

        bc: binding cache of the home agents; bul: binding update list of the mobile nodes; sa:
        security associations; peers: what home agents think of one another; paths: round trips to
        correspondents in ms, as primaries know them (SET=optimisation=map); routes: the way to the
        home network on every router; counters: what was sent, taken and dropped, and why;
        catchment: which home agent serves each correspondent node and visited network.
        """
        shows: dict[str, Callable[[str | None], str]] = {
            "bc": lambda node: self._ask("bindings", self._home_agents(node)),
            "bul": lambda node: self._ask("bindings", self._mobile_nodes(node)),
            "sa": lambda node: self._ask("sas", self._everyone(node)),
            "peers": self._peers,
            "paths": lambda node: self._ask("paths", self._home_agents(node)),
            "routes": self._routes,
            "counters": self._counters,
            "catchment": self._catchment,
        }
        if not 1 <= len(words) <= 2 or words[0] not in shows:
            raise UsageError("show " + "|".join(shows) + " [NODE]")
        output(shows[words[0]](words[1] if len(words) == 2 else None) + "\n")

    @verb
    def do_status(self, words: list[str]) -> None:
        """status: every agent in one line, and the faults that stand."""
        if words:
            raise UsageError("status")
        rows = []
        for name in self._everyone(None):
            agent = self.network.agents[name]
            if not agent.running:
                rows.append({"node": name, "agent": "does not run"})
                continue
            try:
                status = agent.ask("status")
            except AgentError:
                rows.append({"node": name, "agent": "does not answer"})
                continue
            wanted = (
                "state", "care_of_address", "home", "advertising", "bindings", "peers",
                "incarnation",
            )  # fmt: skip
            rows.append(
                {"node": name, "agent": "up"} | {k: status[k] for k in wanted if k in status}
            )
        output(table(rows) + "\n")
        for fault in self.network.faults.active:
            output(f"fault: {fault}\n")
        for each in self._out():
            output(f"{each}\n")

    def _peers(self, node: str | None) -> str:
        names = [each for each in self._home_agents(node) if each not in self._isolated]
        return "\n".join([self._ask("peers", names), *self._out()])

    @property
    def _isolated(self) -> Mapping[str, int]:
        return self.network.membership.isolated

    def _out(self) -> list[str]:
        """Return who is put out, and how, a line each."""
        fenced = self.network.faults.fenced
        return [
            f"isolated: {name}" + (", fenced by its router" if name in fenced else "")
            for name in self._isolated
        ] + [f"fenced: {name}" for name in fenced if name not in self._isolated]

    def _ask(self, command: str, names: Iterable[str]) -> str:
        rows: list[dict[str, Any]] = []
        silent: list[str] = []
        for name in names:
            try:
                answer = self.network.agents[name].ask(command)
            except AgentError as mistake:
                silent.append(str(mistake))
                continue
            rows += [{"node": name} | _readable(row) for row in answer]
        return "\n".join([table(rows), *silent])

    def _counters(self, node: str | None) -> str:
        columns: dict[str, dict[str, int]] = {}
        for name in self._everyone(node):
            try:
                columns[name] = self.network.agents[name].ask("counters")
            except AgentError as mistake:
                error(f"{mistake}\n")
        names = sorted({counter for column in columns.values() for counter in column})
        rows = [
            {"counter": counter}
            | {node: column.get(counter, 0) for node, column in columns.items()}
            for counter in names
        ]
        return table(rows)

    def _routes(self, node: str | None) -> str:
        if node is not None:
            return self.network.nodes[self._known(node)].run(["ip", "-6", "route"]).stdout.rstrip()
        rows = []
        for name, each in self.network.nodes.items():
            if self.network.plan.nodes[name].role.is_host:
                continue
            for home in self.network.plan.homes:
                destination = str(home.home_agent_address)
                found = each.run(["ip", "-o", "-6", "route", "get", destination]).stdout.split()
                device = found[found.index("dev") + 1] if "dev" in found else "unreachable"
                rows.append({"router": name, "to": destination, "by": device})
        return table(rows)

    def _catchment(self, node: str | None) -> str:
        known = catchment.sources(self.network.plan)
        if node is not None and self._known(node) not in known:
            raise ValueError(f"{node} sends no packets home; there are {', '.join(known)}")
        return table(catchment.table_rows(self.network, known if node is None else [node]))


def _readable(row: Mapping[str, Any]) -> dict[str, Any]:
    """Show an SPI as everybody writes it."""
    found = dict(row)
    if isinstance(found.get("spi"), int):
        found["spi"] = f"{found['spi']:#010x}"
    return found
