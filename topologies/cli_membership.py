"""The lab's verbs by which home agents come, go and are put out."""

# ruff: noqa: D403  (a docstring here is what `help` prints: it begins with the command)

from __future__ import annotations

from mininet.log import output

from topologies.cli_verbs import LabVerbs, UsageError, verb


class MembershipVerbs(LabVerbs):
    """`add`, `remove` and `isolate`."""

    @verb
    def do_add(self, words: list[str]) -> None:
        """add HA [ROUTER]: a further home agent joins while all goes on: `add HA4`, `add HA4 br`.

        Its name is the next one of the figure (HA4; in Figure 2 HA13, HA23). Without ROUTER it is
        where it draws no packets as long as the others live. It advertises the home network once it
        is in step with the other home agents.
        """
        if not 1 <= len(words) <= 2:
            raise UsageError("add HA [ROUTER], as in: add HA4 br")
        self.network.add_home_agent(words[0], words[1] if words[1:] else None)
        end = next(self.network.plan.ends_of(words[0]))
        output(f"{words[0]} ({end.address}) serves the home network, at {end.neighbour}\n")

    @verb
    def do_remove(self, words: list[str]) -> None:
        """remove HA: a home agent leaves in good order, then its node goes; no packet is lost.

        One that is isolated or does not run is taken down as it is.
        """
        name = self._one(words, "remove HA")
        if name in self._captures:
            self._captures.pop(name).stop()
        self.network.remove_home_agent(name)
        output(f"{name} has left\n")

    @verb
    def do_isolate(self, words: list[str]) -> None:
        """isolate HA [nofence]: put a home agent out: nothing of it is accepted any more.

        Its router shuts its link, and the other home agents are told. With `nofence` its link
        stays, and it draws packets as long as it likes. `heal` does not bring it back.
        """
        if not 1 <= len(words) <= 2 or words[1:] not in ([], ["nofence"]):
            raise UsageError("isolate HA [nofence]")
        moment = self.network.isolate(words[0], fencing=not words[1:])
        self._tell(f"{words[0]} put out", moment)
