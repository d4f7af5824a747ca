"""Certificates, their chains and lists of revocation: what is believed, and why not."""

import contextlib
import re
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

import certified
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.config import ConfigError, CredentialFiles
from agents.core.home_agent_certificate import HomeAgentCertificate
from agents.core.ike.certificates import Certificate, read_certificate
from agents.core.ike.credentials import Credentials, Verified
from agents.core.ike.not_authorised import NotAuthorised
from agents.credential_files import keep_lists, read_credentials, recall_lists
from agents.wire.address_blocks import (
    EXTENSION,
    AddressRange,
    parse_address_blocks,
    serialize_address_blocks,
)
from agents.wire.errors import WireError
from agents.wire.ike.identity import Identity
from topologies import certification
from topologies.certification import EXPIRED, NOT_YET, Authority

HOME, ANYCAST = certified.HOME, certified.ANYCAST
OWN = IPv6Address("fd00:1:2::2")
OTHER_HOME = IPv6Network("fd00:192:169:1::/64")
HOA = IPv6Address("fd00:192:168:1::100")
BEYOND = (IPv6Network("fd00:192:168::/48"),)


def chain_of(files: CredentialFiles) -> list[Certificate]:
    return [read_certificate(each) for each in read_credentials(without_list(files)).chain]


def without_list(files: CredentialFiles) -> CredentialFiles:
    return replace(files, revocations=Path())


def believe(
    files: CredentialFiles, trusting: Authority, identity: object = OWN, **options: object
) -> Verified:
    """Return what somebody who trusts an operator makes of another's certificates."""
    mine = read_credentials(replace(trusting.trust(), **options))  # type: ignore[arg-type]
    chain = chain_of(files)
    return mine.verify(chain, Identity.of(identity))  # type: ignore[arg-type]


def reason(files: CredentialFiles, trusting: Authority, identity: object = OWN) -> str:
    with pytest.raises(NotAuthorised) as caught:
        believe(files, trusting, identity)
    return caught.value.reason


def of_ha(operator: Authority, **changes: object) -> CredentialFiles:
    values = {"name": "HA2", "index": 2, "address": OWN, "prefix": HOME, **changes}
    return operator.home_agent(home_agent_address=ANYCAST, **values)  # type: ignore[arg-type]


@pytest.fixture
def operator(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "operator")


def test_a_home_agents_certificate_over_two_authorities(operator: Authority) -> None:
    verified = believe(of_ha(operator), operator)
    assert len(verified.chain) == 3
    read = HomeAgentCertificate.of(verified)
    assert (read.name, read.index, read.address) == ("HA2", 2, OWN)
    assert read.prefixes == (HOME,)
    assert read.serial == operator.serials["HA2"]
    assert verified.delegates(HOME)
    assert not verified.delegates(OTHER_HOME)
    assert not verified.delegates(IPv6Network("fd00:192:168::/48"))
    # The same holder at the address that all home agents share.
    assert believe(of_ha(operator), operator, ANYCAST).delegates(HOME)


def test_a_mobile_nodes_certificate_is_no_home_agents(operator: Authority) -> None:
    verified = believe(operator.mobile_node("mn", HOA), operator, HOA)
    assert verified.delegates(IPv6Network(HOA))
    assert not verified.delegates(HOME)
    with pytest.raises(NotAuthorised, match="not-a-home-agent"):
        HomeAgentCertificate.of(verified)


def test_who_somebody_is_not(operator: Authority) -> None:
    files = of_ha(operator)
    for identity in (IPv6Address("fd00:1:3::3"), "HA2", b"HA2", "ha2@home.example"):
        assert reason(files, operator, identity) == "wrong-identity"


def test_time(operator: Authority, tmp_path: Path) -> None:
    assert reason(of_ha(operator, lifetime=EXPIRED), operator) == "expired"
    assert reason(of_ha(operator, lifetime=NOT_YET), operator) == "not-yet-valid"
    old = Authority(tmp_path / "old", lifetime=EXPIRED)
    with pytest.raises(NotAuthorised, match="expired"):
        believe(of_ha(old), old, revocations=Path())


def test_strangers(operator: Authority, tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "stranger", "stranger")
    assert reason(of_ha(stranger), operator) == "unknown-issuer"
    # The same names, other keys.
    double = Authority(tmp_path / "double")
    assert reason(of_ha(double), operator) == "unknown-issuer"
    assert believe(of_ha(double), double).leaf


