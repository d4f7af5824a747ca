"""Cookies (RFC 7296 §2.6) between our IKEv2 engine and strongSwan's charon."""

from dataclasses import replace

import pytest

from agents.core.ike.events import ChildEstablished
from agents.wire.ike.numbers import ExchangeType, Group
from tests.figure_1.inside import inside
from tests.strongswan.driver import Fault
from tests.strongswan.lab import HASTY, TIMERS, Lab

pytestmark = [
    pytest.mark.emulation,
    pytest.mark.parametrize("swan", ["cookies"], indirect=True),
]

GROUPS = pytest.mark.parametrize("curve", ["x25519", "ecp256"])


@inside
@GROUPS
def test_charon_wants_a_cookie(swan: Lab, curve: str) -> None:
    """It does while a half-open SA is there; with P-256 it wants another group, too (§2.6.1)."""
    ours = swan.meet(proposals=[f"aes128gcm16-prfsha256-{curve}"], timers=HASTY)
    ours.faults.append(Fault(True, ExchangeType.IKE_AUTH, False, 0))
    ours.initiate()
    swan.charon.await_line("generating IKE_SA_INIT response 0 .* KE")
    second = ours.initiate()
    assert swan.charon.await_line(r"generating IKE_SA_INIT response 0 \[ N\(COOKIE\) \]")

    def both() -> bool:
        found = [each.sa for each in ours.events if isinstance(each, ChildEstablished)]
        return len(found) == 2 and second in found

    ours.wait(both, "both Child SAs")
    assert swan.charon.await_line(r"parsed IKE_SA_INIT request 0 \[ N\(COOKIE\) SA KE")


@inside
@GROUPS
def test_we_want_a_cookie(swan: Lab, curve: str) -> None:
    """From everybody; nothing is kept of a request without one."""
    groups = {"x25519": Group.X25519, "ecp256": Group.P256}
    ours = swan.meet(timers=replace(TIMERS, cookie_threshold=-1), groups=(groups[curve],))
    swan.charon.initiate("payload")
    swan.check_traffic(ours, ours.await_child())
    assert swan.charon.await_line(r"parsed IKE_SA_INIT response 0 \[ N\(COOKIE\) \]")
    assert swan.charon.await_line(r"generating IKE_SA_INIT request 0 \[ N\(COOKIE\) SA KE")
