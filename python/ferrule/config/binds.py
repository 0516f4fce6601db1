"""The address of a listener, as written in `--bind`. Parses text; never opens a socket."""

from __future__ import annotations

import re

from ..records import Record

TCP = "tcp"
UNIX = "unix"
FD = "fd"

EXPECTS = "HOST:PORT, [V6]:PORT, unix:/PATH or fd://N"

# Options of one listener, and the values that exist in this version of the product.
_OPTIONS = {
    "tls": {"off": True, "on": True},
    "proxy": {"off": True, "on": False},
    "http": {"1": True, "2": True, "auto": True},
}


class Bind(Record):
    """One listener. `host` and `port` count for TCP, `path` and `mode` for unix, `fd` for an inherited descriptor."""

    text: str
    family: str
    host: str = ""
    port: int = 0
    path: str = ""
    fd: int = -1
    mode: int | None = None  # permissions of a unix socket; None: what the umask leaves
    options: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return self.text

    @property
    def address(self) -> str:
        """What is listened on, without the options that say how."""
        return self.text.partition("?")[0]


def parse_bind(raw: object) -> Bind:
    """Parse `HOST:PORT`, `[V6]:PORT`, `:PORT`, `unix:/PATH` or `fd://N`, each with optional `?name=value&...`.

    Raises `ValueError`; its text, when it has one, says more than what a bind looks like in general.
    """
    if not isinstance(raw, str) or not raw or re.search(r"[\x00-\x20\x7f]", raw):
        raise ValueError
    address, _, query = raw.partition("?")
    options = _parse_options(query)
    if address.startswith("unix:"):
        path = address.removeprefix("unix:")
        path = "/" + path.lstrip("/") if path.startswith("//") else path
        mode = options.pop("mode", None)
        if not path:
            raise ValueError
        # sockaddr_un has room for 108 bytes, the final NUL included.
        if len(path.encode()) > 107:
            raise ValueError("a unix socket path of at most 107 bytes")
        if mode is not None and not re.fullmatch(r"0?[0-7]{3}", mode):
            raise ValueError("an octal mode such as mode=660")
        permissions = None if mode is None else int(mode, 8)
        return Bind(raw, UNIX, path=path, mode=permissions, options=tuple(options.items()))
    if "mode" in options:
        raise ValueError("mode= on unix: binds only")
    if address.startswith("fd://"):
        number = address.removeprefix("fd://")
        if not re.fullmatch(r"[0-9]{1,6}", number):
            raise ValueError
        return Bind(raw, FD, fd=int(number), options=tuple(options.items()))
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\[\]:/@]*)):([0-9]{1,5})", address)
    if match is None or int(match[3]) > 65535:
        raise ValueError
    host = match[1] or match[2] or "0.0.0.0"
    return Bind(raw, TCP, host=host, port=int(match[3]), options=tuple(options.items()))


def format_tcp(host: str, port: int) -> str:
    """`host:port` with the brackets that an IPv6 address needs."""
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def _parse_options(query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for item in filter(None, query.split("&")):
        name, _, value = item.partition("=")
        if name == "mode":
            options[name] = value
            continue
        known = _OPTIONS.get(name)
        if known is None:
            raise ValueError(f"one of the options {', '.join(sorted(_OPTIONS))} and mode after ?, not {name!r}")
        if value not in known:
            raise ValueError(f"{name}={' or '.join(known)}")
        if not known[value]:
            raise ValueError(f"something else: {name}={value} is not available in this version")
        options[name] = value
    return options
