"""A home agent that turned is put out (draft §5; design §10, rule 13; case D12).

It stays in the world with all that it knew: its engine, the SAs, their keys, its IKE SAs.
"""

import certified
import pytest
from test_renewal import Streams
from world import ANYCAST, CN, COA, HOA, HOME, World, home_address, own_address, udp

from agents.config import CredentialFiles, Mode
from agents.core.context import Context
from agents.core.esp_processing import EspProcessor
from agents.core.events import (
    IsolationComplete,
    PeerAssociationFailed,
    PeerIsolated,
    PrimaryChanged,
    RenewalBegan,
    RevocationsHeard,
)
from agents.core.exposed_associations import AT_ONCE, PACE
from agents.core.ike.events import IkeEstablished, RevocationsLearned
from agents.core.ike.revocations import RevocationList
from agents.core.replay_window import sender_id
from agents.core.security_associations import SecurityAssociation
from agents.keys import SaMode
from agents.wire import ipv6
from topologies.certification import Authority

MODES = [Mode.HARDENED, Mode.DRAFT, Mode.DRAFT_CBC]
EXPOSED = 0.01
"""Seconds from the verb until no SA that it knew is held: four round trips of 2 ms, and 2 ms."""


def world_of(has: int = 3, mode: Mode = Mode.HARDENED, **options: object) -> World:
    world = World(has, mode, ike=True, **options)  # type: ignore[arg-type]
    world.start_all()
    world.start_mn()
    return world


def context(world: World, index: int) -> Context:
    return world.has[index]._context


def known_to(world: World, index: int) -> list[SecurityAssociation]:
    """Copies of all SAs that an HA holds, as it may keep them."""
    kept = []
    for each in context(world, index).associations:
        copy = SecurityAssociation(
            each.spi,
            each.home_address,
            each.source,
            each.destination,
            each.mode,
            each.transform,
            each.key,
        )
        copy.counter = 5000
        kept.append(copy)
    return kept


def spis(world: World, index: int) -> set[int]:
    return {each.spi for each in context(world, index).associations}


class Hostile:
    """What one that was isolated does with what it knew."""

    def __init__(self, world: World, index: int) -> None:
        self.world = world
        self.index = index
        self.kept = known_to(world, index)

    def forge(self) -> None:
        """Tunnel packets to the mobile node as each HA, and as the mobile node to the others."""
        world = self.world
        for sid in [sender_id(each, 1) for each in world.indexes]:
            esp = EspProcessor(world.random.randbytes, sid if world.mode is Mode.HARDENED else None)
            for each in self.kept:
                if each.mode is not SaMode.TUNNEL:
                    continue
                if each.inbound:
                    inner = udp(HOA, CN, b"forged")
                    sealed = esp.seal(each, inner, ipv6.IPV6, 0)
                    packet = ipv6.build(COA, each.destination, ipv6.ESP, sealed)
                    for honest in world.has:
                        if honest != self.index:
                            world.has[honest].receive(packet, world.now)
                else:
                    inner = udp(CN, HOA, b"forged")
                    sealed = esp.seal(each, inner, ipv6.IPV6, 0)
                    world.inject(ipv6.build(each.source, COA, ipv6.ESP, sealed))
        world._collect()


def test_it_takes_no_longer_than_the_messages() -> None:
    """Nearest and primary: another HA takes its role and renews, on a new IKE SA."""
    world = world_of()
    hostile = Hostile(world, 1)
    world.order = [2, 3, 1]  # fencing: its first-hop router has shut its link
    before = spis(world, 2)
    world.isolate(1)
    world.run(EXPOSED)
    for index in (2, 3):
        assert world.found(index, PeerIsolated) == [PeerIsolated("HA1", 1, "verb")]
        assert not before & spis(world, index)
        assert len(spis(world, index)) == 4
        assert len(world.found(index, IsolationComplete)) == 1
    assert world.found(2, PrimaryChanged)[-1] == PrimaryChanged(HOA, 2, 2, "isolated")
    assert len(world.found(2, IkeEstablished)) == 1
    assert world.mn is not None
    assert not before & {each.spi for each in world.mn._associations}
    hostile.forge()
    world.run(0.1)
    assert world.at_mobile == []
    assert [each for each in world.at_correspondent if each[0] != 1] == []
    assert not {each.spi for each in hostile.kept} & spis(world, 2)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("hostile", [1, 2, 3])
