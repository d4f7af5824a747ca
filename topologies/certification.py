"""The operator's certificate authority: a root, an issuing authority under it, revocation lists.

Everything is ECDSA on P-256. What is delegated stands in the IP address blocks (RFC 3779): a home
agent's are the home prefix that it may serve, a mobile node's its home address. The authority's own
keys stay in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from agents.config import CredentialFiles
from agents.private_files import write_private
from agents.wire.address_blocks import EXTENSION, serialize_address_blocks
from topologies.addressing import home_aggregate

Lifetime = tuple[timedelta, timedelta]
"""When a certificate begins and ends, from now."""

VALID: Lifetime = (timedelta(hours=-1), timedelta(days=365))
EXPIRED: Lifetime = (timedelta(days=-2), timedelta(days=-1))
NOT_YET: Lifetime = (timedelta(days=1), timedelta(days=2))

NEXT_LIST = timedelta(days=30)
"""When a list's successor is due, from its making."""

ALL = (IPv6Network("fd00::/8"),)
"""What the root has to give: the addresses of all topologies."""

HOMES = (home_aggregate(1), home_aggregate(2))
"""What the issuing authority has to give: the home networks."""


class Authority:
    """Issues credentials as files in its directory.

    Raises:
        OSError: a file cannot be written.
        KeyError: a name for which there is no certificate.
    """

    def __init__(
        self,
        directory: Path,
        name: str = "operator",
        prefixes: Iterable[IPv6Network] = HOMES,
        lifetime: Lifetime = VALID,
    ) -> None:
        """`prefixes` are those of the issuing authority, `lifetime` is that of both."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.directory = directory
        root_key, self._key = _new_key(), _new_key()
        root, self._issuer = _name(f"{name} root"), _name(f"{name} issuing")
        self.root = _sign(
            _begin(root, root, root_key.public_key(), lifetime), root_key, 1, ALL, root_key
        )
        self.issuing = _sign(
            _begin(self._issuer, root, self._key.public_key(), lifetime),
            root_key, 0, prefixes, self._key,
        )  # fmt: skip
        self.anchors = directory / "root.pem"
        self.anchors.write_bytes(self.root.public_bytes(Encoding.PEM))
        self.authorities = directory / "issuing.pem"
        self.authorities.write_bytes(self.issuing.public_bytes(Encoding.PEM))
        self.serials: dict[str, int] = {}
        """By name, the number of the newest certificate."""
        self._revoked: dict[int, datetime] = {}
        self._number = 0
        self.revocations = directory / "revocations.crl"
        """The newest list, in DER."""
        self._publish()

    def home_agent(
        self,
        name: str,
        index: int,
        address: IPv6Address,
        home_agent_address: IPv6Address,
        prefix: IPv6Network,
        *,
        lifetime: Lifetime = VALID,
    ) -> CredentialFiles:
        """Issue a home agent's certificate: it may serve `prefix`."""
        subject = _name(name, index)
        return self._issue(name, subject, (address, home_agent_address), (prefix,), lifetime)

    def mobile_node(
        self, name: str, home_address: IPv6Address, *, lifetime: Lifetime = VALID
    ) -> CredentialFiles:
        """Issue a mobile node's certificate: it may have that home address."""
        prefixes = (IPv6Network(home_address),)
        return self._issue(name, _name(name), (home_address,), prefixes, lifetime)

    def trust(self) -> CredentialFiles:
        """Return what somebody needs who has no certificate, and checks those of others."""
        return CredentialFiles(
            chain=self.authorities, anchors=self.anchors, revocations=self.revocations
        )

    def revoke(self, name: str) -> Path:
        """Revoke the newest certificate of `name`; return a new list with all that are revoked."""
        self._revoked.setdefault(self.serials[name], _now())
        return self._publish()

    def _issue(
        self,
        name: str,
        subject: x509.Name,
        addresses: Sequence[IPv6Address],
        prefixes: Sequence[IPv6Network],
        lifetime: Lifetime,
    ) -> CredentialFiles:
        key = _new_key()
        builder = _begin(subject, self._issuer, key.public_key(), lifetime).add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(each) for each in addresses]),
            critical=False,
        )
        made = _sign(builder, self._key, None, prefixes, self._key)
        self.serials[name] = made.serial_number
        chain, private = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        chain.write_bytes(made.public_bytes(Encoding.PEM) + self.issuing.public_bytes(Encoding.PEM))
        octets = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_private(private, [octets.decode()])
        return CredentialFiles(chain, private, self.anchors, self.revocations)

    def _publish(self) -> Path:
        self._number += 1
        now = _now()
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._issuer)
            .last_update(now + VALID[0])
            .next_update(now + NEXT_LIST)
            .add_extension(x509.CRLNumber(self._number), critical=False)
            .add_extension(_key_name(self._key), critical=False)
        )
        for serial, moment in self._revoked.items():
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(moment)
            builder = builder.add_revoked_certificate(entry.build())
        octets = builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.DER)
        path = self.directory / f"revocations-{self._number}.crl"
        for each in (path, self.revocations.with_suffix(".new")):
            each.write_bytes(octets)
        self.revocations.with_suffix(".new").replace(self.revocations)
        return path


def _begin(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, lifetime: Lifetime
) -> x509.CertificateBuilder:
    now = _now()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + lifetime[0])
        .not_valid_after(now + lifetime[1])
    )


def _sign(
    builder: x509.CertificateBuilder,
    issuer: ec.EllipticCurvePrivateKey,
    path_length: int | None,
    prefixes: Iterable[IPv6Network],
    own: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    """Sign a certificate: of an authority with `path_length`, else (None) of an end.

    `own` is the key of an authority, of whose name its own certificate tells.
    """
    authority = path_length is not None
    builder = builder.add_extension(x509.BasicConstraints(authority, path_length), critical=True)
    builder = builder.add_extension(_usage(authority), critical=True)
    builder = builder.add_extension(_key_name(issuer), critical=False)
    if authority:
        own_name = x509.SubjectKeyIdentifier.from_public_key(own.public_key())
        builder = builder.add_extension(own_name, critical=False)
    blocks = x509.UnrecognizedExtension(
        x509.ObjectIdentifier(EXTENSION), serialize_address_blocks(prefixes)
    )
    return builder.add_extension(blocks, critical=True).sign(issuer, hashes.SHA256())


def _usage(authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str, serial: int | None = None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common)]
    if serial is not None:
        attributes.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, str(serial)))
    return x509.Name(attributes)


def _key_name(issuer: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
