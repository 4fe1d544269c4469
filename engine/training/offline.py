"""Keeps a run away from the network: no telemetry, and no hub look-ups for a checkpoint on disk.

Building a TRL trainer reports usage to huggingface.co unless it is told not to; nothing of a dataset under
audit may leave the machine because a library phones home.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_SILENCE = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "TRL_EXPERIMENTAL_SILENCE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
}
_CONSTANTS = ("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_OFFLINE")


@contextmanager
def offline() -> Iterator[None]:
    """Hub look-ups and telemetry off, library chatter off, all as before afterwards.

    The hub library reads its environment when it is imported, so its constants are set as well.
    """
    import datasets
    from huggingface_hub import constants
    from transformers.utils import logging as transformers_logging

    environment = {name: os.environ.get(name) for name in _SILENCE}
    flags = {name: getattr(constants, name) for name in _CONSTANTS}
    verbosity = transformers_logging.get_verbosity()
    had_bars = datasets.are_progress_bars_disabled()
    had_weight_bars = transformers_logging.is_progress_bar_enabled()
    os.environ.update(_SILENCE)
    for name in _CONSTANTS:
        setattr(constants, name, True)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    datasets.disable_progress_bars()
    try:
        with warnings.catch_warnings():
            # what these libraries say about their own next releases is not for the person who trains
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        for name, value in environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        for name, flag in flags.items():
            setattr(constants, name, flag)
        transformers_logging.set_verbosity(verbosity)
        if had_weight_bars:
            transformers_logging.enable_progress_bar()
        if not had_bars:
            datasets.enable_progress_bars()
