"""charon and our engine on one link, for one test after the other."""

import os
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network
from subprocess import PIPE, STDOUT
from typing import Any

import pytest

from agents.core.ike.child_sa import ChildSa
from agents.core.ike.ciphers import IkeCipher
from agents.core.ike.config import ChildRequest, IkeConfig, IkePeerConfig, IkeTimers
from agents.core.ike.credentials import Credentials
from agents.wire.ike.identity import Identity
from agents.wire.ike.numbers import Group
from agents.wire.ike.selectors import TrafficSelector
from agents.wire.transforms import Mode, Transform
from tests.strongswan import network
from tests.strongswan.charon import Charon
from tests.strongswan.configuration import PLUGINS, connection
from tests.strongswan.driver import Ours
from tests.strongswan.esp_in_udp import ECHO_REQUEST, echo
from tests.strongswan.network import INNER_OURS, INNER_THEIRS, INNER_THEIRS_TOO, OURS, THEIRS

SECRET = b"thirty-two octets of a test's own"
SWAN = "ha.example"
SETTINGS: dict[str, dict[str, str]] = {
    "patient": {},
    "hasty": {"retransmit_timeout": "0.2", "retransmit_base": "1.3", "retransmit_tries": "4"},
    "certificates": {"load": f"{PLUGINS} x509 pubkey pem pkcs8 constraints revocation"},
    "cookies": {"cookie_threshold": "1", "cookie_threshold_ip": "1"},
    "fragments": {"fragment_size": "260", "retransmit_timeout": "0.5"},
}
"""Settings of charon by the lab's mode."""
TIMERS = IkeTimers(retransmit_first=2.0, tries=4, half_open_timeout=10.0)
"""Patient: where nothing is lost, nothing is to be repeated, on a busy machine neither."""
HASTY = replace(TIMERS, retransmit_first=0.2, retransmit_factor=1.3, tries=8)
PAYLOAD, SECOND, EITHER = (
    ChildRequest(
        name,
        (TrafficSelector.of(INNER_OURS),),
        tuple(TrafficSelector.of(each) for each in theirs),
        Mode.TUNNEL,
        Transform.AES_128_GCM,
    )
    for name, theirs in (
        ("payload", (INNER_THEIRS,)),
        ("second", (INNER_THEIRS_TOO,)),
        ("either", (INNER_THEIRS, INNER_THEIRS_TOO)),
    )
)
THEIR_PAYLOAD = {"local_ts": [f"{INNER_THEIRS}/128"], "remote_ts": [f"{INNER_OURS}/128"]}
THEIR_SECOND = {**THEIR_PAYLOAD, "local_ts": [f"{INNER_THEIRS_TOO}/128"]}

BEGINNERS = pytest.mark.parametrize("beginner", ["ours", "theirs"])


def begin(ours: Ours, beginner: str) -> None:
    """Let one of the two ends speak first."""
    if beginner == "ours":
        ours.initiate()
    else:
        ours.charon.initiate("payload")


