"""Small moves as people who know vim expect them, and lines that say how things stand."""

from textual import events

from engine.live.browse import Browser
from engine.records import Verdict
from engine.settings import ReviewSettings
from engine.views.details import ConceptDetail, PairDetail
from tests.tui.driving import Driver, drive
from tests.worlds import World
from tui.places import Place


def bottom(driver: Driver) -> str:
    """The last line of the screen."""
    return driver.screen().splitlines()[-1]


def test_what_was_typed_of_a_sequence_leaves_the_screen_with_it(world: World) -> None:
    """Also where the sequence leads to where one is already, and where escape takes it back."""

    async def scenario(d: Driver) -> None:
        await d.keys("j", "5")
        assert bottom(d).startswith("5 …")
        await d.keys("escape")
        assert "keep" in bottom(d)
        await d.keys("j")
        assert d.desk.table.grid.cursor == 2  # the count is gone
        for sequence in (("g", "x"), ("g", "h"), ("1", "k")):
            await d.keys(*sequence)
            await d.until(lambda: d.desk.is_idle)
            assert "enter open" in bottom(d), sequence
        await d.keys("enter")
        await d.shows("Top pairs")
        await d.keys("g", "escape")
        assert d.desk.place.view == "concept"
        assert "means nothing" not in d.screen()

    drive(world, scenario)


def test_the_cursor_goes_to_places_of_the_screen_and_the_view_moves_under_it(world: World) -> None:
    async def scenario(d: Driver) -> None:
        grid = d.desk.table.grid
        await d.keys("L")
        height = grid.body_height
        assert height < grid.n_rows
        assert grid.cursor == height - 1
        await d.keys("M")
        assert grid.cursor == (height - 1) // 2
        await d.keys("H")
        assert grid.cursor == 0
        await d.keys("3", "H")
        assert grid.cursor == 2
        await d.keys("2", "L")
        assert grid.cursor == height - 2
        await d.keys("H", "j", "ctrl+e")
        assert (grid.top, grid.cursor) == (1, 1)  # the view moved, the row stayed
        await d.keys("ctrl+e")
        assert (grid.top, grid.cursor) == (2, 2)  # it would have left the screen
        await d.keys("2", "ctrl+y")
        assert (grid.top, grid.cursor) == (0, 2)
        await d.keys("9", "ctrl+y")
        assert (grid.top, grid.cursor) == (0, 2)
        await d.keys("enter")
        await d.shows("undecided")
        await d.keys("2", "ctrl+e")
        assert d.desk.page.top == 2
        await d.keys("ctrl+y")
        assert d.desk.page.top == 1

    drive(world, scenario, size=(100, 12))


def test_values_that_nothing_matches_are_said_to_be_none(world: World) -> None:
    async def scenario(d: Driver) -> None:
        await d.keys("g", "p")
        await d.shows("Pairs")
        await d.keys("F")
        await d.until(lambda: d.desk.place.view == "facets")
        await d.type("zzz")
        await d.shows("no value of this column matches")
        await d.keys("enter")
        await d.until(lambda: d.desk.place.view == "pairs")

    drive(world, scenario)


def test_tab_completes_what_a_command_is_given(world: World) -> None:
    (world.paths.rules_dir).mkdir(exist_ok=True)
    (world.paths.rules_dir / "strict.rules").write_text("prosect rules 1\n")

    async def scenario(d: Driver) -> None:
        grid = d.desk.table.grid
        await d.keys(":")
        await d.type("sort wi")
        await d.shows("tab: win")
        await d.keys("tab", "enter")
        await d.until(lambda: [k.column for k in grid.sort] == ["win"])
        await d.keys("g", "r")
        await d.shows("prosect rules 1")
        await d.keys(":")
        await d.until(lambda: "strict" in d.desk.doing.known_files())
        await d.type("rule-file st")
        await d.keys("tab", "enter")
        await d.until(lambda: d.desk.doing.rule_name == "strict")
        await d.keys("f")
        await d.shows("strict")
        await d.keys("escape")

    drive(world, scenario)


