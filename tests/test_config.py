"""Configuration and key files: round trips, and one clear line for every mistake."""

import os
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

import pytest

from agents import config, home_configs, keys
from agents.config import (
    ConfigError,
    CredentialFiles,
    HomeAgentConfig,
    MobileNodeConfig,
    PeerConfig,
)

HOME = IPv6Network("fd00:192:168:1::/64")
ANYCAST = IPv6Address("fd00:192:168:1::254")


def home_agent(directory: Path) -> HomeAgentConfig:
    return HomeAgentConfig(
        name="HA1",
        index=1,
        address=IPv6Address("fd00:1:1::1"),
        directory=directory,
        home_prefix=HOME,
        home_agent_address=ANYCAST,
        key_files=(directory / "mn.toml",),
        peers=(
            PeerConfig("HA2", 2, IPv6Address("fd00:1:2::2"), directory / "HA1-HA2.toml"),
            PeerConfig("HA3", 3, IPv6Address("fd00:1:3::3"), directory / "HA1-HA3.toml"),
        ),
    )


def mobile_node(directory: Path) -> MobileNodeConfig:
    return MobileNodeConfig(
        name="mn",
        home_address=IPv6Address("fd00:192:168:1::100"),
        home_agent_address=ANYCAST,
        home_prefix=HOME,
        directory=directory,
        key_file=directory / "mn.toml",
        interfaces=("mn-v1", "mn-v2"),
    )


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text(config.dump(home_agent(tmp_path)))
    assert config.load_home_agent(path) == home_agent(tmp_path)
    path.write_text(config.dump(mobile_node(tmp_path)))
    assert config.load_mobile_node(path) == mobile_node(tmp_path)


def second_home(directory: Path) -> MobileNodeConfig:
    prefix = IPv6Network("fd00:192:169:1::/64")
    return replace(
        mobile_node(directory),
        home_address=prefix[0x100],
        home_agent_address=prefix[0x254],
        home_prefix=prefix,
        key_file=directory / "mn2.toml",
        tun="mobile2",
    )


def test_a_mobile_node_may_have_several_homes(tmp_path: Path) -> None:
    homes = mobile_node(tmp_path), second_home(tmp_path)
    paths = [tmp_path / "1.toml", tmp_path / "2.toml"]
    for path, home in zip(paths, homes, strict=True):
        path.write_text(config.dump(home))
    assert home_configs.load_mobile_homes(paths) == homes
    assert home_configs.load_mobile_homes(paths[:1]) == homes[:1]


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"name": "other"}, "name: another one"),
        ({"directory": Path("/elsewhere")}, "directory: another one"),
        ({"interfaces": ("mn-v2",)}, "interfaces: another one"),
        ({"interfaces": ()}, "interfaces: none"),
        ({"tun": "mobile"}, "tun: mobile as in"),
        (
            {
                "home_address": IPv6Address("fd00:192:168:1::101"),
                "home_agent_address": IPv6Address("fd00:192:168:1::255"),
                "home_prefix": HOME,
            },
            "home_prefix: fd00:192:168:1::/64 overlaps",
        ),
        (
            {"home_agent_address": ANYCAST, "home_prefix": IPv6Network("fd00:192::/32")},
            "home_agent_address: fd00:192:168:1::254 as in",
        ),
    ],
)
def test_homes_that_do_not_go_together(
    tmp_path: Path, change: dict[str, object], part: str
) -> None:
    paths = [tmp_path / "1.toml", tmp_path / "2.toml"]
    paths[0].write_text(config.dump(mobile_node(tmp_path)))
    paths[1].write_text(config.dump(replace(second_home(tmp_path), **change)))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=part) as refused:
        home_configs.load_mobile_homes(paths)
    assert "\n" not in str(refused.value)
    assert str(paths[1]) in str(refused.value)


CREDENTIALS = CredentialFiles(Path("ha.pem"), Path("ha.key"), Path("root.pem"), Path("crl"))


