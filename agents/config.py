"""The agents' configuration: dataclasses, read from TOML and written as TOML.

Topologies build these dataclasses and write them; `python -m agents.ha|mn CONFIG` reads them.
Every mistake is one `ConfigError` that names the file, the key and the cure.
"""

import tomllib
import typing
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from enum import StrEnum
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Any, TypeVar

MAX_SEQUENCE = 2**32 - 1
"""The last sequence number of an SA without ESN (RFC 4303 §3.3.3)."""

SOFT_LIMIT = MAX_SEQUENCE - 2**20
"""Where a renewal begins: at 100,000 packets a second, 10 s are left for it."""

MAX_HA_INDEX = 63
"""An HA's index is the upper 6 bits of its sender id (SID) and the top octet of its SPIs."""

Config = TypeVar("Config", bound="HomeAgentConfig | MobileNodeConfig")


class ConfigError(ValueError):
    """A configuration that cannot be used; the message is one line for a person."""


class Mode(StrEnum):
    """How security associations are shared (design §1): as the draft says, or hardened."""

    DRAFT = "draft"
    DRAFT_CBC = "draft-cbc"
    HARDENED = "hardened"

    @property
    def transform(self) -> str:
        """The ESP transform that this mode uses between a mobile node and its home agents."""
        return "aes-128-cbc-hmac-sha2-256" if self is Mode.DRAFT_CBC else "aes-128-gcm"

    @property
    def transforms(self) -> tuple[str, ...]:
        """All that it takes from key files and other home agents.

        ChaCha20-Poly1305 has the same 64 bits of IV as AES-GCM, in which the SID stands (rule 3).
        """
        others = ("chacha20-poly1305",) if self is Mode.HARDENED else ()
        return (self.transform, *others)


class Detector(StrEnum):
    """How a home agent notices that another one is gone (draft §3.3.3)."""

    HELLO = "hello"
    KEEPALIVE = "keepalive"


class IkeGroup(StrEnum):
    """A key exchange method of IKEv2. MODP-2048 costs far more than a curve: for who needs it."""

    X25519 = "x25519"
    P256 = "p-256"
    MODP_2048 = "modp-2048"


class RouteOptimisation(StrEnum):
    """What is done about detours on the way to correspondents (design §10, rule 11).

    `switch`: draft §4.1 to the letter, the role of primary moves; `relay`: a packet goes on to the
    best home agent from the one that it reached; `map`: the mobile node is told which home agent
    is the best one for which correspondent.
    """

    OFF = "off"
    SWITCH = "switch"
    RELAY = "relay"
    MAP = "map"


@dataclass(frozen=True, slots=True)
class HomeAgentTimers:
    """Intervals of a home agent, in seconds; `*_misses` in a row mark a peer invalid.

    An HA that leaves serves on for `leave_least` (an OSPFv3 router originates an LSA at most every
    5 s), until nothing has come for `leave_quiet`, at most `leave_most`.
    """

    hello_interval: float = 0.1
    hello_misses: int = 3
    keepalive_interval: float = 0.1
    keepalive_misses: int = 3
    retransmit_interval: float = 0.05
    retransmit_limit: int = 6
    floor_interval: float = 0.1
    floor_packets: int = 1000
    max_lifetime: float = 420.0
    hold_packets: int = 32
    hold_time: float = 0.05
    metric_hold: float = 1.0
    free_returns: int = 2
    hold_first: float = 1.0
    hold_most: float = 60.0
    stable_time: float = 60.0
    leave_least: float = 6.0
    leave_quiet: float = 1.0
    leave_most: float = 30.0


@dataclass(frozen=True, slots=True)
class OptimisationSettings:
    """How paths are measured and chosen; times in seconds.

    A path is left for one that costs less by more than the share `hysteresis` and by `least_gain`,
    and not within `hold` of the last change. `refresh` is how often a mobile node that holds a map
    registers.
    """

    interval: float = 1.0
    hysteresis: float = 0.2
    least_gain: float = 0.001
    hold: float = 10.0
    refresh: float = 20.0


