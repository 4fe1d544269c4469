"""Tables of what is known of a concept beyond its estimates; see ``engine/stats/scrutiny.py``."""

from engine.store.columns import Table, columns

BESIDE = columns(
    ("poolings_agree", "UTINYINT", "poolings that make the same calls with the same signs; concepts only"),
    (
        "poolings",
        "UTINYINT",
        "poolings that test the concept: at most 4, or 3 where last tokens were not read",
    ),
    (
        "unique_win_rate",
        "DOUBLE",
        "win rate at equal length beside all other concepts, shrunk by an L1 penalty; concepts only",
    ),
    ("unique_selected", "DOUBLE", "share of random halves of the groups in which it is not 0, with one sign"),
)
"""Columns of ``hypotheses`` that only rows everywhere have."""

POOLINGS = Table(
    "poolings",
    "the concepts' estimates under other ways of pooling a latent over a response",
    ("concept", "pooling"),
    columns(
        ("concept", "UINTEGER", "number of the concept"),
        ("pooling", "VARCHAR", "largest activation, fire rate, mean activation or last token"),
        (
            "agrees",
            "BOOLEAN",
            "makes every call that presence makes, same sign; or none where that makes none; NULL: untested",
        ),
        ("n_discordant", "UINTEGER", "labelled pairs whose pooled values differ"),
        ("win_rate", "DOUBLE", "taught: share of them whose chosen side has the larger value"),
        ("win_low", "DOUBLE", "95% interval, clustered by prompt group"),
        ("win_high", "DOUBLE", "upper end"),
        ("taught_z", "DOUBLE", "flip score of the pooled delta"),
        ("taught_q", "DOUBLE", "Benjamini–Hochberg q over the tested concepts under this pooling"),
        ("taught_call", "BOOLEAN", "q ≤ 0.05 and the interval clears the effect floor"),
        ("equal_win_rate", "DOUBLE", "win rate at equal length at the typical |delta|, one Newton step"),
        ("equal_low", "DOUBLE", "95% interval"),
        ("equal_high", "DOUBLE", "upper end"),
        ("equal_z", "DOUBLE", "score test of the pooled delta against the null model"),
        ("equal_q", "DOUBLE", "Benjamini–Hochberg q over the tested concepts under this pooling"),
        ("equal_call", "BOOLEAN", "q ≤ 0.05 and the interval clears the effect floor"),
    ),
)

SIDE_EFFECTS = Table(
    "side_effects",
    "what else moves when a called concept's mean u is halved by leaving out the pairs that teach it most",
    ("concept",),
    columns(
        ("concept", "UINTEGER", "number of the concept that is halved"),
        ("moved", "UINTEGER", "number of another concept that moves, clear of chance"),
        ("dropped", "DOUBLE", "summed weight of the pairs that were left out"),
        ("before", "DOUBLE", "mean u of the moved concept over all labelled pairs"),
        ("after", "DOUBLE", "the same over the pairs that are left"),
        ("change_low", "DOUBLE", "95% interval of the change, simultaneous over all tested concepts"),
        ("change_high", "DOUBLE", "upper end"),
    ),
)

LEVELS = Table(
    "levels",
    "every concept by source, model and annotator, and without each of them",
    ("concept", "facet", "rank"),
    columns(
        ("facet", "VARCHAR", "source, model or annotator; a facet with fewer than two levels is absent"),
        ("level", "VARCHAR", "name of the source, model or annotator"),
        ("rank", "USMALLINT", "place by prompt groups, largest 0"),
        ("concept", "UINTEGER", "number of the concept"),
        ("n_pairs", "UINTEGER", "labelled pairs of the level; a pair counts for both its models"),
        ("n_groups", "UINTEGER", "prompt groups among them"),
        ("n_discordant", "UINTEGER", "of them with u ≠ 0"),
        ("push", "DOUBLE", "Σ w·u of the level over Σ w of all pairs: over sources, adds up to mean_u"),
        (
            "win_rate",
            "DOUBLE",
            "taught by the level: share of discordant pairs whose chosen side carries more",
        ),
        ("low", "DOUBLE", "95% interval, clustered by prompt group"),
        ("high", "DOUBLE", "upper end"),
        ("call", "BOOLEAN", "called inside the level, with q over its concepts"),
        ("without_win_rate", "DOUBLE", "taught by all other pairs"),
        ("without_low", "DOUBLE", "95% interval"),
        ("without_high", "DOUBLE", "upper end"),
        ("without_call", "BOOLEAN", "called without the level"),
        ("equal_win_rate", "DOUBLE", "at equal length by all other pairs, null model refitted"),
        ("equal_low", "DOUBLE", "95% interval"),
        ("equal_high", "DOUBLE", "upper end"),
        ("equal_call", "BOOLEAN", "called at equal length without the level"),
    ),
)

SPREADS = Table(
    "spreads",
    "how much the levels of a facet agree about a concept",
    ("concept", "facet"),
    columns(
        ("facet", "VARCHAR", "source, model or annotator"),
        ("concept", "UINTEGER", "number of the concept"),
        ("n_levels", "USMALLINT", "levels in which the concept has an effect: those that were compared"),
        ("mean_win_rate", "DOUBLE", "random-effects mean of the log odds (DerSimonian–Laird), as a win rate"),
        ("mean_low", "DOUBLE", "95% interval"),
        ("mean_high", "DOUBLE", "upper end"),
        ("tau", "DOUBLE", "standard deviation of the log odds between levels"),
        ("i2", "DOUBLE", "share of the spread between levels that is not noise, 0–1"),
    ),
)

SCRUTINY = (POOLINGS, SIDE_EFFECTS, LEVELS, SPREADS)
