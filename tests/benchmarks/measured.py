"""Clocks of benchmarks: wall and processor time, peak memory of a stretch of work, the page cache."""

import os
import re
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np


def say(line: str) -> None:
    """Print at once: long benchmarks are watched."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class Peak:
    """Wall and processor seconds of a block, and its largest memory, looked at every 50 ms.

    Memory is that of the process's own (anonymous) and, apart, mapped pages of files, which the system takes
    back whenever it needs them.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.wall_s = self.cpu_s = 0.0
        self.own_gib = self.mapped_gib = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            status = Path("/proc/self/status").read_text(encoding="ascii")
            own, mapped = (
                int(match[1]) / 2**20 if (match := re.search(rf"{key}:\s+(\d+) kB", status)) else 0.0
                for key in ("RssAnon", "RssFile")
            )
            self.own_gib, self.mapped_gib = max(self.own_gib, own), max(self.mapped_gib, mapped)

    def __enter__(self) -> Self:
        self._started = time.perf_counter(), time.process_time()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wall_s = time.perf_counter() - self._started[0]
        self.cpu_s = time.process_time() - self._started[1]
        self._stop.set()
        self._thread.join()

    def __str__(self) -> str:
        return (
            f"{self.name:8s} {self.wall_s:7.1f} s, CPU {self.cpu_s:7.1f} s, peak {self.own_gib:.2f} GiB"
            f" + {self.mapped_gib:.2f} GiB of files mapped"
        )


def evict(*files: Path) -> None:
    """Drop files from the page cache, as far as nobody has them mapped."""
    for path in files:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)


def quantiles(ask: Callable[[], object], n: int) -> tuple[float, float]:
    """Median and 95th percentile of ``n`` repeats, ms."""
    taken = []
    for _ in range(n):
        started = time.perf_counter()
        ask()
        taken.append(time.perf_counter() - started)
    low, high = np.quantile(taken, [0.5, 0.95]) * 1e3
    return float(low), float(high)