@dataclass(frozen=True, slots=True)
class CredentialFiles:
    """Certificates for IKEv2: files in PEM, `revocations` in DER.

    `chain` has the own certificate first, then its issuers up to the anchor; `anchors` are those
    of the operator. Without `key` the certificates of others are checked, and this end proves
    itself by a secret; `chain` then has the issuers alone. With `strict_revocation` a certificate
    is taken only if a list of its issuer is there and up to date.
    """

    chain: Path = Path()
    key: Path = Path()
    anchors: Path = Path()
    revocations: Path = Path()
    strict_revocation: bool = False

    @property
    def given(self) -> bool:
        """Whether there are any."""
        return self.anchors != Path()

    @property
    def prove(self) -> bool:
        """Whether this end proves itself by them."""
        return self.given and self.key != Path()


@dataclass(frozen=True, slots=True)
class PeerConfig:
    """Another home agent of the same home network; draft §3.3.3 has them configured by hand.

    The SAs with it come from `key_file`, or, without, from IKEv2 and the certificates of both: the
    same at both ends.
    """

    name: str
    index: int
    address: IPv6Address
    key_file: Path = Path()


@dataclass(frozen=True, slots=True)
class HomeAgentConfig:
    """One home agent.

    `key_files` are the mobile nodes whose keys this HA is the first to know. With `credentials`
    IKEv2 is the source of keys: this HA proves itself by its certificate, and so does a mobile
    node, unless `secret_files` have a pre-shared key of it, the same at every HA.

    A mobile node's SAs are renewed when one of their numbers reaches `sequence_soft_limit`, or
    after `sa_lifetime` seconds (0: never); no number beyond `sequence_limit` is sent. SAs with
    peers that come from IKEv2 have limits of their own, `peer_soft_limit` and `peer_sa_lifetime`.
    An IKE SA with a mobile node is renewed itself, by the home agent that has it, at an age of
    `ike_sa_lifetime` seconds at most (0: never).
    `ike_groups`, for all of IKE, in order of preference.

    `metric` is the one with which it advertises the home prefix; `metric_penalty` (0: never) is
    added while mobile nodes would rather be served by another home agent. `metric_command` tells
    routing: a command line in which `{metric}` is replaced.

    `route_optimisation` is to be the same at all home agents.

    `joins`: others serve already. It advertises nothing before one of them has let it in and told
    it all, until it has served once; without, it serves alone where none answers.

    `hold_down`: wait before advertising again after more than `free_returns` returns in a row,
    each within `stable_time` of the last, while another home agent serves.
    """

    name: str
    index: int
    address: IPv6Address
    directory: Path
    home_prefix: IPv6Network
    home_agent_address: IPv6Address
    mode: Mode = Mode.HARDENED
    origin_option: bool = True
    reuse_after_restart: bool = False
    duplicate_detection: float = 0.0
    sequence_soft_limit: int = SOFT_LIMIT
    sequence_limit: int = MAX_SEQUENCE
    sa_lifetime: float = 0.0
    peer_soft_limit: int = SOFT_LIMIT
    peer_sa_lifetime: float = 28800.0
    ike_sa_lifetime: float = 28800.0
    ike_groups: tuple[IkeGroup, ...] = (IkeGroup.X25519, IkeGroup.P256)
    detector: Detector = Detector.HELLO
    metric: int = 1
    metric_penalty: int = 0
    metric_command: tuple[str, ...] = ()
    route_optimisation: RouteOptimisation = RouteOptimisation.OFF
    optimisation: OptimisationSettings = field(default_factory=OptimisationSettings)
    joins: bool = False
    hold_down: bool = True
    gate: bool = True
    tun: str = "home"
    path_mtu: int = 1500
    egress_record: bool = False
    key_files: tuple[Path, ...] = ()
    secret_files: tuple[Path, ...] = ()
    credentials: CredentialFiles = field(default_factory=CredentialFiles)
    peers: tuple[PeerConfig, ...] = ()
    timers: HomeAgentTimers = field(default_factory=HomeAgentTimers)

    @property
    def detection_interval(self) -> float:
        """Seconds between two HELLOs, or two keepalives, to one peer."""
        hello = self.detector is Detector.HELLO
        return self.timers.hello_interval if hello else self.timers.keepalive_interval

    @property
    def detection_misses(self) -> int:
        """How many missed HELLOs, or unanswered keepalives, mark a peer invalid."""
        hello = self.detector is Detector.HELLO
        return self.timers.hello_misses if hello else self.timers.keepalive_misses


