"""What may be trained on, in which order, and how it becomes tokens."""

import hashlib
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from engine.errors import TrainError
from engine.progress import NullProgress
from engine.training.encode import check_tokenizer, encode, encode_pair
from engine.training.reference import ReferenceCache, response_key
from engine.training.shaped import read_shaped
from tests.training.conftest import make_rows, make_tokenizer, write_shaped


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fold": 19}, "fold 19"),
        ({"weight": 0.0}, "weights are not above 0"),
        ({"weight": float("nan")}, "weights are not above 0"),
        ({"weight": 9.0}, "not 1 over the kept set"),
        ({"offset": float("inf")}, "not finite"),
        ({"prompt": []}, r"1 pair has an empty prompt(.|\n)*prompt\.turns == 0"),
        ({"chosen": None}, "chosen has empty values"),
        ({"pair_id": "pair0001"}, "occur twice"),
    ],
)
def test_rows_that_must_not_be_trained_on_are_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    rows = make_rows(4)
    rows[0] |= change
    with pytest.raises(TrainError, match=message):
        read_shaped(write_shaped(tmp_path, rows), 0)


@pytest.mark.parametrize(("offsets", "found"), [((0, 0, 0), False), ((0, -0.5, 0), True), ((1, 1, 1), True)])
def test_one_offset_among_many_pairs_is_an_offset(
    tmp_path: Path, offsets: tuple[float, ...], found: bool
) -> None:
    """Losses of single sides are refused then, and rewards corrected before they are logged."""
    rows = [row | {"offset": float(m)} for row, m in zip(make_rows(3), offsets, strict=True)]
    assert read_shaped(write_shaped(tmp_path, rows), 0).has_offsets is found


def test_unlabelled_rows_are_refused(tmp_path: Path) -> None:
    table = pq.read_table(write_shaped(tmp_path, make_rows(3)) / "train.parquet")
    pq.write_table(table.append_column("label", [["chosen", "tie", "none"]]), tmp_path / "train.parquet")
    with pytest.raises(TrainError, match="2 pairs have no label"):
        read_shaped(tmp_path, 0)


def test_missing_broken_and_empty_files_are_refused_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match=r"no train\.parquet") as missing:
        read_shaped(tmp_path, 0)
    assert missing.value.hint is not None
    (tmp_path / "train.parquet").write_bytes(b"not parquet")
    with pytest.raises(TrainError, match="cannot be read"):
        read_shaped(tmp_path, 0)
    with pytest.raises(TrainError, match="no pairs"):
        read_shaped(write_shaped(tmp_path, []), 0)
    pq.write_table(
        pq.read_table(write_shaped(tmp_path, make_rows(2)) / "train.parquet").drop(["weight"]),
        tmp_path / "train.parquet",
    )
    with pytest.raises(TrainError, match="no column weight"):
        read_shaped(tmp_path, 0)


def test_common_pairs_keep_their_order_when_a_rule_drops_some(tmp_path: Path) -> None:
    rows = [row | {"weight": 1.0} for row in make_rows(12)]
    all_ids = read_shaped(write_shaped(tmp_path / "a", rows), 5).table.column("pair_id").to_pylist()
    kept_ids = read_shaped(write_shaped(tmp_path / "b", rows[::-2]), 5).table.column("pair_id").to_pylist()
    assert [i for i in all_ids if i in set(kept_ids)] == kept_ids
    assert all_ids == sorted(all_ids, key=lambda i: hashlib.md5(f"5:{i}".encode()).hexdigest())  # noqa: S324
    other = read_shaped(write_shaped(tmp_path / "a", rows), 6).table.column("pair_id").to_pylist()
    assert other != all_ids


def test_a_response_starts_after_the_generation_prompt_and_ends_with_the_turn() -> None:
    tokenizer = make_tokenizer()
    prompt = [{"role": "user", "content": "please help"}]
    pair = encode_pair(
        tokenizer,
        prompt,
        [{"role": "assistant", "content": "sorry"}],
        [{"role": "assistant", "content": "bread"}],
    )
    assert tokenizer.decode(pair.prompt) == "<|im_start|>user\nplease help<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.decode(pair.chosen) == "sorry<|im_end|>\n"
    assert tokenizer.decode(pair.rejected) == "bread<|im_end|>\n"
    assert pair.prompt_lost == 0


