"""Lists by keys: filters, sorting, facets, columns, copied rows."""

from tests.tui.driving import Driver, drive
from tests.worlds import World
from tui.widgets.grid import AHEAD_S
from tui.yank import yank_file


def test_lines_that_were_drawn_before_are_what_would_be_drawn_now(world: World) -> None:
    async def scenario(d: Driver) -> None:
        grid = d.desk.table.grid

        def lines() -> list[str]:
            return [grid.render_line(y).text for y in range(grid.size.height)]

        async def agree() -> None:
            await d.pilot.pause(2 * AHEAD_S)  # whatever is drawn ahead is there
            held = lines()
            grid._strips.clear()
            assert held == lines()

        await d.keys("z", "ctrl+f")
        await d.pilot.pause(2 * AHEAD_S)
        ahead = range(grid.top + grid.body_height, min(grid.top + 2 * grid.body_height, grid.n_rows))
        assert len(ahead) > 0
        assert set(ahead) <= set(grid._strips)
        await d.keys("ctrl+f")
        await agree()
        for key in ("space", "-", "V", "j", "u", "escape", "k", "="):
            await d.keys(key)
            await agree()
        await d.keys("c", "ctrl+u", *"a new name", "enter")
        await d.shows("a new name")
        await agree()

    drive(world, scenario, size=(100, 12))


def test_a_filter_narrows_while_typing_and_escape_takes_it_back(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys("/")
        await driver.type("context:tea")
        await driver.until(lambda: driver.desk.table.grid.n_rows == 8)
        await driver.keys("escape")
        await driver.until(lambda: driver.desk.table.grid.n_rows == 24)
        await driver.keys("/")
        await driver.type("wim>1")
        await driver.keys("enter")
        await driver.shows("did you mean `win`")

    drive(world, scenario)


def test_a_filter_for_a_value_that_no_row_has_names_the_nearest(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys("g", "p")
        await driver.shows("Pairs")
        await driver.keys("/")
        await driver.type("source:alpah")
        await driver.keys("enter")
        await driver.shows("no row has `alpah` in `source`; did you mean `alpha`?")
        await driver.keys("/", "ctrl+u")
        await driver.type("source:alpha")
        await driver.keys("enter")
        await driver.until(lambda: driver.desk.table.grid.n_rows > 0)
        assert "no row" not in driver.screen()

    drive(world, scenario)


def test_a_copied_row_holds_values_that_another_program_can_read(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys("=", "g", "g", "y", "r")
        await driver.shows("row copied to")
        grid = driver.desk.table.grid
        values = grid.current.values if grid.current is not None else ()
        cells = yank_file().read_text().split("\t")
        found = dict(zip((c.name for _, c, _ in grid.columns()), cells, strict=True))
        assert found["verdict"] == "keep"
        assert found["concept"] == values[grid.spec.index("concept")]
        assert tuple(map(float, found["taught"].split("/"))) == tuple(values[grid.spec.index("taught")])
        assert float(found["win"]) == values[grid.spec.index("win")]
        await driver.keys("g", "p", "y", "r")
        await driver.shows("row copied to")

    drive(world, scenario)


def test_sorting_starts_at_the_top_and_turns_round(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys("5", "j", ">", "s")
        await driver.shows("by concept ▲")
        grid = driver.desk.table.grid
        at = grid.spec.index("concept")
        assert grid.cursor == 0
        assert grid.current is not None
        assert grid.current.values[at] == "concept 0"
        await driver.keys("s")
        await driver.until(lambda: grid.current is not None and grid.current.values[at] == "concept 7")

    drive(world, scenario)


def test_facets_filter_to_a_value(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys(">", ">", "F")
        await driver.shows("█")  # the counts are there, not only the page
        await driver.type("cod")
        await driver.keys("enter")
        await driver.until(lambda: driver.desk.table.grid.n_rows == 8)
        assert driver.desk.table.wish.filter_text == "context=code"

    drive(world, scenario)


def test_the_chosen_column_stays_the_same_with_more_and_fewer_beside_it(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        grid = driver.desk.table.grid
        while grid.chosen_column.name != "badge":
            await driver.keys(">")
        n = len(grid.columns())
        await driver.keys("z")
        await driver.until(lambda: len(grid.columns()) > n)
        assert grid.chosen_column.name == "badge"
        await driver.keys("z")
        await driver.until(lambda: len(grid.columns()) == n)
        assert grid.chosen_column.name == "badge"

    drive(world, scenario)


def test_facets_of_a_number_are_bins_and_one_narrows_within_another(world: World) -> None:
    tokens = sorted(int(n) for n in world.readings.pairs.chosen_tokens)

    async def scenario(driver: Driver) -> None:
        async def choose(second: str) -> tuple[int, int]:
            """Open the facets of chosen tokens and take the second; its ends."""
            await driver.keys("F")
            await driver.shows("█")
            await driver.shows(second)
            await driver.until(lambda: driver.screen().splitlines()[3].split()[:1] not in ([], ["█"]))
            row = driver.screen().splitlines()[3].split()
            await driver.keys("down", "enter")
            low, high = int(row[0]), int(row[2]) if row[1] == "to" else int(row[0])
            n = sum(low <= t <= high for t in tokens)
            assert int(row[3 if row[1] == "to" else 1]) == n
            await driver.until(lambda: driver.desk.place.is_table and driver.desk.table.grid.n_rows == n)
            return low, high

        await driver.keys("g", "p")
        await driver.shows("Pairs")
        grid = driver.desk.tables["pairs"].grid
        await driver.until(lambda: grid.current is not None)
        while grid.chosen_column.name != "chosen_tokens":
            before = grid.chosen_column
            await driver.keys(">")
            assert grid.chosen_column != before
        low, high = await choose(" to ")
        assert driver.desk.table.wish.filter_text == f"chosen_tokens>={low} chosen_tokens<={high}"
        await driver.keys(",")
        await driver.until(lambda: driver.desk.table.wish.filter_text.startswith("chosen_tokens="))
        await driver.keys("q")
        await driver.until(lambda: driver.desk.table.wish.filter_text.startswith("chosen_tokens>="))
        inner = await choose(str(low))
        assert low <= inner[0] <= inner[1] <= high
        assert "chosen_tokens>=" + str(low) not in driver.desk.table.wish.filter_text.split()[1:]

    drive(world, scenario)


def test_cancelling_stops_what_runs_and_leaves_the_rows(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys("/")
        await driver.type("win>.5")
        await driver.keys("enter", "ctrl+c")
        await driver.shows("cancelled")
        assert not driver.desk.table.is_opening
        assert driver.desk.table.grid.n_rows > 0
        await driver.keys("j", "s")
        await driver.until(lambda: driver.desk.is_idle)
        assert driver.desk.table.grid.current is not None

    drive(world, scenario)
