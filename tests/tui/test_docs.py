"""The key card in the documentation is the one that the action table makes."""

from tests.tui.terminal import REPOSITORY
from tui.actions import key_card


def test_the_key_card_is_current() -> None:
    """Make it again with ``python -c 'from tui.actions import key_card; print(key_card())'``."""
    written = REPOSITORY / "engine" / "docs" / "keys.md"
    assert written.read_text(encoding="utf-8").strip() == key_card().strip()
