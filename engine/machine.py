"""What of this machine a process may use."""

import os


def cores() -> int:
    """Cores that this process may run on: those of its job on a shared machine, where the system says so."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
