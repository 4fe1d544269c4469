"""How the screen is divided: the list, the pane beside or below it, the page, and how wide they are."""

from typing import TYPE_CHECKING

from tui import edges

if TYPE_CHECKING:
    from tui.desk import Desk

PEEK, PEEK_FROM = 5, 20
"""Lines below a list that is too narrow for a pane beside it, on screens at least so high."""
MIN_WIDTH, MIN_HEIGHT = 40, 8
WIDE, XWIDE = 100, 160


class Frame:
    """Sizes and places of the parts of the desk."""

    def __init__(self, desk: "Desk") -> None:
        self._desk = desk
        self.is_side_wanted = True

    @property
    def width(self) -> int:
        """Cells of the screen, also before it was laid out for the first time."""
        return self._desk.size.width or self._desk.app.size.width

    @property
    def height(self) -> int:
        """Lines of the screen, likewise."""
        return self._desk.size.height or self._desk.app.size.height

    @property
    def page_width(self) -> int:
        """Cells for text on a page."""
        beside = self.side_width if self._desk.side.display and not self._desk.place.is_table else 0
        return max(self.width - 1 - beside, 20)

    @property
    def side_width(self) -> int:
        """Cells of the pane beside the list, its frame included."""
        return self.width if self.is_peeking else min(self.width * 2 // 5, 90)

    @property
    def has_preview(self) -> bool:
        """The page has room beside it for what its cursor is on."""
        return self._desk.place.view in ("concept", "context") and self.width >= XWIDE

    @property
    def is_small(self) -> bool:
        """Nothing but a notice is shown: there is too little room."""
        return self._desk.has_class("-small")

    @property
    def is_peeking(self) -> bool:
        """The pane lies below the list, a few lines high."""
        return self.width < WIDE

    @property
    def has_side(self) -> bool:
        """There is room for a pane beside or below what is shown."""
        place = self._desk.place
        if self.is_peeking:
            return place.is_table and self.height >= PEEK_FROM
        return place.is_table or place.view == "rules" or self.has_preview

    def arrange(self) -> None:
        """Show what the place needs, where there is room for it."""
        desk = self._desk
        is_table = desk.place.is_table
        for name, control in desk.tables.items():
            control.grid.display = is_table and name == desk.list_name
        desk.page.display = not is_table
        desk.side.display = self.has_side and self.is_side_wanted
        desk.side.is_framed = not self.is_peeking
        desk.side.styles.width = self.side_width
        desk.side.styles.height = PEEK if self.is_peeking else "1fr"
        desk.query_one("#body").styles.layout = "vertical" if self.is_peeking else "horizontal"

    def resized(self, width: int, height: int) -> None:
        """Lay out for another size; a notice where it is too small."""
        is_small = width < MIN_WIDTH or height < MIN_HEIGHT
        self._desk.set_class(is_small, "-small")
        if is_small:
            self._desk.bar("small").set_line(edges.too_small(width, MIN_WIDTH, MIN_HEIGHT))
        self.arrange()
