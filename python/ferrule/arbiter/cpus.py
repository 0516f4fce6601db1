"""How many CPUs this process may really use: affinity and cgroup quota, not what the machine has.

Reads files under a root that tests can set; decides nothing else.
"""

from __future__ import annotations

import os


def usable_cpus(root: str = "/", affinity: int | None = None) -> int:
    """CPUs by affinity, limited by the cgroup's CPU quota rounded up; at least 1."""
    count = _affinity() if affinity is None else affinity
    quota = cgroup_quota(root)
    if quota is not None:
        # A quota of 1.5 keeps two processes busy three quarters of the time; one would leave half a CPU unused.
        count = min(count, -int(-quota // 1))
    return max(1, count)


def cgroup_quota(root: str = "/") -> float | None:
    """CPUs that the tightest cgroup of this process may use (v2, then v1); None without a limit."""
    quotas = [*_v2_quotas(root), *_v1_quotas(root)]
    return min(quotas, default=None)


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _own_groups(root: str) -> dict[str, str]:
    """Controller -> path of this process's group; v2 has the empty name."""
    groups: dict[str, str] = {}
    for line in _read(os.path.join(root, "proc/self/cgroup")).splitlines():
        parts = line.split(":", 2)
        if len(parts) == 3:
            groups |= dict.fromkeys(parts[1].split(","), parts[2])
    return groups


def _upwards(base: str, group: str) -> list[str]:
    """Directories of a group and of all groups above it; a limit on any of them counts."""
    parts = [part for part in group.split("/") if part not in ("", "..")]
    return [os.path.join(base, *parts[:depth]) for depth in range(len(parts), -1, -1)]


def _v2_quotas(root: str) -> list[float]:
    quotas = []
    for directory in _upwards(os.path.join(root, "sys/fs/cgroup"), _own_groups(root).get("", "")):
        fields = _read(os.path.join(directory, "cpu.max")).split()
        if len(fields) == 2 and fields[0].isdigit() and fields[1].isdigit() and int(fields[1]):
            quotas.append(int(fields[0]) / int(fields[1]))
    return quotas


def _v1_quotas(root: str) -> list[float]:
    quotas = []
    for directory in _upwards(os.path.join(root, "sys/fs/cgroup/cpu"), _own_groups(root).get("cpu", "")):
        quota = _read(os.path.join(directory, "cpu.cfs_quota_us"))
        period = _read(os.path.join(directory, "cpu.cfs_period_us"))
        if quota.isdigit() and period.isdigit() and int(period):  # -1, no limit, is not all digits
            quotas.append(int(quota) / int(period))
    return quotas


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""
