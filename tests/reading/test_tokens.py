"""Token strips and token texts."""

import numpy as np
import pytest

from engine.errors import ModelError
from engine.progress import NullProgress
from engine.reading.reader import Reader, open_reader
from engine.reading.run import read_responses
from engine.reading.spec import ReaderSpec
from engine.reading.tokens import own_texts, prompt_tokens, response_tokens, token_strip
from engine.records import Message
from tests.models.tiny import save_checkpoint
from tests.reading.readers import N_LATENTS, SETTINGS, save_sae

PROMPT = [Message("user", "Tell me about the garden table")]
ANSWER = [Message("assistant", "The river is bright — naïve 🌍 tea.")]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    root = tmp_path_factory.mktemp("reader")
    save_checkpoint(root / "model", "llama", "tulu")
    save_sae(root / "sae", "jumprelu")
    return open_reader(ReaderSpec(str(root / "model"), 1, str(root / "sae")), SETTINGS)


def test_the_strip_holds_what_the_reading_pools(reader: Reader) -> None:
    reading = read_responses(reader, [(PROMPT, ANSWER)], NullProgress())[0]
    strip = token_strip(reader, PROMPT, ANSWER, range(N_LATENTS))
    assert strip.activations.shape == (N_LATENTS, len(strip.tokens)) == (N_LATENTS, reading.n_tokens)
    fires = strip.activations.max(axis=1) > 0
    np.testing.assert_array_equal(np.flatnonzero(fires), reading.pooled.latent)
    np.testing.assert_allclose(strip.activations.max(axis=1)[fires], reading.pooled.act_max, rtol=1e-4)
    np.testing.assert_array_equal(strip.activations.argmax(axis=1)[fires], reading.pooled.peak)


def test_token_texts_spell_the_message_once(reader: Reader) -> None:
    tokens = response_tokens(reader.layout, PROMPT, ANSWER)
    assert "".join(tokens).strip() == ANSWER[0].content
    assert len(tokens) > len(ANSWER[0].content.split())
    assert "".join(prompt_tokens(reader.layout, PROMPT, ANSWER)).strip() == PROMPT[0].content
    encoded = reader.layout.encode(PROMPT, ANSWER)
    assert own_texts(encoded, encoded.response_own) == tokens


def test_a_prompt_alone_and_an_empty_response_have_strips(reader: Reader) -> None:
    alone = token_strip(reader, PROMPT, None, [3, 1])
    assert alone.latents == (3, 1)
    assert "".join(alone.tokens).strip() == PROMPT[0].content
    both = token_strip(reader, PROMPT, None, [1, 3])
    np.testing.assert_array_equal(alone.activations, both.activations[::-1])
    empty = token_strip(reader, PROMPT, [Message("assistant", "")], [0])
    assert (empty.tokens, empty.activations.shape) == ((), (1, 0))


def test_a_latent_that_is_not_there_is_refused(reader: Reader) -> None:
    with pytest.raises(ModelError, match="no latent 96"):
        token_strip(reader, PROMPT, ANSWER, [96])
