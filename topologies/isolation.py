"""How an operator puts a home agent out: by whom it is said, and what takes the place of its keys.

With certificates the operator's word is a signed revocation list, which home agents hand on to one
another and to mobile nodes. Pre-shared keys that the one put out knows are replaced before that.
Where SAs come from files each home agent has to be told, and fresh files follow (DECISIONS.md, rule
13).
"""

from __future__ import annotations

from collections.abc import Sequence

from agents.shared_secrets import read_secret_files, write_secret_file
from topologies.agents import AgentError, Agents
from topologies.certification import Authority
from topologies.plan import HomeNetwork, NodePlan


def put_out(agents: Agents, name: str, others: Sequence[str]) -> None:
    """Have the others isolate a home agent, all at once.

    One that does not answer hears it from the others, or reads it at its next start. Raises
    AgentError where nobody answers.
    """
    home = agents.plan.home_of(name)
    agents.put_out.add(name)
    if agents.authority is not None:
        if agents.options.mobile_secret:
            _replace_secrets(agents, home, others)
        _revoke(agents, agents.authority, name, others)
    else:
        _one_of(others, agents.tell(others, "isolate", name=name))
        _replace_keys(agents, home, others)
    agents.configure_home_agents(home)


def _revoke(agents: Agents, authority: Authority, name: str, others: Sequence[str]) -> None:
    _one_of(others, agents.tell(others, "revocations", path=str(authority.revoke(name))))


def _one_of(asked: Sequence[str], errors: Sequence[AgentError]) -> None:
    """Raise AgentError unless one has done what it was asked."""
    if len(errors) == len(asked):
        raise AgentError("; ".join(map(str, errors)))


def _replace_secrets(agents: Agents, home: HomeNetwork, others: Sequence[str]) -> None:
    """Give mobile nodes and home agents pre-shared keys that only they know."""
    mobiles = [agents.plan.nodes[name] for name in agents.mobile_nodes]
    holder = agents.plan.nodes[others[0]]
    paths = {node.name: agents.write_secret(node, holder) for node in mobiles}
    together = agents.keys / f"home{home.number}.secrets"
    write_secret_file(together, read_secret_files(paths.values()))
    agents.tell(others, "load-secrets", path=str(together))
    for name, path in paths.items():
        agents.tell([name], "load-secrets", path=str(path))


def _replace_keys(agents: Agents, home: HomeNetwork, others: Sequence[str]) -> None:
    """Give mobile nodes and a home agent SAs from fresh files; it tells the others."""
    running = [name for name in others if agents[name].running and not agents[name].hung]
    if agents.key_holders[home.number] not in running:
        agents.key_holders[home.number] = running[0]
    holder = agents.plan.nodes[agents.key_holders[home.number]]
    for name in agents.mobile_nodes:
        _replace_key_file(agents, agents.plan.nodes[name], holder)


def _replace_key_file(agents: Agents, mobile: NodePlan, holder: NodePlan) -> None:
    path = agents.write_mobile_keys(mobile, holder)
    agents[holder.name].ask("load-keys", path=str(path))
    if agents[mobile.name].running:
        agents[mobile.name].ask("load-keys", path=str(path))