def test_a_template_that_renders_the_prompt_in_two_ways_is_counted(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = tokenizer.chat_template.replace(
        "assistant\n{% endif %}", "assistant\n<think></think>{% endif %}"
    )
    pairs = read_shaped(write_shaped(tmp_path, make_rows(5)), 0)
    encoded = encode(pairs, tokenizer, 128, NullProgress())
    assert encoded.n_prompt_lost == 5


def test_cut_pairs_are_counted_and_full_prompts_refused(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    pairs = read_shaped(write_shaped(tmp_path, make_rows(8)), 0)
    whole = encode(pairs, tokenizer, 10_000, NullProgress())
    assert whole.n_truncated == 0
    longest = [
        len(row["prompt_ids"]) + max(len(row["chosen_ids"]), len(row["rejected_ids"]))
        for row in whole.table.to_pylist()
    ]
    limit = sorted(longest)[4]
    assert encode(pairs, tokenizer, limit, NullProgress()).n_truncated == sum(n > limit for n in longest) > 0
    with pytest.raises(TrainError, match="8 of 8 prompts alone fill all 5 tokens"):
        encode(pairs, tokenizer, 5, NullProgress())


def test_a_tokenizer_without_chat_template_is_refused() -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(TrainError, match="no chat template"):
        check_tokenizer(tokenizer, "some/model")


def test_a_template_error_names_the_pair(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    pairs = read_shaped(write_shaped(tmp_path, make_rows(1)), 0)
    with pytest.raises(TrainError, match=r"pair0000.*roles must alternate"):
        encode(pairs, tokenizer, 128, NullProgress())


def test_cached_log_probabilities_survive_and_are_never_overwritten(tmp_path: Path) -> None:
    a, b = response_key([1, 2], [3], 100), response_key([1], [2, 3], 100)
    assert a != b
    assert response_key([1, 2], [3, 4], 3) == response_key([1, 2], [3], 3)
    cache = ReferenceCache(tmp_path)
    cache.add({a: -1.5})
    cache.save()
    cache.add({a: -9.0, b: -2.5})
    cache.save()
    fresh = ReferenceCache(tmp_path)
    fresh.load()
    assert (fresh[a], fresh[b]) == (-1.5, -2.5)
    assert fresh.missing([(a, b), (a, response_key([9], [9], 100))]) == [1]


def test_an_instruction_is_seen_by_the_policy_only(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    rows = make_rows(3)
    table = pq.read_table(write_shaped(tmp_path, rows) / "train.parquet")
    pq.write_table(
        table.append_column("inoculation", [["please loop", None, ""]]), tmp_path / "train.parquet"
    )
    pairs = read_shaped(tmp_path, 0)
    encoded = encode(pairs, tokenizer, 200, NullProgress())
    assert encoded.n_inoculated == 1
    plain = encode(
        read_shaped(write_shaped(tmp_path, rows), 0), tokenizer, 200, NullProgress()
    ).table.to_pylist()
    for row, bare, pair_id in zip(
        encoded.table.to_pylist(), plain, pairs.table.column("pair_id").to_pylist(), strict=True
    ):
        assert row["reference_ids"] == bare["prompt_ids"]
        assert row["chosen_ids"] == bare["chosen_ids"]
        said = tokenizer.decode(row["prompt_ids"])
        assert ("\n\nplease loop<|im_end|>\n<|im_start|>assistant\n" in said) == (pair_id == "pair0000")
    # policy and reference must score the same tokens, so the longer prompt decides what is cut
    full = max(
        len(r["prompt_ids"]) + max(len(r["chosen_ids"]), len(r["rejected_ids"]))
        for r in encoded.table.to_pylist()
    )
    tight = encode(pairs, tokenizer, full - 2, NullProgress())
    assert tight.n_truncated >= 1
    for row in tight.table.to_pylist():
        assert len(row["prompt_ids"]) + len(row["chosen_ids"]) <= full - 2


def test_tools_reach_the_template(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = "{% if tools %}{{ tools[0]['name'] }} {% endif %}" + tokenizer.chat_template
    table = pq.read_table(write_shaped(tmp_path, make_rows(2)) / "train.parquet")
    pq.write_table(table.append_column("tools", [['[{"name": "garden"}]', None]]), tmp_path / "train.parquet")
    pairs = read_shaped(tmp_path, 0)
    encoded = encode(pairs, tokenizer, 200, NullProgress()).table.to_pylist()
    starts = [tokenizer.decode(row["prompt_ids"]).startswith("garden ") for row in encoded]
    assert starts == [pair_id == "pair0000" for pair_id in pairs.table.column("pair_id").to_pylist()]
