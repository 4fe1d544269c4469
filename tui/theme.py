"""Colour roles in four depths. Colour never carries meaning alone: every role also has a glyph or attribute.

Roles that stand in one text of a dataset differ by attributes in every palette: telling words are underlined,
what only one response has is bold or italic, tokens that fire are underlined (faint, bold) or reversed.

``terminal`` (the default) draws on the terminal's own background with its own 16 colours: it suits light and
dark screens, needs no true colour over ssh and costs the fewest bytes. ``dark`` and ``light`` set a
background and use colours that exist in the 256-colour palette. ``mono`` uses attributes only and is what
NO_COLOR selects.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from rich.style import Style

from engine.errors import SettingsError
from engine.safe_text import one_line


@dataclass(frozen=True, slots=True)
class Palette:
    """A style for every role."""

    name: str
    roles: Mapping[str, Style]
    textual_theme: str
    """Theme of the framework underneath."""
    is_ascii: bool = False
    """Our own signs are drawn with ASCII; text of a dataset is left alone but for those."""

    def style(self, role: str) -> Style:
        """Style of a role. Raises ``KeyError`` for a role that does not exist."""
        return self.roles[role]


ROLES = (
    "text", "dim", "bold", "title", "key", "plus", "minus", "weak", "cursor", "selected", "bar", "warn",
    "error", "keep", "suppress", "amplify", "ignore", "mark", "added", "removed",
    "peak1", "peak2", "peak3", "peak4",
)  # fmt: skip


def _roles(spec: Mapping[str, str], base: str = "") -> dict[str, Style]:
    """Roles that look the same share one style, so that what is drawn in them can be joined."""
    ground = Style.parse(base) if base else Style(bold=False)
    styles = {look: ground + Style.parse(look) if look else ground for look in set(spec.values())}
    return {role: styles[spec[role]] for role in ROLES}


_TERMINAL = {
    "text": "",
    "dim": "dim",
    "bold": "bold",
    "title": "bold cyan",
    "key": "cyan",
    "plus": "green",
    "minus": "red",
    "weak": "dim",
    "cursor": "reverse",
    "selected": "yellow",
    "bar": "reverse",
    "warn": "yellow",
    "error": "bold red",
    "keep": "bold cyan",
    "suppress": "bold red",
    "amplify": "bold green",
    "ignore": "dim",
    "mark": "underline",
    "added": "bold green",
    "removed": "italic red",
    "peak1": "dim underline yellow",
    "peak2": "bold underline yellow",
    "peak3": "reverse yellow",
    "peak4": "bold reverse yellow",
}
_DARK = _TERMINAL | {
    "dim": "#8a8a8a",
    "title": "bold #87d7ff",
    "key": "#87d7ff",
    "plus": "#87d787",
    "minus": "#ff8787",
    "weak": "#8a8a8a",
    "cursor": "#ffffff on #303f5f",
    "selected": "#ffd787",
    "bar": "#d0d0d0 on #303030",
    "warn": "#ffd787",
    "error": "bold #ff5f5f",
    "keep": "bold #87d7ff",
    "suppress": "bold #ff8787",
    "amplify": "bold #87d787",
    "ignore": "#8a8a8a",
    "added": "bold #87d787",
    "removed": "italic #ff8787",
    "peak1": "dim underline on #3a3a1c",
    "peak2": "bold underline on #5f5f00",
    "peak3": "reverse #875f00 on #ffffff",
    "peak4": "bold reverse #ffaf00 on #000000",
}
_LIGHT = _TERMINAL | {
    "dim": "#6c6c6c",
    "title": "bold #005f87",
    "key": "#005f87",
    "plus": "#005f00",
    "minus": "#af0000",
    "weak": "#6c6c6c",
    "cursor": "#000000 on #afd7ff",
    "selected": "#875f00",
    "bar": "#303030 on #d0d0d0",
    "warn": "#875f00",
    "error": "bold #af0000",
    "keep": "bold #005f87",
    "suppress": "bold #af0000",
    "amplify": "bold #005f00",
    "ignore": "#6c6c6c",
    "added": "bold #005f00",
    "removed": "italic #af0000",
    "peak1": "dim underline on #ffffd7",
    "peak2": "bold underline on #ffffaf",
    "peak3": "reverse #ffd787 on #1c1c1c",
    "peak4": "bold reverse #ffaf00 on #000000",
}
_MONO = {
    "text": "",
    "dim": "",
    "bold": "bold",
    "title": "bold",
    "key": "bold",
    "plus": "bold",
    "minus": "bold",
    "weak": "",
    "cursor": "reverse",
    "selected": "bold",
    "bar": "reverse",
    "warn": "bold",
    "error": "bold reverse",
    "keep": "bold",
    "suppress": "bold",
    "amplify": "bold",
    "ignore": "",
    "mark": "underline",
    "added": "bold",
    "removed": "italic",
    "peak1": "dim underline",
    "peak2": "bold underline",
    "peak3": "reverse",
    "peak4": "bold reverse",
}

PALETTES: Mapping[str, Palette] = {
    "terminal": Palette("terminal", _roles(_TERMINAL), "ansi-dark"),
    "dark": Palette("dark", _roles(_DARK, "#d0d0d0 on #121212"), "textual-dark"),
    "light": Palette("light", _roles(_LIGHT, "#1c1c1c on #ffffff"), "textual-light"),
    "mono": Palette("mono", _roles(_MONO), "ansi-dark"),
}


def choose_palette(name: str | None, environment: Mapping[str, str]) -> Palette:
    """The named palette; without a name ``mono`` under NO_COLOR, PROSECT_THEME, else ``terminal``.

    Raises:
        SettingsError: there is no palette of that name.
    """
    wanted = name or environment.get("PROSECT_THEME", "")
    if wanted and wanted not in PALETTES:
        where = "" if name else " (PROSECT_THEME)"
        raise SettingsError(
            f"there is no theme {one_line(wanted, 40)!r}{where}", hint=f"themes: {', '.join(PALETTES)}"
        )
    if environment.get("NO_COLOR"):
        return PALETTES["mono"]
    return PALETTES[wanted or "terminal"]
