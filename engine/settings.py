"""Settings of every stage: one frozen dataclass each, read from prosect.toml, unknown keys refused.

Precedence is flag over file over default. The resolved settings of a stage go into its manifest and, as
far as they determine its output, into its fingerprint.
"""

import difflib
import types
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from engine.errors import SettingsError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class IngestSettings:
    """How files become pairs."""

    fold_salt: str = "prosect"
    """Salt of the fold hash; frozen at first ingest."""
    near_duplicates: bool = False
    """Count near-duplicate pairs in a pass of its own (MinHash over word 5-grams, Jaccard ≥ 0.8)."""
    max_text_bytes: int = 4_000_000
    """A row with a longer text is dropped and counted."""
    overlap_words: int = 13
    """Prompts are compared with evaluation sets by runs of this many words."""
    overlap_share: float = 0.5
    """A prompt that holds at least this share of an evaluation prompt's runs is refused for training."""


@dataclass(frozen=True, slots=True)
class ReadingSettings:
    """How the reader reads."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps"""
    dtype: str = "auto"
    """Of the model: auto, float32, bfloat16. auto is float32 on a CPU, bfloat16 on a GPU."""
    max_tokens: int = 4096
    """Prompt and response together are cut to this many tokens; cuts are counted and stored."""
    batch_tokens: int = 16_384
    """Token budget of a batch on a GPU; a CPU reads one sequence at a time, unpadded."""
    tokenizer_workers: int | None = None
    """Processes that tokenise beside the reader. None: up to 4 for a GPU with more than 2,000 pairs to read,
    none for a CPU, where a thread that works ahead does."""
    shard_pairs: int = 512
    """Pairs per shard: what a restart can lose."""
    accept_poor_sae: bool = False
    """Go on when the SAE check fails."""
    check_tokens: int = 200_000
    """Tokens that the SAE check looks at; 0: no check."""
    sae_dtype: str = "auto"
    """Of the SAE's matrix product: float32 or bfloat16; sums and thresholds are float32 always. auto is
    float32 on a CPU, bfloat16 on a GPU."""
    store_residuals: bool = True
    """Keep mean and last-token residual of every span, in half precision: 12 bytes × width per pair."""


@dataclass(frozen=True, slots=True)
class SaeSettings:
    """How an SAE is trained where a model has none."""

    n_latents: int | None = None
    """None: eight times the model's width."""
    k: int = 32
    """Latents that fire per token."""
    n_tokens: int = 2_000_000
    """Training steps see this many tokens; the pairs are gone through several times if they have fewer."""
    batch_tokens: int = 2048
    """Tokens per optimiser step."""
    learning_rate: float = 1e-3
    buffer_bytes: int = 2_000_000_000
    """Residual vectors held in memory to be shuffled."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class ConceptSettings:
    """How latents become concepts and pairs become contexts."""

    seed: int = 0
    fire_rate_threshold: float = 0.01
    """τ: a latent fires on a span when fired tokens / tokens exceeds this."""
    min_pairs: int = 25
    """A latent joins clustering when it fires (label-blind) in at least this many pairs."""
    co_firing_spans: int = 50_000
    """Spans sampled for the co-firing estimate."""
    edge_share: float = 0.01
    """Share of the strongest edges of normalised mutual information that are kept."""
    resolution: float = 1.0
    """Leiden resolution (modularity)."""
    min_latents: int = 2
    """Smaller communities become single-latent concepts."""
    max_latents: int = 24
    """Larger communities are clustered again inside; 0: never."""
    n_topics: int | None = None
    """Topic contexts; None: clamp(n/500, 8, 512)."""
    n_prompt_clusters: int | None = None
    """Prompt concepts; None: clamp(latents/32, 16, 256)."""
    n_delta_clusters: int | None = None
    """Clusters of latents that change together from rejected to chosen; None: as prompt concepts; 0: none."""
    silent_share: float = 0.05
    """Share of pairs with the lowest activity set aside before topics are clustered."""


@dataclass(frozen=True, slots=True)
class StatsSettings:
    """How effects are tested."""

    q: float = 0.05
    """A call needs this false discovery rate …"""
    effect_floor: float = 0.02
    """… and an interval of the win rate that clears this distance from one half."""
    min_discordant: int = 15
    """Discordant prompt groups below which nothing is tested."""
    halves: int = 50
    """Random halves behind the share that selects a concept beside all others; 0: no unique contribution."""
    covariates: tuple[str, ...] = ()
    """Further covariates of the null model: model, annotator, markdown …"""


@dataclass(frozen=True, slots=True)
class RulesSettings:
    """Limits of rule files."""

    max_weight: float = 10.0
    """Largest weight one pair may get unless a rule file caps it lower."""
    max_offset: float = 5.0
    """Largest |offset| one pair may get."""
    keep_limit: float = 0.25
    """A held concept may move by this share of the largest target's change."""


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How a shaped dataset is trained on."""

    model: str = ""
    """Checkpoint to start from; empty: the reader's own model."""
    steps: int | None = None
    """Stop after this many optimiser steps; None: one epoch."""
    beta: float = 0.1
    loss_type: str = "sigmoid"
    label_smoothing: float = 0.0
    """ε of the losses `robust` and `exo_pair`."""
    learning_rate: float = 1e-6
    warmup_ratio: float = 0.1
    """Share of the steps over which the learning rate rises."""
    batch_pairs: int = 8
    """Pairs per optimiser step on one device."""
    micro_batch_pairs: int | None = None
    """Pairs per forward pass, a divisor of batch_pairs; None: all of them."""
    max_length: int = 4096
    """Prompt and response together lose what comes after this many tokens; cuts are counted first."""
    device: str = "auto"
    """auto, cpu, cuda"""
    seed: int = 0
    lora_rank: int = 0
    """0: full fine-tuning."""
    save_steps: int = 200
    rollouts_per_prompt: int = 1
    rollout_tokens: int = 128
    rollout_prompts: int = 200
    """Fold-19 prompts that outcome samples at most."""
    rollout_temperature: float = 1.0
    """1: the model's own distribution."""
    rollout_batch: int = 16
    """Prompts sampled together."""
    pilot_share: float = 0.0
    """Share of the pairs that a pilot is trained on before the run, to forecast from it; 0: no pilot."""


