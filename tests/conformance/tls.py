"""What openssl can have from a TLS listener: versions, application protocols, ciphers."""

import re
from pathlib import Path

from tests.conformance.checks import Check, expect
from tests.conformance.targets import Target
from tests.support.tls import s_client

# Clients may be configured to refuse what is asked for here; this lets them ask.
_ANYTHING = ["-cipher", "ALL:@SECLEVEL=0"]


def handshake(target: Target, log: Path, *options: str, request: str = "") -> str:
    """What `openssl s_client` says about a handshake, successful or not."""
    trust = ("-CAfile", str(target.authority), "-verify_ip", "127.0.0.1")
    told = s_client(("127.0.0.1", target.port), *trust, *options, send=request)
    with log.open("a", encoding="utf-8") as file:
        file.write(f"$ openssl s_client {' '.join(options)}\n{told}\n")
    return told


def _version(told: str) -> str | None:
    """The version agreed on; None when there was no agreement."""
    agreed = re.search(r"^New, (TLSv[\d.]+), Cipher is (?!\(NONE\))", told, re.MULTILINE)
    return agreed[1] if agreed else None


def _protocol(told: str) -> str | None:
    agreed = re.search(r"^ALPN protocol: (\S+)", told, re.MULTILINE)
    return agreed[1] if agreed else None


def versions(target: Target, log: Path) -> str:
    told = handshake(target, log)
    expect("Verify return code: 0 (ok)" in told, "the certificate is not trusted")
    for version in ("1_3", "1_2"):
        told = handshake(target, log, f"-tls{version}")
        expect(_version(told) == f"TLSv{version.replace('_', '.')}", f"TLS {version.replace('_', '.')} is refused")
    for version in ("1_1", "1"):
        told = handshake(target, log, f"-tls{version}", *_ANYTHING)
        expect(_version(told) is None, f"TLS {version.replace('_', '.')} is accepted")
    return "1.2 and 1.3 accepted, 1.0 and 1.1 refused"


def alpn(target: Target, log: Path) -> str:
    for offered, agreed in (("h2", "h2"), ("http/1.1", "http/1.1"), ("h2,http/1.1", "h2"), ("http/1.1,h2", "h2")):
        got = _protocol(handshake(target, log, "-alpn", offered))
        expect(got == agreed, f"{offered} offered, {got} agreed on")
    expect("no application protocol" in handshake(target, log, "-alpn", "h3"), "an unknown protocol is agreed on")
    request = "GET /hello HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    for options in ([], ["-alpn", "http/1.1"]):
        told = handshake(target, log, "-quiet", *options, request=request)
        expect("HTTP/1.1 200 " in told and "hello" in told, "no HTTP/1.1 without h2")
    return "h2 preferred, http/1.1 agreed on or assumed, others refused"


def ciphers(target: Target, log: Path) -> str:
    for cipher in ("AES128-GCM-SHA256", "ECDHE-RSA-AES128-SHA", "ECDHE-RSA-AES128-SHA256", "DHE-RSA-AES128-GCM-SHA256"):
        told = handshake(target, log, "-tls1_2", "-cipher", f"{cipher}:@SECLEVEL=0")
        expect(_version(told) is None, f"{cipher} is accepted")
    told = handshake(target, log, "-tls1_2", "-alpn", "h2")
    agreed = re.search(r"Cipher is (\S+)", told)
    expect(agreed is not None and re.match(r"ECDHE-.*(GCM|CHACHA20)", agreed[1]) is not None, "no ECDHE with AEAD")
    # Without compression of the secret (CRIME), and without the weak way to renegotiate.
    expect("Compression: NONE" in told, "TLS compression")
    expect("Secure Renegotiation IS supported" in told, "no RFC 5746")
    return "of TLS 1.2 only ECDHE with AEAD, no compression"


CHECKS = [
    Check(f"TLS {name}", check, ("openssl",), carriers=("tls",))
    for name, check in (("versions", versions), ("ALPN", alpn), ("ciphers", ciphers))
]
