"""Seconds and bytes of memory that a command takes, on Linux."""
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time


class Failed(Exception):
    """A tool that gave no package, in its own words."""


def memory(pid, peak):
    """Raises `peak` to what the process holds: its high-water mark, and what of it is anonymous."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            lines = dict(line.split(":", 1) for line in file)
        for name in peak:
            peak[name] = max(peak[name], int(lines[name].split()[0]) * 1024)
    except (OSError, KeyError):
        pass  # it is just gone


def once(command, limit, sampled):
    """Runs a command: seconds of wall and processor, peaks where sampled, and its output.

    `ru_maxrss` is no use: a child's starts at its parent's, which is more than quantize needs.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.perf_counter()
        child = subprocess.Popen(command, stdout=out, stderr=err, start_new_session=True)
        late = threading.Event()
        timer = threading.Timer(limit, lambda: (late.set(), os.killpg(child.pid, signal.SIGKILL)))
        timer.start()
        peak = {"VmHWM": 0, "RssAnon": 0}
        status = 0
        try:
            while True:
                done, status, usage = os.wait4(child.pid, os.WNOHANG if sampled else 0)
                if done:
                    break
                memory(child.pid, peak)
                time.sleep(0.0003 if time.perf_counter() - start < 1 else 0.01)
        finally:
            timer.cancel()
        wall = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if late.is_set():
            raise Failed(f"> {limit:.0f} s")
        if child.returncode != 0:
            said = err.read().decode(errors="replace").strip().splitlines() or ["no message"]
            said = re.sub(r"<function (\w+) at \w+>", r"\1", said[-1])
            raise Failed(said.removeprefix("ValueError: ").removeprefix("error: "))
        return {
            "wall_s": wall,
            "cpu_s": usage.ru_utime + usage.ru_stime,
            "peak_bytes": peak["VmHWM"],
            "anonymous_bytes": peak["RssAnon"],
            "out": out.read().decode(errors="replace"),
        }


def measure(command, output, repeat, limit):
    """The memory of a first run, which warms caches, and the least seconds of those after it."""
    best = None
    for i in range(1 + repeat):
        shutil.rmtree(output, ignore_errors=True)
        run = once(command, limit, sampled=i == 0)
        said = run.pop("out").strip()
        own = json.loads(said.splitlines()[-1]) if said else {}  # rival.py says more, quantize nothing
        run.update(own)
        if best is None:
            best = run
            if run["wall_s"] > 10:
                break  # long enough to count, too long to wait for again
        elif i == 1 or run["wall_s"] < best["wall_s"]:
            best = {**best, **{key: run[key] for key in ("wall_s", "cpu_s", *own)}}
    return best
