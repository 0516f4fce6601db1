"""HTTP/2 as a weapon: every known flood ends with its connection, is told in one line, and is felt by nobody else.

CVE-2016-6581, CVE-2019-9511 to 9518, CVE-2023-44487, CVE-2024-27316, CVE-2025-8671, CVE-2025-57804, CVE-2026-49975,
RUSTSEC-2023-0085, RUSTSEC-2024-0003, RUSTSEC-2024-0332, RUSTSEC-2026-0258.
"""

import contextlib
import itertools
import re
import statistics
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import pytest
from hyperframe.frame import SettingsFrame

from tests.support import h2_attacks as attacks
from tests.support.h2 import PREFACE, H2Connection
from tests.support.server import ServerProcess, wait_until
from tests.support.tries import best_of

INTERFACES = {"asgi": "tests.apps.wire_asgi:app", "wsgi": "tests.apps.wire_wsgi:app"}
CODES = ["NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED"]
CODES += ["FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM"]

MIB = 1024 * 1024
ALLOWED_GROWTH = 16 * MIB
DURATION = 0.2  # s that an attacker comes back, with a new connection every time
CONNECTIONS = 12
LATENCY_FLOOR = 0.25  # s; below, the machine's other work is all that is measured

_addresses = itertools.count(2)


def own_address() -> str:
    """An address of the loopback network that nobody else has, so that the log can be asked about its owner."""
    number = next(_addresses)
    return f"127.{number // 62500 % 200 + 1}.{number // 250 % 250}.{number % 250 + 1}"


class Victim:
    """A server, and what an honest client of it sees."""

    def __init__(self, server: ServerProcess, interface: str) -> None:
        self.server = server
        self.interface = interface
        self.idle = statistics.median(self.latencies(40))

    def latencies(self, count: int) -> list[float]:
        with H2Connection(self.server.address) as client:
            return [self.ask(client) for _ in range(count)]

    @staticmethod
    def ask(client: H2Connection) -> float:
        began = time.monotonic()
        assert client.get("/honest").body == b"hello /honest"
        return time.monotonic() - began

    def lines_about(self, address: str) -> list[str]:
        return [line for line in self.server.stderr.splitlines() if f'ip="{address}"' in line]


class Watch:
    """Asks on as an honest client, and looks at the worker's memory, while the block runs."""

    def __init__(self, victim: Victim) -> None:
        self._victim = victim
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._failure: BaseException | None = None
        self.latencies: list[float] = []
        self.before = self.peak = victim.server.worker_rss()

    def _run(self) -> None:
        try:
            with H2Connection(self._victim.server.address) as client:
                while not self._ended.is_set() or len(self.latencies) < 5:
                    self.latencies.append(self._victim.ask(client))
                    self.peak = max(self.peak, self._victim.server.worker_rss())
                    time.sleep(0.003)
        except BaseException as error:
            self._failure = error

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        if kind is not None:
            return
        if self._failure is not None:
            raise self._failure
        assert self.peak - self.before < ALLOWED_GROWTH, f"{(self.peak - self.before) / MIB:.1f} MiB more"
        latency = statistics.median(self.latencies)
        assert latency < max(3 * self._victim.idle, LATENCY_FLOOR), f"{latency:.3f} s, {self._victim.idle:.3f} s idle"


@pytest.fixture(scope="module", params=INTERFACES)
def victim(request: pytest.FixtureRequest) -> Iterator[Victim]:
    with ServerProcess("--workers", "1", "--max-requests", "0", INTERFACES[request.param]) as server:
        yield Victim(server, request.param)


def mount(victim: Victim, attack: attacks.Attack, address: str) -> str:
    """One connection of an attacker; returns the name of the code that it is sent away with, "" when it is not: an
    attacker whom a busy machine has slowed down may stay within the budget."""
    with H2Connection(victim.server.address, source=address, grow_windows=False) as client:
        client.greet()  # an acknowledgement must not come to lie between frames that belong together
        began = time.monotonic()
        with contextlib.suppress(AssertionError):
            for octets in attack():
                client.send(octets)
                if client.goaways or time.monotonic() - began > 3:
                    break
            client.wait(lambda: bool(client.goaways), "GOAWAY", timeout=5)
        return CODES[client.goaways[-1].error_code] if client.goaways else ""


@pytest.mark.parametrize("name", attacks.FLOODS)
def test_a_flood_ends_with_its_connection_and_is_felt_by_nobody_else(victim: Victim, name: str) -> None:
    attack, code, cause = attacks.FLOODS[name]
    mounted: list[str] = []
    with Watch(victim):
        began = time.monotonic()
        while not mounted or (time.monotonic() - began < DURATION and len(mounted) < CONNECTIONS):
            mounted.append("")

            def once() -> str:
                mounted[-1] = own_address()  # so that one that came to nothing has no line in the other's place
                return mount(victim, attack, mounted[-1])

            said = best_of(3, once, bool)
            assert re.fullmatch(code, said), (said, mounted[-1])
    if cause.endswith("|)"):
        return  # leaving is no offence
    for address in mounted:
        wait_until(lambda address=address: bool(victim.lines_about(address)), message="a line in the log")  # type: ignore[misc]
        (line,) = victim.lines_about(address)
        assert re.search(f'Connection refused.* ip="{address}" cause="{code}: .*{cause}', line), line