@pytest.mark.parametrize("peer_ike", [False, True])
def test_nothing_of_it_is_taken_and_nothing_goes_to_it(
    mode: Mode, hostile: int, peer_ike: bool
) -> None:
    """Primary or not; and honest flows go on, with what was in flight lost at most."""
    world = world_of(mode=mode, peer_ike=peer_ike)
    kept = Hostile(world, hostile)
    honest = [each for each in world.indexes if each != hostile]
    world.order = [*honest, hostile]
    world.run(0.5)
    streams = Streams(world, via=tuple(honest))
    streams.run(0.2)
    accepted = world.has[hostile].counters["tunnel.received"]
    world.isolate(hostile)
    streams.run(0.5)
    # What was on its way on the old SA when its other end dropped it: 1 ms each way and 1 ms more.
    world.run(0.1)
    assert len(streams.up - {packet for _, packet in world.at_correspondent}) <= 4
    assert len(streams.down - set(world.at_mobile)) <= 4
    world.seen.clear()
    kept.forge()
    world.run(0.1)
    assert b"forged" not in {each[48:] for each in world.at_mobile}
    assert b"forged" not in {each[1][48:] for each in world.at_correspondent}
    streams.run(0.5)
    assert world.has[hostile].counters["tunnel.received"] == accepted
    to_it = own_address(hostile).packed
    assert [each for each in world.seen if each[24:40] == to_it and each[8:24] != to_it] == []
    for index in honest:
        assert world.has[index].counters["dropped.inter-ha-from-stranger"] > 0
        peers = world.has[index].status()["peers"]
        assert f"HA{hostile}" not in peers  # type: ignore[operator]
    (primary,) = {world.binding(index)["primary"] for index in honest}  # type: ignore[index]
    assert primary != f"HA{hostile}"
    if mode is Mode.HARDENED:
        assert world.mn is not None
        assert set(world.mn._senders.table or ()) == set(honest)


@pytest.mark.parametrize("later", [0.0005, 0.004, 0.02, 0.5])
def test_one_home_agent_isolates_later_than_another(later: float) -> None:
    """It may have handed the fresh SAs to the one that turned: they are replaced once more.

    The primary caught the liar by itself, say, and the operator's word came a moment later. Nobody
    is left without an SA for it.
    """
    world = world_of()
    kept = Hostile(world, 2)
    world.order = [1, 3, 2]
    world.run(0.5)
    streams = Streams(world, via=(1, 3))
    streams.run(0.2)
    world.isolate(2, at=[1])
    streams.run(later)
    kept.kept += known_to(world, 3)
    world.isolate(2, at=[3])
    streams.run(4.0)
    world.run(0.1)
    assert len(streams.up - {packet for _, packet in world.at_correspondent}) <= 4
    assert len(streams.down - set(world.at_mobile)) <= 4
    for index in (1, 3):
        assert not {each.spi for each in kept.kept} & spis(world, index)
        assert len(spis(world, index)) == 4
        assert len(world.found(index, IsolationComplete)) == 1


def test_an_idle_mobile_node_is_renewed_too() -> None:
    world = world_of()
    world.start_mn(number=2, at=COA + 1)
    world.run(5.0)
    old = spis(world, 2)
    world.order = [2, 3, 1]
    world.isolate(1)
    world.run(0.1)
    assert not old & spis(world, 3)
    for number in (1, 2):
        assert len(list(context(world, 3).associations.of(home_address(number)))) == 4


