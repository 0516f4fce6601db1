"""What the harness says processes cost is what they cost: figures that people quote deserve tests of their own."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.accounting import (
    cpu_time,
    cpu_time_of,
    is_idle,
    process_stat,
    process_tree,
    resident_bytes,
    session_members,
    writes,
)

# Spins for a tenth of a second of CPU in a child that is reaped, and again in one that lives on.
FAMILY = """
import os, subprocess, sys, time
spin = "import time\\nwhile time.process_time() < 0.1: pass\\n"
subprocess.run([sys.executable, "-c", spin])
child = subprocess.Popen([sys.executable, "-c", spin + "print(flush=True); time.sleep(60)"], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


def test_cpu_time_covers_living_and_reaped_descendants() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", FAMILY], stdout=subprocess.PIPE, start_new_session=True, text=True
    ) as parent:
        try:
            assert parent.stdout is not None
            child = int(parent.stdout.readline())
            assert [stat.pid for stat in process_tree(parent.pid)] == [parent.pid, child]
            assert {stat.pid for stat in session_members(parent.pid)} == {parent.pid, child}
            assert cpu_time(parent.pid).total >= 0.19
        finally:
            parent.kill()
            # Orphaned now, and still found by its session.
            assert [stat.pid for stat in session_members(parent.pid) if stat.pid != parent.pid] == [child]
            os.kill(child, 9)
    deadline = time.monotonic() + 5
    while session_members(parent.pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert session_members(parent.pid) == []


def test_resident_memory_follows_what_is_allocated() -> None:
    # In a process of its own: here the allocator may still hold pages of an earlier test.
    allocate = (
        "import sys; sys.stdin.readline(); b = bytearray(b'x') * (64 << 20); print(flush=True); sys.stdin.readline()"
    )
    with subprocess.Popen([sys.executable, "-c", allocate], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None  # a pipe
        assert process.stdout is not None
        before = resident_bytes(process.pid)
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()
        assert resident_bytes(process.pid) - before > 60 << 20
        process.stdin.write(b"\n")


def test_a_process_that_is_gone_has_no_figures() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert process_stat(process.pid) is None
    assert process_tree(process.pid) == []
    assert resident_bytes(process.pid) == 0
    # Their time would be missing in a sum.
    with pytest.raises(ProcessLookupError, match="ended meanwhile"):
        cpu_time_of([os.getpid(), process.pid])


def test_cpu_time_is_finer_than_the_ticks_of_the_kernel() -> None:
    before = cpu_time_of([os.getpid()])
    spin = time.process_time() + 0.002
    while time.process_time() < spin:
        pass
    spent = cpu_time_of([os.getpid()]) - before
    assert 0.002 <= spent.total < 0.2
    assert spent.user + spent.system == pytest.approx(spent.total)


def test_a_process_is_idle_while_all_its_threads_wait() -> None:
    code = "import threading, sys\nspin = threading.Event()\ndef run():\n    spin.wait()\n    while True: pass\n"
    code += "threading.Thread(target=run, daemon=True).start()\nsys.stdin.readline(); spin.set(); sys.stdin.readline()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as process:
        assert process.stdin is not None  # a pipe
        for idle in (True, False):
            deadline = time.monotonic() + 60
            while is_idle([process.pid]) != idle:
                assert time.monotonic() < deadline
                time.sleep(0.001)
            process.stdin.write(b"\n")
            process.stdin.flush()


def test_write_calls_are_counted(tmp_path: Path) -> None:
    code = "import os, sys; f = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT); sys.stdin.readline()\n"
    code += "for _ in range(500): os.write(f, b'line')\nprint(flush=True); sys.stdin.readline()"
    command = [sys.executable, "-c", code, str(tmp_path / "log")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None  # a pipe
        assert process.stdout is not None
        before = writes([process.pid])
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()
        written = writes([process.pid]) - before
        assert 500 <= written.calls <= 510
        assert 2000 <= written.octets <= 2100
        process.stdin.write(b"\n")
