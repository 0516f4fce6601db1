"""How many CPUs count as usable, from the files that the kernel shows."""

import os
from pathlib import Path

import pytest

from ferrule.arbiter.cpus import cgroup_quota, usable_cpus


def write(root: Path, path: str, text: str) -> None:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)


def v2(root: Path, limits: dict[str, str], group: str = "/system.slice/app.service") -> str:
    write(root, "proc/self/cgroup", f"0::{group}\n")
    for directory, text in limits.items():
        write(root, f"sys/fs/cgroup{directory}/cpu.max", text)
    return str(root)


@pytest.mark.parametrize(
    ("text", "affinity", "expected"),
    [
        ("150000 100000\n", 8, 2),  # 1.5 CPUs
        ("50000 100000\n", 8, 1),
        ("200000 100000\n", 8, 2),
        ("400000 100000\n", 2, 2),
        ("max 100000\n", 8, 8),
        ("150000 100000\n", 1, 1),
        ("nonsense\n", 3, 3),
        ("100 0\n", 3, 3),
    ],
)
def test_a_v2_quota_limits_what_affinity_allows(tmp_path: Path, text: str, affinity: int, expected: int) -> None:
    assert usable_cpus(v2(tmp_path, {"/system.slice/app.service": text}), affinity) == expected


def test_the_tightest_limit_on_the_way_up_counts(tmp_path: Path) -> None:
    limits = {"/system.slice/app.service": "800000 100000", "/system.slice": "300000 100000"}
    assert cgroup_quota(v2(tmp_path, limits)) == 3.0


def test_inside_a_container_the_group_is_the_root(tmp_path: Path) -> None:
    assert usable_cpus(v2(tmp_path, {"": "150000 100000"}, group="/"), 8) == 2
    assert usable_cpus(v2(tmp_path, {"": "150000 100000"}, group="/../../outside"), 8) == 2


def test_a_v1_quota_counts_and_minus_one_is_none(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "4:cpu,cpuacct:/docker/abc\n")
    write(tmp_path, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "150000\n")
    write(tmp_path, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
    assert usable_cpus(str(tmp_path), 8) == 2
    write(tmp_path, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n")
    assert usable_cpus(str(tmp_path), 8) == 8


def test_without_any_cgroup_files_affinity_alone_counts(tmp_path: Path) -> None:
    assert usable_cpus(str(tmp_path), 3) == 3


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this platform has no CPU affinity")
def test_an_affinity_of_one_cpu_gives_one_worker(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cpus(str(tmp_path)) == 1
    finally:
        os.sched_setaffinity(0, before)
