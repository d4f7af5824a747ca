"""The modes that `make replay` sets side by side, and who is who on its network."""

from __future__ import annotations

from collections.abc import Mapping

from agents.config import HomeAgentTimers, Mode
from topologies.agents import AgentOptions

NO_ORIGIN = "draft-no-origin"
NO_FLOORS = HomeAgentTimers(floor_interval=3600.0, floor_packets=1_000_000_000)
MODES: Mapping[str, AgentOptions] = {
    NO_ORIGIN: AgentOptions(
        mode=Mode.DRAFT, origin_option=False, egress_record=True, home_agent_timers=NO_FLOORS
    ),
    "draft": AgentOptions(mode=Mode.DRAFT, egress_record=True),
    "draft-cbc": AgentOptions(mode=Mode.DRAFT_CBC, egress_record=True),
    "hardened": AgentOptions(mode=Mode.HARDENED, egress_record=True),
}
DETECTION = "bfd-50x3"
MOBILE, ACCESS, BORDER = "mn", "v1", "br"
HOME_AGENTS = {"cn1": "HA1", "cn2": "HA2", "cn3": "HA3"}
"""Each correspondent node and its nearest home agent."""
