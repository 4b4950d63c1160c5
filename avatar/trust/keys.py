"""The keys that sign labels and manifests: made on first use, kept with the user's own data, readable by them alone.

They prove that a label has not been changed since this installation wrote it, not who runs it: the certificates are
signed by nobody but themselves, and say "development" in their names.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import platformdirs
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from avatar.errors import StorageError
from avatar.storage import stored_in

DEVELOPMENT = "Vultus development certificate (nobody vouches for it)"
_CHAIN, _KEY, _LABEL = "c2pa_chain.pem", "c2pa_key.pem", "label_key.pem"
_YEARS = 10
_C2PA_SIGNING = ObjectIdentifier("1.3.6.1.4.1.62558.2.1")
"""Extended key usage of claim signers (C2PA 2.2, 14.5.1)."""


def keys_folder() -> Path:
    """Where the keys are kept on this system."""
    return Path(platformdirs.user_data_dir("vultus", appauthor=False)) / "keys"


def _private(path: Path, data: bytes) -> None:
    """Write for the owner's eyes only, complete or not at all; whoever comes second keeps what is there."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    os.replace(scratch, path)


def _pem(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _made(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)


def label_key(folder: Path | None = None) -> ed25519.Ed25519PrivateKey:
    """The key of live labels. Raises StorageError."""
    folder = folder or keys_folder()
    path = folder / _LABEL
    with stored_in(folder):
        _made(folder)
        if not path.is_file():
            _private(path, _pem(ed25519.Ed25519PrivateKey.generate()))
        key = serialization.load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise StorageError(f"{path} is no key for labels; delete it, and a new one is made")
    return key


def signing_chain(folder: Path | None = None) -> tuple[str, str]:
    """(certificates, private key) of C2PA manifests, PEM. Raises StorageError."""
    folder = folder or keys_folder()
    chain, key = folder / _CHAIN, folder / _KEY
    with stored_in(folder):
        _made(folder)
        if not (chain.is_file() and key.is_file()):
            certificates, private = _new_chain()
            _private(key, private)
            _private(chain, certificates)
        return chain.read_text(), key.read_text()


def _name(common: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Vultus user"), x509.NameAttribute(NameOID.COMMON_NAME, common)]
    )


def _usage(signs: bool, issues: bool) -> x509.KeyUsage:
    return x509.KeyUsage(signs, False, False, False, False, issues, issues, False, False)


def _new_chain() -> tuple[bytes, bytes]:
    """A root and a signer below it (P-256; C2PA forbids a signer that signs itself): PEM of both, PEM of the key."""
    begin = datetime.now(UTC) - timedelta(days=1)
    end = begin + timedelta(days=365 * _YEARS)
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root_name = _name("Vultus development root")

    def certificate(name: x509.Name, public: ec.EllipticCurvePublicKey, issues: bool) -> x509.CertificateBuilder:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(root_name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=issues, path_length=0 if issues else None), critical=True)
            .add_extension(_usage(signs=not issues, issues=issues), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(identifier, critical=False)
        )

    root = certificate(root_name, root_key.public_key(), issues=True).sign(root_key, hashes.SHA256())
    purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION, _C2PA_SIGNING])
    signer = certificate(_name(DEVELOPMENT), key.public_key(), issues=False).add_extension(purposes, critical=False)
    pem = serialization.Encoding.PEM
    return signer.sign(root_key, hashes.SHA256()).public_bytes(pem) + root.public_bytes(pem), _pem(key)
