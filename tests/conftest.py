"""Before anything imports torch: threads that sleep, no network, no telemetry; no stopwatch in properties."""

import os

from hypothesis import HealthCheck, settings

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# Workers of the tests inherit the size of a terminal that nobody has; it would hide every other size.
for name in ("COLUMNS", "LINES"):
    os.environ.pop(name, None)

# How long an example takes says how busy the machine is: speed is a matter of the benchmarks.
settings.register_profile(
    "unhurried", parent=settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("unhurried")
