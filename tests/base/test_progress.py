"""How rates are said."""

from engine.progress import rate_text


def test_a_rate_below_one_says_what_each_takes() -> None:
    rates = (12_345.0, 34.4, 1.5, 1.0, 0.16)
    assert [rate_text(rate) for rate in rates] == ["12.3k/s", "34/s", "1.5/s", "1/s", "6.2 s each"]
