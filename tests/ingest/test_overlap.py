"""Prompts of evaluation sets are met whole and by runs of words, in bounded memory."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import IngestError
from engine.ingest import overlap
from engine.ingest.overlap import EvaluationIndex, prompts_table, runs_of_texts
from engine.ingest.run import Mix
from engine.settings import IngestSettings
from tests.ingest.tables import entries_of, pairs_of, plain_row, run, write_jsonl


def words(start: int, n: int) -> str:
    """So many words that no other place has."""
    return " ".join(f"w{i}" for i in range(start, start + n))


def train(prompt: str) -> dict[str, str]:
    """A pair with this prompt."""
    return {"prompt": prompt, "chosen": f"yes {hash(prompt)}", "rejected": "no"}


def refused(out: Path) -> list[str]:
    """Prompts that are refused for training."""
    return sorted(p["prompt"][0]["content"] for p in pairs_of(out) if p["is_evaluation"])


def test_case_punctuation_and_white_space_do_not_hide_a_prompt(tmp_path: Path) -> None:
    evaluation = write_jsonl(tmp_path / "eval.jsonl", [{"instruction": "What's  the *height* of K2?"}])
    rows = [train("what s the height of k2"), train("What is the height of K2?")]
    report = run(
        write_jsonl(tmp_path / "t.jsonl", rows), out=tmp_path / "out", mix=Mix(evaluation=(str(evaluation),))
    )
    assert refused(tmp_path / "out") == ["what s the height of k2"]
    (entry,) = entries_of(tmp_path / "out", "evaluation_overlap")
    assert entry["detail"] == f"same words as {evaluation} row 0"
    assert (report.pairs, report.evaluation_pairs) == (2, 1)
    assert report.evaluations[0].prompts == 1


def test_shares_of_runs_are_what_arithmetic_says(tmp_path: Path) -> None:
    """The evaluation prompt has 32 words: 20 runs of 13.

    Its first 22 words inside a long prompt are 10 of its runs: 50%, refused. Its first 21 are 9: noted only.
    A prompt of 14 of its words and nothing else has 2 runs, both there: refused, however few of the 20.
    """
    evaluation = write_jsonl(tmp_path / "eval.jsonl", [{"question": "none"}, {"question": words(0, 32)}])
    half = words(900, 40) + " " + words(0, 22)
    less = words(800, 40) + " " + words(0, 21)
    part = words(5, 14)
    none = words(700, 40) + " " + words(0, 12)
    file = write_jsonl(tmp_path / "t.jsonl", [train(p) for p in (half, less, part, none)])
    mix = Mix(evaluation=(str(evaluation),))
    run(file, out=tmp_path / "out", mix=mix)
    assert refused(tmp_path / "out") == sorted([half, part])
    details = {e["row"]: (e["reason"], e["detail"]) for e in entries_of(tmp_path / "out")}
    assert details == {
        0: ("evaluation_overlap", f"50% of {evaluation} row 1"),
        1: ("evaluation_words", f"45% of {evaluation} row 1"),
        2: ("evaluation_overlap", f"100% of {evaluation} row 1"),
    }
    strict = IngestSettings(overlap_share=0.0)
    run(file, out=tmp_path / "strict", mix=mix, settings=strict)
    assert refused(tmp_path / "strict") == sorted([half, less, part])
    short = IngestSettings(overlap_words=12)
    run(file, out=tmp_path / "short", mix=mix, settings=short)
    assert len(entries_of(tmp_path / "short")) == 4


def test_system_turns_and_words_that_every_prompt_has_do_not_count(tmp_path: Path) -> None:
    template = words(0, 20)
    evaluation = write_jsonl(
        tmp_path / "eval.jsonl", [{"prompt": f"{template} question {i}"} for i in range(11)]
    )
    system = {"role": "system", "content": words(300, 30)}
    asked = [{"role": "user", "content": f"something else {words(400, 15)}"}]
    other = write_jsonl(tmp_path / "other.jsonl", [{"prompt": words(300, 30)}])
    sides = {name: [{"role": "assistant", "content": name}] for name in ("chosen", "rejected")}
    rows = [
        {"prompt": [{"role": "user", "content": f"{template} another thing"}], **sides},
        {"prompt": [system, *asked], **sides},
    ]
    report = run(
        write_jsonl(tmp_path / "t.jsonl", rows),
        out=tmp_path / "out",
        mix=Mix(evaluation=(str(evaluation), str(other))),
    )
    assert report.evaluation_pairs == 0
    assert entries_of(tmp_path / "out", "evaluation_overlap") == []


@settings(max_examples=60)
@given(
    st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=30), min_size=1, max_size=5),
    st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=30), min_size=1, max_size=5),
    st.integers(3, 5),
)
def test_shares_agree_with_sets_of_tuples(left: list[list[str]], right: list[list[str]], n: int) -> None:
    """An independent implementation: sets of word tuples, turn by turn."""

    def grams(ws: list[str]) -> set[tuple[str, ...]]:
        return {tuple(ws[i : i + n]) for i in range(len(ws) - n + 1)}

    index = EvaluationIndex(
        prompts_table(
            "e", ["e"] * len(left), list(range(len(left))), runs_of_texts([[" ".join(w)] for w in left], n)
        )
    )
    found = runs_of_texts([[", ".join(w).upper()] for w in right], n)
    best, share = index.shared(found)
    exact = index.exact(found)
    for i, ws in enumerate(right):
        shares = [
            max(len(grams(ws) & grams(e)) / len(grams(e)), len(grams(ws) & grams(e)) / len(grams(ws)))
            if grams(ws) & grams(e)
            else 0.0
            for e in left
        ]
        assert share[i] == pytest.approx(max(shares))
        assert (best[i] >= 0) == (max(shares) > 0)
        assert (exact[i] >= 0) == (ws in left and bool(ws))


def test_every_prompt_of_an_evaluation_set_is_met_whole_and_nothing_else() -> None:
    """They are too short for a run of words, so only the hash of the whole prompt can tell."""
    asked = [[f"what is {name}"] for name in "abcdefghijklmnop"]
    index = EvaluationIndex(prompts_table("e", ["e"] * 16, list(range(16)), runs_of_texts(asked, 13)))
    assert index.exact(runs_of_texts(asked, 13)).tolist() == list(range(16))
    assert set(index.exact(runs_of_texts([["what is q"], [""], ["what is"]], 13)).tolist()) == {-1}


def test_a_prompt_that_an_evaluation_set_repeats_is_no_template(tmp_path: Path) -> None:
    evaluation = write_jsonl(tmp_path / "eval.jsonl", [{"prompt": words(0, 30)}] * 40 + [{"prompt": "other"}])
    file = write_jsonl(tmp_path / "t.jsonl", [train(f"{words(50, 20)} {words(0, 29)}")])
    report = run(file, out=tmp_path / "out", mix=Mix(evaluation=(str(evaluation),)))
    assert (report.evaluation_pairs, report.evaluations[0].prompts) == (1, 2)


def test_a_large_evaluation_set_is_sampled_and_still_met(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [[words(100 * i, 60)] for i in range(50)]
    monkeypatch.setattr(overlap, "MAX_RUNS", 600)
    found = runs_of_texts(texts, 13)
    index = EvaluationIndex(prompts_table("e", ["e"] * 50, list(range(50)), found))
    best, share = index.shared(found)
    assert best.tolist() == list(range(50))
    assert share.tolist() == [1.0] * 50


def test_evaluation_files_stay_until_they_are_taken_out(tmp_path: Path) -> None:
    evaluation = write_jsonl(
        tmp_path / "eval.jsonl", [{"turns": ["question 1", "and then?"]}, {"turns": ["question 2"]}]
    )
    file = write_jsonl(tmp_path / "t.jsonl", [plain_row(i) for i in range(4)])
    run(file, out=tmp_path / "out", mix=Mix(evaluation=(str(evaluation),)))
    assert refused(tmp_path / "out") == ["question 2"]
    evaluation.unlink()
    more = write_jsonl(tmp_path / "u.jsonl", [plain_row(2) | {"chosen": "another"}])
    report = run(file, more, out=tmp_path / "out")
    assert refused(tmp_path / "out") == ["question 2", "question 2"]
    assert [e.prompts for e in report.evaluations] == [2]
    run(file, more, out=tmp_path / "out", mix=Mix(forgotten=frozenset({str(evaluation)})))
    assert refused(tmp_path / "out") == []


def test_an_evaluation_set_of_unbearable_size_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlap, "MAX_RUNS", 10)
    evaluation = write_jsonl(tmp_path / "eval.jsonl", [{"prompt": words(0, 60)}])
    file = write_jsonl(tmp_path / "t.jsonl", [plain_row(1)])
    with pytest.raises(IngestError, match="more than 40 runs"):
        run(file, out=tmp_path / "out", mix=Mix(evaluation=(str(evaluation),)))


def test_a_file_without_prompts_is_no_evaluation_set(tmp_path: Path) -> None:
    evaluation = write_jsonl(tmp_path / "eval.jsonl", [{"x": 1}])
    file = write_jsonl(tmp_path / "t.jsonl", [plain_row(1)])
    with pytest.raises(IngestError, match="no row has a prompt"):
        run(file, out=tmp_path / "out", mix=Mix(evaluation=(str(evaluation),)))
    assert not (tmp_path / "out" / "manifest.json").exists()