@dataclass(frozen=True, slots=True)
class MobileNodeTimers:
    """Intervals of a mobile node, in seconds (RFC 6275 §12, §13).

    `home_…` are for one of several home addresses (`agents.core.home_choice`): how long nothing is
    heard after a packet before it is probed, and at most where probes alone are answered; how far
    probes are apart, and how many are sent; how long it has to work again before it is chosen.
    """

    first_registration_timeout: float = 1.5
    acknowledgement_timeout: float = 1.0
    max_acknowledgement_timeout: float = 32.0
    max_updates_per_second: int = 3
    home_silence: float = 0.5
    home_silence_limit: float = 8.0
    home_probe_interval: float = 0.3
    home_probes: int = 3
    home_hold: float = 10.0


@dataclass(frozen=True, slots=True)
class MobileNodeConfig:
    """One mobile node: one home address, one home agent address, one set of SAs.

    They come from `key_file`, or, with `credentials` or `secret_files`, from IKEv2: home agents
    prove themselves by certificate where `credentials` say whose to believe; this mobile node by
    its own certificate, or, with `secret_files`, by a pre-shared key.

    No number beyond `sequence_limit` is sent. The home agents see a mobile node's numbers and
    renew in time: their `sequence_soft_limit` must lie below it.

    `ike_groups`: key exchange methods of IKEv2, in order of preference.

    `wished_home_agent` is the index of the home agent that it would like to be served by, 0 for
    any; `wish_weight`, 1 to 4, how much that matters.

    With `route_optimisation` `map` it sends to the home agents that a CN → HA map names, with any
    other value to the home agent address alone.
    """

    name: str
    home_address: IPv6Address
    home_agent_address: IPv6Address
    home_prefix: IPv6Network
    directory: Path
    key_file: Path = Path()
    secret_files: tuple[Path, ...] = ()
    credentials: CredentialFiles = field(default_factory=CredentialFiles)
    mode: Mode = Mode.HARDENED
    origin_option: bool = True
    multi_sender: bool = True
    key_management: bool = False
    lifetime: float = 420.0
    sequence_limit: int = MAX_SEQUENCE
    ike_groups: tuple[IkeGroup, ...] = (IkeGroup.X25519, IkeGroup.P256)
    wished_home_agent: int = 0
    wish_weight: int = 1
    route_optimisation: RouteOptimisation = RouteOptimisation.OFF
    tun: str = "mobile"
    path_mtu: int = 1500
    egress_record: bool = False
    interfaces: tuple[str, ...] = ()
    timers: MobileNodeTimers = field(default_factory=MobileNodeTimers)