def test_one_that_nobody_reaches_loses_its_sas_in_bounded_time() -> None:
    """Better none than such as a hostile HA knows: it begins anew when it is back."""
    world = world_of()
    world.order = [2, 3, 1]
    world.detach(COA)
    world.isolate(1)
    world.run(2.2)
    for index in (2, 3):
        assert spis(world, index) == set()
    world.attach(COA)
    world.run(15.0)
    assert len(spis(world, 2)) == 4
    assert world.binding(2)["state"] == "bound"  # type: ignore[index]


def test_who_should_take_over_is_gone_itself() -> None:
    """HA2 died just before, and nobody has noticed yet: HA3 takes over once it has."""
    world = world_of()
    world.order = [3, 2, 1]
    world.kill(2)
    world.isolate(1)
    world.run(0.6)
    assert world.found(3, PrimaryChanged)[-1].fields()["primary"] == 3
    assert {each.spi >> 24 for each in context(world, 3).associations if each.inbound} == {3}


def test_it_comes_back_only_by_verb_and_in_another_incarnation() -> None:
    world = world_of()
    world.order = [2, 3, 1]
    world.isolate(1)
    world.run(1.0)
    engine = world.has[2]
    with pytest.raises(ValueError, match="isolated"):
        engine.add_peer(world.peer_config(1), world.peer_keys[2][1], world.now)
    with pytest.raises(ValueError, match="cannot isolate itself"):
        engine.isolate(2, "verb", world.now)
    with pytest.raises(ValueError, match="not isolated"):
        engine.readmit(3, world.now)
    world.readmit(1)
    world.run(1.0)
    assert engine.counters["dropped.isolated-incarnation"] > 0
    assert engine.status()["peers"]["HA1"] != "up"  # type: ignore[index]
    world.kill(1)
    world.start_ha(1)
    world.run(1.0)
    assert engine.status()["peers"]["HA1"] == "up"  # type: ignore[index]
    assert spis(world, 1) == spis(world, 2)


# The operator's word: a signed revocation list.


def certified_world(**options: object) -> tuple[World, Authority, dict[int | str, CredentialFiles]]:
    """Three HAs and a mobile node with certificates of an authority that revokes here alone."""
    authority = Authority(certified.directory(), "revoking")
    world = World(3, ike=True, peer_ike=True, mobile_secret=False, **options)  # type: ignore[arg-type]
    for index in world.indexes:
        world.certificates[index] = authority.home_agent(
            f"HA{index}", index, own_address(index), ANYCAST, HOME
        )
    world.certificates["mn"] = authority.mobile_node("mn", HOA)
    world.start_all()
    world.start_mn()
    assert world.primaries() == {"HA1"}
    return world, authority, world.certificates


def revocation_list(authority: Authority, index: int) -> bytes:
    return authority.revoke(f"HA{index}").read_bytes()


def test_one_home_agent_that_hears_the_operator_is_enough() -> None:
    """It hands the signed list on; the mobile node hears it with the IKE SA that follows."""
    world, authority, _ = certified_world()
    world.order = [2, 3, 1]
    old = spis(world, 3)
    assert world.has[3].learn_revocations(revocation_list(authority, 1), world.now)
    world._collect()
    world.run(0.02)
    for index in (2, 3):
        assert world.found(index, PeerIsolated) == [PeerIsolated("HA1", 1, "revoked")]
        assert not old & spis(world, index)
    assert world.found(2, RevocationsHeard)[-1].fields()["source"] == "HA3"
    assert [e.fields()["source"] for e in world.found("mn", RevocationsHeard)] == ["home-agent"]
    assert not world.has[3].learn_revocations(authority.revocations.read_bytes(), world.now)


