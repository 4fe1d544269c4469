"""Settings of every stage: one frozen dataclass each, with the unit and the range of every number.

The resolved settings of a stage go into its manifest and, as far as they determine its output, into its
fingerprint.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any


@dataclass(frozen=True, slots=True)
class Range:
    """Where a number must lie; None: no bound on that side."""

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None

    def holds(self, value: float) -> bool:
        """True when the value lies inside; what is no number lies nowhere."""
        return (
            abs(value) < math.inf
            and (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        """In words: ``above 0 and at most 1``."""
        words = (
            ("at least", self.least),
            ("above", self.above),
            ("at most", self.most),
            ("below", self.below),
        )
        return " and ".join(f"{word} {bound:.10g}" for word, bound in words if bound is not None)


NO_UNIT = "–"
"""Of numbers that count or measure nothing, such as seeds and factors."""
# A text in an annotation is the unit of the number: the page of settings shows it.
Count = Annotated[int, Range(least=1)]
CountOrZero = Annotated[int, Range(least=0)]
"""0 has a meaning of its own."""
Seed = Annotated[int, Range(least=0, most=2**32 - 1), NO_UNIT]
Positive = Annotated[float, Range(above=0)]
Factor = Annotated[Positive, NO_UNIT]
Share = Annotated[float, Range(above=0, most=1), "share"]
ShareOrZero = Annotated[float, Range(least=0, below=1), "share"]


@dataclass(frozen=True, slots=True)
class IngestSettings:
    """How files become pairs."""

    fold_salt: str = "prosect"
    """Salt of the fold hash; frozen at first ingest."""
    near_duplicates: bool = False
    """Number near-duplicate pairs in a pass of its own (MinHash over word 5-grams, Jaccard ≥ 0.8)."""
    max_text_bytes: Annotated[Count, "bytes"] = 4_000_000
    """A row with a longer text is dropped and counted."""
    overlap_words: Annotated[int, Range(least=3, most=100), "words"] = 13
    """Prompts are compared with evaluation sets by runs of this many words."""
    overlap_share: Annotated[float, Range(least=0, most=1), "share"] = 0.5
    """A prompt that holds at least this share of an evaluation prompt's runs is refused for training."""


@dataclass(frozen=True, slots=True)
class ReadingSettings:
    """How the reader reads."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps"""
    dtype: str = "auto"
    """Of the model: auto, float32, bfloat16. auto is float32 on a CPU, bfloat16 on a GPU."""
    max_tokens: Annotated[Count, "tokens"] = 4096
    """Prompt and response together are cut to this many tokens; cuts are counted and stored."""
    batch_tokens: Annotated[Count, "tokens"] = 16_384
    """Token budget of a batch on a GPU; a CPU reads one sequence at a time, unpadded."""
    tokenizer_workers: Annotated[CountOrZero, "processes"] | None = None
    """Processes that tokenise beside the reader. None: up to 4 for a GPU with more than 2,000 pairs to read,
    none for a CPU, where a thread that works ahead does."""
    shard_pairs: Annotated[Count, "pairs"] = 512
    """Pairs per shard: what a restart can lose."""
    accept_poor_sae: bool = False
    """Go on when the SAE check fails."""
    check_tokens: Annotated[CountOrZero, "tokens"] = 200_000
    """Tokens that the SAE check looks at; 0: no check."""
    sae_dtype: str = "auto"
    """Of the SAE's matrix product: float32 or bfloat16; sums and thresholds are float32 always. auto is
    float32 on a CPU, bfloat16 on a GPU."""
    store_residuals: bool = True
    """Keep mean and last-token residual of every span, in half precision: 12 bytes × width per pair."""


@dataclass(frozen=True, slots=True)
class SaeSettings:
    """How an SAE is trained where a model has none."""

    n_latents: Annotated[int, Range(least=2), "latents"] | None = None
    """None: eight times the model's width."""
    k: Annotated[Count, "latents"] = 32
    """Latents that fire per token."""
    n_tokens: Annotated[Count, "tokens"] = 2_000_000
    """Training steps see this many tokens; the pairs are gone through several times if they have fewer."""
    batch_tokens: Annotated[Count, "tokens"] = 2048
    """Tokens per optimiser step."""
    learning_rate: Factor = 1e-3
    """The highest: it rises over the first steps and falls to a tenth over the last."""
    buffer_bytes: Annotated[Count, "bytes"] = 2_000_000_000
    """Residual vectors held in memory to be shuffled."""
    seed: Seed = 0
    """Of the first weights and of the order of the pairs."""


