"""Opening a reader's checkpoint in part and whole: peak memory and processor time."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.models.tiny import make_tokenizer

pytestmark = pytest.mark.benchmark
N_BLOCKS = 24
OPEN = """
import json, sys, time
from pathlib import Path
from engine.models import loading
from engine.models.outline import NeedsWholeModel
from engine.reading.stream import cut_stream

def refuse(_):
    raise NeedsWholeModel("asked for")

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))

folder, layer, dtype, how = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
if how == "whole":
    loading.outline_of = refuse
before, started = peak(), time.process_time()
loaded = loading.load_to_read(folder, layer, device="cpu", dtype=dtype)
weights = sum(p.numel() * p.element_size() for p in loaded.model.parameters()) / 2**20
cut_stream(loaded, layer, 512)
print(json.dumps([round(weights), round(peak() - before), round(time.process_time() - started, 1)]))
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """304 million weights in bfloat16, 642 MB in files of at most 100 MB."""
    folder = tmp_path_factory.mktemp("checkpoint")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32_000, hidden_size=1024, intermediate_size=2816, num_hidden_layers=N_BLOCKS,
        num_attention_heads=16, num_key_value_heads=4,
    )  # fmt: skip
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder, max_shard_size="100MB")
    make_tokenizer("chatml").save_pretrained(folder)
    return folder


def test_what_a_reading_loads(checkpoint: Path) -> None:
    lines = [f"{'layer':>6}{'dtype':>10}{'':>7}{'weights MB':>12}{'peak MB above':>15}{'CPU s':>8}"]
    for layer, dtype in ((5, "float32"), (11, "float32"), (11, "bfloat16")):
        found = {}
        for how in ("part", "whole"):
            words = [sys.executable, "-c", OPEN, str(checkpoint), str(layer), dtype, how]
            done = subprocess.run(words, capture_output=True, text=True, check=True)
            found[how] = json.loads(done.stdout)
            weights, peak, seconds = found[how]
            lines.append(f"{layer:>6}{dtype:>10}{how:>7}{weights:>12}{peak:>15}{seconds:>8}")
        assert found["part"][1] < found["whole"][1]
    sys.stdout.write("\n" + "\n".join(lines) + "\n")
