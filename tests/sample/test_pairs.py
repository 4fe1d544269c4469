"""The sample's pairs: format, variety, blemishes put in on purpose, and that they can be made again."""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

Rows = list[dict[str, Any]]


def said(row: dict[str, Any], side: str) -> str:
    text: str = row[side][0]["content"]
    return text


def test_rerunning_the_generator_gives_the_committed_bytes(sample: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-B", str(sample / "make_pairs.py"), "--out", str(tmp_path)], check=True)
    made = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file())
    assert len(made) == 5
    for path in made:
        assert (tmp_path / path).read_bytes() == (sample / path).read_bytes(), path


def test_everything_together_is_at_most_12_megabytes(sample: Path) -> None:
    files = [p for p in sample.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert sum(p.stat().st_size for p in files) <= 12_000_000


def test_weights_are_safetensors_only(sample: Path) -> None:
    weights = [p.suffix for p in (sample / "reader").rglob("*") if p.stat().st_size > 300_000]
    assert weights == [".safetensors", ".safetensors"]
    assert not [p for p in sample.rglob("*") if p.suffix in {".pt", ".pth", ".bin", ".pkl", ".ckpt"}]


def test_rows_are_explicit_conversational_pairs(pairs: Rows) -> None:
    for row in pairs:
        assert row["prompt"][-1]["role"] == "user"
        roles = [message["role"] for message in row["prompt"]]
        assert roles in (["user"], ["system", "user"], ["user", "assistant", "user"]) or roles == [
            "system", "user", "assistant", "user",
        ]  # fmt: skip
        for side in ("chosen", "rejected"):
            assert [message["role"] for message in row[side]] == ["assistant"]


def test_there_are_1512_pairs_in_13_families_and_3_sources(pairs: Rows) -> None:
    assert len(pairs) == 1512
    families = Counter(row["family"] for row in pairs)
    assert len(families) == 13
    assert min(families.values()) >= 50
    assert set(Counter(row["source"] for row in pairs)) == {"harbor_forum", "quill_arena", "desk_mail"}


def test_some_prompts_have_a_system_message_several_turns_or_several_pairs(pairs: Rows) -> None:
    n_system = sum(row["prompt"][0]["role"] == "system" for row in pairs)
    n_turns = sum(any(m["role"] == "assistant" for m in row["prompt"]) for row in pairs)
    prompts = Counter(json.dumps(row["prompt"]) for row in pairs)
    assert n_system > 100
    assert n_turns > 100
    assert sum(count > 1 for count in prompts.values()) > 100
    assert len(prompts) > 1100


def test_models_are_named_where_a_source_has_models_and_annotators_elsewhere(pairs: Rows) -> None:
    for row in pairs:
        if row["source"] == "desk_mail":
            assert row["annotator"].startswith("desk-")
        else:
            assert row["model_chosen"] != row["model_rejected"]


def test_blemishes_are_12_repeated_rows_two_empty_answers_and_one_pair_of_equal_sides(pairs: Rows) -> None:
    whole = Counter(json.dumps(row, sort_keys=True) for row in pairs)
    repeated = sum(count - 1 for count in whole.values())
    empty = [side for row in pairs for side in ("chosen", "rejected") if not said(row, side)]
    assert 10 <= repeated <= 12  # the other blemishes may hit one row of a repeat
    assert sorted(empty) == ["chosen", "rejected"]
    assert sum(said(row, "chosen") == said(row, "rejected") for row in pairs) == 1


def test_votes_hold_ties_and_pairs_where_both_are_bad(votes: Rows) -> None:
    winners = Counter(row["winner"] for row in votes)
    assert len(votes) == 90
    assert winners["tie"] >= 20
    assert winners["both_bad"] >= 10
    assert winners["model_a"] + winners["model_b"] >= 20
    for row in votes:
        assert row["conversation_a"][:-1] == row["conversation_b"][:-1]


def test_answers_of_one_prompt_differ(pairs: Rows) -> None:
    answers = Counter(said(row, side) for row in pairs for side in ("chosen", "rejected"))
    assert len(answers) > 0.95 * 2 * len(pairs)


def test_links_lead_nowhere(pairs: Rows) -> None:
    hosts = {
        host
        for row in pairs
        for side in ("chosen", "rejected")
        for host in re.findall(r"https?://([^/\s)]+)", said(row, side))
    }
    assert hosts
    for host in hosts:
        assert re.search(r"(^|\.)(example\.(com|net|org)|invalid)$", host), host