@dataclass(frozen=True, slots=True)
class ConceptSettings:
    """How latents become concepts and pairs become contexts."""

    seed: Seed = 0
    """Of samples and of clusterings."""
    fire_rate_threshold: ShareOrZero = 0.01
    """τ: a latent fires on a span when fired tokens / tokens exceeds this."""
    min_pairs: Annotated[Count, "pairs"] = 25
    """A latent joins clustering when it fires (label-blind) in at least this many pairs."""
    co_firing_spans: Annotated[Count, "spans"] = 50_000
    """Spans sampled for the co-firing estimate."""
    edge_share: Share = 0.01
    """Share of the strongest edges of normalised mutual information that are kept."""
    resolution: Factor = 1.0
    """Leiden resolution (modularity)."""
    min_latents: Annotated[Count, "latents"] = 2
    """Smaller communities become single-latent concepts."""
    max_latents: Annotated[CountOrZero, "latents"] = 24
    """Larger communities are clustered again inside; 0: never."""
    n_topics: Annotated[Count, "contexts"] | None = None
    """Topic contexts; None: clamp(n/500, 8, 512)."""
    n_prompt_clusters: Annotated[Count, "concepts"] | None = None
    """Prompt concepts; None: clamp(latents/32, 16, 256)."""
    n_delta_clusters: Annotated[CountOrZero, "concepts"] | None = None
    """Clusters of latents that change together from rejected to chosen; None: as prompt concepts; 0: none."""
    silent_share: ShareOrZero = 0.05
    """Share of pairs with the lowest activity set aside before topics are clustered."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Concepts of your own, tested like the built-in columns: a name and a pattern whose matches in a text
    are counted, such as ``apology = "/sorry|apolog/i"`` below ``[concepts.columns]``."""


@dataclass(frozen=True, slots=True)
class StatsSettings:
    """How effects are tested."""

    q: Annotated[float, Range(above=0, below=1), "share"] = 0.05
    """A call needs this false discovery rate …"""
    effect_floor: Annotated[float, Range(least=0, below=0.5), "share"] = 0.02
    """… and an interval of the win rate that clears this distance from one half."""
    min_discordant: Annotated[int, Range(least=2), "groups"] = 15
    """Discordant prompt groups below which nothing is tested."""
    halves: Annotated[CountOrZero, "halves"] = 50
    """Random halves behind the share that selects a concept beside all others; 0: no unique contribution."""
    covariates: tuple[str, ...] = ()
    """Further covariates of the null model: annotator, or built-in columns such as @bold. Models that are
    known are covariates always."""


