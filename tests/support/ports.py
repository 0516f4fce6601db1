"""Ports for servers that have to be told one, instead of asking the kernel for it."""

import random
import socket
from pathlib import Path


def unused_port() -> int:
    """A TCP port that nobody listens on, outside the range from which the kernel serves `bind` to port 0 and clients:
    between now and its use, only another caller of this could take it."""
    first_dynamic = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10_000, max(first_dynamic, 20_000))
        with socket.socket() as probe:
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                continue
        return port