def test_a_peer_has_a_key_file_or_this_end_a_certificate(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    peer = PeerConfig("HA2", 2, IPv6Address("fd00:1:2::2"))
    given = replace(home_agent(tmp_path), peers=(peer,), credentials=CREDENTIALS)
    path.write_text(config.dump(given))
    assert config.load_home_agent(path) == given
    path.write_text(config.dump(replace(given, credentials=CredentialFiles())))
    with pytest.raises(ConfigError, match=r"peers\[0\]\.key_file: missing; HA2 is known by"):
        config.load_home_agent(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"anchors": Path()}, "credentials.anchors: missing"),
        ({"chain": Path()}, "credentials.chain: missing"),
        ({"key": Path()}, "credentials.key: missing"),
    ],
)
def test_credentials_that_do_not_go_together(
    tmp_path: Path, change: dict[str, Path], words: str
) -> None:
    path = tmp_path / "a.toml"
    wrong = replace(CREDENTIALS, **change)
    path.write_text(config.dump(replace(home_agent(tmp_path), credentials=wrong)))
    with pytest.raises(ConfigError, match=words):
        config.load_home_agent(path)
    mobile = replace(mobile_node(tmp_path), key_file=Path(), credentials=wrong)
    path.write_text(config.dump(mobile))
    if "key" in change:  # a mobile node may have a secret in its place
        with pytest.raises(ConfigError, match="key_file: missing; add it, or"):
            config.load_mobile_node(path)
        given = replace(mobile, secret_files=(tmp_path / "mn.secret",))
        path.write_text(config.dump(given))
        assert config.load_mobile_node(path) == given
    else:
        with pytest.raises(ConfigError, match=words):
            config.load_mobile_node(path)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("index = 1", "index = 64", ["index", "1 to 63"]),
        ("index = 1", 'index = "1"', ["index", "int"]),
        ('name = "HA1"', 'nmae = "HA1"', ["nmae", "unknown key", "name"]),
        ('name = "HA1"', "", ["name", "missing"]),
        ('address = "fd00:1:1::1"', 'address = "fd00:192:168:1::1"', ["address", "overlaps"]),
        ('address = "fd00:1:1::1"', 'address = "HA1"', ["address", "HA1"]),
        ("index = 3", "index = 2", ["peers[1].index", "HA2"]),
        ("secret_files", "secret_file", ["secret_file", "unknown key", "secret_files"]),
        ('address = "fd00:1:3::3"', "", ["peers[1].address", "missing"]),
        ("1::254", "2::254", ["home_agent_address", "not in the home prefix"]),
        ("hello_misses = 3", "hello_misses = -3", ["timers.hello_misses", "negative"]),
        ("hello_misses = 3", "hello_misses = 0", ["timers.hello_misses", "more than zero"]),
        ("keepalive_interval = 0.1", "keepalive_interval = 0.0", ["timers.keepalive_interval"]),
        ("interval = 1.0", "interval = 0.0", ["optimisation.interval", "more than zero"]),
        ('route_optimisation = "off"', 'route_optimisation = "on"', ["route_optimisation", "on"]),
        ('detector = "hello"', 'detector = "ping"', ["detector", "ping"]),
        ('mode = "hardened"', 'mode = "soft"', ["mode", "soft"]),
        ("index = 1", "index = ", ["not TOML"]),
        ("sequence_limit = 4294967295", "sequence_limit = 4294967296", ["sequence_limit", "32"]),
        ("sequence_limit = 4294967295", "sequence_limit = 9", ["sequence_soft_limit", "leaves"]),
        ("sa_lifetime = 0.0", "sa_lifetime = -1.0", ["sa_lifetime", "negative"]),
        ('["x25519", "p-256"]', '["x25519", "modp-1024"]', ["ike_groups[1]", "modp-1024"]),
        ('["x25519", "p-256"]', "[]", ["ike_groups", "name one"]),
    ],
)
def test_home_agent_mistakes(tmp_path: Path, old: str, new: str, words: list[str]) -> None:
    text = config.dump(home_agent(tmp_path))
    assert old in text
    path = tmp_path / "bad.toml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        config.load_home_agent(path)
    assert "\n" not in str(caught.value)
    for word in [str(path), *words]:
        assert word in str(caught.value)


def test_mobile_node_outside_home(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(config.dump(mobile_node(tmp_path)).replace("1::100", "2::100"))
    with pytest.raises(ConfigError, match=r"home_address.*not in the home prefix"):
        config.load_mobile_node(path)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("wished_home_agent = 0", "wished_home_agent = 64", "wished_home_agent.*1 to 63"),
        ("wish_weight = 1", "wish_weight = 5", "wish_weight.*1 to 4"),
        ('["x25519", "p-256"]', "[]", "ike_groups.*name one"),
    ],
)
def test_wishes_out_of_range(tmp_path: Path, old: str, new: str, words: str) -> None:
    text = config.dump(mobile_node(tmp_path))
    assert old in text
    path = tmp_path / "bad.toml"
    path.write_text(text.replace(old, new))
    with pytest.raises(ConfigError, match=words):
        config.load_mobile_node(path)


def association() -> keys.KeyedAssociation:
    return keys.KeyedAssociation(
        spi=0x01000001,
        source=IPv6Address("fd00:192:168:1::100"),
        destination=ANYCAST,
        mode=keys.SaMode.TUNNEL,
        transform=keys.Transform.AES_128_GCM,
        key=os.urandom(20),
    )


def test_key_file_round_trip_and_mode(tmp_path: Path) -> None:
    path = tmp_path / "mn.toml"
    given = (association(), association())
    keys.write_key_file(path, given)
    assert path.stat().st_mode & 0o777 == 0o600
    assert keys.read_key_file(path) == given
    assert given[0].key.hex() not in repr(given)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace('key = "', 'key = "00'), ["key", "21 octets", "20"]),
        (lambda text: text.replace('key = "', 'key = "zz'), ["key", "hexadecimal"]),
        (lambda text: text.replace("0x01000001", "255"), ["spi", "256"]),
        (lambda text: text.replace("tunnel", "tunel"), ["tunel"]),
        (lambda text: text.replace("aes-128-gcm", "rot13"), ["transform", "aes-128-gcm"]),
        (lambda text: text + "\nfoo = 1\n", ["foo", "unknown key"]),
        (lambda text: "", ["security_association", "missing"]),
    ],
)
def test_key_file_mistakes(tmp_path: Path, change: object, words: list[str]) -> None:
    path = tmp_path / "mn.toml"
    given = association()
    keys.write_key_file(path, [given])
    assert callable(change)
    path.write_text(change(path.read_text()))
    with pytest.raises(ConfigError) as caught:
        keys.read_key_file(path)
    assert "\n" not in str(caught.value)
    assert given.key.hex() not in str(caught.value)
    for word in [str(path), *words]:
        assert word in str(caught.value)


def test_key_file_that_others_can_read(tmp_path: Path) -> None:
    path = tmp_path / "mn.toml"
    keys.write_key_file(path, [association()])
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        keys.read_key_file(path)


def test_key_file_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        keys.read_key_file(tmp_path / "none.toml")