@dataclass(frozen=True, slots=True)
class RulesSettings:
    """Limits of rule files."""

    max_weight: Factor = 10.0
    """Largest weight one pair may get unless a rule file caps it lower."""
    max_offset: Annotated[float, Range(least=0), "nats"] = 5.0
    """Largest |offset| one pair may get."""
    keep_limit: Annotated[float, Range(least=0), "share"] = 0.25
    """A held concept may move by this share of the largest target's change."""


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How a shaped dataset is trained on."""

    model: str = ""
    """Checkpoint to start from; empty: the reader's own model."""
    steps: Annotated[Count, "steps"] | None = None
    """Stop after this many optimiser steps; None: one epoch."""
    beta: Factor = 0.1
    """β of the loss: how strongly a log-ratio counts."""
    loss_type: str = "sigmoid"
    """One of the losses that the page on training lists."""
    label_smoothing: Annotated[float, Range(least=0, below=0.5), "share"] = 0.0
    """ε of the losses `robust` and `exo_pair`."""
    learning_rate: Factor = 1e-6
    """The highest, at the end of the warm-up; it falls linearly to 0."""
    warmup_ratio: ShareOrZero = 0.1
    """Share of the steps over which the learning rate rises."""
    batch_pairs: Annotated[Count, "pairs"] = 8
    """Pairs per optimiser step on one device."""
    micro_batch_pairs: Annotated[Count, "pairs"] | None = None
    """Pairs per forward pass, a divisor of batch_pairs; None: all of them."""
    max_length: Annotated[Count, "tokens"] = 4096
    """Prompt and response together lose what comes after this many tokens, or after as many as the checkpoint
    has positions; cuts are counted first."""
    device: str = "auto"
    """auto, cpu, cuda"""
    seed: Seed = 0
    """Of the order of the pairs, dropout and sampling."""
    lora_rank: Annotated[CountOrZero, "dimensions"] = 0
    """Of the LoRA adapters; 0: full fine-tuning."""
    save_steps: Annotated[Count, "steps"] = 200
    """Between two saves that a run can go on from."""
    rollouts_per_prompt: Annotated[Count, "responses"] = 1
    """Sampled to each prompt before and after the run."""
    rollout_tokens: Annotated[Count, "tokens"] = 128
    """Of one sampled response, at most."""
    rollout_prompts: Annotated[Count, "prompts"] = 200
    """Fold-19 prompts that outcome samples at most."""
    rollout_temperature: Factor = 1.0
    """1: the model's own distribution."""
    rollout_batch: Annotated[Count, "prompts"] = 16
    """Prompts sampled together."""
    pilot_share: Annotated[float, Range(least=0, most=1), "share"] = 0.0
    """Share of the pairs that a pilot is trained on before the run, to forecast from it; 0: no pilot."""


@dataclass(frozen=True, slots=True)
class ReviewSettings:
    """Who decides, and how."""

    author: str = ""
    """Name in the journal; empty: git's user.name, else user@host."""
    advance: bool = True
    """After a verdict the cursor goes on to the next row without one; false: it stays on the row."""


@dataclass(frozen=True, slots=True)
class NamingSettings:
    """Which language model is asked for names of concepts, and with how much text."""

    endpoint: str = ""
    """Base URL of a server that speaks OpenAI's chat completions, such as http://localhost:8000/v1. Excerpts
    of responses are sent there, by `prosect names propose` and by nothing else; empty: nowhere."""
    model: str = ""
    """What that server calls the model."""
    key_env: str = ""
    """Environment variable that holds the server's key; empty: none is sent. The key is kept nowhere."""
    concepts: Annotated[Count, "concepts"] = 50
    """Concepts without a name that are asked about, in the order of their evidence."""
    excerpts: Annotated[int, Range(least=4, most=100), "excerpts"] = 12
    """Excerpts around peaks of the concept that a name is made from."""
    held_out: Annotated[int, Range(least=4, most=50), "excerpts"] = 10
    """Excerpts of other prompts that the name must tell apart: so many where the concept fires, and as many
    where it does not."""
    controls: Annotated[CountOrZero, "names"] = 10
    """Recognised names of a run that are also tested on the excerpts of another concept, where they should
    fail; 0: none."""
    excerpt_chars: Annotated[int, Range(least=40, most=4000), "characters"] = 240
    """Length of an excerpt, about."""
    level: Annotated[float, Range(above=0, most=0.05), "probability"] = 0.01
    """A name counts as recognised when chance does as well with at most this probability."""
    answer_tokens: Annotated[CountOrZero, "tokens"] = 0
    """Of one answer at most, thinking included; 0: as many as the server allows."""
    timeout_s: Annotated[Positive, "seconds"] = 120.0
    """What one answer may take."""
    parallel: Annotated[int, Range(least=1, most=256), "questions"] = 8
    """Questions that are under way at a time, at most: fewer where the server says that it is too much, or
    does not answer in time."""
    retries: Annotated[CountOrZero, "times"] = 4
    """How often a question is sent again when the server fails or is out of reach; a busy one is waited for
    two minutes at least, or as long as it asks, up to ten minutes. 0: nothing is sent again."""


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
    naming: NamingSettings = field(default_factory=NamingSettings)

    def as_dict(self) -> dict[str, Any]:
        """Plain nested dict for manifests."""
        return asdict(self)