class Lab:
    """One charon, and for each test a new engine of ours that knows it."""

    def __init__(self, mode: str) -> None:
        self._settings = SETTINGS[mode]
        self._charon: Charon | None = None
        self._ours: Ours | None = None
        self._past: set[int] = set()

    @property
    def charon(self) -> Charon:
        assert self._charon is not None
        return self._charon

    @property
    def ours(self) -> Ours:
        assert self._ours is not None
        return self._ours

    def start(self) -> None:
        """Build the network, start charon."""
        network.build()
        self._charon = Charon("swan", **self._settings)

    def stop(self) -> None:
        """End what was started."""
        if self._ours is not None:
            self._ours.close()
            self._ours = None
        if self._charon is not None:
            self._charon.stop()

    def report(self) -> str:
        """Return what both sides said last."""
        said = [] if self._ours is None else [self._ours.report()]
        if self._charon is not None:
            said.append(self._charon.report())
        return "\n".join(said)

    def mend(self) -> None:
        """Forget everybody."""
        self._past |= self.charon.reset()
        if self._ours is not None:
            self._past |= {each.spi_initiator for each in self._ours.messages}
            self._ours.close()
            self._ours = None

    def meet(
        self,
        *,
        ours: Identity | IPv6Address | str = INNER_OURS,
        secret: bytes | None = SECRET,
        credentials: Credentials | None = None,
        prefix: IPv6Network | None = None,
        children: Sequence[ChildRequest] = (PAYLOAD,),
        groups: Sequence[int] = (Group.X25519, Group.P256),
        ciphers: Sequence[IkeCipher] = tuple(IkeCipher),
        fragment_size: int = 1280,
        timers: IkeTimers = TIMERS,
        their_children: dict[str, Any] | None = None,
        swan: str = SWAN,
        knows: str = "",
        expects: str = SWAN,
        **theirs: Any,
    ) -> Ours:
        """Forget all that was, load charon's connection, and return an engine that knows it.

        `swan`: what charon calls itself, `expects`: what we do; `knows`: what it calls us, as it
        writes identities; `theirs`: changes to its connection. Certificates go where `credentials`
        are given, `prefix` is what charon's has to delegate; it gets its own by `Charon.own`.
        """
        self.mend()
        identity = ours if isinstance(ours, Identity) else Identity.of(ours)
        wanted = their_children or {"payload": THEIR_PAYLOAD}
        identities = (swan, knows or str(identity))
        self.charon.load(
            connection("ours", THEIRS, OURS, identities, wanted, **theirs),
            dict.fromkeys(identities, SECRET),
        )
        peer = IkePeerConfig(
            Identity.of(expects),
            secret,
            tuple(children),
            certified=credentials is not None,
            prefix=prefix,
        )
        config = IkeConfig(
            identity,
            (peer,),
            timers,
            tuple(groups),
            tuple(ciphers),
            encapsulation=True,
            fragment_size=fragment_size,
            credentials=credentials,
        )
        self._ours = Ours(config, self.charon, frozenset(self._past))
        return self._ours

    def refuses_transport_mode(self) -> bool:
        """Wait for what charon's own data path makes of transport mode."""
        outcome = self.charon.await_line("IPsec SA: unsupported mode|CHILD_SA .* established with")
        return "unsupported" in outcome

    def check_traffic(self, ours: Ours, child: ChildSa) -> None:
        """Echo requests pass on `child`, both ways, each answered."""
        ours.wait(lambda: self.charon.child(child.outbound_spi), "charon's end of the Child SA")
        rest = b"\x12\x34\x00\x01" + child.inbound_spi.to_bytes(4)
        theirs = child.remote[0].first
        ours.tunnel.send(child, echo(ECHO_REQUEST, theirs, rest))
        ours.wait(lambda: rest in ours.tunnel.replies(child), "an echo reply to us")
        with Ping(theirs) as process:
            self.charon.companions.append(process)
            ours.wait(lambda: process.code() is not None, "the end of charon's ping")
            self.charon.companions.remove(process)
        assert process.code() == 0, process.said()


class Ping:
    """A ping from charon's namespace to our inner address; its end is an event to wait for."""

    COMMAND = ("ping", "-c", "2", "-i", "0.01", "-W", "5", "-q")

    def __init__(self, source: IPv6Address) -> None:
        self._command = (*self.COMMAND, "-I", str(source), str(INNER_OURS))

    def __enter__(self) -> "Ping":
        self._process = network.spawn("swan", *self._command, stdout=PIPE, stderr=STDOUT)
        self._handle = os.pidfd_open(self._process.pid)
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self._handle)
        self._process.kill()
        self._output, _ = self._process.communicate()

    def code(self) -> int | None:
        """Return its exit code, None while it runs."""
        return self._process.poll()

    def said(self) -> str:
        """Return what it printed, once it has ended."""
        return self._output

    def descriptors(self) -> list[int]:
        """As a companion of charon: wake up at its end."""
        return [self._handle]

    def next_timer(self) -> float | None:
        """It has none."""
        return None

    def pump(self) -> None:
        """It works by itself."""