def load_home_agent(path: Path) -> HomeAgentConfig:
    """Read and check a home agent's configuration; raise `ConfigError`."""
    config = _load(path, HomeAgentConfig)
    _check_home(path, config.home_prefix, config.home_agent_address)
    _check_index(path, "index", config.index)
    if config.address in config.home_prefix:
        raise ConfigError(
            f"{path}: address: {config.address} overlaps the home prefix {config.home_prefix}; "
            "a home agent's own address belongs to its own link"
        )
    _check_limits(path, config)
    _check_groups(path, config.ike_groups)
    for key in ("hello_interval", "hello_misses", "keepalive_interval", "keepalive_misses"):
        if not getattr(config.timers, key):
            raise ConfigError(f"{path}: timers.{key}: 0 watches nobody; use more than zero")
    if not config.optimisation.interval:
        raise ConfigError(f"{path}: optimisation.interval: 0 never ends; use more than zero")
    seen: dict[object, str] = {config.index: config.name, config.address: config.name}
    for number, peer in enumerate(config.peers):
        _check_index(path, f"peers[{number}].index", peer.index)
        for key, value in (("index", peer.index), ("address", peer.address)):
            if value in seen:
                raise ConfigError(
                    f"{path}: peers[{number}].{key}: {value} is already that of {seen[value]}; "
                    "every home agent needs its own"
                )
            seen[value] = peer.name
        if peer.key_file == Path() and not config.credentials.prove:
            raise ConfigError(
                f"{path}: peers[{number}].key_file: missing; {peer.name} is known by that, or by "
                "the certificates of [credentials]"
            )
    _check_credentials(path, config.credentials)
    if config.credentials.given and not config.credentials.prove:
        raise ConfigError(
            f"{path}: credentials.key: missing; a home agent proves itself by its certificate"
        )
    return config


def peer_config(table: Mapping[str, Any]) -> PeerConfig:
    """Return what a control request says of a peer; raise `ConfigError`. Other keys are ignored."""
    known = {each.name for each in fields(PeerConfig)}
    said = {key: value for key, value in table.items() if key in known}
    peer = _from_table(Path("add-peer"), "", said, PeerConfig)
    assert isinstance(peer, PeerConfig)
    _check_index(Path("add-peer"), "index", peer.index)
    return peer


def load_mobile_node(path: Path) -> MobileNodeConfig:
    """Read and check a mobile node's configuration; raise `ConfigError`."""
    config = _load(path, MobileNodeConfig)
    _check_home(path, config.home_prefix, config.home_agent_address)
    _check_groups(path, config.ike_groups)
    if config.home_address not in config.home_prefix:
        raise ConfigError(
            f"{path}: home_address: {config.home_address} is not in the home prefix "
            f"{config.home_prefix}; choose an address of that prefix"
        )
    _check_credentials(path, config.credentials)
    if config.key_file == Path() and not config.secret_files and not config.credentials.prove:
        raise ConfigError(f"{path}: key_file: missing; add it, or [credentials], or secret_files")
    if config.home_address == config.home_agent_address:
        raise ConfigError(
            f"{path}: home_address: {config.home_address} is the home agent address; "
            "choose another one"
        )
    if config.wished_home_agent:
        _check_index(path, "wished_home_agent", config.wished_home_agent)
    if not 1 <= config.wish_weight <= 4:
        raise ConfigError(f"{path}: wish_weight: {config.wish_weight} is no weight; use 1 to 4")
    return config


def dump(config: HomeAgentConfig | MobileNodeConfig) -> str:
    """Return `config` as TOML that `load_home_agent` or `load_mobile_node` reads back equal."""
    return "\n".join(_dump_table(config, ())) + "\n"


def _check_home(path: Path, prefix: IPv6Network, address: IPv6Address) -> None:
    if address not in prefix:
        raise ConfigError(
            f"{path}: home_agent_address: {address} is not in the home prefix {prefix}; "
            "the home agents' shared address is part of the home network"
        )


def _check_groups(path: Path, groups: tuple[IkeGroup, ...]) -> None:
    if not groups:
        raise ConfigError(f"{path}: ike_groups: none is left to agree on keys with; name one")


def _check_limits(path: Path, config: HomeAgentConfig) -> None:
    if config.sequence_limit > MAX_SEQUENCE:
        raise ConfigError(
            f"{path}: sequence_limit: {config.sequence_limit} does not fit 32 bits; use "
            f"{MAX_SEQUENCE} or less"
        )
    if config.sequence_soft_limit >= config.sequence_limit:
        raise ConfigError(
            f"{path}: sequence_soft_limit: {config.sequence_soft_limit} leaves no numbers below "
            f"sequence_limit {config.sequence_limit} for a renewal; lower it"
        )


