"""Activations token by token, and token texts."""

import numpy as np
import pytest

from engine.progress import NullProgress
from engine.reading.pair_file import PairTexts
from engine.reading.reader import Reader, open_reader
from engine.reading.run import read_responses
from engine.reading.spec import ReaderSpec
from engine.reading.tokens import own_texts, pair_tokens
from engine.records import Message, Span
from tests.models.tiny import save_checkpoint
from tests.reading.readers import SETTINGS, save_sae

PROMPT = (Message("user", "Tell me about the garden table"),)
ANSWER = (Message("assistant", "The river is bright — naïve 🌍 tea."),)
OTHER = (Message("assistant", ""),)


@pytest.fixture(scope="module", params=["llama", "bert"])
def reader(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    root = tmp_path_factory.mktemp("reader")
    save_checkpoint(root / "model", request.param, "tulu" if request.param == "llama" else "encoder")
    save_sae(root / "sae", "jumprelu")
    return open_reader(ReaderSpec(str(root / "model"), 1, str(root / "sae")), SETTINGS)


def test_tokens_hold_what_the_reading_pools(reader: Reader) -> None:
    reading = read_responses(reader, [(PROMPT, ANSWER)], NullProgress())[0]
    tokens = pair_tokens(reader, PairTexts(PROMPT, ANSWER, OTHER))[Span.CHOSEN]
    assert len(tokens.tokens) == reading.n_tokens
    np.testing.assert_array_equal(np.unique(tokens.latent), reading.pooled.latent)
    for i, latent in enumerate(reading.pooled.latent):
        at = tokens.latent == latent
        assert at.sum() == reading.pooled.n_fired[i]
        np.testing.assert_allclose(tokens.value[at].max(), reading.pooled.act_max[i], rtol=1e-4)
        assert tokens.token[at][tokens.value[at].argmax()] == reading.pooled.peak[i]


def test_long_spans_are_read_in_pieces(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = PairTexts(PROMPT, ANSWER, OTHER)
    whole = pair_tokens(reader, pair)
    monkeypatch.setattr("engine.reading.tokens.MAX_DENSE_BYTES", 4 * reader.n_latents * 3)
    for span, part in pair_tokens(reader, pair).items():
        np.testing.assert_array_equal(part.token, whole[span].token)
        np.testing.assert_array_equal(part.latent, whole[span].latent)


def test_token_texts_spell_the_message_once(reader: Reader) -> None:
    if not reader.is_causal:  # its tokens leave out white space and what its vocabulary lacks
        return
    spans = pair_tokens(reader, PairTexts(PROMPT, ANSWER, OTHER))
    assert "".join(spans[Span.CHOSEN].tokens).strip() == ANSWER[0].content
    assert len(spans[Span.CHOSEN].tokens) > len(ANSWER[0].content.split())
    assert "".join(spans[Span.PROMPT].tokens).strip() == PROMPT[0].content
    assert (spans[Span.REJECTED].tokens, len(spans[Span.REJECTED].value)) == ((), 0)
    encoded = reader.layout.encode(PROMPT, ANSWER)
    assert own_texts(encoded, encoded.response_own) == spans[Span.CHOSEN].tokens
