"""Pages: opening, leaving and coming back, pairs and their layouts."""

from tests.tui.driving import Driver, drive
from tests.worlds import World
from tui.places import Place


def test_pages_open_from_rows_and_back_returns_to_the_row(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys("3", "j", "enter")
        await driver.shows("Top pairs")
        await driver.keys("j", "enter")
        await driver.shows("CHOSEN")
        await driver.keys("q", "q")
        await driver.shows("Hypotheses")
        assert driver.desk.table.grid.cursor == 3
        await driver.keys("[")
        await driver.keys("g", "x")
        await driver.shows("Contexts")
        await driver.keys("enter")
        await driver.shows("Prompts")
        await driver.keys("`")
        await driver.shows("Contexts")

    drive(world, scenario)


def test_a_page_that_one_comes_back_to_is_as_it_was_left(world: World) -> None:
    async def scenario(d: Driver) -> None:
        async def arrives(view: str) -> None:
            await d.until(lambda: d.desk.place.view == view and d.desk.page_place == d.desk.place)

        await d.keys("enter")
        await arrives("concept")
        page = d.desk.page
        while not (isinstance(page.item, Place) and page.item.view == "pair"):
            await d.keys("j")
        await d.keys("j", "j", "j")
        opened, top = page.item, page.top
        assert top > 0
        await d.keys("enter")
        await arrives("pair")
        await d.keys("q")
        await arrives("concept")
        assert (page.item, page.top) == (opened, top)
        await d.keys("enter")
        await arrives("pair")
        await d.keys("J")
        await d.until(lambda: d.desk.place != opened)
        await arrives("pair")
        last = d.desk.place
        await d.keys("q")
        await arrives("concept")
        assert page.item == last
        await d.keys("q", "enter")  # opened anew it begins at its top
        await arrives("concept")
        assert page.top == 0

    drive(world, scenario, size=(100, 20))


def test_the_pair_screen_changes_layout_and_concept(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys("g", "p", "enter")
        await driver.shows("side by side")
        await driver.keys("v")
        await driver.shows("stacked")
        await driver.keys("v")
        await driver.shows("{+chosen only+}")
        await driver.keys("d", "p", "t")
        await driver.shows("no diff")
        await driver.until(lambda: driver.desk.place.about is not None)
        await driver.keys("J")
        await driver.shows("Pair  1")

    drive(world, scenario)


def test_a_long_pair_is_laid_out_in_the_background_and_read_like_any_other(world: World) -> None:
    import duckdb

    text = " ".join(f"word{i * 7919 % 800}" for i in range(4_000))
    other = " ".join(f"word{i * 104729 % 800}" for i in range(4_000))
    with duckdb.connect(str(world.paths.index("world"))) as connection:
        connection.execute("UPDATE pairs SET chosen_text = ?, rejected_text = ?", [text, other])

    async def scenario(driver: Driver) -> None:
        await driver.keys("g", "p")
        await driver.until(lambda: driver.desk.is_idle)
        await driver.keys("enter")
        await driver.shows("CHOSEN")
        await driver.keys("J", "v")
        await driver.shows("Pair  1  stacked")
        await driver.until(lambda: "+ word0 word719" in driver.screen())

    drive(world, scenario)


def test_from_a_list_the_next_record_is_the_lists_whatever_page_was_open_before(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys("enter")
        await driver.shows("Top pairs")
        await driver.keys("enter")
        await driver.shows("of the page before")
        first = driver.desk.place.ident
        await driver.keys("g", "p")
        await driver.shows("Pairs")
        await driver.until(lambda: driver.desk.table.grid.current is not None)
        await driver.keys(*(first if first != "0" else ""), *("j" if first != "0" else ""))
        await driver.until(lambda: str(getattr(driver.desk.table.grid.current, "key", "")) == first)
        await driver.keys("enter")
        await driver.shows("CHOSEN")
        assert "of the page before" not in driver.screen()
        await driver.keys("J")
        await driver.until(lambda: driver.desk.place.ident == str(int(first) + 1))

    drive(world, scenario)


def test_a_page_says_which_lines_are_in_view_and_the_pane_beside_how_many_are_not(world: World) -> None:
    async def scenario(d: Driver) -> None:
        await d.shows("more lines: enter")
        await d.keys("enter")
        await d.shows("lines 1–")
        n = len(d.desk.page.lines)
        await d.keys("G")
        await d.shows(f"lines {n - d.desk.page.size.height + 1}–{n} of {n}")
        await d.keys("g", "g", "ctrl+e")
        await d.shows(f"lines 2–{d.desk.page.size.height + 1} of {n}")

    drive(world, scenario)


def test_rules_show_on_the_pages_of_what_they_touch(world: World) -> None:
    async def scenario(driver: Driver) -> None:
        await driver.keys("/")
        await driver.type("family:concepts")
        await driver.keys("enter")
        await driver.until(lambda: driver.desk.table.grid.n_rows == 8)
        await driver.keys("-", "g", "r")
        await driver.shows("prosect rules 1")
        await driver.keys("A")
        await driver.shows("Targets")
        await driver.keys("g", "h", "g", "g", "enter")
        await driver.shows("target of the rules")
        await driver.keys("j", "enter")
        await driver.shows("main.rules  kept")

    drive(world, scenario)
