"""Is this SAE any good here? Answered before the main pass, on a sample of the pairs themselves.

An SAE trained on another model, another layer or another kind of text gives readings that look like any
others. What gives it away: it leaves much of the residual stream's variance unexplained, fires on many more
or many fewer latents than its authors report, or most of its latents never fire.
"""

import json
import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from engine.errors import ModelError
from engine.manifest import hash_bytes, hash_json, write_json
from engine.models.blocks import NotReached
from engine.paths import is_path
from engine.progress import Progress
from engine.reading.encode import Encoder, normalise
from engine.reading.pair_file import PairFile
from engine.reading.reader import Reader
from engine.reading.residual_batches import own_residuals
from engine.reading.stream import neighbour
from engine.settings import ReadingSettings

CHECK_VERSION = 3
MAX_UNEXPLAINED = 0.5
"""Share of variance left unexplained beyond which an SAE is called poor here."""
L0_RATIO = 3.0
"""How far L0 may be from the documented one, as a factor either way."""
MAX_DEAD = 0.95
"""Share of latents that never fire, given ≥ 20 tokens per latent, beyond which an SAE is called poor."""
NEIGHBOUR_RATIO = 0.8
"""A layer beside this one that is left unexplained by less than this share of it: the wrong layer is read."""
SINK_RATIO = 10.0
"""A token whose norm exceeds this many medians is an attention sink."""
_NEIGHBOUR_PAIRS, _ROUGH_PAIRS = 16, 64
"""First pairs on which the layers beside this one, and rough arithmetic, are looked at."""
_PAIRS_MIN = 64
_ROWS_AT_ONCE = 1024


@dataclass
class _Tally:
    """Sums over tokens, from which the check's numbers follow."""

    n_tokens: int = 0
    squared_error: float = 0.0
    squared: float = 0.0
    total: torch.Tensor | None = None
    active: int = 0
    norm: float = 0.0

    def add(self, x: torch.Tensor, seen: torch.Tensor, error: torch.Tensor, active: torch.Tensor) -> None:
        self.n_tokens += len(x)
        self.squared_error += float(error.double().square().sum())
        self.squared += float(seen.double().square().sum())
        column = seen.double().sum(dim=0)
        self.total = column if self.total is None else self.total + column
        self.active += int(active.sum())
        self.norm += float(x.norm(dim=-1).double().sum())

    def numbers(self, *, has_decoder: bool) -> dict[str, float | None]:
        if self.n_tokens == 0 or self.total is None:
            return {"n_tokens": 0, "unexplained": None, "l0": None, "mean_norm": None}
        spread = self.squared - float(self.total.square().sum()) / self.n_tokens
        return {
            "n_tokens": self.n_tokens,
            "unexplained": self.squared_error / spread if has_decoder and spread > 0 else None,
            "l0": self.active / self.n_tokens,
            "mean_norm": self.norm / self.n_tokens,
        }


@dataclass(frozen=True, slots=True)
class SaeCheck:
    """How well an SAE fits these texts. Numbers are over the spans' own tokens."""

    n_tokens: int
    unexplained: float | None
    """Squared reconstruction error / variance of what the encoder sees; None for directions."""
    l0: float | None
    """Mean number of active latents per token."""
    expected_l0: float | None
    """As documented; None if unknown."""
    dead_share: float | None
    """Share of latents that fired on no token."""
    mean_norm: float | None
    """Mean norm of the residual stream."""
    sink_share: float | None
    """Share of tokens whose norm exceeds ten medians."""
    neighbours: dict[str, float | None]
    """Variance left unexplained by layer, this one and the ones beside it, on a first sample."""
    disagreement: float | None
    """1 − Jaccard index of the active sets in the run's precision and in float32, on every hundredth token;
    None where the run is in float32."""
    by_part: dict[str, dict[str, float | None]]
    """The same numbers per source and side: ``source/side``."""
    problems: tuple[str, ...]
    """What is wrong, in words; empty for a good SAE."""
    notes: tuple[str, ...]
    """What a person should know, although it stops nothing."""
    fingerprint: str = ""
    """Over reader, pairs and token limit."""


