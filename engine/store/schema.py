"""Tables of an index, with a comment on every column that is stored in the database itself.

An index is built aside in one go and never changed afterwards; ``SCHEMA_VERSION`` rises with every change
of meaning. ``engine/docs/schema.md`` is generated from this module.
"""

from engine.store.columns import Table
from engine.store.columns import columns as _columns
from engine.store.schema_scrutiny import BESIDE, SCRUTINY

SCHEMA_VERSION = 6

META = Table(
    "meta",
    "facts about this index",
    ("key",),
    _columns(("key", "VARCHAR", "name of the fact"), ("value", "VARCHAR", "its value as JSON")),
)

PAIRS = Table(
    "pairs",
    "one row per pair; pair numbers follow (group_id, pair_id)",
    ("pair",),
    _columns(
        ("pair", "UINTEGER", "number of the pair in this index, from 0"),
        ("pair_id", "VARCHAR", "128-bit content id, stable across indexes"),
        ("content_id", "VARCHAR", "equal for exact duplicates"),
        (
            "copy",
            "INTEGER",
            "0 for the first pair with this content in its source, 1, 2 … for exact duplicates",
        ),
        (
            "near_copy",
            "INTEGER",
            "0 for the first of nearly the same pairs, 1, 2 … for others; NULL where nobody looked",
        ),
        ("source", "VARCHAR", "name of the source"),
        ("source_file", "VARCHAR", "file the pair came from"),
        ("source_row", "BIGINT", "row (line) of that file, from 0"),
        ("label", "VARCHAR", "chosen, tie, both_bad or none; only chosen enters signed statistics"),
        ("group_index", "UINTEGER", "number of the prompt group, from 0"),
        ("group_id", "VARCHAR", "smallest prompt hash of the group"),
        ("fold", "TINYINT", "0–19; 19 is never exported to training"),
        ("prompt_text", "VARCHAR", "prompt as plain text, turns separated by role marks"),
        ("chosen_text", "VARCHAR", "chosen response as plain text"),
        ("rejected_text", "VARCHAR", "rejected response as plain text"),
        ("prompt_tokens", "INTEGER", "tokens of the prompt as read"),
        ("chosen_tokens", "INTEGER", "tokens of the chosen response as read"),
        ("rejected_tokens", "INTEGER", "tokens of the rejected response as read"),
        ("prompt_truncated", "BOOLEAN", "the prompt was cut for reading"),
        ("chosen_truncated", "BOOLEAN", "the chosen response was cut for reading"),
        ("rejected_truncated", "BOOLEAN", "the rejected response was cut for reading"),
        ("prompt_turns", "INTEGER", "messages in the prompt"),
        (
            "chosen_was",
            "VARCHAR",
            "slot the chosen side had in the file (a, b); NULL where order says nothing",
        ),
        ("strength", "DOUBLE", "how much better chosen is, in the file's unit"),
        ("score_chosen", "DOUBLE", "score of the chosen response"),
        ("score_rejected", "DOUBLE", "score of the rejected response"),
        ("model_chosen", "VARCHAR", "model that wrote the chosen response"),
        ("model_rejected", "VARCHAR", "model that wrote the rejected response"),
        ("annotator", "VARCHAR", "who judged"),
        ("language", "VARCHAR", "language"),
        ("base_weight", "DOUBLE", "weight of the pair in the mix, before any rule; 1 unless set"),
        ("is_evaluation", "BOOLEAN", "from an evaluation set: refused for training"),
        ("meta", "VARCHAR", "every other column of the file, as a JSON object"),
    ),
)

ACTS = Table(
    "acts",
    "readings of the two responses: one row per pair and latent that fires on either side",
    ("latent", "pair"),
    _columns(
        ("latent", "UINTEGER", "number of the latent in its SAE"),
        ("pair", "UINTEGER", "number of the pair"),
        ("chosen_max", "FLOAT", "largest activation on the chosen response, 0 where silent"),
        ("rejected_max", "FLOAT", "largest activation on the rejected response"),
        ("chosen_n", "USMALLINT", "tokens of the chosen response where the latent is > 0"),
        ("rejected_n", "USMALLINT", "tokens of the rejected response where the latent is > 0"),
        ("chosen_sum", "FLOAT", "sum of activations over the chosen response"),
        ("rejected_sum", "FLOAT", "sum of activations over the rejected response"),
        ("chosen_peak", "USMALLINT", "token position of chosen_max in the response, from 0"),
        ("rejected_peak", "USMALLINT", "token position of rejected_max"),
    ),
)

PROMPT_ACTS = Table(
    "prompt_acts",
    "readings of the prompt",
    ("latent", "pair"),
    _columns(
        ("latent", "UINTEGER", "number of the latent"),
        ("pair", "UINTEGER", "number of the pair"),
        ("prompt_max", "FLOAT", "largest activation on the prompt"),
        ("prompt_n", "USMALLINT", "prompt tokens where the latent is > 0"),
        ("prompt_sum", "FLOAT", "sum of activations over the prompt"),
        ("prompt_peak", "USMALLINT", "token position of prompt_max"),
    ),
)

