"""Renewed certificates: taken in while serving, without a restart and without a failed request; broken ones never."""

import copy
import http.client
import os
import shutil
import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from ferrule.tls import Identity, Material
from ferrule.worker.tls import Feed
from tests.support.load import Load
from tests.support.server import ServerProcess, wait_until
from tests.support.tls import Authority, CertificateFiles, presented

Serve = Callable[..., ServerProcess]


@pytest.fixture
def site(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def rewrite(site: Authority, live: CertificateFiles) -> int:
    """As a careless script: both files are written over, one after the other."""
    fresh = site.issue(stem="fresh")
    for old, new in zip(live, fresh, strict=True):
        old.write_bytes(new.read_bytes())
    return fresh.serial


def replace_one_by_one(site: Authority, live: CertificateFiles) -> int:
    """As a careful script: each file is replaced in one step."""
    fresh = site.issue(stem="fresh")
    serial = fresh.serial
    for old, new in zip(live, fresh, strict=True):
        new.replace(old)
    return serial


def swap_links(site: Authority, live: CertificateFiles) -> int:
    """As certbot: each name is a symbolic link to a numbered file, and is made to point to the next."""
    number = len(list(site.directory.glob("archive-*.pem")))
    fresh = site.issue(stem=f"archive-{number}")
    for old, new in zip(live, fresh, strict=True):
        link = old.with_suffix(".link")
        link.symlink_to(new.name)
        link.replace(old)
    return fresh.serial


def swap_directory(site: Authority, live: CertificateFiles) -> int:
    """As Kubernetes: names point into `..data`, a link to a directory that is exchanged for another."""
    volume = Path(f"..{os.urandom(4).hex()}")
    fresh = site.issue(stem="fresh")
    serial = fresh.serial
    (site.directory / volume).mkdir()
    for old, new in zip(live, fresh, strict=True):
        shutil.move(new, site.directory / volume / old.name)
    data, link = site.directory / "..data", site.directory / "..data_tmp"
    link.symlink_to(volume)
    link.replace(data)
    for old in live:
        if not old.is_symlink() or old.readlink().parent != Path("..data"):
            pointer = old.with_suffix(".pointer")
            pointer.symlink_to(Path("..data", old.name))
            pointer.replace(old)
    return serial


def get(connection: http.client.HTTPConnection) -> int:
    connection.request("GET", "/")
    response = connection.getresponse()
    response.read()
    return response.status


WAYS = (rewrite, replace_one_by_one, swap_links, swap_directory, swap_directory)


def test_renewals_of_every_way_under_load_lose_no_request_and_restart_no_worker(serve: Serve, site: Authority) -> None:
    live = site.issue()
    context = site.client()
    servers = [
        serve("-w", "2", "--max-requests", "0", *live.flags, f"tests.apps.process:{app}") for app in ("asgi", "wsgi")
    ]
    for server in servers:
        server.wait_for_log("Worker ready", count=2)
    before = [set(server.workers()) for server in servers]
    paths = ("/", "/slow", "/stream")
    with (
        closing(http.client.HTTPSConnection(*servers[0].address, context=context, timeout=10)) as old,
        Load(servers[0].address, paths, clients=3, tls=context) as first,
        Load(servers[1].address, paths, clients=3, tls=context) as second,
    ):
        assert get(old) == 200
        socket_before = old.sock
        for turn, renew in enumerate(WAYS, 1):
            serial = renew(site, live)
            for server in servers:
                # Handshakes go to either worker: several in a row mean both.
                def renewed(server: ServerProcess = server, serial: int = serial) -> bool:
                    return all(presented(server.address, context) == serial for _ in range(6))

                wait_until(renewed, timeout=30, message=f"certificate {turn} presented")
        assert get(old) == 200
        assert old.sock is socket_before, "connections go on over a renewal"
    for load in (first, second):
        assert load.failures == []
        assert load.total > len(WAYS)
    for server, pids in zip(servers, before, strict=True):
        assert set(server.workers()) == pids
        assert server.stderr.count("Certificates replaced") >= len(WAYS)


def test_a_broken_renewal_is_one_error_line_and_keeps_the_old_certificate(serve: Serve, site: Authority) -> None:
    live = site.issue()
    context = site.client()
    server = serve("-w", "1", *live.flags, "tests.apps.process:wsgi")
    server.wait_for_log("Worker ready")
    serial = live.serial
    site.issue(stem="other").certfile.replace(live.certfile)
    server.wait_for_log("Certificates not replaced")
    line = next(line for line in server.stderr.splitlines() if "not replaced" in line)
    assert line == (
        "[ERROR] Certificates not replaced, the old ones go on "
        f'reason="--keyfile: {live.keyfile}: the private key does not match the certificate {live.certfile}"'
    )
    assert presented(server.address, context) == serial

    # A worker that is born now has the old one as well.
    (pid,) = server.workers()
    os.kill(pid, signal.SIGKILL)
    server.wait_for_log("Worker ready", count=2)
    assert presented(server.address, context) == serial

    # HUP says the same, and replaces nothing.
    (pid,) = server.workers()
    server.send_signal(signal.SIGHUP)
    server.wait_for_log("Reload failed, the old workers go on reason=.*does not match")
    assert server.workers() == [pid]
    assert presented(server.address, context) == serial
    assert server.stderr.count("Certificates not replaced") == 1, "it is not said again and again"

    # A file that is gone for a moment, and then all is well again.
    live.keyfile.unlink()
    fresh = site.issue()
    wait_until(lambda: presented(server.address, context) == fresh.serial, timeout=30, message="the new certificate")
    assert server.workers() == [pid]


def test_hup_takes_in_new_certificates_and_settings(serve: Serve, site: Authority) -> None:
    site.issue()
    second = site.issue(stem="second")
    config = site.directory / "server.toml"
    config.write_text("certfile = 'server.pem'\nkeyfile = 'server.key'\n")
    (site.directory / "web.py").write_text("from tests.apps.process import wsgi as app\n")
    path = {"PYTHONPATH": os.getcwd()}
    server = serve("-w", "1", "-c", "server.toml", "web:app", cwd=site.directory, env=path)
    server.wait_for_log("Worker ready")
    context = site.client()
    with Load(server.address, clients=2, tls=context) as load:
        config.write_text("certfile = 'second.pem'\nkeyfile = 'second.key'\n")
        server.send_signal(signal.SIGHUP)
        server.wait_for_log("cause=reload exit=0", timeout=30)
        assert presented(server.address, context) == second.serial

        # The files of the new settings are the ones that are watched now.
        third = site.issue(stem="second")
        wait_until(lambda: presented(server.address, context) == third.serial, timeout=30, message="the third")

        # Settings that contradict each other change nothing.
        config.write_text("keyfile = 'second.key'\n")
        server.send_signal(signal.SIGHUP)
        server.wait_for_log("Reload failed, the old workers go on reason=.*keyfile needs a certificate")
        assert presented(server.address, context) == third.serial
    assert load.failures == []


def test_hup_turns_tls_on_and_off_on_a_listener_that_stays_open(serve: Serve, site: Authority) -> None:
    live = site.issue()
    config = site.directory / "server.toml"

    def bind(options: str) -> None:
        config.write_text(f"bind = '127.0.0.1:0{options}'\ncertfile = '{live.certfile}'\nkeyfile = '{live.keyfile}'\n")

    bind("?tls=off")
    # The address has to come from the file, which is what a reload reads again.
    server = serve("-w", "1", "-c", str(config), "tests.apps.process:wsgi", default_bind=False)
    address = server.address
    assert server.url.startswith("http://")
    with server.connect() as kept:
        assert kept.get().status == 200
        bind("?tls=on")
        server.send_signal(signal.SIGHUP)
        server.wait_for_log(f"Listening url=https://127.0.0.1:{server.port}")
        assert kept.get().status == 200, "a connection that is open goes on in clear text"
    server.wait_for_log("cause=reload exit=0", timeout=30)
    assert presented(address, site.client()) == live.serial
    bind("?tls=off")
    server.send_signal(signal.SIGHUP)
    server.wait_for_log("cause=reload exit=0", count=2, timeout=30)
    with server.connect() as again:
        assert again.get().status == 200


def test_workers_never_take_in_what_is_half_written() -> None:
    before, after = (Material((Identity((), b"chain", key, None),), None) for key in (b"before", b"after"))
    feed = Feed(before)
    worker = copy.copy(feed)  # the same memory, its own view of it, as after a fork
    assert worker.take() is None
    feed.publish(after)
    at = feed._memory.find(b"after")
    feed._memory[at : at + 1] = b"?"
    assert worker.take() is None
    feed._memory[at : at + 1] = b"a"
    assert worker.take() == after
    assert worker.take() is None
    with pytest.raises(ValueError, match="there is room for"):
        feed.publish(Material((Identity((), bytes(5 << 20), b"key", None),), None))
    assert worker.take() is None