@dataclass(frozen=True, slots=True)
class ReviewSettings:
    """Who decides, and how."""

    author: str = ""
    """Name in the journal; empty: git's user.name, else user@host."""
    advance: bool = True
    """After a verdict the cursor goes on to the next row without one; false: it stays on the row."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All stages."""

    ingest: IngestSettings = field(default_factory=IngestSettings)
    reading: ReadingSettings = field(default_factory=ReadingSettings)
    sae: SaeSettings = field(default_factory=SaeSettings)
    concepts: ConceptSettings = field(default_factory=ConceptSettings)
    stats: StatsSettings = field(default_factory=StatsSettings)
    rules: RulesSettings = field(default_factory=RulesSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    review: ReviewSettings = field(default_factory=ReviewSettings)

    def as_dict(self) -> dict[str, Any]:
        """Plain nested dict for manifests."""
        return asdict(self)


def load_settings(path: Path | None, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> Settings:
    """Settings from a TOML file (absent: defaults), then ``overrides`` per stage.

    Raises:
        SettingsError: unreadable TOML, an unknown stage or key, a value of the wrong type.
    """
    raw: dict[str, Any] = {}
    if path is not None and path.exists():
        import tomllib

        try:
            raw = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{path}: {error}", hint="fix the TOML syntax at that place") from error
    where = str(path) if path is not None else "settings"
    settings = Settings()
    for layer, origin in ((raw, where), (dict(overrides or {}), "command line")):
        for stage, values in layer.items():
            if stage not in {f.name for f in fields(Settings)}:
                raise SettingsError(
                    f"{origin}: there is no stage [{stage}]",
                    hint=_nearest(stage, [f.name for f in fields(Settings)]),
                )
            if not isinstance(values, Mapping):
                raise SettingsError(f"{origin}: [{stage}] must be a table")
            settings = replace(
                settings, **{stage: apply(getattr(settings, stage), values, f"{origin}: [{stage}]")}
            )
    return settings


def apply(current: T, values: Mapping[str, Any], where: str) -> T:
    """A copy of one stage's settings with some values replaced; unknown keys and wrong types are refused."""
    if not is_dataclass(current) or isinstance(current, type):
        raise TypeError(f"{current!r} is not a settings object")
    hints = typing.get_type_hints(type(current))
    changes = {}
    for key, value in values.items():
        if key not in hints:
            raise SettingsError(f"{where} has no key `{key}`", hint=_nearest(key, list(hints)))
        changes[key] = _coerce(value, hints[key], f"{where} {key}")
    return replace(current, **changes)


def _coerce(value: Any, hint: Any, where: str) -> Any:
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    for option in options:
        if option is type(None) and value is None:
            return None
        if (
            typing.get_origin(option) is tuple
            and isinstance(value, list | tuple)
            and all(isinstance(v, str) for v in value)
        ):
            return tuple(value)
        if option is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if option in (int, str, bool) and type(value) is option:
            return value
    names = " or ".join(getattr(o, "__name__", str(o)) for o in options if o is not type(None))
    raise SettingsError(f"{where} must be {names}, not {value!r}")


def _nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, 1)
    return f"did you mean `{close[0]}`?" if close else "known: " + ", ".join(known)