def test_an_authority_gives_no_more_than_it_has(operator: Authority, tmp_path: Path) -> None:
    files = of_ha(operator, prefix=IPv6Network("fd00:193::/64"))
    assert reason(files, operator) == "prefix-not-delegated"
    greedy = Authority(tmp_path / "greedy", prefixes=[IPv6Network("2001:db8::/32")])
    with pytest.raises(NotAuthorised, match="prefix-not-delegated"):
        believe(of_ha(greedy), greedy, revocations=Path())


def test_the_chain_has_to_be_whole_and_in_any_order(operator: Authority) -> None:
    mine = read_credentials(operator.trust())
    leaf, issuing = (read_certificate(each) for each in read_credentials(of_ha(operator)).chain)
    root = read_certificate(operator.root.public_bytes(Encoding.DER))
    for chain in ([leaf, root, issuing], [leaf, issuing, root], [leaf, leaf, issuing, issuing]):
        assert mine.verify(chain, Identity.of(OWN)).leaf is leaf
    for chain, why in (
        ([], "no-certificate"),
        ([leaf], "unknown-issuer"),
        ([leaf, root], "unknown-issuer"),
        ([issuing, leaf], "wrong-usage"),
        ([root], "wrong-usage"),
    ):
        with pytest.raises(NotAuthorised, match=why):
            mine.verify(chain, Identity.of(OWN))


# Lists of revocation


def test_revoked_by_a_list_that_anybody_may_hand_on(operator: Authority) -> None:
    files = of_ha(operator)
    chain = chain_of(files)
    mine = read_credentials(operator.trust())
    mine.verify(chain, Identity.of(OWN))
    fresh = operator.revoke("HA2").read_bytes()
    assert mine.revocations.learn(fresh, chain) is True
    assert mine.revocations.learn(fresh, chain) is False
    with pytest.raises(NotAuthorised, match="revoked"):
        mine.verify(chain, Identity.of(OWN))
    assert mine.revocations.revoked(chain[0].serial)
    assert mine.revocations.revoked(chain[0].serial, chain[0].issuer)
    assert not mine.revocations.revoked(chain[0].serial, b"another issuer")
    # An older list changes nothing.
    older = (operator.directory / "revocations-1.crl").read_bytes()
    assert mine.revocations.learn(older, chain) is False
    assert mine.revocations.revoked(chain[0].serial)
    # Who reads the operator's newest list at its start knows as well.
    assert reason(files, operator) == "revoked"
    again = chain_of(of_ha(operator))
    assert mine.verify(again, Identity.of(OWN)).leaf is again[0]


def test_a_list_is_taken_from_its_issuer_alone(operator: Authority, tmp_path: Path) -> None:
    of_ha(operator)
    double = Authority(tmp_path / "double")  # of the same name
    of_ha(double)
    forged = double.revoke("HA2").read_bytes()
    mine = read_credentials(replace(of_ha(operator), revocations=Path()))
    presented = chain_of(of_ha(double))
    with pytest.raises(NotAuthorised, match="unknown-issuer"):
        mine.revocations.learn(forged)
    with pytest.raises(NotAuthorised, match="unknown-issuer"):
        mine.revocations.learn(forged, presented)
    for octets in (b"", forged[:-1], forged + b"\0", b"\x30\x03\x02\x01\x00", bytes(70000)):
        with pytest.raises(NotAuthorised, match="bad-revocation-list"):
            mine.revocations.learn(octets)
    assert mine.revocations.lists() == ()


def test_what_a_list_says_holds_whatever_the_clock_says(operator: Authority) -> None:
    """A clock that is behind delays no revocation; an authority that is over signs none."""
    files = of_ha(operator)
    operator.revoke("HA2")
    late = read_credentials(files, lambda: datetime.now(UTC) - timedelta(minutes=50))
    assert late.revocations.revoked(operator.serials["HA2"])
    with pytest.raises(ConfigError, match="expired"):
        read_credentials(files, lambda: datetime.now(UTC) + timedelta(days=400))


def test_strict_wants_a_list_that_is_up_to_date(operator: Authority) -> None:
    files = of_ha(operator)
    now = [datetime.now(UTC)]

    def strict(**changes: Path) -> Credentials:
        wanted = replace(operator.trust(), strict_revocation=True, **changes)
        return read_credentials(wanted, lambda: now[0])

    chain = chain_of(files)
    assert believe(files, operator, revocations=Path()).leaf
    with pytest.raises(NotAuthorised, match="revocation-unknown"):
        strict(revocations=Path()).verify(chain, Identity.of(OWN))
    with_list = strict()
    assert with_list.verify(chain, Identity.of(OWN)).leaf is chain[0]
    (held,) = with_list.revocations.lists()
    now[0] = held.next_update + timedelta(seconds=1)
    with pytest.raises(NotAuthorised, match="revocation-unknown"):
        with_list.verify(chain, Identity.of(OWN))
    assert read_credentials(operator.trust(), lambda: now[0]).verify(chain, Identity.of(OWN)).leaf


