"""A process that tokenises for a reader: pickled requests on standard input, pickled answers on output.

It ends when its standard input does, so it never outlives the process that started it. It has no use for
torch and does not load it.

    python -m engine.reading.token_worker
"""

import pickle
import signal
import sys
from collections.abc import Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.models.chat import ChatLayout, EncodedText
from engine.records import Message

READY = b"ready"
"""What a process says first."""

Conversations = Sequence[tuple[Sequence[Message], Sequence[Message] | None]]


class Request(NamedTuple):
    """Conversations to tokenise; arguments of ``ChatLayout.encode_many``."""

    conversations: Conversations
    tools: Sequence[str | None]
    max_tokens: int


class Answer(NamedTuple):
    """Tokens of N conversations, laid end to end: without their text and offsets, which nobody reads."""

    lengths: NDArray[np.int64]
    """(N, 3) tokens, and own tokens of prompt and response."""
    ids: NDArray[np.int32]
    own: NDArray[np.int32]
    """Of each conversation the prompt's own tokens, then the response's."""
    flags: NDArray[np.int32]
    """(N, 5): template, prompt cut, response cut, contents lost, tools left out."""

    @classmethod
    def of(cls, texts: Sequence[EncodedText]) -> "Answer":
        """From what a layout gives."""
        lengths = [(len(t.ids), len(t.prompt_own), len(t.response_own)) for t in texts]
        own = [part for t in texts for part in (t.prompt_own, t.response_own)]
        flags = [
            (t.has_template, t.prompt_truncated, t.response_truncated, t.n_lost, t.lacks_tools) for t in texts
        ]
        return cls(
            np.asarray(lengths, np.int64).reshape(-1, 3),
            np.concatenate([np.zeros(0, np.int32), *(t.ids for t in texts)]).astype(np.int32),
            np.concatenate([np.zeros(0, np.int32), *own]).astype(np.int32),
            np.asarray(flags, np.int32).reshape(-1, 5),
        )

    def texts(self) -> list[EncodedText]:
        """As the layout gives them, with neither text nor offsets."""
        ids, own, found = self.ids.astype(np.int64), self.own.astype(np.int64), []
        nowhere, at, of_own = np.zeros((0, 2), np.int64), 0, 0
        for (n, n_prompt, n_response), flags in zip(self.lengths.tolist(), self.flags.tolist(), strict=True):
            has_template, prompt_cut, response_cut, n_lost, lacks_tools = flags
            middle = of_own + n_prompt
            found.append(
                EncodedText(
                    ids[at : at + n],
                    own[of_own:middle],
                    own[middle : middle + n_response],
                    nowhere,
                    "",
                    bool(has_template),
                    bool(prompt_cut),
                    bool(response_cut),
                    n_lost,
                    bool(lacks_tools),
                )
            )
            at, of_own = at + n, middle + n_response
        return found


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer until the requests end. What fails is answered with None: who asked does it and sees why."""
    layout: ChatLayout = pickle.load(requests)  # noqa: S301 - from the process that started this one
    _send(answers, READY)
    while True:
        try:
            request: Request = pickle.load(requests)  # noqa: S301
        except EOFError:
            return
        try:
            texts = layout.encode_many(
                request.conversations, tools=request.tools, max_tokens=request.max_tokens
            )
        except Exception:  # noqa: BLE001 - it happens again where it can be reported
            _send(answers, None)
        else:
            _send(answers, tuple(Answer.of(texts)))


def _send(answers: BinaryIO, value: Any) -> None:
    pickle.dump(value, answers, protocol=pickle.HIGHEST_PROTOCOL)
    answers.flush()


def main() -> None:
    """Serve standard input; ctrl+c is the parent's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.modules["torch"] = None  # type: ignore[assignment]  # transformers' tokenizers do without
    answers, sys.stdout = sys.stdout.buffer, sys.stderr  # nothing else may write among the answers
    try:
        serve(sys.stdin.buffer, answers)
    except (BrokenPipeError, EOFError):
        return


if __name__ == "__main__":
    main()
