"""prosect.toml is checked key by key."""

from pathlib import Path

import pytest

from engine.errors import SettingsError
from engine.settings import Settings, load_settings


def test_defaults_hold_without_a_file(tmp_path: Path) -> None:
    assert load_settings(tmp_path / "prosect.toml") == Settings()


def test_flag_beats_file_beats_default(tmp_path: Path) -> None:
    path = tmp_path / "prosect.toml"
    path.write_text("[stats]\nq = 0.1\nmin_discordant = 30\n")
    settings = load_settings(path, {"stats": {"q": 0.2}})
    assert (settings.stats.q, settings.stats.min_discordant, settings.stats.effect_floor) == (0.2, 30, 0.02)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[stats]\nqq = 1", "no key `qq`", "q"),
        ("[stat]\nq = 1", r"no stage \[stat\]", "stats"),
        ('[stats]\nq = "x"', "must be float", None),
        ("[concepts]\nseed = true", "must be int", None),
        ("[stats\n", "toml", "syntax"),
        ("stats = 3", "must be a table", None),
    ],
)
def test_wrong_settings_say_what_and_where(tmp_path: Path, text: str, message: str, hint: str | None) -> None:
    path = tmp_path / "prosect.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message) as caught:
        load_settings(path)
    assert hint is None or hint in (caught.value.hint or "")


def test_optional_numbers_accept_numbers_and_lists_become_tuples(tmp_path: Path) -> None:
    path = tmp_path / "prosect.toml"
    path.write_text('[concepts]\nn_topics = 12\n[stats]\ncovariates = ["model"]\n')
    settings = load_settings(path)
    assert settings.concepts.n_topics == 12
    assert settings.stats.covariates == ("model",)