def test_what_was_told_between_a_lie_and_the_operators_word_is_replaced() -> None:
    """HA3 may have handed the SAs on that HA1 renewed when it alone had caught HA2."""
    world, authority, _ = certified_world()
    world.order = [1, 3, 2]
    streams = Streams(world, via=(1, 3))
    streams.run(0.1)
    world.has[1].isolate(2, "misconduct", world.now)
    streams.run(0.03)
    told = spis(world, 3)
    assert told == spis(world, 1)
    world.has[1].learn_revocations(revocation_list(authority, 2), world.now)
    world._collect()
    streams.run(0.05)
    for index in (1, 3):
        assert not told & spis(world, index)
        assert len(spis(world, index)) == 4
    streams.run(6.0)
    world.run(0.1)
    assert len(streams.up - {packet for _, packet in world.at_correspondent}) <= 8
    assert len(streams.down - set(world.at_mobile)) <= 8


def test_no_list_that_the_authority_has_not_signed_isolates_anybody() -> None:
    world, *_ = certified_world()
    stranger = Authority(certified.directory(), "stranger")
    stranger.home_agent("HA2", 2, own_address(2), ANYCAST, HOME)
    forged = stranger.revoke("HA2").read_bytes()
    for octets in (forged, b"", forged[:-1], b"\x30\x80" * 50):
        with pytest.raises(ValueError, match="not a revocation list to believe"):
            world.has[3].learn_revocations(octets, world.now)
        engine = world.has[1]
        engine._word._exchange.tell(octets, engine._context.peers.valid(), world.now)
    world._collect()
    world.run(0.5)
    for index in (2, 3):
        assert world.found(index, PeerIsolated) == []
        assert world.has[index].counters["revocations-refused.unknown-issuer"] >= 1
    without = World(2).start_ha(1)
    with pytest.raises(ValueError, match="no credentials"):
        without.learn_revocations(forged, 0.0)


def test_who_was_cut_off_hears_it_when_it_is_back() -> None:
    world, authority, _ = certified_world()
    world.order = [2, 3, 1]
    world.cut = {frozenset((2, 3)), frozenset((1, 3))}
    world.run(1.0)
    world.has[2].learn_revocations(revocation_list(authority, 1), world.now)
    world._collect()
    world.run(0.5)
    assert world.found(3, PeerIsolated) == []
    world.cut = set()
    world.run(1.0)
    assert world.found(3, PeerIsolated) == [PeerIsolated("HA1", 1, "revoked")]
    assert spis(world, 2) == spis(world, 3)


def test_no_ike_auth_that_it_can_complete() -> None:
    """With mobile node and home agents, as initiator and as responder."""
    world, authority, _ = certified_world()
    hostile = world.has[1]
    kept = Hostile(world, 1)
    world.order = [2, 3, 1]
    world.has[2].learn_revocations(revocation_list(authority, 1), world.now)
    world._collect()
    world.run(0.1)
    assert world.mn is not None
    keys = world.mn._keys
    assert keys is not None
    before = world.mn.key_counters()
    established = len(world.found("mn", IkeEstablished))
    # Without fencing it is nearest again: it begins with the mobile node, and answers it.
    world.order = [1, 2, 3]
    world.advertising.add(1)
    assert hostile._keys is not None
    hostile._keys.renew(HOA, COA, world.now, alone=True)
    world._collect()
    world.run(0.1)
    assert len(world.found("mn", IkeEstablished)) == established
    refused = world.mn.key_counters()["ike.not-authorised.revoked"]
    assert refused > before.get("ike.not-authorised.revoked", 0)
    keys.begin(world.now)
    world._collect()
    world.run(0.5)
    assert len(world.found("mn", IkeEstablished)) == established
    # It begins with a home agent, and that one with it: nobody does, and it is told why.
    world.run(40.0)
    failed = [e.fields() for e in world.found(1, PeerAssociationFailed)]
    assert "authentication-failed" in {each["reason"] for each in failed}
    for index in (2, 3):
        peers = world.has[index].status()["peers"]
        assert "HA1" not in peers  # type: ignore[operator]
        assert world.has[index].key_counters()["peer-ike.not-authorised.revoked"] > 0
    kept.forge()
    world.run(0.1)
    assert b"forged" not in {each[48:] for each in world.at_mobile}


