"""The harness on real servers, as a person starts it: what it measures, draws and says when it cannot."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks import matrix, report
from benchmarks.accounting import process_tree
from benchmarks.environment import Environment
from benchmarks.files import Content
from benchmarks.peers import PEERS, Peer, compiler
from benchmarks.results import METRICS, Report, Result, Row
from benchmarks.scenarios import SCENARIOS
from benchmarks.servers import Place, RunningServer
from benchmarks.throughput import Plan

REPOSITORY = Path(__file__).resolve().parents[1]
FERRULE = [peer for peer in PEERS if peer.name == "ferrule"]
THIS = Environment(Path(sys.executable).parent, "this", {"ferrule": "0"})
GENERATORS = all(shutil.which(program) for program in ("wrk", "h2load", "taskset"))


def bench(*arguments: str, program: tuple[str, ...] = ("benchmarks",), **environment: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", *program, *arguments],
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_run_measures_real_servers_and_leaves_none_behind(capsys: pytest.CaptureFixture[str]) -> None:
    # What needs no generator is measured everywhere; load as well where there is one.
    names = {"cold-start", "restart", *({"plaintext", "tls", "h2c", "sleep"} if GENERATORS else ())}
    scenarios = [each for each in SCENARIOS if each.name in names and each.interface == "asgi"]
    plan = Plan(rounds=1, slices=2, seconds=0.1, few_rounds=1)
    choice = matrix.Choice(scenarios, FERRULE, False, plan, server_core=None, load_core=None)
    before = {stat.pid for stat in process_tree(os.getpid())}
    found = matrix.measure(choice, THIS, {"date": "today"})
    assert {stat.pid for stat in process_tree(os.getpid())} == before
    assert [result.failures for result in found.results] == [{}] * len(names)
    rows = {result.scenario: result.rows[0] for result in found.results}
    figures = {
        name: {metric: max(row.values(metric)) for metric in METRICS if row.has(metric)} for name, row in rows.items()
    }
    assert set(figures) == names
    assert figures["cold-start"]["start_ms"] > 1
    assert figures["restart"]["lost"] == 0
    assert figures["restart"]["replace_ms"] > 1
    for name in names - {"cold-start", "restart"}:
        assert figures[name]["cpu_us"] > 0.5
        assert figures[name]["errors"] == 0
        # Two slices are asked for, headlines have twice as many, and of short slices as much time.
        assert len(rows[name].values("cpu_us")) == {"sleep": 3, "h2c": 4}.get(name, 14)
        assert figures[name]["rate"] > 100
        assert 0 < figures[name]["p50_ms"] <= figures[name]["p99_ms"]
    assert "requests lost in the worst round 0 (0-0)" in report.summary(found)
    assert "Cold start, ASGI, round 5/5: ferrule" in capsys.readouterr().err


@pytest.mark.skipif(compiler() is None, reason="no C compiler")
def test_the_floor_of_the_echo_is_built_and_echoes(tmp_path: Path) -> None:
    (bare_c,) = (peer for peer in PEERS if peer.name == "bare-c")
    scenarios = [each for each in SCENARIOS if bare_c.takes_part(each) and each.interface == "asgi"]
    place = Place(THIS.bin, Content(tmp_path), server_core=None, load_core=None)
    assert len(scenarios) == 3
    with RunningServer(bare_c, scenarios[0].service, place) as server:
        for scenario in scenarios:
            server.wait_ready(scenario)


def test_a_server_that_does_not_start_is_a_line_in_the_report() -> None:
    (scenario,) = (each for each in SCENARIOS if (each.name, each.interface) == ("cold-start", "asgi"))
    command = [sys.executable, "-c", "import sys; print('no such thing'); sys.exit(3)"]
    broken = Peer("uvicorn", {"asgi": "uvicorn"}, lambda launch: command, distribution="ferrule")
    choice = matrix.Choice([scenario], [*FERRULE, broken], False, Plan(rounds=1), None, None)
    found = matrix.measure(choice, THIS, {})
    (result,) = found.results
    assert [row.peer for row in result.rows] == ["ferrule"]
    assert result.failures == {"uvicorn": "ended with status 3: no such thing"}
    assert found.failed
    assert "FAILED Cold start, ASGI: uvicorn: ended with status 3" in report.summary(found)


def test_missing_programs_are_named_with_how_to_get_them(tmp_path: Path) -> None:
    status, _, said = bench("run", PATH=str(tmp_path))
    assert status == 2
    assert said.startswith("python -m benchmarks: not installed: wrk (")
    assert "apt-get install nghttp2-client" in said
    assert said.count("\n") == 1


def test_scenarios_and_peers_are_listed() -> None:
    status, listed, _ = bench("list")
    assert status == 0
    assert re.search(r"^  plaintext +asgi +Plaintext \(granian, ", listed, re.MULTILINE)
    assert all(re.search(rf"^  {peer.name} +", listed, re.MULTILINE) for peer in PEERS)


def test_two_runs_are_compared(tmp_path: Path) -> None:
    for name, cpu in (("a", 10.0), ("b", 5.0)):
        rows = [Row("ferrule", "ferrule", "1", [{"cpu_us": cpu}, {"cpu_us": cpu + 1}])]
        found = Report({}, [Result("plaintext", "asgi", "Plaintext, ASGI", "cpu_us", rows=rows)], [])
        (tmp_path / f"{name}.json").write_text(found.to_json())
    status, table, _ = bench("compare", str(tmp_path / "a.json"), str(tmp_path / "b.json"))
    assert status == 0
    assert re.search(r"^Plaintext, ASGI +ferrule +CPU µs/request .* 0\.52 +better$", table, re.MULTILINE)
    assert table.endswith("\n0 of 0 targets have another verdict\n")


def test_server_bench_is_the_same_harness() -> None:
    assert bench("bench", "list", program=("ferrule",)) == bench("list")
    status, _, said = bench("bench", "compare", "nowhere.json", "nowhere.json", program=("ferrule",))
    assert (status, said) == (2, "server bench: nowhere.json: No such file or directory\n")


def test_server_bench_outside_a_checkout_says_where_it_runs(tmp_path: Path) -> None:
    # As pip installs it: the package without the repository around it.
    shutil.copytree(REPOSITORY / "python" / "ferrule", tmp_path / "site" / "ferrule")
    done = subprocess.run(
        [sys.executable, "-m", "ferrule", "bench", "list"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "[ERROR] server bench: runs in a checkout of Ferrule's repository" in done.stderr
    assert done.stderr.count("\n") == 1


def test_charts_are_files_that_hold_every_server_and_start_at_zero(tmp_path: Path) -> None:
    results = [
        Result("plaintext", "asgi", "Plaintext, ASGI", "cpu_us", rows=[_row("ferrule", 5, 7), _row("nginx", 3, 4)]),
        Result("plaintext", "wsgi", "Plaintext, WSGI", "cpu_us", rows=[_row("granian", 20, 30)]),
        *(
            Result("concurrency", "asgi", f"Plaintext, {count}", "cpu_us", count, [_row("ferrule", 5, count)])
            for count in (1, 8, 64)
        ),
    ]
    data = tmp_path / "results.json"
    data.write_text(Report({}, results, []).to_json())
    charts = tmp_path / "charts"
    status, printed, said = bench(str(data), str(charts), "chart", "svg", program=("benchmarks.charts",))
    assert status == 0, said
    expected = {"chart-http1.svg", "chart-concurrency.svg"}
    assert {Path(line).name for line in printed.splitlines()} == {path.name for path in charts.iterdir()} == expected
    words = [element.text for element in ET.parse(charts / "chart-http1.svg").iter() if element.text]
    assert {"ferrule", "nginx", "granian", "Plaintext, ASGI", "Plaintext, WSGI"} <= set(words)
    # Both axes have a tick at zero.
    assert words.count("0") == 2


def _row(peer: str, *cpu: float) -> Row:
    return Row(peer, peer, "1", [{"cpu_us": each, "rate": 1e6 / each} for each in cpu])
