"""Clients that people have at hand, held to what `make conformance` asks of every client."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.checks import Check
from tests.conformance.clients import CURL, HTTPX
from tests.conformance.targets import CARRIERS, INTERFACES, Carrier, Interface, Target, served
from tests.conformance.tools import MissingError
from tests.support.tls import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(
    scope="module",
    params=[(carrier, interface) for carrier in CARRIERS for interface in INTERFACES],
    ids="-".join,
)
def target(request: pytest.FixtureRequest, authority: Authority) -> Iterator[Target]:
    carrier: Carrier
    interface: Interface
    carrier, interface = request.param
    with served(carrier, interface, authority) as target:
        yield target


@pytest.mark.parametrize("check", [CURL, HTTPX], ids=lambda check: check.name)
def test_fields_statuses_large_bodies_and_trailers_reach_the_client(
    target: Target, check: Check, tmp_path: Path
) -> None:
    try:
        check.run(target, tmp_path / "log.txt")
    except MissingError as error:
        pytest.skip(str(error))
