"""Tokens of a span as text, and activations token by token: for snippets, telling tokens and strips.

Positions are those of the readings: a span's own tokens, counted from 0, cut as the reader cut them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from engine.errors import ModelError
from engine.models.chat import ChatLayout, EncodedText
from engine.reading.reader import Reader
from engine.records import Message


@dataclass(frozen=True, slots=True)
class TokenStrip:
    """Activations of some latents on every own token of a span."""

    tokens: tuple[str, ...]
    """Text of each token; joined, they are the span's text up to white space between messages."""
    latents: tuple[int, ...]
    activations: NDArray[np.float32]  # (len(latents), len(tokens))
    is_truncated: bool


def response_tokens(
    layout: ChatLayout,
    prompt: Sequence[Message],
    response: Sequence[Message],
    *,
    max_tokens: int | None = None,
) -> tuple[str, ...]:
    """Text of each own token of a response, as many as its reading counts."""
    encoded = layout.encode(prompt, response, max_tokens=max_tokens)
    return own_texts(encoded, encoded.response_own)


def prompt_tokens(
    layout: ChatLayout,
    prompt: Sequence[Message],
    response: Sequence[Message] = (),
    *,
    max_tokens: int | None = None,
) -> tuple[str, ...]:
    """Text of each own token of a prompt, as many as its reading counts.

    Args:
        layout: the reader's.
        prompt: the prompt.
        response: any of its responses; a language model's reading cuts a long prompt to leave it room.
            Encoders read the prompt alone.
        max_tokens: the reader's limit.
    """
    encoded = layout.encode(prompt, response if layout.is_causal else None, max_tokens=max_tokens)
    return own_texts(encoded, encoded.prompt_own)


def own_texts(encoded: EncodedText, own: NDArray[np.int64]) -> tuple[str, ...]:
    """Text of each own token.

    Tokens of one character (bytes of a rare one) show it once: the first has it, the others are empty.
    """
    texts: list[str] = []
    reached = -1
    for index in own:
        start, end = (int(v) for v in encoded.offsets[index])
        texts.append(encoded.text[max(start, reached) : end] if end > reached else "")
        reached = max(reached, end)
    return tuple(texts)


def token_strip(
    reader: Reader,
    prompt: Sequence[Message],
    response: Sequence[Message] | None,
    latents: Sequence[int],
) -> TokenStrip:
    """Activations of some latents on every own token of a response, or of a prompt read alone.

    Args:
        reader: an open reader.
        prompt: the prompt.
        response: the response; None for the prompt's own tokens.
        latents: numbers of latents, in the order wanted.

    Raises:
        ModelError: a latent that the SAE does not have.
    """
    wrong = [latent for latent in latents if not 0 <= latent < reader.n_latents]
    if wrong:
        raise ModelError(f"there is no latent {wrong[0]}: the SAE has {reader.n_latents}")
    # a language model's reading cuts a long prompt to leave room for a response: so does its strip
    after = () if response is None and reader.is_causal else response
    encoded = reader.layout.encode(prompt, after, max_tokens=reader.max_tokens)
    own = encoded.prompt_own if response is None else encoded.response_own
    is_truncated = encoded.prompt_truncated if response is None else encoded.response_truncated
    texts = own_texts(encoded, own)
    if not len(own):
        return TokenStrip(texts, tuple(latents), np.zeros((len(latents), 0), np.float32), is_truncated)
    with torch.inference_mode():
        stream = reader.residuals([encoded.ids])[0]
        acts = reader.encoder.dense(stream[torch.from_numpy(own).to(stream.device)])
        chosen = acts[:, torch.tensor(list(latents), dtype=torch.long, device=acts.device)].T
    return TokenStrip(texts, tuple(latents), chosen.float().cpu().numpy(), is_truncated)
