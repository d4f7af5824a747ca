"""Our IKEv2 engine and strongSwan's charon prove themselves by certificate, in either role.

Both have chains of two under one operator's root; what is wrong with a certificate is refused by
whichever of the two has to believe it.
"""

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from agents.config import CredentialFiles
from agents.core.ike.events import IkeDeleted, IkeEstablished, IkeFailed
from agents.credential_files import read_credentials
from tests.figure_1.inside import inside
from tests.strongswan.driver import Ours
from tests.strongswan.lab import BEGINNERS, SECRET, Lab, begin
from tests.strongswan.network import INNER_OURS
from topologies.certification import EXPIRED, Authority

pytestmark = [
    pytest.mark.emulation,
    pytest.mark.parametrize("swan", ["certificates"], indirect=True),
]

HOME = IPv6Network("fd00:192:168:1::/64")
ANYCAST = IPv6Address("fd00:192:168:1::254")
OWN = IPv6Address("fd00:1:1::1")


def new_operator(name: str = "operator") -> Authority:
    """Return an authority in the sandbox's memory."""
    return Authority(Path(tempfile.mkdtemp(dir="/run")), name)


def for_charon(operator: Authority, **changes: Any) -> CredentialFiles:
    values = {"home_agent_address": ANYCAST, "prefix": HOME, **changes}
    return operator.home_agent("swan", 1, OWN, **values)


def for_us(operator: Authority, **changes: Any) -> CredentialFiles:
    return operator.mobile_node("ours", **{"home_address": INNER_OURS, **changes})


def without_list(files: CredentialFiles) -> CredentialFiles:
    return replace(files, revocations=Path())


def meet(
    swan: Lab,
    ours: CredentialFiles,
    theirs: CredentialFiles,
    *lists: bytes,
    believed: tuple[Authority | None, Authority | None] = (None, None),
    swan_is: str = str(ANYCAST),
    **more: Any,
) -> Ours:
    """Let both have their certificates; `lists` are charon's; `believed`: by us, and by charon."""
    us, them = believed
    anchors = us.anchors if us is not None else ours.anchors
    met = swan.meet(
        **{
            "secret": None,
            "credentials": read_credentials(replace(ours, anchors=anchors)),
            "prefix": HOME,
            "expects": str(ANYCAST),
            "swan": swan_is,
            "proofs": ("pubkey", "pubkey"),
            **more,
        }
    )
    root = them.anchors if them is not None else theirs.anchors
    swan.charon.believe(pem_to_der(root), *lists)
    chain = read_credentials(without_list(theirs)).chain
    swan.charon.own(chain, theirs.key.read_bytes())
    return met


def pem_to_der(path: Path) -> bytes:
    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)


METHODS = {"RFC 7427": "ECDSA_WITH_SHA256_DER", "RFC 4754": "ECDSA-256 signature"}
OFFERED_AND_HEEDED = (
    "initial_exchange.signature_hashes",
    "initiator.take_signature_hashes",
    "responder.take_signature_hashes",
)


@inside
@BEGINNERS
@pytest.mark.parametrize("method", METHODS)
def test_certificates_with_a_chain(swan: Lab, beginner: str, method: str) -> None:
    """Digital signatures, or, where we neither offer nor heed them, the older method."""
    operator = new_operator()
    ours = meet(swan, for_us(operator), for_charon(operator))
    with ExitStack() as older:
        if method == "RFC 4754":
            for name in OFFERED_AND_HEEDED:
                older.enter_context(patch(f"agents.core.ike.{name}", lambda *_: []))
        begin(ours, beginner)
        child = ours.await_child()
    established = ours.await_event(IkeEstablished)
    assert str(established.peer) == str(ANYCAST)
    assert established.sa.certificate is not None
    assert established.sa.certificate.delegates(HOME)
    assert swan.charon.await_line(f"of '{INNER_OURS}' with {METHODS[method]} successful")
    assert swan.charon.await_line(f"of '{ANYCAST}' \\(myself\\) with {METHODS[method]} success")
    assert swan.charon.await_line('received issuer cert "CN=operator issuing"')
    swan.check_traffic(ours, child)


@inside
@BEGINNERS
def test_our_secret_and_their_certificate(swan: Lab, beginner: str) -> None:
    """As a mobile node without a certificate does."""
    operator = new_operator()
    proofs = ("pubkey", "psk")
    ours = meet(swan, operator.trust(), for_charon(operator), secret=SECRET, proofs=proofs)
    swan.charon.learn({str(INNER_OURS): SECRET})
    begin(ours, beginner)
    swan.check_traffic(ours, ours.await_child())


