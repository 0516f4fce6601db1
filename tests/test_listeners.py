"""Listening sockets: real ones, of every kind, with their socket files."""

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from ferrule.arbiter.listeners import Listener, open_listener, open_listeners
from ferrule.config import parse_bind
from ferrule.errors import BindError
from tests.support.ports import unused_port


@pytest.fixture
def closer() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def listen(closer: ExitStack, text: str) -> Listener:
    listener = open_listener(parse_bind(text), 16)
    closer.callback(listener.close)
    return listener


def test_port_zero_picks_a_port_and_says_which(closer: ExitStack) -> None:
    listener = listen(closer, "127.0.0.1:0")
    port = listener.socket.getsockname()[1]
    assert port > 0
    assert listener.url() == f"http://127.0.0.1:{port}"
    socket.create_connection(("127.0.0.1", port)).close()
    assert listener.socket.getblocking() is False


def test_a_name_is_resolved_and_ipv4_preferred(closer: ExitStack) -> None:
    assert listen(closer, "localhost:0").socket.family == socket.AF_INET


def test_an_ipv6_listener_takes_ipv4_too_unless_the_port_is_bound_for_it(closer: ExitStack) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    alone = listen(closer, "[::]:0")
    port = alone.socket.getsockname()[1]
    assert alone.url() == f"http://[::]:{port}"
    socket.create_connection(("127.0.0.1", port)).close()
    free = unused_port()
    pair = open_listeners([parse_bind(f"[::]:{free}"), parse_bind(f"0.0.0.0:{free}")], 16)
    for listener in pair:
        closer.callback(listener.close)
    assert pair[0].socket.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1


def test_a_port_in_use_is_one_clear_line(closer: ExitStack) -> None:
    port = listen(closer, "127.0.0.1:0").socket.getsockname()[1]
    with pytest.raises(BindError, match=rf"^cannot listen on 127.0.0.1:{port}: the address is in use$"):
        open_listener(parse_bind(f"127.0.0.1:{port}"), 16)


def test_an_address_of_another_machine_and_an_unknown_name_are_one_clear_line() -> None:
    with pytest.raises(BindError, match=r"^cannot listen on 203.0.113.7:80: no interface of this machine"):
        open_listener(parse_bind("203.0.113.7:80"), 16)
    with pytest.raises(BindError, match=r"^cannot listen on no.such.host.invalid:80: "):
        open_listener(parse_bind("no.such.host.invalid:80"), 16)


def test_one_failing_address_closes_the_others_and_their_files(tmp_path: Path, closer: ExitStack) -> None:
    taken = listen(closer, "127.0.0.1:0").socket.getsockname()[1]
    path = tmp_path / "s"
    with pytest.raises(BindError):
        open_listeners([parse_bind(f"unix:{path}"), parse_bind(f"127.0.0.1:{taken}")], 16)
    assert not path.exists()


def test_a_unix_socket_gets_the_mode_that_was_asked_for(tmp_path: Path, closer: ExitStack) -> None:
    path = tmp_path / "s"
    before = os.umask(0o077)
    try:
        listener = listen(closer, f"unix:{path}?mode=660")
        assert os.umask(0o077) == 0o077  # put back
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert listener.url() == f"unix:{path}"


def test_a_unix_socket_without_a_mode_follows_the_umask(tmp_path: Path, closer: ExitStack) -> None:
    path = tmp_path / "s"
    before = os.umask(0o027)
    try:
        listen(closer, f"unix:{path}")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o750


def test_a_stale_socket_file_is_replaced(tmp_path: Path, closer: ExitStack) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(path))
    listen(closer, f"unix:{path}")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_live_socket_is_never_stolen(tmp_path: Path, closer: ExitStack) -> None:
    path = tmp_path / "s"
    first = listen(closer, f"unix:{path}")
    with pytest.raises(BindError, match="another process listens on it"):
        open_listener(parse_bind(f"unix:{path}"), 16)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    first.remove_file()
    assert not path.exists()


def test_a_live_socket_with_a_full_queue_is_still_live(tmp_path: Path, closer: ExitStack) -> None:
    path = tmp_path / "s"
    busy = closer.enter_context(closing(socket.socket(socket.AF_UNIX)))
    busy.bind(str(path))
    busy.listen(0)
    for _ in range(4):
        client = closer.enter_context(closing(socket.socket(socket.AF_UNIX)))
        client.setblocking(False)
        client.connect_ex(str(path))
    with pytest.raises(BindError, match="another process listens on it"):
        open_listener(parse_bind(f"unix:{path}"), 16)


def test_a_file_that_is_no_socket_is_never_removed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("precious")
    with pytest.raises(BindError, match="the file exists and is not a socket"):
        open_listener(parse_bind(f"unix:{path}"), 16)
    assert path.read_text() == "precious"


def test_removal_leaves_a_successors_socket_file_alone(tmp_path: Path, closer: ExitStack) -> None:
    path = tmp_path / "s"
    first = listen(closer, f"unix:{path}")
    path.unlink()
    second = listen(closer, f"unix:{path}")
    first.remove_file()
    assert path.exists()
    second.remove_file()
    assert not path.exists()


def test_an_inherited_descriptor_is_served_and_its_file_left_to_its_owner(tmp_path: Path, closer: ExitStack) -> None:
    path = tmp_path / "s"
    outside = socket.socket(socket.AF_UNIX)
    outside.bind(str(path))
    outside.listen(4)
    listener = listen(closer, f"fd://{outside.detach()}")
    assert listener.url() == f"unix:{path}"
    listener.remove_file()
    assert path.exists()


def test_descriptors_that_are_no_listening_sockets_are_refused(closer: ExitStack) -> None:
    with pytest.raises(BindError, match="cannot listen on fd://9999: descriptor 9999: no such open descriptor"):
        open_listener(parse_bind("fd://9999"), 16)
    idle = closer.enter_context(closing(socket.socket()))
    with pytest.raises(BindError, match="is not a listening stream socket"):
        open_listener(parse_bind(f"fd://{idle.fileno()}"), 16)
    assert idle.fileno() >= 0
    assert idle.getsockname()  # still open: it was not ours to close
