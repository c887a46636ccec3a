"""Keys and certificates for tests. P-256 throughout: making one costs less than a millisecond."""

import datetime
import hashlib
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

CA_LIFETIME = datetime.timedelta(days=3650)
UTC = datetime.timezone.utc
SECOND = datetime.timedelta(seconds=1)
HOUR = datetime.timedelta(hours=1)
DAY = datetime.timedelta(days=1)


def now():
    return datetime.datetime.utcnow().replace(microsecond=0)


def new_key():
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def pem(cert):
    return cert.public_bytes(serialization.Encoding.PEM).decode()


def der(cert):
    return cert.public_bytes(serialization.Encoding.DER)


def sha256(cert):
    return cert.fingerprint(hashes.SHA256()).hex()


def general_name(name):
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def common_name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Authority:
    """A CA certificate with its key; `parent` None makes a root."""

    def __init__(self, name, parent=None, key=None):
        self.name = name
        self.key = key or new_key()
        signer = parent.key if parent else self.key
        begin = now() - DAY
        self.cert = (
            x509.CertificateBuilder()
            .subject_name(common_name(name))
            .issuer_name(parent.cert.subject if parent else common_name(name))
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + CA_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False
            )
            .sign(signer, hashes.SHA256())
        )

    @property
    def pem(self):
        return pem(self.cert)

    def leaf(self, public_key, names, not_before=None, lifetime=90 * DAY, signer=None, issuer_url=None,
             crl_url=None):
        """A server certificate; `signer`: another key than the issuer's, for a broken signature."""
        begin = not_before or now() - HOUR
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.cert.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + lifetime)
            .add_extension(
                x509.SubjectAlternativeName([general_name(n) for n in names]), critical=True
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                critical=False,
            )
        )
        if issuer_url:
            access = x509.AccessDescription(
                AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier(issuer_url)
            )
            builder = builder.add_extension(x509.AuthorityInformationAccess([access]), critical=False)
        if crl_url:
            point = x509.DistributionPoint([x509.UniformResourceIdentifier(crl_url)], None, None, None)
            builder = builder.add_extension(x509.CRLDistributionPoints([point]), critical=False)
        return builder.sign(signer or self.key, hashes.SHA256())


def write_server_pair(authority, folder, names, stem="server", **leaf):
    """Writes stem.pem and stem.key for a TLS server; gives both paths and the certificate."""
    key = new_key()
    cert = authority.leaf(key.public_key(), names, **leaf)
    cert_file = Path(folder) / f"{stem}.pem"
    key_file = Path(folder) / f"{stem}.key"
    cert_file.write_text(pem(cert) + authority.pem)
    key_file.write_text(key_pem(key))
    key_file.chmod(0o600)
    return cert_file, key_file, cert


def certificates(text):
    """All certificates of a PEM text."""
    end = "-----END CERTIFICATE-----"
    return [
        x509.load_pem_x509_certificate((part[part.index("-----BEGIN") :] + end + "\n").encode())
        for part in text.split(end)[:-1]
    ]


def names_of(cert):
    san = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in san}


def key_matches(key_text, cert):
    key = serialization.load_pem_private_key(key_text.encode(), None)
    return key.public_key().public_numbers() == cert.public_key().public_numbers()


def names_of_csr(csr):
    san = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in san}


def sha256_of(data):
    return hashlib.sha256(data).hexdigest()


def parse_time(text):
    """Seconds since the epoch of a time in our JSON."""
    when = datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")
    return when.replace(tzinfo=datetime.timezone.utc).timestamp()