def test_undo_says_in_which_context_it_was_decided(world: World) -> None:
    async def scenario(d: Driver) -> None:
        await d.keys("/")
        await d.type("context:tea")
        await d.keys("enter")
        await d.until(lambda: d.desk.table.grid.n_rows == 8)
        await d.keys("-", "u")
        await d.shows("· in tea")
        assert "undo: suppress" in bottom(d)

    drive(world, scenario)


def test_looking_again_filters_again(world: World) -> None:
    """What others decided leaves a list of what is undecided; what one decides oneself does not at once."""

    async def scenario(d: Driver) -> None:
        grid = d.desk.table.grid
        await d.keys("/")
        await d.type("verdict:none")
        await d.keys("enter")
        await d.until(lambda: d.desk.is_idle)
        n = grid.n_rows
        row = grid.row(3)
        assert row is not None
        target = str(row.values[grid.spec.index("target")])
        other = Browser(world.paths, ReviewSettings(author="bo"))
        spec = next(t for t in other.tables() if t.name == "hypotheses")
        from tui.review import target_of

        other.set_verdict([target_of(row, spec)], Verdict.SUPPRESS)
        other.close()
        await d.keys("R")
        await d.until(lambda: target in d.desk.reviewer.held)
        await d.keys("R")
        await d.until(lambda: grid.n_rows == n - 1)
        assert grid.row_of(target) is None

    drive(world, scenario)


def test_statements_are_added_for_a_context_of_a_concept_that_has_one_already(world: World) -> None:
    path = world.paths.rules_dir / "main.rules"

    async def scenario(d: Driver) -> None:
        await d.keys("/")
        await d.type("family:concepts")
        await d.keys("enter")
        await d.until(lambda: d.desk.is_idle)
        row = d.desk.table.grid.current
        assert row is not None
        concept = str(row.values[d.desk.table.grid.spec.index("concept_id")])
        await d.keys("-", "g", "r")
        await d.shows("prosect rules 1")
        await d.keys("A")
        await d.shows("lines added")
        await d.keys("q", "/", "ctrl+u")
        await d.type("context:tea")
        await d.keys("enter")
        await d.until(lambda: d.desk.is_idle)
        grid = d.desk.table.grid
        ids = [str(r.values[grid.spec.index("concept_id")]) for r in map(grid.row, range(grid.n_rows)) if r]
        await d.keys("g", "g", *(["j"] * ids.index(concept)), "-", "g", "r")
        await d.shows("prosect rules 1")
        await d.keys("A")
        await d.until(lambda: path.exists() and path.read_text().count("suppress @") == 2)
        assert "# in context tea" in path.read_text()
        await d.until(lambda: d.desk.is_idle)
        assert "error" not in d.screen(), d.screen() + path.read_text()

    drive(world, scenario)


def test_a_statement_that_is_typed_stands_in_its_place_with_what_is_wrong_with_it(world: World) -> None:
    world.paths.rules_dir.mkdir(exist_ok=True)
    text = 'prosect rules 1\nexpect kept > 50%\nflip where source == "alpha"\n'
    (world.paths.rules_dir / "main.rules").write_text(text)

    async def scenario(d: Driver) -> None:
        await d.keys("g", "r")
        await d.shows("expect kept")
        await d.until(lambda: d.desk.is_idle)
        await d.keys("g", "g", "o")
        await d.type("drop where delta(@con")
        await d.shows("R103")
        lines = d.screen().splitlines()
        at = next(i for i, line in enumerate(lines) if "drop where delta(@con" in line)
        assert "R103" in "".join(lines[at : at + 3])
        assert "expect kept" in lines[at + lines[at:].index(next(x for x in lines[at:] if "expect" in x))]
        await d.keys("escape")
        await d.until(lambda: "R103" not in d.screen() and "delta(@con" not in d.screen())
        assert (world.paths.rules_dir / "main.rules").read_text() == text

    drive(world, scenario)


