"""Figure 1 in the two draft modes: the mobile node registers, traffic passes each home agent."""

import pytest

from agents.config import Mode
from tests.figure_1.inside import inside
from tests.figure_1.lab import CORRESPONDENTS, HOME_ADDRESS, Lab
from tests.figure_1.tshark import decode

pytestmark = [
    pytest.mark.emulation,
    pytest.mark.parametrize("figure_1", [Mode.DRAFT, Mode.DRAFT_CBC], indirect=True),
]


@inside
def test_registers(figure_1: Lab) -> None:
    """As the draft has it: the M bit in the BA, and no SID table."""
    figure_1.wait_settled()
    packets = [each for each in figure_1.registration if each.signalling]
    update, answer = (
        decode(figure_1, [each for each in packets if each.outgoing is way])[0]
        for way in (True, False)
    )
    for each, message in ((update, "5"), (answer, "6")):
        assert not each.malformed
        assert each.one("esp.icv_good") == "1"
        assert each.one("mip6.mhtype") == message
    assert answer.one("mip6.ba.status") == "0"
    assert answer.one("mip6.ba.seqnr") == update.one("mip6.bu.seqnr")
    assert answer.one("manyhomes.origin") == figure_1.address("HA1")
    assert answer.one("manyhomes.multihomed") == "1"
    assert "3" not in answer.all("manyhomes.option")
    assert figure_1.agent("mn").ask("status")["mode"] == figure_1.mode


@inside
def test_traffic_through_each_home_agent(figure_1: Lab) -> None:
    """All of them on one SA: equal numbers from different origins, none taken for a replay."""
    figure_1.wait_settled()
    with figure_1.capture("mn", "mn-v1") as capture, figure_1.streams() as streams:
        streams.await_running(0, count=50)
        streams.finish()
        packets = [each for each in capture.packets() if each.spi and not each.outgoing]
    assert {each.name: each.lost() for each in streams.all if each.lost()} == {}
    for correspondent in CORRESPONDENTS:
        figure_1.pings(correspondent, HOME_ADDRESS)
    numbers = {
        origin: {each.number for each in packets if each.origin == origin}
        for origin in (figure_1.address(f"HA{n}") for n in (1, 2, 3))
    }
    assert len(set.intersection(*numbers.values())) >= 40  # the hard case did occur
    assert not {name for name in figure_1.counters("mn") if "replay" in name}