def _check_credentials(path: Path, files: CredentialFiles) -> None:
    """The files that go together: a key with its chain, and nothing without anchors."""
    others = {"chain": files.chain, "key": files.key, "revocations": files.revocations}
    given = [name for name, file in others.items() if file != Path()]
    if given and not files.given:
        raise ConfigError(f"{path}: credentials.anchors: missing; say whom to believe")
    if "key" in given and "chain" not in given:
        raise ConfigError(f"{path}: credentials.chain: missing; name the certificate of the key")


def _check_index(path: Path, key: str, index: int) -> None:
    if not 1 <= index <= MAX_HA_INDEX:
        raise ConfigError(f"{path}: {key}: {index} is not an HA index; use 1 to {MAX_HA_INDEX}")


def _load(path: Path, kind: type[Config]) -> Config:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); name a file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not TOML ({error}); correct that line") from error
    value = _from_table(path, "", document, kind)
    assert isinstance(value, kind)
    return value


def _from_table(path: Path, prefix: str, table: Any, kind: type) -> object:
    """Build dataclass `kind` from a TOML table; every key known, none missing."""
    if not isinstance(table, Mapping):
        raise ConfigError(f"{path}: {prefix.rstrip('.')}: expected a table [{prefix.rstrip('.')}]")
    known: dict[str, Field[Any]] = {each.name: each for each in fields(kind)}
    for key in table:
        if key not in known:
            raise ConfigError(
                f"{path}: {prefix}{key}: unknown key; known here: {', '.join(sorted(known))}"
            )
    hints = typing.get_type_hints(kind)
    values: dict[str, object] = {}
    for name, each in known.items():
        if name in table:
            values[name] = _convert(path, f"{prefix}{name}", table[name], hints[name])
        elif each.default is MISSING and each.default_factory is MISSING:
            raise ConfigError(f"{path}: {prefix}{name}: missing; add it")
    return kind(**values)


def _convert(path: Path, key: str, value: Any, kind: Any) -> object:
    """Turn one TOML value into the field's type."""
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise ConfigError(f"{path}: {key}: expected a list, not {value!r}")
        item = typing.get_args(kind)[0]
        return tuple(_convert(path, f"{key}[{i}]", each, item) for i, each in enumerate(value))
    if is_dataclass(kind) and isinstance(kind, type):
        return _from_table(path, f"{key}.", value, kind)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind in (int, float, bool):
        if type(value) is not kind:
            raise ConfigError(f"{path}: {key}: expected {kind.__name__}, not {value!r}")
        if kind is not bool and value < 0:
            raise ConfigError(f"{path}: {key}: {value} is negative; use zero or more")
        return typing.cast(object, value)
    if not isinstance(value, str):
        raise ConfigError(f"{path}: {key}: expected a string, not {value!r}")
    try:
        return typing.cast(object, kind(value))
    except ValueError as error:
        raise ConfigError(f"{path}: {key}: {error}; correct it") from error


def _dump_table(value: Any, path: tuple[str, ...]) -> list[str]:
    """Render scalars first, then sub-tables and arrays of tables, as TOML wants it."""
    lines: list[str] = []
    later: list[str] = []
    for each in fields(value):
        content = getattr(value, each.name)
        here = (*path, each.name)
        if is_dataclass(content):
            later += ["", f"[{'.'.join(here)}]", *_dump_table(content, here)]
        elif isinstance(content, tuple) and content and is_dataclass(content[0]):
            for item in content:
                later += ["", f"[[{'.'.join(here)}]]", *_dump_table(item, here)]
        else:
            lines.append(f"{each.name} = {_dump_value(content)}")
    return lines + later


def _dump_value(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case tuple():
            return "[" + ", ".join(_dump_value(each) for each in value) + "]"
        case _:
            escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
            return f'"{escaped}"'