def test_lines_that_are_pasted_are_lines_of_the_file_and_one_step_of_undo(world: World) -> None:
    path = world.paths.rules_dir / "main.rules"

    async def scenario(d: Driver) -> None:
        await d.keys("g", "r")
        await d.shows("prosect rules 1")
        await d.keys("o")
        await d.type("# two")
        d.app.post_message(events.Paste("\ndrop where chosen.tokens > 60\nexpect kept > 99%\n"))
        await d.until(lambda: path.exists() and "expect" in path.read_text())
        text = "prosect rules 1\n# two\ndrop where chosen.tokens > 60\nexpect kept > 99%\n"
        assert path.read_text() == text
        await d.shows("fails:")  # at its line
        await d.keys("u")
        await d.until(lambda: path.read_text() == "prosect rules 1\n")

    drive(world, scenario)


def test_a_page_draws_what_it_shows_whatever_was_scrolled_before(world: World) -> None:
    async def scenario(d: Driver) -> None:
        await d.keys("enter")
        await d.shows("undecided")
        for move in (("ctrl+d",), ("G",), ("ctrl+e", "ctrl+e", "ctrl+e")):
            await d.keys(*move, "J")
            await d.until(lambda: d.desk.is_idle)
            await d.pilot.pause(0.05)
            drawn = d.screen()
            d.desk.page.refresh()
            await d.pilot.pause(0.05)
            assert drawn == d.screen()

    drive(world, scenario, size=(100, 14))


def test_t_goes_round_all_concepts_of_a_pair(world: World) -> None:
    async def scenario(d: Driver) -> None:
        await d.keys("g", "p")
        await d.shows("Pairs")
        await d.keys("enter")
        await d.until(lambda: isinstance(d.desk.detail, PairDetail) and d.desk.is_idle)
        detail = d.desk.detail
        assert isinstance(detail, PairDetail)
        n = len(detail.concepts)
        assert n > 2
        seen = []
        for _ in range(n):
            await d.keys("t")
            await d.until(lambda: d.desk.is_idle and d.desk.detail is not None)
            seen.append(d.desk.place.about)
        assert len(set(seen)) == n

    drive(world, scenario)


def test_leaving_a_filter_keeps_the_row_or_goes_back_to_where_one_was(world: World) -> None:
    async def scenario(d: Driver) -> None:
        grid = d.desk.table.grid

        async def settled() -> None:
            await d.until(lambda: d.desk.is_idle and grid.current is not None)

        await d.keys("7", "j", "/")
        await d.type("context:tea")
        await d.keys("enter")
        await settled()
        await d.keys("3", "j")
        row = grid.current
        assert row is not None
        await d.keys("q")
        await settled()
        assert grid.current is not None
        assert grid.current.ident == row.ident
        await d.keys("1", "0", "g", "g", "/")
        tenth = grid.current.ident
        await d.type("context:nosuchthing")
        await d.keys("enter")
        await d.until(lambda: d.desk.is_idle and grid.n_rows == 0)
        await d.keys("q")
        await settled()
        assert grid.current.ident == tenth

    drive(world, scenario)


def test_the_key_for_pairs_leads_out_of_the_pairs_of_one_context(world: World) -> None:
    async def scenario(d: Driver) -> None:
        await d.keys("g", "x")
        await d.shows("Contexts")
        await d.keys("/")
        await d.type("tea")
        await d.keys("enter", "enter")
        await d.shows("its pairs as a list")
        await d.until(lambda: d.desk.is_idle)
        await d.keys("enter")
        await d.shows("Pairs  in tea")
        await d.keys("g", "p")
        await d.until(lambda: d.desk.is_idle and d.desk.table.wish.context_id is None)
        assert "in tea" not in d.screen().splitlines()[1]

    drive(world, scenario)