def check_sae(
    pairs: PairFile, reader: Reader, reader_dir: Path, settings: ReadingSettings, progress: Progress
) -> SaeCheck | None:
    """Measure the SAE on the first pairs (a random sample) and write ``sae_check.json``.

    Returns:
        The check; None where the settings switch it off.

    Raises:
        ModelError: the SAE is poor here and ``accept_poor_sae`` is off, or the model gives no numbers.
    """
    if settings.check_tokens <= 0:
        return None
    decoder = reader.sae.decoder  # which readings do not depend on, and the check does
    written = hash_bytes(decoder.cpu().contiguous().numpy().tobytes()) if decoder is not None else ""
    print_ = hash_json(
        [CHECK_VERSION, reader.reader_hash, written, settings.check_tokens, pairs.pair_ids[:64]]
    )
    file = reader_dir / "sae_check.json"
    check = _stored(file, print_)
    if check is None:
        at_most = max(len(pairs) // 10, _PAIRS_MIN)  # a small project is not read twice for its check
        measured = measure(pairs, reader, settings.check_tokens, progress, max_pairs=at_most)
        if not math.isfinite(measured.mean_norm or 0.0):
            raise ModelError(
                f"the residual stream of {reader.spec.model} holds values that are no finite numbers",
                hint="the checkpoint is damaged, or this precision too small: --set reading.dtype=float32",
            )
        check = replace(measured, fingerprint=print_)
        write_json(file, asdict(check))
    for problem in (*check.problems, *check.notes):
        progress.note(problem)
    if check.problems and not settings.accept_poor_sae:
        raise ModelError(
            f"{reader.sae.name} is a poor SAE for these texts: " + "; ".join(check.problems),
            hint="check model and layer, train one with `prosect sae`, or read on all the same: "
            "--set reading.accept_poor_sae=true",
        )
    return check


def _stored(file: Path, fingerprint: str) -> SaeCheck | None:
    """The check of an earlier run over the same pairs, if it is there and whole."""
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
        check = SaeCheck(**raw | {key: tuple(raw[key]) for key in ("problems", "notes")})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return check if check.fingerprint == fingerprint else None


def measure(
    pairs: PairFile, reader: Reader, n_tokens: int, progress: Progress, *, max_pairs: int | None = None
) -> SaeCheck:
    """Run the check on about ``n_tokens`` tokens from the first pairs, ``max_pairs`` of them at most."""
    n_pairs = len(pairs) if max_pairs is None else min(max_pairs, len(pairs))
    tallies: dict[str, _Tally] = {}
    fired = torch.zeros(reader.n_latents, dtype=torch.bool, device=reader.loaded.device)
    norms: list[torch.Tensor] = []
    progress.start("check the SAE", n_tokens, "tokens")
    missing = n_tokens
    for part, x in own_residuals(pairs, reader.batches, 0, n_pairs):
        _tally(x, reader, [tallies.setdefault(p, _Tally()) for p in ("all", part)], fired)
        norms.append(x.norm(dim=-1).cpu())
        progress.advance(min(len(x), missing))
        missing -= len(x)
        if missing <= 0:
            break
    progress.finish()
    every_norm = torch.cat(norms) if norms else torch.zeros(0)
    beside = _neighbours(pairs, reader, n_pairs)
    return _judge(reader, tallies, fired, every_norm, beside, _disagreement(pairs, reader, n_pairs))


def _neighbours(pairs: PairFile, reader: Reader, n_pairs: int) -> dict[str, float | None]:
    """Variance left unexplained at this layer and beside it, on the first pairs."""
    if reader.sae.decoder is None and reader.sae.fallback is None:
        return {}
    found: dict[str, float | None] = {}
    fired = torch.zeros(reader.n_latents, dtype=torch.bool, device=reader.loaded.device)
    for offset in (-1, 0, 1):
        context = nullcontext(reader.stream) if offset == 0 else neighbour(reader.stream, offset)
        with context as stream:
            if stream is None:
                continue
            tally, batches = _Tally(), replace(reader.batches, stream=stream)
            try:
                for _, x in own_residuals(pairs, batches, 0, min(_NEIGHBOUR_PAIRS, n_pairs)):
                    _tally(x, reader, [tally], fired.clone())
            except NotReached:  # a block that waits for an image: there is nothing beside this layer
                if offset == 0:
                    raise
                continue
            found[str(stream.layer)] = tally.numbers(has_decoder=True)["unexplained"]
    return found


def _disagreement(pairs: PairFile, reader: Reader, n_pairs: int) -> float | None:
    if reader.encoder.dtype == torch.float32:
        return None
    exact = Encoder(reader.sae, reader.loaded.device)
    both = either = 0
    n = min(_ROUGH_PAIRS, n_pairs)
    for _, x in own_residuals(pairs, reader.batches, 0, n, step=_ROUGH_PAIRS):
        with torch.inference_mode():
            a, b = exact.dense(x[::100]) > 0, reader.encoder.dense(x[::100]) > 0
        both, either = both + int((a & b).sum()), either + int((a | b).sum())
    return 1 - both / either if either else None


def _tally(x: torch.Tensor, reader: Reader, tallies: Sequence[_Tally], fired: torch.Tensor) -> None:
    with torch.inference_mode():
        for start in range(0, len(x), _ROWS_AT_ONCE):
            rows = x[start : start + _ROWS_AT_ONCE]
            acts = reader.encoder.dense(rows)
            fired |= (acts > 0).any(dim=0)
            seen = normalise(rows, reader.sae.normalisation)
            rebuilt = _rebuild(reader, acts)
            error = torch.zeros_like(seen) if rebuilt is None else seen - rebuilt
            for tally in tallies:
                tally.add(rows, seen, error, acts > 0)


def _rebuild(reader: Reader, acts: torch.Tensor) -> torch.Tensor | None:
    sae = reader.sae
    if sae.fallback is not None:
        return torch.as_tensor(sae.fallback.decode(acts)).float()
    if sae.decoder is None or sae.decoder_bias is None:
        return None
    return torch.addmm(sae.decoder_bias.to(acts.device), acts, sae.decoder.to(acts.device))


def _other_model(reader: Reader) -> list[str]:
    """A remark where SAE and checkpoint go by different names on the hub; a folder's name says nothing."""
    theirs, ours = reader.sae.model_name, reader.spec.model
    if not theirs or is_path(ours) or is_path(theirs) or Path(ours).exists() or Path(theirs).exists():
        return []
    names = {name.lower().rpartition("/")[2] for name in (theirs, ours)}
    return [] if len(names) == 1 else [f"the SAE was trained on {theirs}, and {ours} is read with it"]


def _judge(
    reader: Reader,
    tallies: dict[str, _Tally],
    fired: torch.Tensor,
    norms: torch.Tensor,
    neighbours: dict[str, float | None],
    disagreement: float | None,
) -> SaeCheck:
    has_decoder = reader.sae.decoder is not None or reader.sae.fallback is not None
    numbers = {part: t.numbers(has_decoder=has_decoder) for part, t in sorted(tallies.items())}
    whole = numbers.pop("all", _Tally().numbers(has_decoder=has_decoder))
    n_tokens = int(whole["n_tokens"] or 0)
    dead = 1 - float(fired.float().mean()) if n_tokens else None
    sinks = float((norms > SINK_RATIO * norms.median()).float().mean()) if len(norms) else None
    problems, notes = [], []
    unexplained, l0, expected = whole["unexplained"], whole["l0"], reader.sae.expected_l0
    expected = reader.spec.expected_l0 if reader.spec.expected_l0 is not None else expected
    if n_tokens == 0:
        problems.append("there is no text to check it on")
    if unexplained is not None and unexplained > MAX_UNEXPLAINED:
        problems.append(f"{unexplained:.0%} of the residual stream's variance is left unexplained")
    if l0 is not None and expected and not expected / L0_RATIO <= l0 <= expected * L0_RATIO:
        problems.append(f"{l0:.1f} latents fire per token, documented are {expected:g}")
    if dead is not None and dead > MAX_DEAD and n_tokens >= 20 * reader.n_latents:
        problems.append(f"{dead:.0%} of the latents never fire")
    here = neighbours.get(str(reader.layer))
    for layer, there in neighbours.items():
        if here is not None and there is not None and here > 0.05 and there < NEIGHBOUR_RATIO * here:
            problems.append(f"it explains layer {layer} better than layer {reader.layer}: off by one?")
    if disagreement is not None and disagreement > 0.02:
        notes.append(f"{disagreement:.1%} of the active latents differ from those in float32")
    notes += _other_model(reader)
    if sinks:
        notes.append(f"{sinks:.2%} of the tokens have more than ten times the usual norm")
    return SaeCheck(
        n_tokens=n_tokens,
        unexplained=unexplained,
        l0=l0,
        expected_l0=expected,
        dead_share=dead,
        mean_norm=whole["mean_norm"],
        sink_share=sinks,
        neighbours=neighbours,
        disagreement=disagreement,
        by_part=numbers,
        problems=tuple(problems),
        notes=tuple(notes),
    )