def test_its_ike_sa_with_the_mobile_node_is_gone_at_once() -> None:
    """It knows SK_d: a rekey on its IKE SA would tell it all that follows."""
    world, authority, _ = certified_world()
    world.order = [2, 3, 1]
    assert world.mn is not None
    assert world.mn._keys is not None
    (before,) = world.mn._keys._endpoint.sas()
    world.has[2].learn_revocations(revocation_list(authority, 1), world.now)
    world._collect()
    world.run(0.02)
    (now,) = world.mn._keys._endpoint.sas()
    assert now is not before
    assert {each.inbound_spi for each in now.children} == set(world.mn.held_keys())


def test_a_pre_shared_key_that_it_knows_is_replaced() -> None:
    """All home agents know it; with the old one nobody begins anything any more."""
    world = world_of(peer_ike=True, mobile_secret=True)
    world.order = [2, 3, 1]
    fresh = world.random.randbytes(32)
    assert world.mn is not None
    world.mn.load_secret(fresh, world.now)
    for index in (2, 3):
        world.has[index].load_secrets({HOA: fresh}, world.now)
    world.isolate(1)
    world.run(0.1)
    assert len(world.found(2, IkeEstablished)) == 1
    assert len(spis(world, 2)) == 4
    hostile = world.has[1]
    assert hostile._keys is not None
    hostile._keys.renew(HOA, COA, world.now)
    world._collect()
    world.run(0.5)
    established = [e for e in world.found("mn", IkeEstablished) if e.fields()["initiator"] is False]
    assert len(established) == 1
    assert world.has[2].key_counters().get("ike.not-authorised.isolated", 0) == 0


def test_an_ike_sa_that_it_told_nobody_of_is_gone_too() -> None:
    """That is why the others never rekey: their own IKE SA may be forgotten at the mobile node."""
    world = world_of(peer_ike=True)
    peers = {own_address(2).packed, own_address(3).packed}
    world.trouble = lambda packet: [] if packet[24:40] in peers else [packet]
    hostile = world.has[1]
    assert hostile._keys is not None
    hostile._keys.renew(HOA, COA, world.now, alone=True)
    world._collect()
    world.run(0.05)
    assert world.mn is not None
    secret = set(world.mn.held_keys())
    assert not any(each.spi in secret for each in context(world, 2).associations)
    world.trouble = lambda packet: [packet]
    world.order = [2, 3, 1]
    world.isolate(1)
    world.run(0.05)
    assert not secret & set(world.mn.held_keys())
    ours = {each.spi for each in context(world, 2).associations if not each.inbound}
    assert set(world.mn.held_keys()) == ours


def test_many_mobile_nodes_are_renewed_at_a_pace() -> None:
    """So many at once, so many a second: more of them take longer, and none is left out."""
    world = World(2, key_exchange=True)
    world.start_all()
    for number in range(1, 51):
        world.start_mn(0.0, number, at=COA + number)
    world.run(1.0)
    world.order = [2, 1]
    old = spis(world, 2)
    world.isolate(1)
    world.run(0.01)
    assert len(world.found(2, RenewalBegan)) == AT_ONCE
    world.run(50 / AT_ONCE * PACE)
    assert len(world.found(2, RenewalBegan)) == 50
    assert not old & spis(world, 2)
    assert len(spis(world, 2)) == 50 * 4
    assert world.found(2, IsolationComplete) == [IsolationComplete(1, 50)]


