"""What the servers serve besides answers from memory: files of known sizes, and a certificate."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.scenarios import FILES

# ECDSA P-256, what public authorities issue by default today; the key as PKCS #8, which every server reads.
_ISSUE = """
import sys, trustme
from pathlib import Path
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
leaf = authority.issue_cert("localhost", "127.0.0.1", key_type=trustme.KeyType.ECDSA)
certificate, key, trusted = sys.argv[1:]
private = load_pem_private_key(leaf.private_key_pem.bytes(), None)
Path(key).write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
for number, blob in enumerate(leaf.cert_chain_pems):
    blob.write_to_path(certificate, append=number > 0)
authority.cert_pem.write_to_path(trusted)
"""


@dataclass(frozen=True, slots=True)
class Content:
    """A folder of the run's own, readable by every server whatever user it changes to."""

    folder: Path

    @property
    def certificate(self) -> Path:
        return self.folder / "certificate.pem"

    @property
    def key(self) -> Path:
        return self.folder / "key.pem"

    @property
    def authority(self) -> Path:
        return self.folder / "authority.pem"


def make(folder: Path, python: Path) -> Content:
    """Fill an empty folder; `python` has trustme. Raises `subprocess.CalledProcessError`."""
    content = Content(folder)
    for name, data in FILES.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    command = [str(python), "-c", _ISSUE, *map(str, (content.certificate, content.key, content.authority))]
    subprocess.run(command, check=True, capture_output=True)
    return content
