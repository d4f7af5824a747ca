"""Proof by certificate between two endpoints: either end, one end, and each way to be refused."""

from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from unittest.mock import patch

import certified
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ike_world import COA, HA, HOA, PAYLOAD, SECRET, SIGNALLING, End, IkeWorld, mirrored

from agents.config import CredentialFiles
from agents.core.home_agent_certificate import HomeAgentCertificate
from agents.core.ike import authentication
from agents.core.ike.config import Admit, IkeConfig, IkePeerConfig
from agents.core.ike.events import (
    ChildEstablished,
    IkeDeleted,
    IkeEstablished,
    IkeFailed,
    RevocationsLearned,
)
from agents.core.ike.not_authorised import NotAuthorised
from agents.wire.ike.identity import Identity
from agents.wire.ike.numbers import AuthMethod, CertificateEncoding
from agents.wire.ike.payloads import Authentication, Certificate, Payload
from topologies.certification import EXPIRED, NOT_YET, Authority

MN, ANYCAST = Identity.of(HOA), Identity.of(certified.ANYCAST)
ASKED, GRANTED = (SIGNALLING, PAYLOAD), (mirrored(SIGNALLING), mirrored(PAYLOAD))
ELSEWHERE = IPv6Network("fd00:192:169:1::/64")


def mobile(files: CredentialFiles | None = None, secret: bytes | None = None) -> IkeConfig:
    """A mobile node: by certificate, or, with a secret, by that; the other end by certificate."""
    other = IkePeerConfig(ANYCAST, secret, ASKED, certified=True, prefix=certified.HOME)
    mine = certified.credentials(files or certified.mobile_node(HOA))
    return IkeConfig(MN, (other,), credentials=mine)


def home(files: CredentialFiles | None = None, secret: bytes | None = None) -> IkeConfig:
    """A home agent by certificate; the mobile node by certificate, or by secret."""
    other = IkePeerConfig(MN, secret, GRANTED, prefix=IPv6Network(HOA))
    mine = certified.credentials(files or certified.home_agent(2))
    return IkeConfig(ANYCAST, (other,), credentials=mine)


def believing(config: IkeConfig, operator: Authority) -> IkeConfig:
    """Return the same end, which believes another operator than its own."""
    theirs, mine = certified.credentials(operator.trust()), config.credentials
    assert mine is not None
    return replace(
        config, credentials=replace(theirs, chain=mine.chain, private_key=mine.private_key)
    )


def met(one: IkeConfig, other: IkeConfig) -> IkeWorld:
    world = IkeWorld(one, other)
    world.mn.engine.initiate(one.peers[0].identity, COA, HA, world.now)
    world.run(1.0)
    return world


def assert_established(world: IkeWorld) -> None:
    for end in (world.mn, world.ha):
        assert len(end.of(IkeEstablished)) == 1
        assert len(end.of(ChildEstablished)) == 2
        assert end.engine.counters["requests-repeated"] == 0


def assert_refused(world: IkeWorld, by: End, reason: str) -> None:
    """One end counts why; both report it, and nothing stands."""
    (failed,) = world.mn.of(IkeFailed)
    (ended,) = world.ha.of(IkeFailed) or world.ha.of(IkeDeleted)
    for event in (failed, ended):
        assert (event.reason, event.detail) == ("authentication-failed", reason)
    assert by.engine.counters[f"not-authorised.{reason}"] == 1
    assert world.mn.of(IkeEstablished) == []
    assert world.mn.engine.sas() == world.ha.engine.sas() == []