def test_what_was_learnt_is_kept_for_the_next_start(operator: Authority, tmp_path: Path) -> None:
    files = without_list(of_ha(operator))
    mine = read_credentials(files)
    recall_lists(mine, tmp_path)  # nothing there: the first start
    assert mine.revocations.lists() == ()
    mine.revocations.learn(operator.revoke("HA2").read_bytes())
    keep_lists(mine, tmp_path)
    keep_lists(mine, tmp_path)
    (tmp_path / "revocations" / "cut.crl").write_bytes(b"\x30\x82")
    again = read_credentials(files)
    recall_lists(again, tmp_path)
    assert again.revocations.revoked(operator.serials["HA2"])
    assert len(again.revocations.lists()) == 1


# Certificates that nobody should issue


def made_by_hand(
    operator: Authority,
    *extensions: tuple[x509.ExtensionType, bool],
    key: object = None,
    digest: hashes.HashAlgorithm | None = None,
) -> bytes:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(certification._name("HA2", 2))
        .issuer_name(operator.issuing.subject)
        .public_key((key or ec.generate_private_key(ec.SECP256R1())).public_key())  # type: ignore[attr-defined]
        .serial_number(7)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(operator._key, digest or hashes.SHA256()).public_bytes(Encoding.DER)


NAME = (x509.SubjectAlternativeName([x509.IPAddress(OWN)]), False)


def hand_made_reason(operator: Authority, octets: bytes) -> str:
    mine = read_credentials(operator.trust())
    issuing = read_certificate(operator.issuing.public_bytes(Encoding.DER))
    with pytest.raises(NotAuthorised) as caught:
        mine.verify([read_certificate(octets), issuing], Identity.of(OWN))
    return caught.value.reason


def test_extensions_and_algorithms_that_are_not_taken(operator: Authority) -> None:
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\0")
    bad_blocks = x509.UnrecognizedExtension(x509.ObjectIdentifier(EXTENSION), b"\x30\x03\x30\x01")
    usage = x509.KeyUsage(False, True, False, False, False, False, False, False, False)
    for octets, why in (
        (made_by_hand(operator, NAME, (unknown, True)), "unknown-critical-extension"),
        (made_by_hand(operator, NAME, (bad_blocks, True)), "bad-certificate"),
        (made_by_hand(operator, NAME, (usage, True)), "wrong-usage"),
        (
            made_by_hand(operator, NAME, key=rsa.generate_private_key(65537, 2048)),
            "unsupported-algorithm",
        ),
        (
            made_by_hand(operator, NAME, key=ec.generate_private_key(ec.SECP384R1())),
            "unsupported-algorithm",
        ),
        (made_by_hand(operator, NAME, digest=hashes.SHA224()), "unsupported-algorithm"),
        (bytes(9000), "bad-certificate"),
        (b"", "bad-certificate"),
    ):
        assert hand_made_reason(operator, octets) == why
    fine = made_by_hand(operator, NAME, (unknown, False))
    issuing = read_certificate(operator.issuing.public_bytes(Encoding.DER))
    mine = read_credentials(operator.trust())
    assert mine.verify([read_certificate(fine), issuing], Identity.of(OWN)).ranges == ()


def test_an_end_is_no_authority_and_authorities_are_limited(operator: Authority) -> None:
    """A home agent signs for another one; then the issuing authority for a third authority."""
    ha = read_credentials(of_ha(operator))
    issuing = read_certificate(operator.issuing.public_bytes(Encoding.DER))
    signer = read_certificate(ha.chain[0])
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)

    def sign(subject: x509.Name, issuer: x509.Name, by: object, authority: bool) -> bytes:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(9)
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(authority, None), True)
            .add_extension(*NAME)
            .sign(by, hashes.SHA256())  # type: ignore[arg-type]
            .public_bytes(Encoding.DER)
        )

    mine = read_credentials(operator.trust())
    third = certification._name("HA3", 3)
    forged = read_certificate(sign(third, signer.whole.subject, ha.private_key, False))
    with pytest.raises(NotAuthorised, match="not-an-authority"):
        mine.verify([forged, signer, issuing], Identity.of(OWN))
    sub = certification._name("sub")
    middle = read_certificate(sign(sub, issuing.whole.subject, operator._key, True))
    leaf = read_certificate(sign(third, sub, key, False))
    with pytest.raises(NotAuthorised, match="path-too-long"):
        mine.verify([leaf, middle, issuing], Identity.of(OWN))