@pytest.mark.parametrize("name", attacks.BROKEN_BLOCKS)
def test_a_block_that_breaks_the_compression_ends_the_connection(victim: Victim, name: str) -> None:
    address = own_address()
    block = attacks.BROKEN_BLOCKS[name]
    assert mount(victim, lambda: iter([attacks.in_blocks(1, block)]), address) == "COMPRESSION_ERROR"
    wait_until(lambda: bool(victim.lines_about(address)), message="a line in the log")
    (line,) = victim.lines_about(address)
    assert 'cause="COMPRESSION_ERROR: ' in line


def test_malformed_requests_are_reset_and_told_in_one_line(victim: Victim) -> None:
    address = own_address()
    with H2Connection(victim.server.address, source=address) as client:
        streams = range(1, 2 * len(attacks.MALFORMED), 2)
        flags = attacks.END_HEADERS | attacks.END_STREAM
        for stream, block in zip(streams, attacks.MALFORMED.values(), strict=True):
            client.send(attacks.frame(attacks.HEADERS, flags, stream, block))
        for stream, name in zip(streams, attacks.MALFORMED, strict=True):
            assert client.response(stream).reset == 1, f"{name}: PROTOCOL_ERROR expected"
            assert client.exchanges[stream].heads == [], name
        client.send(attacks.get(101))
        assert client.response(101).status == 200
    wait_until(lambda: bool(victim.lines_about(address)), message="a line in the log")
    (line,) = victim.lines_about(address)
    assert re.search(rf'Stream reset further={len(attacks.MALFORMED) - 1} ip="{address}" cause="', line), line


@pytest.mark.parametrize("name", attacks.BOMBS)
def test_a_bomb_is_answered_in_bounded_memory(victim: Victim, name: str) -> None:
    address = own_address()
    with Watch(victim), H2Connection(victim.server.address, source=address) as client:
        began = time.monotonic()
        for stream in range(1, 200, 2):
            client.send(attacks.in_blocks(stream, attacks.BOMBS[name]))
            assert client.response(stream).status == 431
            if time.monotonic() - began > DURATION:
                break
        assert stream > 1
    wait_until(lambda: bool(victim.lines_about(address)), message="a line in the log")
    assert len(victim.lines_about(address)) <= 3, "at most one line a second"
    assert "Request refused status=431" in victim.lines_about(address)[0]


def test_responses_that_nobody_makes_room_for_take_bounded_memory(victim: Victim) -> None:
    """CVE-2019-9517: many requests for much, from a client that opens no window, or does not read its socket."""
    for window in (0, 1, 1 << 30):
        settings = {SettingsFrame.INITIAL_WINDOW_SIZE: window}
        with (
            Watch(victim),
            H2Connection(victim.server.address, settings=settings, grow_windows=False, receive_buffer=4096) as client,
        ):
            block = b"\x82\x86\x04\x15/stream?size=10000000\x01\x01t"
            flags = attacks.END_HEADERS | attacks.END_STREAM
            # A thread is held as long as the floors allow; a task costs what its message costs.
            count = 3 if victim.interface == "wsgi" else 60
            client.sock.sendall(
                b"".join(attacks.frame(attacks.HEADERS, flags, stream, block) for stream in range(1, 2 * count, 2))
            )
            time.sleep(0.3)


def test_a_client_that_reads_nothing_is_not_read_either(victim: Victim) -> None:
    """What it makes the server write is bounded, and then what it sends stays in its socket."""
    with Watch(victim), H2Connection(victim.server.address, receive_buffer=4096, greet=False) as client:
        client.sock.sendall(PREFACE + SettingsFrame(0).serialize())
        client.sock.settimeout(0.3)
        block = attacks.GET + attacks.literal(b"x", b"y" * 1000)
        sent = 0
        with contextlib.suppress(OSError):
            for stream in range(1, 40_000, 2):
                client.sock.sendall(attacks.frame(attacks.HEADERS, 5, stream, block))
                sent += 1
        assert sent > 100


def test_cancelled_requests_count_until_their_applications_are_done(victim: Victim) -> None:
    """Cancelling frees no place for more work at once: twice the allowed streams is all that can be under way."""
    block = b"\x82\x86\x04\x0a/sleep?s=1\x01\x01t"
    cancel = (8).to_bytes(4)
    with H2Connection(victim.server.address) as client:
        wire = b""
        for stream in range(1, 2 * 256, 2):
            wire += attacks.frame(attacks.HEADERS, attacks.END_HEADERS | attacks.END_STREAM, stream, block)
            wire += attacks.frame(attacks.RST_STREAM, 0, stream, cancel)
        client.send(wire + attacks.get(513))
        assert client.response(513).reset == 7, "REFUSED_STREAM"
        # Once they are done there is room again.
        streams = itertools.count(515, 2)

        def is_served() -> bool:
            stream = next(streams)
            client.send(attacks.get(stream))
            answer = client.response(stream)
            time.sleep(0.1)
            return answer.reset is None and answer.status == 200

        wait_until(is_served, message="room for a request")
