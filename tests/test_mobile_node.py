"""The mobile node against real home agents, back to back in memory."""

import pytest

from agents.config import Mode
from tests.mobile_network import Network

MODES = list(Mode)


@pytest.mark.parametrize("mode", MODES)
def test_registers_and_every_home_agent_reaches_it(mode: Mode) -> None:
    network = Network(mode)
    network.bind()
    assert network.mobile.status()["multihomed"] is True
    assert all(network.down(index) for index in (1, 2, 3))
    assert network.up_to_correspondent()
    assert len(network.mobile.peers()) == (3 if mode is Mode.HARDENED else 0)
