"""Tables, filters, sorts and details agree with plain SQL over the same index."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import duckdb
import numpy as np
import pytest

from engine.errors import Cancelled, ReviewError, StoreError
from engine.live.browse import Browser
from engine.records import Verdict
from engine.settings import ReviewSettings
from engine.store.carry import SKETCH, sketch_jaccard
from engine.store.pages import TableCursor
from engine.views.details import ConceptDetail
from engine.views.tables import GridRow, SortKey, Target
from tests.worlds import World, make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"), 300, 40)


@pytest.fixture
def browser(world: World) -> Iterator[Browser]:
    world.paths.journal.unlink(missing_ok=True)
    browser = Browser(world.paths, ReviewSettings(author="ana"))
    yield browser
    browser.close()


def sql(world: World, query: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(world.paths.index("world")), read_only=True) as connection:
        return connection.execute(query).fetchall()


def column(cursor: TableCursor, name: str) -> list[object]:
    at = cursor.spec.index(name)
    return [row.values[at] for row in cursor.rows(0, 5000)]


def target_of(cursor: TableCursor, row: GridRow) -> Target:
    kind, _, ident = row.values[cursor.spec.index("target")].partition(":")
    context = None if kind == "concept" else row.values[cursor.spec.index("context_id")]
    return Target(kind, ident, row.values[cursor.spec.index("concept_id")], context)


def test_rows_come_in_the_default_order_strongest_evidence_first(world: World, browser: Browser) -> None:
    cursor = browser.open_table("hypotheses")
    found = [r.key for r in cursor.rows(0, 100)]
    expected = sql(
        world, "SELECT hypothesis FROM hypotheses ORDER BY abs(taught_z) DESC NULLS LAST, hypothesis"
    )
    assert found == [r[0] for r in expected]


def test_pages_of_an_ordering_join_to_the_whole(browser: Browser) -> None:
    cursor = browser.open_table("pairs", sort=[SortKey("chosen_tokens", True)])
    pages = [row for first in range(0, cursor.n_rows, 64) for row in cursor.rows(first, 64)]
    assert len(pages) == cursor.n_rows == 300
    tokens = [r.values[cursor.spec.index("chosen_tokens")] for r in pages]
    assert tokens == sorted(tokens, reverse=True)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "TRUE"),
        ("win>.55", "h.win_rate > .55"),
        ("win>55%", "h.win_rate > .55"),
        ("!win>.55", "NOT coalesce(h.win_rate > .55, FALSE)"),
        ("context:tea", "x.name ILIKE '%tea%'"),
        ("!context:tea,code", "x.name NOT IN ('tea', 'code')"),
        ('"concept 3" win<=.5', "c.name ILIKE '%concept 3%' AND h.win_rate <= .5"),
        ("discordant>=.1k", "h.n_discordant >= 100"),
        ("stable:yes called:no", "h.is_stable AND NOT (h.taught_call OR h.equal_call)"),
        ("differs:none", "h.differs_z IS NULL"),
        ("discordant:20,18,none", "h.n_discordant IN (20, 18)"),
        ("discordant=1,000", "h.n_discordant = 1000"),
        ('!context:"tea",code', "x.name NOT IN ('tea', 'code')"),
    ],
)
def test_a_filter_means_what_its_sql_twin_means(
    world: World, browser: Browser, text: str, where: str
) -> None:
    found = {r.key for r in browser.open_table("hypotheses", text).rows(0, 1000)}
    twin = (
        "SELECT h.hypothesis FROM hypotheses h JOIN concepts c USING (concept)"
        f" JOIN contexts x ON x.context = h.context WHERE {where}"
    )
    assert found == {r[0] for r in sql(world, twin)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wim>.5", "did you mean `win`"),
        ("win>x", "is a number"),
        ("stable:5", "yes or no"),
        ("concept>3", "is text"),
    ],
)
def test_a_filter_that_makes_no_sense_says_why(browser: Browser, text: str, message: str) -> None:
    with pytest.raises(StoreError) as caught:
        browser.open_table("hypotheses", text)
    assert message in str(caught.value)


def test_a_filter_cannot_smuggle_sql(browser: Browser) -> None:
    assert browser.open_table("pairs", "prompt:'); DROP TABLE x; --").n_rows == 0
    assert browser.open_table("pairs", '"\' OR 1=1"').n_rows == 0


def test_position_finds_a_record_again_and_says_when_it_is_filtered_out(browser: Browser) -> None:
    cursor = browser.open_table("hypotheses")
    row = cursor.rows(7, 1)[0]
    assert cursor.position(row.ident) == 7
    assert browser.open_table("hypotheses", "discordant>1m").position(row.ident) is None


def test_facets_count_the_selection(world: World, browser: Browser) -> None:
    counts = {f.value: f.n for f in browser.open_table("pairs", "label:tie").facet("source")}
    expected = sql(world, "SELECT source, count(*) FROM pairs WHERE label = 'tie' GROUP BY 1")
    assert counts == {r[0]: r[1] for r in expected}


def test_verdicts_filter_sort_and_steer_to_the_next_undecided(browser: Browser) -> None:
    cursor = browser.open_table("hypotheses")
    rows = cursor.rows(0, 4)
    browser.set_verdict([target_of(cursor, r) for r in (rows[0], rows[1], rows[3])], Verdict.SUPPRESS)
    assert cursor.next_undecided(-1) == 2
    assert cursor.next_undecided(2) == 4
    assert cursor.next_undecided(4, backwards=True) == 2
    assert browser.open_table("hypotheses", "verdict:suppress").n_rows == 3
    assert browser.open_table("hypotheses", "verdict:none").n_rows == cursor.n_rows - 3
    browser.undo()
    assert browser.open_table("hypotheses", "verdict:suppress").n_rows == 0


def test_a_verdict_keeps_the_evidence_that_was_seen(world: World, browser: Browser) -> None:
    cursor = browser.open_table("hypotheses")
    row = cursor.rows(0, 1)[0]
    browser.set_verdict([target_of(cursor, row)], Verdict.KEEP, "why not")
    line = json.loads(world.paths.journal.read_text())
    low, estimate, high = row.values[cursor.spec.index("taught")]
    assert (line["evidence"]["win_low"], line["evidence"]["win_rate"]) == (low, estimate)
    assert line["evidence"]["win_high"] == high
    assert line["evidence"]["index"] == "world"
    assert line["evidence"]["latents"] == [0, 1, 2, 3, 4]


def test_a_name_given_by_a_person_is_shown_searched_and_taken_back(browser: Browser) -> None:
    cursor = browser.open_table("hypotheses")
    concept_id = cursor.rows(0, 1)[0].values[cursor.spec.index("concept_id")]
    browser.set_name(concept_id, "flattery")
    assert browser.open_table("hypotheses", "flatt").n_rows == 3
    assert browser.concept(concept_id).name == "flattery"
    browser.undo()
    assert browser.open_table("hypotheses", "flatt").n_rows == 0


def test_a_name_that_another_concept_goes_by_is_refused(browser: Browser) -> None:
    """Rule files know concepts by name: a second `flattery` would be ambiguous, `concept 2` another one."""
    first, second = (browser.find(f"concept {k}") for k in (0, 1))
    assert isinstance(first, ConceptDetail)
    assert isinstance(second, ConceptDetail)
    browser.set_name(first.concept_id, "flattery")
    for taken in ("Flattery", '"flattery"', "concept 2", "concept 0"):
        with pytest.raises(ReviewError, match=r"is what the concept concept [02] is called"):
            browser.set_name(second.concept_id, taken)
    browser.set_name(first.concept_id, "concept 0")  # its own label
    browser.set_name(second.concept_id, "flattery")


def test_no_question_interrupts_what_is_decided(browser: Browser) -> None:
    """Names and verdicts look things up before and after they are written; whatever is asked meanwhile."""
    is_done = threading.Event()

    def ask() -> None:
        while not is_done.is_set():
            with suppress(Cancelled):  # questions may interrupt each other
                browser.context_named("tea")

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        cursor = browser.open_table("hypotheses", "family:concepts")
        ident = str(cursor.rows(0, 1)[0].values[cursor.spec.index("concept_id")])
        target = Target("concept", ident, ident)
        for n in range(40):
            browser.set_name(ident, f"name {n}")
            browser.set_verdict([target], Verdict.KEEP if n % 2 else Verdict.SUPPRESS)
    finally:
        is_done.set()
        asker.join()
    assert browser.names()[ident] == "name 39"


def test_concepts_are_found_as_rule_files_write_them(browser: Browser) -> None:
    wanted = browser.find("concept 3")
    assert isinstance(wanted, ConceptDetail)
    browser.set_name(wanted.concept_id, "mine learned")
    for written in ("mine learned", '@"mine learned"', "@mine", '"Concept 3"'):
        found = browser.find(written)
        assert isinstance(found, ConceptDetail)
        assert found.concept_id == wanted.concept_id
    with pytest.raises(StoreError) as refused:
        browser.find("learned")
    assert refused.value.hint == "did you mean `mine learned`?"
    with pytest.raises(StoreError) as refused:
        browser.find("nothing like it")
    assert refused.value.hint == "`prosect concepts` lists concepts by name"


def test_coverage_counts_concepts_and_orphans(browser: Browser) -> None:
    cursor = browser.open_table("hypotheses", "family:concepts")
    browser.set_verdict([target_of(cursor, r) for r in cursor.rows(0, 2)], Verdict.IGNORE)
    browser.set_verdict([Target("concept", "gone", "gone")], Verdict.KEEP)
    coverage = browser.coverage()
    assert (coverage.n_concepts, coverage.n_decided, coverage.n_orphaned, coverage.undo_depth) == (8, 2, 1, 2)
    assert browser.verdicts()["concept:gone"].is_orphaned


def test_a_concepts_dose_adds_up_to_the_data(world: World, browser: Browser) -> None:
    cursor = browser.open_table("hypotheses", "family:concepts")
    concept_id = cursor.rows(0, 1)[0].values[cursor.spec.index("concept_id")]
    detail = browser.concept(concept_id)
    where = f"concept = {detail.concept} AND p.label = 'chosen'"
    base = "FROM concept_scores s JOIN pairs p USING (pair) WHERE " + where
    assert sum(b.n_chosen for b in detail.dose) == sql(world, f"SELECT count(*) {base} AND chosen > 0")[0][0]
    assert (
        sum(b.n_rejected for b in detail.dose) == sql(world, f"SELECT count(*) {base} AND rejected > 0")[0][0]
    )


def test_the_dose_is_a_histogram_of_both_sides_scores(world: World, browser: Browser) -> None:
    concept_id = str(sql(world, "SELECT concept_id FROM concepts WHERE concept = 2")[0][0])
    rows = sql(
        world,
        "SELECT chosen, rejected FROM concept_scores JOIN pairs p USING (pair)"
        " WHERE concept = 2 AND p.label = 'chosen'",
    )
    chosen, rejected = (np.array([float(str(row[side])) for row in rows]) for side in (0, 1))
    both = np.concatenate([chosen, rejected])
    edges = np.linspace(both[both > 0].min(), both.max(), 17)
    dose = browser.concept(concept_id).dose
    assert [b.n_chosen for b in dose] == np.histogram(chosen[chosen > 0], edges)[0].tolist()
    assert [b.n_rejected for b in dose] == np.histogram(rejected[rejected > 0], edges)[0].tolist()
    assert [b.low for b in dose] == pytest.approx(edges[:-1].tolist())


def test_neighbours_are_the_concepts_whose_disparities_point_the_same_way(
    world: World, browser: Browser
) -> None:
    u = np.zeros((8, world.readings.n_pairs))
    for concept, pair, value in sql(world, "SELECT concept, pair, u FROM concept_scores"):
        u[int(str(concept)), int(str(pair))] = float(str(value))
    cosine = u @ u[3] / np.linalg.norm(u, axis=1) / np.linalg.norm(u[3])
    ids = {str(row[1]): int(str(row[0])) for row in sql(world, "SELECT concept, concept_id FROM concepts")}
    concept_id = next(ident for ident, number in ids.items() if number == 3)
    found = {ids[n.concept_id]: n.cosine for n in browser.concept(concept_id).neighbours}
    assert found == pytest.approx({k: cosine[k] for k in range(8) if k != 3 and cosine[k] != 0}, abs=1e-6)


def test_top_pairs_differ_most_and_their_snippets_lie_in_the_text(world: World, browser: Browser) -> None:
    concept_id = str(sql(world, "SELECT concept_id FROM concepts WHERE concept = 1")[0][0])
    top = browser.concept(concept_id).top_pairs
    sizes = [abs(t.chosen_score - t.rejected_score) for t in top]
    assert sizes == sorted(sizes, reverse=True)
    for pair in top:
        text = world.pair_rows[pair.pair]["chosen"][0]["content"]
        piece = pair.chosen
        assert text[piece.n_before : piece.n_before + len(piece.text)] == piece.text
        assert piece.n_before + len(piece.text) + piece.n_after == len(text)


def test_a_pair_shows_its_texts_peaks_and_concepts(world: World, browser: Browser) -> None:
    concept_id = str(sql(world, "SELECT concept_id FROM concepts WHERE concept = 0")[0][0])
    pair = browser.concept(concept_id).top_pairs[0].pair
    detail = browser.pair(pair, concept_id)
    assert detail.chosen == world.pair_rows[pair]["chosen"][0]["content"]
    assert detail.peaks
    assert {p.latent for p in detail.peaks} <= set(range(5))
    assert any(c.concept_id == concept_id for c in detail.concepts)
    assert dict(detail.facts)["topic"] in {"tea", "code"}


def test_a_context_lists_its_pairs(world: World, browser: Browser) -> None:
    context_id = str(sql(world, "SELECT context_id FROM contexts WHERE name = 'tea'")[0][0])
    detail = browser.context(context_id)
    cursor = browser.open_table("pairs", context_id=context_id)
    assert detail.n_pairs == cursor.n_rows == 100
    assert len(detail.concepts) == 8


def test_a_concept_inside_a_context_shows_that_contexts_pairs(world: World, browser: Browser) -> None:
    context, context_id = sql(world, "SELECT context, context_id FROM contexts WHERE name = 'tea'")[0]
    concept_id = str(sql(world, "SELECT concept_id FROM concepts WHERE concept = 1")[0][0])
    inside = f"(SELECT pair FROM context_pairs WHERE context = {context})"
    where = f"concept = 1 AND p.label = 'chosen' AND p.pair IN {inside}"
    scored = f"FROM concept_scores s JOIN pairs p USING (pair) WHERE {where}"
    for is_brief in (True, False):
        detail = browser.concept(concept_id, str(context_id), is_brief=is_brief)
        assert detail.inside is not None
        assert (detail.inside.context, detail.inside.context_name) == (context, "tea")
        wanted = sql(
            world, f"SELECT s.pair {scored} ORDER BY abs(s.chosen - s.rejected) DESC, s.pair LIMIT 8"
        )
        assert [(top.pair,) for top in detail.top_pairs[:8]] == wanted
        n = sql(world, f"SELECT count(*) FILTER (s.chosen <> 0), count(*) FILTER (s.rejected <> 0) {scored}")
        assert (sum(d.n_chosen for d in detail.dose), sum(d.n_rejected for d in detail.dose)) == n[0]
    assert browser.concept(concept_id).inside is None
    with pytest.raises(StoreError, match="no context nowhere"):
        browser.concept(concept_id, "nowhere")


def test_a_newer_index_is_followed(tmp_path: Path) -> None:
    world = make_world(tmp_path, 60, 40)
    browser = Browser(world.paths, ReviewSettings(author="ana"))
    old = browser.open_table("pairs")
    assert not browser.reopen_if_changed()
    world.paths.index("world").rename(world.paths.index("next"))
    pointer = json.loads(world.paths.current.read_text())
    pointer["readers"]["reader"]["index"] = "next"
    world.paths.current.write_text(json.dumps(pointer))
    assert browser.reopen_if_changed()
    assert browser.summary().index_hash == "next"
    assert len(old.rows(0, 10)) == 10
    browser.close()


def test_a_verdict_follows_its_concept_into_a_new_index(tmp_path: Path) -> None:
    """Latents 0–5 become 0–4 and 47: five are shared of seven in all."""
    world = make_world(tmp_path, 60, 48)  # 8 concepts of 6 latents
    browser = Browser(world.paths, ReviewSettings(author="ana"))
    cursor = browser.open_table("hypotheses", "family:concepts")
    rows = {r.values[cursor.spec.index("concept")]: r for r in cursor.rows(0, 8)}
    kept, lost = (target_of(cursor, rows[name]) for name in ("concept 0", "concept 5"))
    browser.set_verdict([kept], Verdict.SUPPRESS)
    browser.set_verdict([lost], Verdict.KEEP)
    browser.close()
    with duckdb.connect(str(world.paths.index("world"))) as connection:
        connection.execute("UPDATE concepts SET concept_id = 'new' || concept_id WHERE concept IN (0, 5)")
        connection.execute("DELETE FROM concept_members WHERE concept = 0 AND latent = 5")
        connection.execute("INSERT INTO concept_members VALUES (0, 47, 0.1)")
        connection.execute("UPDATE concept_members SET latent = latent + 100 WHERE concept = 5")
    again = Browser(world.paths, ReviewSettings(author="ana"))
    views = again.verdicts()
    carried = views["concept:new" + kept.ident]
    assert (carried.verdict, carried.carried_from) == (Verdict.SUPPRESS, kept.key)
    assert carried.match == pytest.approx(5 / 7)  # five shared, six and six latents
    assert views[lost.key].is_orphaned
    coverage = again.coverage()
    assert (coverage.n_carried, coverage.n_orphaned) == (1, 1)
    cleared = again.clear_verdict([carried.target])
    assert set(cleared.changed) == {kept.key, carried.target.key}
    assert carried.target.key not in again.verdicts()
    assert again.undo().changed == (kept.key,)
    assert again.verdicts()[carried.target.key].carried_from == kept.key
    again.set_verdict([carried.target], Verdict.KEEP)
    assert again.verdicts()[carried.target.key].carried_from is None
    again.close()


def _renamed_world(tmp_path: Path, name: Callable[[Browser, dict[str, str]], None]) -> Browser:
    """Names given, then every concept with a new id; 0 and 1 keep five of six latents, 5 keeps none."""
    world = make_world(tmp_path, 60, 48)  # 8 concepts of 6 latents
    browser = Browser(world.paths, ReviewSettings(author="ana"))
    ids = {str(n): str(i) for n, i in sql(world, "SELECT name, concept_id FROM concepts")}
    name(browser, ids)
    browser.close()
    with duckdb.connect(str(world.paths.index("world"))) as connection:
        connection.execute("UPDATE concepts SET concept_id = 'new' || concept_id")
        connection.execute("DELETE FROM concept_members WHERE (concept, latent) IN ((0, 5), (1, 11))")
        connection.execute("UPDATE concepts SET n_latents = 5 WHERE concept IN (0, 1)")
        connection.execute("UPDATE concept_members SET latent = latent + 100 WHERE concept = 5")
    return Browser(world.paths, ReviewSettings(author="ana"))


def test_a_name_follows_its_concept_into_a_new_index_marked_until_it_is_given_again(tmp_path: Path) -> None:
    ids: dict[str, str] = {}

    def give(browser: Browser, found: dict[str, str]) -> None:
        ids.update(found)
        browser.set_name(ids["concept 0"], "flattery")
        browser.set_name(ids["concept 5"], "hedging")

    again = _renamed_world(tmp_path, give)
    new = "new" + ids["concept 0"]
    views = {v.name: v for v in again.name_views()}
    assert (views["flattery"].concept_id, views["flattery"].carried_from) == (new, ids["concept 0"])
    assert views["flattery"].match == pytest.approx(5 / 6)
    assert views["hedging"].is_orphaned
    assert again.names() == {new: "flattery"}
    assert again.concept(new).name == "flattery ~"
    coverage = again.coverage()
    assert (coverage.n_names_carried, coverage.n_names_orphaned) == (1, 1)
    again.set_name(new, "flattery")
    assert again.concept(new).name == "flattery"
    assert again.coverage().n_names_carried == 0
    again.close()


def test_a_name_taken_back_or_given_in_the_new_index_is_not_overruled_by_a_carried_one(
    tmp_path: Path,
) -> None:
    ids: dict[str, str] = {}

    def give(browser: Browser, found: dict[str, str]) -> None:
        ids.update(found)
        browser.set_name(ids["concept 0"], "flattery")
        browser.set_name(ids["concept 1"], "praise")

    again = _renamed_world(tmp_path, give)
    assert set(again.names().values()) == {"flattery", "praise"}
    again.set_name("new" + ids["concept 0"], "")
    again.set_name("new" + ids["concept 1"], "thanks")
    assert again.names() == {"new" + ids["concept 1"]: "thanks"}
    assert {v.name for v in again.name_views() if v.is_orphaned} == {"flattery", "praise"}
    again.close()


def test_a_name_written_without_latents_goes_by_the_verdict_on_its_concept(tmp_path: Path) -> None:
    """Journals of earlier versions kept latents with verdicts only."""
    ids: dict[str, str] = {}

    def give(browser: Browser, found: dict[str, str]) -> None:
        ids.update(found)
        for name in ("concept 0", "concept 1"):
            browser.journal.set_name(ids[name], f"my {name}")
        browser.set_verdict([Target("concept", ids["concept 0"], ids["concept 0"])], Verdict.KEEP)

    again = _renamed_world(tmp_path, give)
    assert again.names() == {"new" + ids["concept 0"]: "my concept 0"}
    assert [v.name for v in again.name_views() if v.is_orphaned] == ["my concept 1"]
    again.close()


@pytest.mark.parametrize(("sae", "n_carried"), [("same", 1), ("other", 0)])
def test_a_verdict_follows_the_latents_of_its_sae_to_another_reader(
    tmp_path: Path, sae: str, n_carried: int
) -> None:
    """Another precision or length limit is another reader; the latents mean the same."""
    world = make_world(tmp_path, 60, 48)
    path = world.paths.index("world")

    def set_sae(name: str) -> None:
        with duckdb.connect(str(path)) as connection:
            connection.execute("DELETE FROM meta WHERE key = 'reader'")
            connection.execute(
                "INSERT INTO meta VALUES ('reader', ?)", [json.dumps({"sae_fingerprint": name})]
            )

    set_sae("same")
    browser = Browser(world.paths, ReviewSettings(author="ana"))
    cursor = browser.open_table("hypotheses", "family:concepts")
    target = target_of(cursor, cursor.rows(0, 1)[0])
    browser.set_verdict([target], Verdict.SUPPRESS)
    browser.close()
    set_sae(sae)
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE concepts SET concept_id = 'new' || concept_id")
    pointer = json.loads(world.paths.current.read_text())
    pointer["readers"] = {"another": pointer["readers"]["reader"]}
    pointer["default"] = "another"
    world.paths.current.write_text(json.dumps(pointer))
    again = Browser(world.paths, ReviewSettings(author="ana"))
    coverage = again.coverage()
    assert (coverage.n_carried, coverage.n_orphaned) == (n_carried, 1 - n_carried)
    again.close()


def test_a_verdict_follows_its_context_into_a_new_index(tmp_path: Path) -> None:
    """The context loses a tenth of its pairs, and with them its id; another changes beyond recognition."""
    world = make_world(tmp_path, 400, 48)
    browser = Browser(world.paths, ReviewSettings(author="ana"))
    cursor = browser.open_table("hypotheses", "family:cells")
    names = (cursor.spec.index("concept"), cursor.spec.index("context"))
    rows = {(r.values[names[0]], r.values[names[1]]): r for r in cursor.rows(0, 5000)}
    contexts = sorted({context for _, context in rows})
    kept, lost = (target_of(cursor, rows["concept 0", context]) for context in contexts[:2])
    browser.set_verdict([kept, lost], Verdict.SUPPRESS)
    browser.close()
    with duckdb.connect(str(world.paths.index("world"))) as connection:
        connection.execute("UPDATE contexts SET context_id = 'new' || context_id WHERE context > 0")
        connection.execute("UPDATE hypotheses SET hypothesis_id = 'new' || hypothesis_id WHERE context > 0")
        numbers = [
            connection.execute("SELECT context FROM contexts WHERE name = ?", [c]).fetchone()
            for c in contexts
        ]
        first, second = (int(row[0]) for row in numbers if row)
        connection.execute("DELETE FROM context_pairs WHERE context = ? AND pair % 10 = 0", [first])
        connection.execute("DELETE FROM context_pairs WHERE context = ? AND pair % 5 > 0", [second])
    again = Browser(world.paths, ReviewSettings(author="ana"))
    views = {view.carried_from or key: view for key, view in again.verdicts().items()}
    assert views[kept.key].target.context_id == "new" + str(kept.context_id)
    assert views[kept.key].match == pytest.approx(0.9, abs=0.1)
    assert views[lost.key].is_orphaned
    again.close()


def test_a_sketch_estimates_the_jaccard_index() -> None:
    """Two sets of 3,000 ids that share 2,000 of 4,000; and small ones, kept whole: 1 of 3."""
    ids = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(4000)]
    a, b = sorted(ids[:3000])[:SKETCH], sorted(ids[1000:])[:SKETCH]
    assert sketch_jaccard(a, b) == pytest.approx(0.5, abs=0.15)
    assert sketch_jaccard(a, a) == 1
    assert sketch_jaccard(ids[:2], ids[1:3]) == pytest.approx(1 / 3)
    assert sketch_jaccard([], []) == 0