@pytest.fixture
def operator(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def of_ha(operator: Authority, index: int = 2, **changes: object) -> CredentialFiles:
    own = IPv6Address(f"fd00:1:{index}::{index}")
    values = {"prefix": certified.HOME, "home_agent_address": certified.ANYCAST, **changes}
    return operator.home_agent(f"HA{index}", index, own, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize("secret", [None, SECRET])
def test_both_by_certificate_or_the_mobile_node_by_secret(secret: bytes | None) -> None:
    mine = None if secret is None else certified.authority().trust()
    world = met(mobile(mine, secret), home(secret=secret))
    assert_established(world)
    theirs = world.mn.sa.certificate
    assert theirs is not None
    assert HomeAgentCertificate.of(theirs).name == "HA2"
    assert (world.ha.sa.certificate is None) is (secret is not None)


@pytest.mark.parametrize("said", [True, False])
def test_either_kind_of_signature(said: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 7427 where the other end says that it can, else RFC 4754."""
    methods: list[int] = []
    genuine = authentication._check_signature

    def watch(key: object, proof: Authentication, octets: bytes) -> None:
        methods.append(proof.method)
        genuine(key, proof, octets)  # type: ignore[arg-type]

    monkeypatch.setattr(authentication, "_check_signature", watch)
    if not said:
        monkeypatch.setattr("agents.core.ike.initial_exchange.signature_hashes", lambda _: [])
    assert_established(met(mobile(), home()))
    wanted = AuthMethod.DIGITAL_SIGNATURE if said else AuthMethod.ECDSA_SHA_256_P256
    assert methods == [wanted, wanted]


def test_a_mobile_node_that_is_refused(operator: Authority) -> None:
    ours = of_ha(operator)
    cases = {
        "expired": operator.mobile_node("old", HOA, lifetime=EXPIRED),
        "not-yet-valid": operator.mobile_node("new", HOA, lifetime=NOT_YET),
        "wrong-identity": operator.mobile_node("other", HOA + 1),
        "not-a-home-agents": operator.mobile_node("mn", HOA),
    }
    good = cases.pop("not-a-home-agents")
    for reason, files in cases.items():
        world = met(mobile(files), home(ours))
        assert_refused(world, world.ha, reason)
    stranger = mobile(certified.mobile_node(HOA, "stranger"))
    world = met(believing(stranger, operator), home(ours))
    assert_refused(world, world.ha, "unknown-issuer")
    assert_established(met(mobile(good), home(ours)))


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        ("expired", {"lifetime": EXPIRED}),
        ("wrong-identity", {"home_agent_address": IPv6Address("fd00:192:169:1::254")}),
        ("prefix-not-delegated", {"prefix": ELSEWHERE}),
        ("prefix-not-delegated", {"prefix": IPv6Network("fd00:193::/64")}),
    ],
)
def test_a_home_agent_that_is_refused(
    operator: Authority, reason: str, changes: dict[str, object]
) -> None:
    """Its certificate is over, is of another one, for another prefix, for more than can be."""
    mine = operator.mobile_node("mn", HOA)
    world = met(mobile(mine), home(of_ha(operator, **changes)))
    assert_refused(world, world.mn, reason)
    assert_established(met(mobile(mine), home(of_ha(operator))))


def test_a_home_agent_of_another_operator(operator: Authority) -> None:
    theirs = believing(home(certified.home_agent(2, "stranger")), operator)
    world = met(mobile(operator.mobile_node("mn", HOA)), theirs)
    assert_refused(world, world.mn, "unknown-issuer")


def test_one_that_signs_with_another_key(operator: Authority) -> None:
    """It has copied the certificate of another, and cannot have its key."""
    mine = mobile(operator.mobile_node("thief", HOA))
    assert mine.credentials is not None
    chain = certified.credentials(operator.mobile_node("mn", HOA)).chain
    thief = replace(mine, credentials=replace(mine.credentials, chain=chain))
    world = met(thief, home(of_ha(operator)))
    assert_refused(world, world.ha, "wrong-proof")


def test_a_secret_is_no_certificate_and_the_other_way_round(operator: Authority) -> None:
    ours = of_ha(operator)
    world = met(mobile(operator.trust(), SECRET), home(ours))
    assert_refused(world, world.ha, "no-certificate")
    world = met(mobile(operator.mobile_node("mn", HOA)), home(ours, SECRET))
    assert_refused(world, world.ha, "wrong-proof")
    # A home agent without a certificate, whose mobile node wants one.
    plain = replace(home(ours, SECRET), credentials=None)
    world = met(mobile(operator.trust(), SECRET), plain)
    assert_refused(world, world.mn, "no-certificate")


# Revocation lists travel along


def test_the_newest_list_is_handed_on_by_either_end(operator: Authority) -> None:
    """A list is no secret; who has an older one learns, and believes it at once."""
    ours, mine = of_ha(operator), operator.mobile_node("mn", HOA)
    lost = operator.mobile_node("lost", HOA + 1)
    old = home(ours)
    operator.revoke("lost")
    informed = mobile(mine)
    world = met(informed, old)
    assert_established(world)
    (learnt,) = world.ha.of(RevocationsLearned)
    assert learnt.fields()["number"] == 2
    assert world.mn.of(RevocationsLearned) == []
    for config in (old, informed):
        assert config.credentials is not None
        assert config.credentials.revocations.revoked(operator.serials["lost"])
    # Now from the home agent to a mobile node that comes with the first list.
    behind = mobile(replace(mine, revocations=operator.directory / "revocations-1.crl"))
    world = met(behind, replace(old, peers=home(ours).peers))
    assert_established(world)
    assert [each.number for each in world.mn.of(RevocationsLearned)] == [2]
    assert lost.chain.exists()


def test_who_hands_on_the_list_that_names_it_is_refused(operator: Authority) -> None:
    ours, mine = of_ha(operator), operator.mobile_node("mn", HOA)
    behind = mobile(mine)
    operator.revoke("HA2")
    world = met(behind, home(ours))
    assert_refused(world, world.mn, "revoked")
    assert len(world.mn.of(RevocationsLearned)) == 1
    # The same for a mobile node.
    waiting = home(of_ha(operator, 3))
    operator.revoke("mn")
    world = met(mobile(mine), waiting)
    assert_refused(world, world.ha, "revoked")


def test_a_list_of_somebody_else_is_counted_and_changes_nothing(operator: Authority) -> None:
    stranger = certified.authority("stranger").revocations.read_bytes()
    forged = [Certificate(CertificateEncoding.REVOCATION_LIST, each) for each in (stranger, b"no")]
    world = presenting([*forged, Certificate(11, b"hash and URL")])
    assert_established(world)
    counters = world.ha.engine.counters
    assert counters["revocations-refused.unknown-issuer"] == 1
    assert counters["revocations-refused.bad-revocation-list"] == 1
    assert counters["certificates-ignored.encoding-11"] == 1
    assert world.ha.of(RevocationsLearned) == []


# Ends that are not configured


def home_agents(admit: Admit | None) -> IkeWorld:
    """HA2 begins with HA3, which does not know it."""
    own = {index: Identity.of(IPv6Address(f"fd00:1:{index}::{index}")) for index in (2, 3)}
    begins, answers = (certified.credentials(certified.home_agent(index)) for index in (2, 3))
    known = IkePeerConfig(own[3], None, ASKED, prefix=certified.HOME, index=3)
    return met(
        IkeConfig(own[2], (known,), credentials=begins),
        IkeConfig(own[3], (), credentials=answers, admit=admit),
    )


def test_one_that_is_not_configured_is_admitted_by_its_certificate() -> None:
    asked: list[tuple[Identity, HomeAgentCertificate]] = []

    def admit(identity: Identity, certificate: HomeAgentCertificate) -> IkePeerConfig:
        asked.append((identity, certificate))
        return IkePeerConfig(identity, None, GRANTED)

    assert_established(home_agents(admit))
    ((identity, certificate),) = asked
    assert str(identity) == str(certificate.address) == "fd00:1:2::2"
    assert (certificate.name, certificate.index) == ("HA2", 2)
    assert certificate.prefixes == (certified.HOME,)


def test_one_that_is_not_admitted_is_told_why() -> None:
    def admit(identity: Identity, certificate: HomeAgentCertificate) -> IkePeerConfig:
        raise NotAuthorised("index-taken", "for a person here alone")

    world = home_agents(admit)
    assert_refused(world, world.ha, "index-taken")
    world = home_agents(None)
    assert_refused(world, world.ha, "not-configured")


def test_a_mobile_node_is_not_admitted_as_a_home_agent() -> None:
    def admit(identity: Identity, certificate: HomeAgentCertificate) -> IkePeerConfig:
        raise AssertionError("asked about one without a home agent's certificate")

    ours = replace(home(), peers=(), admit=admit)
    world = met(mobile(), ours)
    assert_refused(world, world.ha, "not-a-home-agent")


def test_another_index_than_configured() -> None:
    def swapped(index: int) -> IkeConfig:
        config = home(certified.home_agent(2))
        peer = IkePeerConfig(Identity.of(IPv6Address("fd00:1:3::3")), None, ASKED, index=index)
        own = Identity.of(IPv6Address("fd00:1:2::2"))
        return replace(config, identity=own, peers=(peer,))

    own = Identity.of(IPv6Address("fd00:1:3::3"))
    back = IkePeerConfig(Identity.of(IPv6Address("fd00:1:2::2")), None, GRANTED, index=2)
    theirs = replace(home(certified.home_agent(3)), identity=own, peers=(back,))
    assert_established(met(swapped(3), theirs))
    world = met(swapped(4), theirs)
    assert_refused(world, world.mn, "wrong-index")


def test_a_configuration_that_could_prove_nothing() -> None:
    peer = IkePeerConfig(ANYCAST)
    trust = certified.credentials(certified.authority().trust())
    for credentials, message in ((None, "no anchor"), (trust, "nothing to prove")):
        with pytest.raises(ValueError, match=message):
            IkeConfig(MN, (peer,), credentials=credentials)
    with pytest.raises(ValueError, match="nothing to prove"):
        IkeConfig(MN, (), credentials=trust, admit=lambda *_: peer)


# Octets from anybody


def presenting(certificates: list[Payload], *, own: bool = True) -> IkeWorld:
    """A mobile node that sends these CERT payloads, behind its own or in their place."""
    genuine = authentication.own_certificates

    def put(context: object) -> list[Payload]:
        return [*(genuine(context) if own else ()), *certificates]  # type: ignore[arg-type]

    with patch("agents.core.ike.initiator.own_certificates", put):
        return met(mobile(), home())


def test_the_number_and_the_size_of_certificates_are_bounded() -> None:
    junk = Certificate(CertificateEncoding.X509_SIGNATURE, bytes(100))
    world = presenting([junk] * authentication.MOST_CERTIFICATES)
    assert_refused(world, world.ha, "too-many-certificates")
    world = presenting([Certificate(200, bytes(authentication.MOST_OCTETS // 2 + 1))] * 2)
    assert_refused(world, world.ha, "too-many-certificates")


def test_a_long_revocation_list_is_not_handed_on(operator: Authority) -> None:
    """No message could hold it; ends that have it heed it."""
    for number in range(500):
        operator._revoked[(1 << 150) + number] = datetime.now(UTC)
    mine = mobile(operator.mobile_node("mn", HOA))
    operator.serials["last"] = 500
    assert operator.revoke("last").stat().st_size > authentication.LONGEST_LIST
    world = met(mine, home(of_ha(operator)))
    assert_established(world)
    assert world.mn.of(RevocationsLearned) == []


CHAIN = certified.credentials(certified.mobile_node(HOA)).chain


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.builds(
            Certificate,
            st.sampled_from([4, 4, 7, 0, 11]),
            st.one_of(
                st.binary(max_size=60),
                st.sampled_from(CHAIN),
                st.builds(
                    lambda octets, place, put: octets[:place] + put + octets[place + 1 :],
                    st.sampled_from(CHAIN),
                    st.integers(0, 500),
                    st.binary(max_size=3),
                ),
            ),
        ),
        max_size=5,
    )
)
def test_any_octets_as_certificates_are_counted_and_refused(given: list[Payload]) -> None:
    world = presenting(given, own=False)
    whole = [each.data for each in given if isinstance(each, Certificate) and each.encoding == 4]
    if whole[:1] == [CHAIN[0]] and CHAIN[1] in whole and set(whole) <= set(CHAIN):
        assert_established(world)
        return
    assert world.ha.of(IkeEstablished) == []
    (failed,) = world.ha.of(IkeFailed)
    assert failed.detail
    assert world.ha.engine.counters[f"not-authorised.{failed.detail}"] == 1
    assert_established(met(mobile(), home()))