LAST_ACTS = Table(
    "last_acts",
    "activations at the last own token of the two responses: one row per pair and latent that fires there",
    ("latent", "pair"),
    _columns(
        ("latent", "UINTEGER", "number of the latent"),
        ("pair", "UINTEGER", "number of the pair"),
        ("chosen", "FLOAT", "activation at the last token of the chosen response, 0 where silent"),
        ("rejected", "FLOAT", "activation at the last token of the rejected response, 0 where silent"),
    ),
)

CONCEPTS = Table(
    "concepts",
    "what a person can say yes or no to",
    ("concept",),
    _columns(
        ("concept", "UINTEGER", "number of the concept in this index, from 0"),
        ("concept_id", "VARCHAR", "hash of reader, kind and sorted members: stable across indexes"),
        ("kind", "VARCHAR", "cluster, latent, delta, direction or column"),
        ("name", "VARCHAR", "working label; people's own names are in the journal"),
        ("name_source", "VARCHAR", "where the working label came from: tokens, builtin, pattern, file"),
        ("definition", "VARCHAR", "what a column counts, in words or as a pattern; NULL for latents"),
        ("pattern", "VARCHAR", "RE2 that matches where a text has what a column counts; NULL: nowhere"),
        ("tokens", "VARCHAR", "telling words, most telling first, as a JSON list"),
        (
            "label_evidence",
            "VARCHAR",
            "JSON: places where it is strongest (fires), places where the first word of its label stands and"
            " it is silent (silent), share of sampled responses that carry it (inside) and of the others"
            " (outside) in which a word of the label stands; NULL without a label from tokens",
        ),
        ("n_latents", "UINTEGER", "latents in the concept, 0 for columns"),
        (
            "redundancy_id",
            "UINTEGER",
            "concepts with the same number say the same thing (built label-blind); NULL if alone",
        ),
        ("n_chosen", "UINTEGER", "chosen responses that carry it, over all pairs"),
        ("n_rejected", "UINTEGER", "rejected responses that carry it, over all pairs"),
        ("n_prompt", "UINTEGER", "prompts that carry it"),
        ("u_square", "DOUBLE", "Σ u² over all pairs: Σ u·v of two concepts over its roots is their cosine"),
    ),
)

CONCEPT_MEMBERS = Table(
    "concept_members",
    "latents of each concept",
    ("concept", "latent"),
    _columns(
        ("concept", "UINTEGER", "number of the concept"),
        ("latent", "UINTEGER", "number of the latent"),
        (
            "centrality",
            "FLOAT",
            "weighted degree inside the concept's own cluster; the largest is the medoid",
        ),
    ),
)

CONCEPT_SCORES = Table(
    "concept_scores",
    "score of each concept on each pair where any span carries it; absent rows are zeros",
    ("concept", "pair"),
    _columns(
        ("concept", "UINTEGER", "number of the concept"),
        ("pair", "UINTEGER", "number of the pair"),
        (
            "chosen",
            "FLOAT",
            "score on the chosen response: largest act_max of its latents, or the column's value",
        ),
        ("rejected", "FLOAT", "score on the rejected response"),
        ("prompt", "FLOAT", "score on the prompt"),
        (
            "u",
            "FLOAT",
            "disparity: mean over latents of 1{chosen fires} − 1{rejected fires}; z-scored delta for columns",
        ),
    ),
)

PAIR_SCORES = Table(
    "pair_scores",
    "concept_scores once more, pair by pair: what one pair carries",
    ("pair", "concept"),
    _columns(
        ("pair", "UINTEGER", "number of the pair"),
        ("concept", "UINTEGER", "number of the concept"),
        ("chosen", "FLOAT", "score on the chosen response"),
        ("rejected", "FLOAT", "score on the rejected response"),
        ("u", "FLOAT", "disparity"),
    ),
    copied_from="concept_scores",
)

CONTEXTS = Table(
    "contexts",
    "sets of pairs in which a concept may mean something else; 0 is everywhere",
    ("context",),
    _columns(
        ("context", "UINTEGER", "number of the context in this index; 0 holds every pair"),
        ("context_id", "VARCHAR", "hash of the definition"),
        ("kind", "VARCHAR", "everywhere, topic, prompt_concept, predicate, source or silent"),
        ("name", "VARCHAR", "working label"),
        ("definition", "VARCHAR", "JSON"),
        ("n_pairs", "UINTEGER", "pairs in the context"),
        ("n_groups", "UINTEGER", "prompt groups in the context"),
    ),
)

