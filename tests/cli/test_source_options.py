"""Options that name sources: what they accept, and what they say to the rest."""

import click
import pytest

from engine.cli.mix import parse_mapping, parse_weights


def test_a_mapping_is_one_line_or_several_options() -> None:
    expected = {"prompt": "question", "chosen": "good, long", "rejected": "bad"}
    assert parse_mapping(("prompt=question,chosen=good, long,rejected=bad",)) == expected
    assert parse_mapping(("prompt=question", "chosen=good, long", "rejected=bad")) == expected
    for wrong in ("prompt", "prompt=", "=x", "prompt=a,chosen="):
        with pytest.raises(click.UsageError, match="write FIELD=COLUMN"):
            parse_mapping((wrong,))


def test_weights_are_names_and_numbers() -> None:
    assert parse_weights(("forum=0.5", "a=b=2")) == {"forum": 0.5, "a=b": 2.0}
    for wrong in ("forum", "forum=", "=2", "forum=much"):
        with pytest.raises(click.UsageError, match="write NAME=NUMBER"):
            parse_weights((wrong,))
