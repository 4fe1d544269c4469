"""prosect.toml is checked key by key."""

from pathlib import Path

import pytest

from engine.errors import SettingsError
from engine.settings import Settings
from engine.settings_file import load_settings


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
        ("[stats]\nq = 7", r"prosect\.toml: \[stats\] q must be above 0 and below 1, not 7", None),
        ("[stats]\nq = nan", "q must be above 0 and below 1, not nan", None),
        ("[stats]\neffect_floor = 0.5", r"at least 0 and below 0\.5", None),
        ("[stats]\nmin_discordant = 1", "at least 2", None),
        ("[concepts]\nedge_share = 0", "above 0 and at most 1", None),
        ("[concepts]\nn_topics = 0", "at least 1", None),
        ("[training]\nlearning_rate = -1e-6", "above 0", None),
        ("[training]\nmicro_batch_pairs = 0", "at least 1", None),
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


def test_a_number_out_of_range_on_the_command_line_says_so() -> None:
    with pytest.raises(SettingsError, match=r"command line: \[stats\] q must be above 0 and below 1, not 7"):
        load_settings(None, {"stats": {"q": 7}})


def test_every_default_lies_in_its_own_range() -> None:
    """Also what a run writes down of its settings can be read again."""
    written = Settings().as_dict()
    assert load_settings(None, written) == Settings()


def test_zero_stays_where_it_has_a_meaning() -> None:
    settings = load_settings(None, {"reading": {"check_tokens": 0}, "concepts": {"max_latents": 0}})
    assert (settings.reading.check_tokens, settings.concepts.max_latents) == (0, 0)