# What is wrong with ours, and what charon says of it.


def stranger(operator: Authority) -> CredentialFiles:
    return for_us(new_operator("stranger"))


def revoked(operator: Authority) -> CredentialFiles:
    files = for_us(operator)
    operator.revoke("ours")
    return files


OURS: dict[str, tuple[Callable[[Authority], CredentialFiles], str]] = {
    "another identity": (
        lambda operator: for_us(operator, home_address=INNER_OURS + 1),
        "no trusted .*public key found for",
    ),
    "unknown authority": (stranger, "no issuer certificate found|no trusted .*public key found"),
    "expired": (
        lambda operator: for_us(operator, lifetime=EXPIRED),
        "subject certificate invalid",
    ),
    "revoked": (revoked, "certificate was revoked on"),
}


@inside
@BEGINNERS
@pytest.mark.parametrize("case", OURS)
def test_charon_refuses_us(swan: Lab, beginner: str, case: str) -> None:
    operator = new_operator()
    make, line = OURS[case]
    theirs = for_charon(operator)
    mine = without_list(make(operator))
    lists = operator.revocations.read_bytes()
    begin(meet(swan, mine, theirs, lists, believed=(operator, operator)), beginner)
    assert swan.charon.await_line(line)
    if beginner == "ours":
        assert swan.ours.await_event(IkeFailed).reason == "authentication-failed"
    else:
        assert swan.ours.await_event(IkeDeleted).reason == "authentication-failed"
    swan.charon.wait(lambda: not swan.charon.associations(), "charon to have no SA")
    # The same two, and nothing wrong.
    begin(meet(swan, without_list(for_us(operator)), theirs, lists), beginner)
    swan.ours.await_child()


# What is wrong with charon's, and the word that we have for it.

THEIRS: dict[str, dict[str, Any]] = {
    "unknown-issuer": {},
    "expired": {"lifetime": EXPIRED},
    "prefix-not-delegated": {"prefix": IPv6Network("fd00:192:169:1::/64")},
    "revoked": {},
}


@inside
@BEGINNERS
@pytest.mark.parametrize("reason", THEIRS)
def test_we_refuse_charon(swan: Lab, beginner: str, reason: str) -> None:
    operator = new_operator()
    other = new_operator("stranger") if reason == "unknown-issuer" else operator
    theirs = for_charon(other, **THEIRS[reason])
    if reason == "revoked":
        operator.revoke("swan")
    begin(meet(swan, for_us(operator), theirs, believed=(operator, operator)), beginner)
    failed = swan.ours.await_event(IkeFailed)
    assert (failed.reason, failed.detail) == ("authentication-failed", reason)
    assert swan.charon.await_line("received AUTHENTICATION_FAILED notify|AUTH_FAILED")
    swan.charon.wait(lambda: not swan.charon.associations(), "charon to have no SA")
    begin(meet(swan, for_us(operator), for_charon(operator)), beginner)
    swan.ours.await_child()


@inside
@BEGINNERS
def test_charon_is_somebody_else(swan: Lab, beginner: str) -> None:
    """What it says that it is, it is; it is not whom we know."""
    operator = new_operator()
    ours = meet(swan, for_us(operator), for_charon(operator), swan_is=str(OWN))
    begin(ours, beginner)
    failed = ours.await_event(IkeFailed)
    assert failed.reason == "authentication-failed"
    assert failed.detail == ("" if beginner == "ours" else "not-configured")
    if beginner == "ours":
        assert swan.charon.await_line("no matching peer config found")
    begin(meet(swan, for_us(operator), for_charon(operator)), beginner)
    swan.ours.await_child()


@inside
@BEGINNERS
def test_charon_heeds_a_revocation_list_that_we_hand_on(swan: Lab, beginner: str) -> None:
    """It learns in IKE_AUTH that our own certificate is revoked (RFC 7296 §3.6, encoding 7)."""
    operator = new_operator()
    files, theirs = revoked(operator), for_charon(operator)
    begin(meet(swan, files, theirs), beginner)
    assert swan.charon.await_line("certificate was revoked on")
    event = IkeFailed if beginner == "ours" else IkeDeleted
    assert swan.ours.await_event(event).reason == "authentication-failed"