def test_without_fencing_it_draws_and_can_use_nothing() -> None:
    """It stays nearest. The list reaches the mobile node all the same, and IKE with it fails."""
    world, authority, _ = certified_world()
    kept = Hostile(world, 1)
    world.has[2].learn_revocations(revocation_list(authority, 1), world.now)
    world._collect()
    world.run(0.01)
    assert len(world.found("mn", RevocationsHeard)) == 1
    world.run(2.3)
    assert world.mn is not None
    assert world.mn.held_keys() == set()
    for index in (2, 3):
        assert not {each.spi for each in kept.kept} & spis(world, index)
    kept.forge()
    world.has[1]._keys.renew(HOA, COA, world.now, alone=True)  # type: ignore[union-attr]
    world._collect()
    world.run(10.0)
    assert world.at_mobile == []
    assert world.mn.held_keys() == set()
    assert world.mn.key_counters()["ike.not-authorised.revoked"] > 1
    world.order = [2, 3, 1]  # its router has shut its link at last
    world.run(40.0)
    assert len(spis(world, 2)) == 4
    assert set(world.mn.held_keys()) & spis(world, 2)
    assert world.binding(2)["state"] == "bound"  # type: ignore[index]


def test_a_list_that_reaches_the_mobile_node_in_ike_alone() -> None:
    """Nothing that comes on an SA gets through: IKE_AUTH tells it too."""
    world, authority, _ = certified_world()
    world.order = [2, 3, 1]
    world.trouble = lambda packet: [] if packet[6] == ipv6.ROUTING else [packet]
    world.has[2].learn_revocations(revocation_list(authority, 1), world.now)
    world._collect()
    world.run(0.02)
    world.trouble = lambda packet: [packet]
    assert len(world.found("mn", RevocationsLearned)) == 1
    world.run(1.5)
    assert world.mn is not None
    assert len(world.mn.held_keys()) == 2


def test_no_list_but_the_operators_moves_the_mobile_node() -> None:
    """All home agents have its SA, the hostile one too: the signature counts."""
    world, *_ = certified_world()
    stranger = Authority(certified.directory(), "stranger")
    stranger.home_agent("HA2", 2, own_address(2), ANYCAST, HOME)
    forged = stranger.revoke("HA2").read_bytes()
    binding = context(world, 1).cache.get(HOA)
    assert binding is not None
    word = world.has[1]._word
    word._revocations = FakeRevocations((forged, b"x", b"\x30" * 3000))  # type: ignore[assignment]
    word.tell_mobile_node(binding, world.now)
    world._collect()
    world.run(2.0)
    assert world.mn is not None
    assert world.mn.counters["dropped.revocations-unknown-issuer"] == 1
    assert world.mn.counters["dropped.revocations-bad-revocation-list"] == 2
    assert world.found("mn", RevocationsHeard) == []
    assert len(world.mn.held_keys()) == 2


class FakeRevocations:
    """Octets that nobody has signed, told as lists."""

    def __init__(self, lists: tuple[bytes, ...]) -> None:
        self._lists = lists

    def lists(self) -> tuple[RevocationList, ...]:
        return tuple(
            RevocationList(each, b"", 1, certified.today(), frozenset()) for each in self._lists
        )


@pytest.mark.parametrize("fresh", [True, False])
def test_who_may_come_back_needs_another_certificate(fresh: bool) -> None:
    """Isolated by verb and readmitted: the certificate that it had then lets nobody in."""
    world, authority, certificates = certified_world()
    world.order = [2, 3, 1]
    world.isolate(1)
    world.run(1.0)
    for index in (2, 3):
        world.has[index].readmit(1, world.now)
    if fresh:
        certificates[1] = authority.home_agent("HA1", 1, own_address(1), ANYCAST, HOME)
    world.kill(1)
    world.start_ha(1)
    world.run(3.0)
    for index in (2, 3):
        assert ("HA1" in world.has[index].status()["peers"]) is fresh  # type: ignore[operator]
        refused = world.has[index].key_counters().get("peer-ike.not-authorised.isolated", 0)
        assert (refused > 0) is not fresh
    assert (spis(world, 1) == spis(world, 2)) is fresh
