"""Credentials in files: certificates in PEM, the private key in PEM of mode 0600, lists in DER."""

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from ipaddress import IPv6Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from agents.config import ConfigError, CredentialFiles
from agents.core.ike.certificates import read_certificate
from agents.core.ike.credentials import Credentials, NotAuthorised
from agents.private_files import read_private_octets
from agents.wire.ike.identity import Identity

KEPT = "revocations"
"""The folder of lists that others have handed on, in an agent's directory."""


def time_of_day() -> datetime:
    """Return the host's time of day, for `Credentials`."""
    return datetime.now(UTC)


def read_credentials(
    files: CredentialFiles, wall_time: Callable[[], datetime] = time_of_day
) -> Credentials:
    """Return the credentials; raise `ConfigError` with file and cure."""
    anchors = _certificates(files.anchors)
    chain = () if files.chain == Path() else _certificates(files.chain)
    key = None if files.key == Path() else _private_key(files.key)
    try:
        credentials = Credentials.of(chain, key, anchors, wall_time, strict=files.strict_revocation)
    except (NotAuthorised, ValueError) as error:
        raise ConfigError(f"{files.chain}: {error}; name the files that belong together") from None
    if files.revocations != Path():
        try:
            credentials.revocations.learn(_octets(files.revocations))
        except NotAuthorised as error:
            raise ConfigError(f"{files.revocations}: {error}; fetch a newer list") from None
    return credentials


def keep_lists(credentials: Credentials, directory: Path) -> None:
    """Write the newest revocation lists below `directory`, for the next start; raises `OSError`."""
    folder = directory / KEPT
    folder.mkdir(mode=0o700, exist_ok=True)
    for each in credentials.revocations.lists():
        path = folder / f"{sha256(each.issuer).hexdigest()[:16]}.crl"
        fresh = path.with_suffix(".new")
        fresh.write_bytes(each.octets)
        fresh.replace(path)


def recall_lists(credentials: Credentials, directory: Path) -> None:
    """Learn what an earlier life has kept; what cannot be believed any more is passed over."""
    for path in sorted((directory / KEPT).glob("*.crl")):
        with contextlib.suppress(NotAuthorised, OSError):
            credentials.revocations.learn(path.read_bytes())


def check_own(credentials: Credentials, files: CredentialFiles, *addresses: IPv6Address) -> None:
    """Raise `ConfigError` unless the own certificate, if there is one, is of all `addresses`.

    Whether it is in its time others will say: a clock that is wrong is no mistake of this file.
    """
    if credentials.private_key is None:
        return
    own = read_certificate(credentials.chain[0]).identities
    missing = [str(each) for each in addresses if Identity.of(each) not in own]
    if missing:
        raise ConfigError(
            f"{files.chain}: its first certificate is not of {', '.join(missing)}; have one issued"
        )


def _certificates(path: Path) -> tuple[bytes, ...]:
    try:
        found = x509.load_pem_x509_certificates(_octets(path))
    except ValueError as error:
        raise ConfigError(f"{path}: no certificates in PEM ({error}); correct it") from None
    return tuple(each.public_bytes(Encoding.DER) for each in found)


def _private_key(path: Path) -> EllipticCurvePrivateKey:
    octets = read_private_octets(path, "private key")
    try:
        key = load_pem_private_key(octets, None)
    except (ValueError, TypeError):
        # Nothing of what the parser says: it may quote.
        raise ConfigError(f"{path}: no private key in PEM without a password; write one") from None
    if not isinstance(key, EllipticCurvePrivateKey):
        raise ConfigError(f"{path}: not an ECDSA key; use one on P-256")
    return key


def _octets(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); name a file") from None
