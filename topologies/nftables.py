"""Run nftables commands in a node from this process: a fault's moment should be known well."""

from __future__ import annotations

from agents.runtime import nftables
from agents.runtime.nftables import NftablesError as NftablesError
from topologies.namespaces import call_in


class Nftables(nftables.Nftables):
    """nftables of the network namespace of process ``pid``; its socket stays open there."""

    def __init__(self, pid: int) -> None:
        """Open it; raises NftablesError without the library."""
        call_in(pid, super().__init__)