def test_a_concept_with_quotes_in_its_name_can_be_filtered_to(world: World) -> None:
    browser = Browser(world.paths, ReviewSettings(author="ana"))
    concept = browser.open_table("hypotheses", "family:concepts").rows(0, 1)[0]
    spec = next(t for t in browser.tables() if t.name == "hypotheses")
    browser.set_name(str(concept.values[spec.index("concept_id")]), '"sense" · "formula", or so')
    browser.close()

    async def scenario(d: Driver) -> None:
        grid = d.desk.table.grid
        await d.keys("/")
        await d.type("sense")
        await d.keys("enter")
        await d.until(lambda: d.desk.is_idle and 0 < grid.n_rows < 24)
        n = grid.n_rows
        await d.keys("/", "ctrl+u", "enter")
        await d.until(lambda: d.desk.is_idle and grid.n_rows == 24)
        while grid.chosen_column.name != "concept":
            await d.keys(">")
        await d.keys(",")
        await d.until(lambda: d.desk.is_idle and grid.n_rows == n)
        ident = str(grid.current.ident) if grid.current else ""
        looking = Browser(world.paths, ReviewSettings(author="bo"))
        found = looking.find(ident[:12])  # what `y y` copies
        looking.close()
        assert isinstance(found, ConceptDetail)
        assert found.name.startswith('"sense"')

    drive(world, scenario)


def test_the_ends_of_a_list_and_an_empty_look_are_said(world: World) -> None:
    async def scenario(d: Driver) -> None:
        await d.keys("g", "g", "enter")
        await d.shows("undecided")
        await d.keys("K")
        await d.shows("this is the first record of the list")
        await d.keys("q", "R")
        await d.shows("nothing new")
        await d.keys(":")
        await d.type("sort -discordant,win")
        await d.keys("enter")
        await d.until(lambda: [(k.column, k.descending) for k in d.desk.table.grid.sort] == [
            ("discordant", True), ("win", False),
        ])  # fmt: skip

    drive(world, scenario)


def test_tab_goes_round_the_columns_that_begin_so(world: World) -> None:
    async def scenario(d: Driver) -> None:
        await d.keys("/")
        await d.type("!eq")
        seen = []
        for _ in range(4):
            await d.keys("tab")
            prompt = d.desk.keyboard.prompt
            assert prompt is not None
            seen.append(prompt.typing.text)
        assert seen == ["!equal:", "!equal_win:", "!equal_q:", "!equal:"]
        await d.keys("escape")

    drive(world, scenario)


def test_escape_closes_the_innermost_thing_only(world: World) -> None:
    async def scenario(d: Driver) -> None:
        async def escape() -> None:
            await d.keys("escape")
            await d.until(lambda: d.desk.is_idle)

        d.desk.go(Place("contexts"))
        await d.keys("g", "h")
        await d.keys("/", *"family:cells", "enter")
        await d.until(lambda: d.desk.table.wish.filter_text == "family:cells")
        await d.until(lambda: d.desk.is_idle)
        await d.keys("space", "k", "k")
        await d.shows("this is the first row")
        await escape()
        assert "first row" not in d.screen()
        assert len(d.desk.table.grid.selection()) == 1
        await escape()
        assert d.desk.table.grid.selection() == []
        await d.keys("enter")
        await d.shows("telling words")
        await d.keys("/", *"more: enter", "enter")
        await d.shows("match 1 of")
        n = len(d.desk.page.lines)
        await d.keys("enter")
        await d.until(lambda: len(d.desk.page.lines) > n)
        await d.keys("/", *"pairs", "escape")
        await escape()
        assert (d.desk.place.view, len(d.desk.page.lines)) == ("concept", n)
        await escape()
        assert d.desk.place == Place("hypotheses", "family:cells")
        await escape()
        assert d.desk.place == Place("hypotheses")

    drive(world, scenario, size=(80, 24))


