"""One latent by its number: its own estimates, the concepts that it is in, where it differs most."""

from engine.errors import StoreError
from engine.store.details import estimates_of
from engine.store.mirror import SHOWN_NAME
from engine.store.pages import QuerySlot
from engine.store.snippets import cut_around
from engine.views.details import LatentDetail, LatentHome, TopPair

N_PAIRS = 24


def latent_detail(slot: QuerySlot, latent: int) -> LatentDetail:
    """A latent that fired. Raises ``StoreError`` for any other."""
    found = slot.run("SELECT n_prompt FROM latents WHERE latent = ?", [latent])
    if not found:
        raise StoreError(
            f"latent #{latent} fires on no span of this index",
            hint="latents are numbered as in the SAE, from 0",
        )
    return LatentDetail(
        latent,
        int(found[0][0] or 0),
        estimates_of(slot, "latents h", "h.latent = ?", [latent]),
        _homes(slot, latent),
        _top_pairs(slot, latent),
    )


def _homes(slot: QuerySlot, latent: int) -> tuple[LatentHome, ...]:
    rows = slot.run(
        f"SELECT c.concept_id, {SHOWN_NAME}, c.kind, c.n_latents,"
        " (SELECT count(*) FROM concept_members o"
        "   WHERE o.concept = m.concept AND o.centrality > m.centrality)"
        " FROM concept_members m JOIN concepts c ON c.concept = m.concept"
        " LEFT JOIN memory.main.names n ON n.concept_id = c.concept_id WHERE m.latent = ? ORDER BY c.concept",
        [latent],
    )
    return tuple(
        LatentHome(str(i), name or "", kind, int(n or 0), int(k) + 1) for i, name, kind, n, k in rows
    )


def _top_pairs(slot: QuerySlot, latent: int) -> tuple[TopPair, ...]:
    """Labelled pairs with the largest |chosen − rejected| activation."""
    rows = slot.run(
        "SELECT p.pair, p.pair_id, p.source, a.chosen_max, a.rejected_max, p.chosen_text, p.rejected_text,"
        " CASE WHEN a.chosen_n > 0 THEN a.chosen_peak END,"
        " CASE WHEN a.rejected_n > 0 THEN a.rejected_peak END, p.chosen_tokens, p.rejected_tokens"
        " FROM (SELECT a.* FROM acts a JOIN pairs q ON q.pair = a.pair AND q.label = 'chosen'"
        "   WHERE a.latent = ? ORDER BY abs(a.chosen_max - a.rejected_max) DESC, a.pair LIMIT ?) a"
        " JOIN pairs p ON p.pair = a.pair ORDER BY abs(a.chosen_max - a.rejected_max) DESC, a.pair",
        [latent, N_PAIRS],
    )
    return tuple(
        TopPair(
            int(pair), str(ident), source or "", float(chosen or 0), float(rejected or 0),
            cut_around(chosen_text or "", chosen_peak, int(n_chosen or 0)),
            cut_around(rejected_text or "", rejected_peak, int(n_rejected or 0)),
        )
        for pair, ident, source, chosen, rejected, chosen_text, rejected_text, chosen_peak, rejected_peak,
            n_chosen, n_rejected in rows
    )  # fmt: skip
