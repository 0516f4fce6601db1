"""Figures are computed, judged and told as the harness promises: read from generators, per round, with their range."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import matrix, report
from benchmarks.changes import changes, judgements, table, targets_table
from benchmarks.load import LoadFailedError, parse_h2load_log, parse_wrk, percentile
from benchmarks.peers import PEERS
from benchmarks.results import METRICS, Report, Result, Row, Sample, Spread, UnreadableReportError
from benchmarks.rounds import Collector
from benchmarks.scenarios import QUICK, SCENARIOS
from benchmarks.targets import TARGETS, verdicts
from benchmarks.throughput import QUICK_PLAN, Plan

WRK_REPORT = """\
Running 2s test @ http://127.0.0.1:8000/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.02ms    1.60ms  31.54ms   96.67%
    Req/Sec    75.51k     9.80k   96.63k    75.00%
  Latency Distribution
     50%  740.00us
     75%    0.95ms
     90%    1.39ms
     99%    1.02s
  150211 requests in 2.00s, 18.19MB read
  Socket errors: connect 1, read 2, write 3, timeout 4
  Non-2xx or 3xx responses: 5
Requests/sec:  75046.95
Transfer/sec:      9.09MB
"""


# A twentieth of the request: of the 5 µs of user time of the row under load, a quarter of one.
LINE = Row("ferrule", "ferrule", "1.0", [{"instructions": 20_000.0, "line_instructions": 1_000.0}])


def sample(cpu: float, **more: float) -> Sample:
    return {"cpu_us": cpu, "user_us": cpu / 2, "rate": 1e6 / cpu, "p99_ms": cpu / 10, "errors": 0.0, **more}


def row(peer: str, *cpu: float) -> Row:
    return Row(peer, peer, "1.0", [sample(each) for each in cpu])


def plaintext(*rows: Row, **failures: str) -> Result:
    return Result("plaintext", "asgi", "Plaintext, ASGI", "cpu_us", rows=list(rows), failures=failures)


def example() -> Report:
    results = [
        plaintext(row("ferrule", 4, 5, 6), row("granian", 20, 21, 22), row("nginx", 1, 2, 3), uvicorn="it | fell over"),
        Result("concurrency", "asgi", "Plaintext, 8 connections, ASGI", "cpu_us", 8, [row("ferrule", 7)]),
        Result("access-log", "asgi", "Access log", "cpu_us", rows=[row("ferrule", 8, 10, 12)]),
        Result("access-log-line", "asgi", "A line", "instructions", rows=[LINE]),
        Result("idle", "asgi", "Idle, ASGI", "kib", rows=[Row("ferrule", "ferrule", "1.0", [{"kib": 0.41}])]),
    ]
    found = Report({"date": "today", "rounds": 3}, results, [])
    return replace(found, verdicts=verdicts(found))


def test_figures_of_wrk_are_read_with_their_units() -> None:
    load = parse_wrk(WRK_REPORT)
    assert (load.requests, load.p50, load.p99) == (150211, 0.74, 1020.0)


def test_every_failed_request_counts_as_an_error() -> None:
    load = parse_wrk(WRK_REPORT)
    assert (load.errors, load.late) == (1 + 2 + 3 + 5, 4)


@pytest.mark.parametrize("missing", ["requests in", "99%"])
def test_a_report_without_a_figure_is_refused(missing: str) -> None:
    with pytest.raises(LoadFailedError):
        parse_wrk(WRK_REPORT.replace(missing, "?"))


def test_answers_that_h2load_logged_are_counted_and_timed() -> None:
    statuses = {3: "503", 4: "-1"}
    log = "".join(f"1700000000000000\t{statuses.get(each, '200')}\t{each}\n" for each in range(1000, 0, -1))
    load = parse_h2load_log(log)
    assert (load.requests, load.p50, load.p99, load.errors) == (1000, 0.5, 0.99, 2)


def test_a_percentile_is_a_value_that_was_measured() -> None:
    assert [percentile([1, 2, 3, 4], fraction) for fraction in (0.0, 0.5, 0.75, 0.99, 1.0)] == [1, 2, 3, 4, 4]
    assert percentile([], 0.5) == 0.0


def test_ratios_divide_figures_of_the_same_round() -> None:
    # The second round ran on a machine that was three times as slow: ratios must not see it.
    result = plaintext(row("ferrule", 1, 3, 2), row("uvicorn", 2, 6, 4))
    assert result.ratio("uvicorn") == Spread(0.5, 0.5, 0.5)
    assert result.ratio("nginx") is None


def test_the_range_of_many_values_leaves_out_the_outermost_tenths() -> None:
    assert Spread.of([3, 1, 2]) == Spread(2, 1, 3)
    assert Spread.of(range(101)) == Spread(50, 10, 90)


def test_rows_are_ranked_by_what_is_good_for_the_figure() -> None:
    slow, fast = row("slow", 9), row("fast", 3)
    assert plaintext(slow, fast).ranked() == [fast, slow]
    assert replace(plaintext(slow, fast), metric="rate").ranked() == [fast, slow]


def test_a_server_that_failed_has_a_reason_and_no_row_and_no_more_turns() -> None:
    scenarios = [scenario for scenario in SCENARIOS if (scenario.name, scenario.interface) == ("plaintext", "asgi")]
    collector = Collector(scenarios, PEERS)
    turns = []
    for number, peer in collector.turns(3):
        turns.append((number, peer.name))
        if peer.name == "uvicorn" and number == 1:
            collector.fail(scenarios[0], peer, "it\nfell over")
        else:
            collector.add(scenarios[0], peer, sample(1))
    (result,) = collector.results({peer.name: "1.0" for peer in PEERS})
    assert result.failures == {"uvicorn": "it fell over"}
    assert result.row("uvicorn") is None
    assert all(len(each.samples) == 3 for each in result.rows)
    assert [number for number, name in turns if name == "uvicorn"] == [0, 1]
    # Nobody always follows the same neighbour.
    assert len({next(name for n, name in turns if n == number) for number in range(3)}) == 3


def test_scenarios_have_one_row_for_each_name_and_interface() -> None:
    keys = [(scenario.name, scenario.interface, scenario.sweep and scenario.connections) for scenario in SCENARIOS]
    assert len(keys) == len(set(keys))


def test_scenarios_name_peers_that_have_their_interface() -> None:
    peers = {peer.name: peer for peer in PEERS}
    for scenario in SCENARIOS:
        assert all(scenario.interface in peers[name].labels for name in scenario.peers), scenario.title


def test_every_target_names_a_scenario() -> None:
    known: set[tuple[str, str]] = {(scenario.name, scenario.interface) for scenario in SCENARIOS}
    known |= {(name, "") for name in ("head-1", "head-9", "head-40", "hpack-stories")}
    assert {(target.scenario, target.interface) for target in TARGETS} <= known


def test_headlines_have_many_slices_in_a_quick_run_too() -> None:
    assert Plan().rounds >= 5
    headlines = [each for each in QUICK if each.kind == "load"]
    assert len(headlines) == 6
    for plan, fewest in ((Plan(), 50), (QUICK_PLAN, 16), (Plan(rounds=1), 50)):
        for scenario in headlines:
            # Over HTTP/2 hundreds of requests are under way at the ends of a slice: fewer and longer ones.
            many = fewest if scenario.streams else 3 * fewest
            assert plan.rounds_of(scenario) * plan.slices_of(scenario) >= many, scenario.heading


def test_a_quick_run_has_every_ratio_that_is_promised_of_its_scenarios() -> None:
    found: dict[tuple[str, str], tuple[str, ...]] = {(each.name, each.interface): each.peers for each in QUICK}
    assert len(found) == len(QUICK) == 8
    promised = [target for target in TARGETS if (target.scenario, target.interface) in found]
    for target in promised:
        peer = target.text.removeprefix("CPU time relative to ")
        assert peer == target.text or peer in found[target.scenario, target.interface], target
    assert len(promised) == 17


def test_scenarios_of_one_service_share_a_server_and_special_ones_do_not() -> None:
    found = [[scenario.name for scenario in group] for group in matrix.groups(SCENARIOS)]
    assert found[0] == ["plaintext", "headers"]
    assert ["echo-1k", "echo-10k", "echo-100k"] in found
    assert ["tls", "h2-tls"] in found
    assert ["concurrency"] * 6 in found
    assert found.count(["idle"]) == found.count(["cold-start"]) == 2


def test_targets_are_judged_by_the_median() -> None:
    judged = {verdict.text: verdict for verdict in example().verdicts}
    granian, nginx = judged["CPU time relative to granian"], judged["CPU time relative to nginx"]
    assert (granian.met, granian.limit, round(granian.measured.median, 3)) == (True, "≤ 0.45", 0.238)
    assert (nginx.met, nginx.measured.median) == (False, 2.5)
    assert judged["KiB of memory for a connection"].met
    assert judged["µs of user time for a line"].measured.median == pytest.approx(0.25)
    # No verdict without figures.
    assert "CPU time relative to uvicorn" not in judged


@pytest.mark.parametrize(
    ("floor", "text", "measured", "met"),
    [(4, "relative to a bare C echo", 1.125, True), (2, "relative to the best peer", 0.75, False)],
)
def test_an_echo_may_keep_close_to_the_floor_instead(floor: float, text: str, measured: float, met: bool) -> None:
    rows = [row("ferrule", 4.5), row("granian", 6), row("bare-c", floor)]
    echo = Result("echo-100k", "asgi", "Echo", "cpu_us", rows=rows)
    (verdict,) = verdicts(Report({}, [echo], []))
    assert (verdict.text, verdict.measured.median, verdict.met) == (f"CPU time {text}", measured, met)


def test_one_lost_request_misses_the_target() -> None:
    lost = [{"p99_ms": 1.0, "steady_p99_ms": 1.0, "replace_ms": 1.0, "lost": count} for count in (0.0, 1.0, 0.0)]
    result = Result("restart", "asgi", "Restart", "p99_ms", rows=[Row("ferrule", "ferrule", "1", lost)])
    judged = {verdict.text: verdict.met for verdict in verdicts(Report({}, [result], []))}
    assert judged == {"requests lost in the worst round": False, "p99 relative to steady state": True}


def test_a_report_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(example().to_json())
    assert Report.read(path) == example()


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"format": 0}', '{"format": 2, "results": [{"x": 1}]}'])
def test_what_is_no_report_is_refused_by_name(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UnreadableReportError, match=r"other\.json: "):
        Report.read(path)


def test_the_page_shows_figures_targets_failures_and_who_is_ahead(tmp_path: Path) -> None:
    page = report.page(example(), [tmp_path / "images" / "chart.svg"], tmp_path)
    assert "![chart](images/chart.svg)" in page
    assert "| **ferrule** | 1.0 | 5.00 (4.00-6.00) |" in page
    assert "### Targets: 3 of 4 met" in page
    assert "| Plaintext, ASGI | CPU time relative to nginx | ≤ 1.25 | 2.50 (2.00-4.00) | **missed** |" in page
    assert "**uvicorn failed:** it | fell over" in page
    assert "- Plaintext, ASGI: nginx (ferrule ÷ it: 2.50 (2.00-4.00))" in page
    assert "| 8 | 7.00 | 142,857 |" in page


def test_tables_have_as_many_cells_as_headings() -> None:
    lines = [line for line in report.page(example(), [], Path()).splitlines() if line.startswith("|")]
    widths: list[int] = []
    for line in lines:
        widths.append(line.count("|"))
        if set(line) == {"|", "-"}:
            assert widths[-2] == widths[-1]
    assert len(lines) > 8


def test_a_documentation_page_keeps_everything_but_the_figures(tmp_path: Path) -> None:
    path = tmp_path / "performance.md"
    path.write_text(f"# Title\n\n{report.BEGIN}\nold figures\n{report.END}\n\nthe end\n")
    report.insert(path, example(), [])
    once = path.read_text()
    assert once.startswith(f"# Title\n\n{report.BEGIN}\n")
    assert once.endswith(f"{report.END}\n\nthe end\n")
    assert "old figures" not in once
    assert "5.00 (4.00-6.00)" in once
    report.insert(path, example(), [])
    assert path.read_text() == once


def test_a_page_without_a_place_for_figures_is_refused_before_measuring(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("# Title\n")
    with pytest.raises(report.NoPlaceError, match=r"page\.md"):
        report.check_place(path)


def test_changes_tell_what_moved_from_what_is_within_the_rounds() -> None:
    before = Report({}, [plaintext(row("ferrule", 9, 10, 11), row("granian", 20, 21, 22))], [])
    after = Report({}, [plaintext(row("ferrule", 4, 5, 6), row("granian", 21, 22, 23), row("nginx", 1))], [])
    found = {(change.label, change.metric): change for change in changes(before, after)}
    assert {label for label, _ in found} == {"ferrule", "granian"}
    ferrule = found["ferrule", "cpu_us"]
    assert (ferrule.ratio, ferrule.moved, ferrule.better) == (0.5, True, True)
    assert found["ferrule", "rate"].better
    assert not found["granian", "cpu_us"].moved


def test_the_table_of_changes_shows_what_moved_unless_asked_for_all() -> None:
    before = Report({}, [plaintext(row("ferrule", 9, 10, 11), row("granian", 20, 21, 22))], [])
    after = Report({}, [plaintext(row("ferrule", 18, 20, 22), row("granian", 21, 22, 23))], [])
    found = changes(before, after)
    moved, everything = table(found, everything=False), table(found, everything=True)
    assert "worse" in moved
    assert "granian" not in moved
    assert "within the rounds" in everything
    assert moved.splitlines()[-1] == "3 of 6 figures moved out of the range of their rounds"
    assert table([], everything=False) == "0 of 0 figures moved out of the range of their rounds"


def two_runs() -> tuple[Report, Report]:
    """The later one 1.2 times as dear, which takes it beyond its limit beside granian, and keeps it there for nginx."""
    found = []
    for cpu in (8.0, 9.6):
        rows = [row("ferrule", cpu), row("granian", 20), row("uvicorn", 60), row("nginx", 4)]
        echo = Result(
            "echo-10k", "wsgi", "Echo", "cpu_us", rows=[row("ferrule", cpu), row("granian", 10), row("bare-c", 9)]
        )
        run = Report({"date": f"run of {cpu}", "commit": "abc"}, [plaintext(*rows), echo], [])
        found.append(replace(run, verdicts=verdicts(run)))
    return found[0], found[1]


def test_verdicts_of_two_runs_are_compared_target_by_target() -> None:
    before, after = two_runs()
    found = judgements(before, after)
    assert [(each.before is not None, each.after.met, each.differs) for each in found] == [
        (True, False, True),
        (True, True, False),
        (True, False, False),
        # The same target, kept by the other way to keep it the first time.
        (True, True, False),
    ]
    assert found[3].before is not None
    assert found[3].before.text == found[3].after.text == "CPU time relative to a bare C echo"
    assert [each.ratio for each in found] == [pytest.approx(1.2)] * 4
    shown = targets_table(found, everything=False).splitlines()
    assert [line.split(":")[0] for line in shown[1:-1]] == ["Plaintext, ASGI"]
    assert shown[1].endswith("met, missed")
    assert shown[-1].startswith("1 of 4 targets have another verdict; no figure is more than 20% apart (")
    assert len(targets_table(found, everything=True).splitlines()) == 6
    assert targets_table([], everything=True) == "0 of 0 targets have another verdict"


def test_the_distance_of_two_runs_is_the_same_both_ways() -> None:
    before, after = two_runs()
    assert [each.apart for each in judgements(before, after)] == [pytest.approx(0.2)] * 4
    assert [each.apart for each in judgements(after, before)] == [pytest.approx(0.2)] * 4


def test_a_target_that_can_be_kept_in_two_ways_is_one_target() -> None:
    def run(cpu: float) -> Report:
        rows = [row("ferrule", cpu), row("granian", 8), row("bare-c", 5)]
        found = Report({}, [Result("echo-10k", "wsgi", "Echo", "cpu_us", rows=rows)], [])
        return replace(found, verdicts=verdicts(found))

    # Close to the floor, and missed by either way: the verdict is about the peers then.
    (judgement,) = judgements(run(5.5), replace(run(5.5), verdicts=run(7).verdicts))
    assert judgement.before is not None
    assert (judgement.before.met, judgement.after.met, judgement.differs) == (True, False, True)
    assert judgement.before.text != judgement.after.text
    # Figures over different peers have no ratio.
    assert (judgement.ratio, judgement.apart) == (None, 0)


def test_targets_of_a_page_are_met_in_both_runs_or_not_at_all(tmp_path: Path) -> None:
    before, after = two_runs()
    path = tmp_path / "performance.md"
    path.write_text(f"# Title\n\n{report.BEGIN}\n{report.END}\n")
    report.insert(path, after, [], before)
    text = path.read_text()
    assert "- run before: run of 8.0, abc" in text
    assert "### Targets: 2 of 4 met in both runs" in text
    lines = [line for line in text.splitlines() if line.startswith("| Plaintext, ASGI | CPU")]
    assert [line.rsplit("|", 2)[1].strip() for line in lines] == ["**met once**", "met", "**missed**"]
    assert "| ≤ 0.45 | 0.48 (0.48-0.48) | 0.40 (0.40-0.40) |" in lines[0]
    # A run that has less than the later one has no say there.
    report.insert(path, after, [], replace(before, verdicts=[]))
    assert "### Targets: 2 of 4 met in both runs" in path.read_text()


def test_every_metric_of_a_sample_has_a_heading() -> None:
    assert set(sample(1)) <= set(METRICS)