def test_many_certificates_of_one_name_cost_a_limited_number_of_signatures(
    operator: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[object] = []
    mine = read_credentials(operator.trust())
    genuine = Certificate.issued_by
    monkeypatch.setattr(
        Certificate, "issued_by", lambda self, by: (checked.append(by), genuine(self, by))[1]
    )
    leaf = chain_of(of_ha(operator))[0]
    checked.clear()
    doubles = [
        read_certificate(each.issuing.public_bytes(Encoding.DER))
        for each in (Authority(operator.directory / str(n)) for n in range(20))
    ]
    with pytest.raises(NotAuthorised, match="unknown-issuer"):
        mine.verify([leaf, *doubles], Identity.of(OWN))
    assert 0 < len(checked) <= 12


# A second opinion


OPENSSL = shutil.which("openssl")


def openssl_says(folder: Path, files: CredentialFiles, operator: Authority) -> bool:
    """`openssl verify` of the same chain, with the issuing authority's list."""
    assert OPENSSL is not None
    leaf, issuing = x509.load_pem_x509_certificates(files.chain.read_bytes())
    for name, each in (("leaf", leaf), ("issuing", issuing)):
        (folder / name).write_bytes(each.public_bytes(Encoding.PEM))
    crl = x509.load_der_x509_crl(operator.revocations.read_bytes())
    (folder / "crl").write_bytes(crl.public_bytes(Encoding.PEM))
    command = [
        OPENSSL, "verify", "-crl_check", "-x509_strict", "-CAfile", operator.anchors,
        "-untrusted", folder / "issuing", "-CRLfile", folder / "crl", folder / "leaf",
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(OPENSSL is None, reason="no openssl here to ask")
def test_openssl_agrees(operator: Authority, tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "double")
    cases = {
        "good": of_ha(operator),
        "expired": of_ha(operator, name="HA3", lifetime=EXPIRED),
        "not-yet-valid": of_ha(operator, name="HA4", lifetime=NOT_YET),
        "prefix-not-delegated": of_ha(operator, name="HA5", prefix=IPv6Network("fd00:193::/64")),
        "unknown-issuer": of_ha(stranger),
        "revoked": of_ha(operator, name="HA6"),
    }
    operator.revoke("HA6")
    for case, files in cases.items():
        assert openssl_says(tmp_path, files, operator) is (case == "good"), case
        if case == "good":
            assert believe(files, operator).leaf
        else:
            mine = read_credentials(cases["good"])  # knows the issuing authority, and the list
            chain = chain_of(files)
            with pytest.raises(NotAuthorised, match=case):
                mine.verify(chain, Identity.of(OWN))


ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "certificates.md"


@pytest.mark.skipif(OPENSSL is None, reason="no openssl here to ask")
def test_what_the_page_for_operators_makes_is_believed(tmp_path: Path) -> None:
    """Every shell block of docs/certificates.md, in order, in one directory."""
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 4
    script = "set -e\n" + "".join(blocks)
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    names = {"chain": "HA1.pem", "key": "HA1.key", "anchors": "root.pem", "revocations": "list.crl"}
    files = CredentialFiles(**{key: tmp_path / name for key, name in names.items()})
    mine = read_credentials(files)
    own = mine.verify(chain_of(files), Identity.of(ANYCAST))
    read = HomeAgentCertificate.of(own)
    assert (read.name, read.index, read.prefixes) == ("HA1", 1, (HOME,))
    assert read.address == IPv6Address("fd00:1:1::1")
    mobile = replace(files, chain=tmp_path / "mn.pem", key=tmp_path / "mn.key")
    theirs = chain_of(mobile)
    assert theirs[0].blocks is not None
    with pytest.raises(NotAuthorised, match="revoked"):
        mine.verify(theirs, Identity.of(HOA))
    unaware = read_credentials(without_list(files))
    assert unaware.verify(theirs, Identity.of(HOA)).delegates(IPv6Network(HOA))


# Files


def test_files_that_do_not_work(operator: Authority, tmp_path: Path) -> None:
    files = of_ha(operator)
    other = of_ha(operator, name="HA3", index=3)
    nothing = tmp_path / "nothing"
    nothing.write_text("-----BEGIN NOTHING-----\n")
    nothing.chmod(0o600)
    for wrong, message in (
        (replace(files, key=other.key), "not that of the first"),
        (replace(files, key=nothing), "no private key"),
        (replace(files, chain=nothing), "no certificates"),
        (replace(files, anchors=tmp_path / "missing"), "cannot be read"),
        (replace(files, revocations=nothing), "bad-revocation-list"),
    ):
        with pytest.raises(ConfigError, match=message):
            read_credentials(wrong)
    assert files.key.stat().st_mode & 0o077 == 0
    files.key.chmod(0o644)
    with pytest.raises(ConfigError, match="others can read"):
        read_credentials(files)


def test_no_private_key_is_ever_shown(operator: Authority) -> None:
    files = of_ha(operator)
    mine = read_credentials(files)
    assert "private" not in repr(mine)
    assert mine.private_key is not None


# Address blocks, and octets from anybody


def test_address_blocks_both_ways() -> None:
    prefixes = [IPv6Network(each) for each in ("fd00::/9", "fd80:1::/33", "fdff::1/128", "::/0")]
    for prefix in prefixes:
        (found,) = parse_address_blocks(serialize_address_blocks([prefix])) or ()
        assert found == AddressRange.of(prefix)
        assert tuple(found.prefixes()) == (prefix,)
    two = parse_address_blocks(serialize_address_blocks(prefixes[:2]))
    assert two == (AddressRange.of(prefixes[0]), AddressRange.of(prefixes[1]))
    neighbours = [IPv6Network("fd00::/17"), IPv6Network("fd00:8000::/17")]
    (merged,) = parse_address_blocks(serialize_address_blocks(neighbours)) or ()
    assert tuple(merged.prefixes()) == (IPv6Network("fd00::/16"),)
    assert [str(each) for each in AddressRange(1, 4).prefixes()] == [
        "::1/128",
        "::2/127",
        "::4/128",
    ]


BLOCKS = {
    "inherit": ("300830060402000205 00", None),
    "range": ("30163014 04020002 300e 300c 0304 00200100 03040020 01ff", "2001::"),
    "IPv4 alone": ("300e300c 04020001 3006 0304 00c0a800", "none"),
}


def test_address_blocks_of_others() -> None:
    inherit, interval, other = (bytes.fromhex(each) for each, _ in BLOCKS.values())
    assert parse_address_blocks(inherit) is None
    (found,) = parse_address_blocks(interval) or ()
    assert (hex(found.first)[:8], hex(found.last)[:8]) == ("0x200100", "0x2001ff")
    assert parse_address_blocks(other) == ()


@given(st.binary(max_size=80))
def test_any_octets_as_address_blocks(octets: bytes) -> None:
    with contextlib.suppress(WireError):
        parse_address_blocks(octets)


CHAIN = tuple(certified.credentials(certified.home_agent(2)).chain)
LIST = certified.home_agent(2).revocations.read_bytes()
GENUINE = certified.credentials(certified.home_agent(3))


def changed(octets: bytes) -> st.SearchStrategy[bytes]:
    """Return octets with some replaced, a piece cut out, or others put in."""

    def edit(place: int, length: int, put: bytes) -> bytes:
        return octets[:place] + put + octets[place + length :]

    places = st.integers(0, len(octets))
    return st.builds(edit, places, st.integers(0, 4), st.binary(max_size=6))


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.one_of(changed(CHAIN[0]), changed(CHAIN[1]), st.binary(max_size=200)))
def test_any_octets_as_a_certificate(octets: bytes) -> None:
    """Nothing but the genuine certificate is believed, and nothing raises anything else."""
    for chain in ([octets, CHAIN[1]], [CHAIN[0], octets]):
        try:
            read = [read_certificate(each) for each in chain]
            GENUINE.verify(read, Identity.of(OWN))
        except NotAuthorised:
            continue
        assert octets in CHAIN or chain[0] == CHAIN[0]


@settings(deadline=None)
@given(st.one_of(changed(LIST), st.binary(max_size=200)))
def test_any_octets_as_a_revocation_list(octets: bytes) -> None:
    mine = certified.credentials(replace(certified.home_agent(2), revocations=Path()))
    try:
        taken = mine.revocations.learn(octets)
    except NotAuthorised:
        taken = False
    assert taken is (octets == LIST)


def test_credentials_without_a_key_prove_nothing(operator: Authority) -> None:
    mine = read_credentials(operator.trust())
    assert isinstance(mine, Credentials)
    assert mine.private_key is None