CONTEXT_PAIRS = Table(
    "context_pairs",
    "which pairs are in which context; everywhere is left out",
    ("context", "pair"),
    _columns(("context", "UINTEGER", "number of the context"), ("pair", "UINTEGER", "number of the pair")),
)

ESTIMATES = _columns(
    ("n_pairs", "UINTEGER", "labelled pairs in the context"),
    ("n_groups", "UINTEGER", "prompt groups among them"),
    ("n_carry", "UINTEGER", "labelled pairs in which either response carries it"),
    ("n_discordant", "UINTEGER", "labelled pairs with u ≠ 0"),
    ("n_plus", "UINTEGER", "discordant pairs with u > 0"),
    ("n_discordant_groups", "UINTEGER", "prompt groups with a discordant pair"),
    ("prevalence", "DOUBLE", "n_carry / n_pairs"),
    ("mean_u", "DOUBLE", "mean disparity over all labelled pairs"),
    ("win_rate", "DOUBLE", "taught: share of discordant pairs whose chosen side carries more"),
    ("win_low", "DOUBLE", "95% interval, clustered by prompt group"),
    ("win_high", "DOUBLE", "upper end"),
    ("taught_z", "DOUBLE", "flip score of u summed by prompt group"),
    ("taught_p", "DOUBLE", "two-sided p"),
    ("taught_q", "DOUBLE", "Benjamini–Hochberg q inside its family"),
    ("taught_call", "BOOLEAN", "q ≤ 0.05 and the interval clears the effect floor; NULL if untested"),
    ("equal_win_rate", "DOUBLE", "win rate at equal length when only one side has it"),
    ("equal_low", "DOUBLE", "95% interval"),
    ("equal_high", "DOUBLE", "upper end"),
    ("equal_z", "DOUBLE", "score test against the null model of the label"),
    ("equal_p", "DOUBLE", "two-sided p"),
    ("equal_q", "DOUBLE", "Benjamini–Hochberg q inside its family"),
    ("equal_call", "BOOLEAN", "q ≤ 0.05 and the interval clears the effect floor; NULL if untested"),
    ("linear_z", "DOUBLE", "the same score with a linear log length ratio only, for comparison"),
    ("badge", "VARCHAR", "both, only with length, masked by length, length unclear, neither, untested"),
    ("skip_reason", "VARCHAR", "why untested; NULL if tested"),
    ("half_a", "DOUBLE", "win rate in the groups of half A"),
    ("half_b", "DOUBLE", "win rate in the groups of half B"),
    ("is_stable", "BOOLEAN", "both halves lean the same way"),
    ("min_effect", "DOUBLE", "smallest |win rate − 1/2| this many discordant groups had 80% power to show"),
)

HYPOTHESES = Table(
    "hypotheses",
    "context × concept with its estimates: in this context the data teaches more (or less) of this concept",
    ("hypothesis",),
    _columns(
        ("hypothesis", "UINTEGER", "number of the hypothesis in this index, the strongest |taught_z| first"),
        ("hypothesis_id", "VARCHAR", "hash of context_id and concept_id"),
        ("family", "VARCHAR", "concepts (everywhere) or cells (inside a context): each has its own q"),
        ("context", "UINTEGER", "number of the context, 0 everywhere"),
        ("concept", "UINTEGER", "number of the concept"),
    )
    + ESTIMATES
    + _columns(
        (
            "differs_z",
            "DOUBLE",
            "cells: score test of whether the effect here differs from everywhere; NULL everywhere",
        ),
        ("differs_p", "DOUBLE", "two-sided p"),
        ("differs_q", "DOUBLE", "Benjamini–Hochberg q over cells"),
        ("differs_call", "BOOLEAN", "q ≤ 0.05 and the difference clears the floor; NULL if untested"),
        ("paper_delta", "DOUBLE", "mean u inside − outside"),
        ("paper_z", "DOUBLE", "Welch z of paper_delta; inflated, pairs are coupled"),
        ("paper_d", "DOUBLE", "Cohen's d"),
        ("paper_delta_min", "DOUBLE", "smaller |delta| of the two halves, NULL if they disagree in sign"),
    )
    + BESIDE,
)

LATENTS = Table(
    "latents",
    "every latent that fired, with the same estimates everywhere",
    ("latent",),
    _columns(
        ("latent", "UINTEGER", "number of the latent"),
        ("concept", "UINTEGER", "concept it belongs to, NULL if none"),
        ("n_prompt", "UINTEGER", "prompts it fires on"),
    )
    + ESTIMATES,
)

TABLES: tuple[Table, ...] = (
    META, PAIRS, ACTS, PROMPT_ACTS, LAST_ACTS, LATENTS, CONCEPTS, CONCEPT_MEMBERS, CONCEPT_SCORES,
    PAIR_SCORES, CONTEXTS, CONTEXT_PAIRS, HYPOTHESES, *SCRUTINY,
)  # fmt: skip
BY_NAME = {table.name: table for table in TABLES}