def test_a_key_right_behind_escape_is_typed_after_it(world: World) -> None:
    async def scenario(d: Driver) -> None:
        await d.keys("/", *"tea")
        d.app.post_message(events.Key("alt+j", "j"))
        await d.until(lambda: d.desk.keyboard.prompt is None and d.desk.table.grid.cursor == 1)
        assert d.desk.table.wish.filter_text == ""

    drive(world, scenario)


def test_enter_opens_only_what_is_seen_and_scrolling_takes_the_cursor_along(world: World) -> None:
    async def scenario(d: Driver) -> None:
        await d.keys("g", "p")
        await d.shows("Pairs")
        await d.keys("enter")
        await d.until(lambda: d.desk.place.view == "pair" and d.desk.detail is not None)
        await d.until(lambda: d.desk.is_idle)
        d.desk.draw_page(keep_place=True)  # as when the pair's fate is known
        assert d.desk.page.cursor == -1 or d.desk.page.is_cursor_seen
        pair = d.desk.place
        if d.desk.page.cursor == -1:
            await d.keys("enter")
            assert d.desk.place == pair
        assert d.desk.page.is_cursor_seen
        for key in ("ctrl+d", "ctrl+d", "ctrl+u", "ctrl+e", "ctrl+y", "ctrl+u"):
            await d.keys(key)
            stops = [i for i, line in enumerate(d.desk.page.lines) if line.item is not None]
            page = d.desk.page
            assert page.is_cursor_seen or not any(page.top <= i < page.top + page.size.height for i in stops)

    drive(world, scenario, size=(80, 24))


def test_undo_and_redo_go_to_what_they_changed_and_keys_behind_them_are_for_that(world: World) -> None:
    """One takes a verdict back to give another one: on the row it was about, and on its page."""

    async def scenario(d: Driver) -> None:
        grid = d.desk.table.grid
        await d.keys("=", "=", "3", "j")
        await d.until(lambda: len(d.desk.reviewer.held) == 2 and grid.cursor == 5)
        await d.keys("u", "-")  # without waiting for the answer
        assert grid.row(1) is not None
        key = str(getattr(grid.row(1), "values", ())[grid.spec.index("target")])
        await d.until(lambda: d.desk.reviewer.verdict(key) is Verdict.SUPPRESS)
        await d.keys("2", "u")
        await d.shows("undo of 2 steps")
        assert grid.cursor == 0
        await d.keys("ctrl+r")
        await d.shows("redo: keep")
        assert grid.cursor == 0
        await d.keys("ctrl+r")
        await d.until(lambda: grid.cursor == 1)
        await d.keys("enter")
        await d.until(lambda: d.desk.place.view == "concept")
        opened = d.desk.place
        await d.keys("+")
        await d.until(lambda: d.desk.place != opened)
        await d.keys("u")
        await d.until(lambda: d.desk.place == opened)

    drive(world, scenario)


def test_half_a_sequence_does_not_outlive_a_line_that_opens(world: World) -> None:
    """A key that came before its question is no answer, and does not eat the key after it."""

    async def scenario(d: Driver) -> None:
        await d.keys("y")
        d.desk.doing.confirm("sure?", lambda: None)
        await d.shows("sure? y/N")
        await d.keys("enter")
        await d.shows("nothing was done")
        await d.keys("g", "x")
        await d.shows("Contexts")

    drive(world, scenario)


def test_a_command_says_what_it_cannot_take_and_takes_counts(world: World) -> None:
    async def scenario(d: Driver) -> None:
        await d.keys("=", "=", "=")
        await d.until(lambda: len(d.desk.reviewer.held) == 3)
        await d.keys(*":coverage now", "enter")
        await d.shows("coverage takes nothing behind it: now")
        assert d.desk.place.view == "hypotheses"
        await d.keys(*":undo 2", "enter")
        await d.shows("undo of 2 steps")
        await d.keys(*":help take back", "enter")
        await d.shows("take back your last step")
        assert "next row without a verdict" not in d.screen()

    drive(world, scenario)
