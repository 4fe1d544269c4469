"""Groups, folds, copies and ids: pure functions of the keys, independent of the order of rows and files."""

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from engine.ingest.keys import KeyColumns, as_words
from engine.records import HELD_OUT_FOLD, N_FOLDS

Words = NDArray[np.uint64]


def unique_words(words: Words) -> tuple[Words, NDArray[np.int64]]:
    """Distinct rows in ascending order, and for each row the number of its distinct one.

    Args:
        words: (P, W) digests as words.
    """
    if not len(words):
        return words, np.zeros(0, np.int64)
    order = np.lexsort(words.T[::-1])
    ordered = words[order]
    is_new = np.concatenate([[True], (ordered[1:] != ordered[:-1]).any(axis=1)])
    number = np.empty(len(words), np.int64)
    number[order] = np.cumsum(is_new) - 1
    return ordered[is_new], number


class Groups(NamedTuple):
    """Connected components over prompts and conversations."""

    prompts: Words
    """(Q, 2) distinct prompt hashes, ascending."""
    prompt_of: NDArray[np.int64]
    """(P,) prompt of each pair."""
    group_of_prompt: NDArray[np.int64]
    """(Q,) group of each prompt, as the number of the group's smallest prompt."""


def find_groups(keys: KeyColumns) -> Groups:
    """Pairs that share a prompt or a conversation, directly or through others, belong together."""
    prompts, prompt_of = unique_words(as_words(keys.prompt, 16))
    conversation = as_words(keys.conversation, 16)
    has = conversation.any(axis=1)
    n_prompts = len(prompts)
    if not has.any():
        return Groups(prompts, prompt_of, np.arange(n_prompts))
    distinct, conversation_of = unique_words(conversation[has])
    n_nodes = n_prompts + len(distinct)
    edges = (np.ones(int(has.sum()), np.int8), (prompt_of[has], conversation_of + n_prompts))
    _, component = connected_components(coo_array(edges, shape=(n_nodes, n_nodes)), directed=False)
    component = component[:n_prompts]
    # Prompts ascend, so the first prompt of a component is its smallest hash.
    _, first, inverse = np.unique(component, return_index=True, return_inverse=True)
    return Groups(prompts, prompt_of, first[inverse].astype(np.int64))


def fold_of(salt: str, group_id: str) -> int:
    """md5 of salt and group id, modulo 20: uniform, and the same on every machine."""
    return int.from_bytes(hashlib.md5(f"{salt}:{group_id}".encode()).digest(), "big") % N_FOLDS  # noqa: S324


def hex_ids(words: Words) -> list[str]:
    """Digests as 32 hex digits each."""
    text = words.astype(">u8").tobytes().hex()
    return [text[i : i + 32] for i in range(0, len(text), 32)]


class Folds(NamedTuple):
    """Folds of groups and what became of frozen ones."""

    fold_of_prompt: NDArray[np.int8]
    """(Q,)"""
    moved: NDArray[np.bool_]
    """(Q,) prompts that had another fold before."""
    previous: NDArray[np.int8]
    """(Q,) fold as frozen before, −1 for a new prompt."""


def assign_folds(groups: Groups, salt: str, frozen: Mapping[bytes, int]) -> Folds:
    """Folds of all groups.

    A group none of whose prompts has a fold yet gets the one of its id. Else all go to fold 19 if any of
    them was there, else to the lowest of their folds: what was held out stays held out.

    ``frozen`` maps prompt hash (16 bytes) to fold, from earlier ingests.
    """
    n = len(groups.prompts)
    raw = groups.prompts.astype(">u8").tobytes()
    previous = np.fromiter((frozen.get(raw[i * 16 : i * 16 + 16], -1) for i in range(n)), np.int8, n)
    representatives = np.unique(groups.group_of_prompt)
    ids = hex_ids(groups.prompts[representatives])
    fold = np.full(n, -1, np.int8)
    fold[representatives] = [fold_of(salt, g) for g in ids]
    known = previous >= 0
    if known.any():
        # Rank folds so that the smallest wins: 19 first, then 0, 1, 2 …
        rank = np.full(n, N_FOLDS, np.int64)
        group = groups.group_of_prompt[known]
        order = (previous[known].astype(np.int64) + 1) % N_FOLDS
        np.minimum.at(rank, group, order)
        has = rank < N_FOLDS
        fold[has] = (rank[has] + HELD_OUT_FOLD) % N_FOLDS
    fold_of_prompt = fold[groups.group_of_prompt]
    return Folds(fold_of_prompt, known & (previous != fold_of_prompt), previous)


def number_copies(keys: KeyColumns) -> NDArray[np.int32]:
    """0, 1, 2 … for pairs of the same content in the same source: (P,).

    Copies are numbered by what else they carry, not by where they stand, so that shuffled files give the
    same pairs.
    """
    content = as_words(keys.content, 16)
    rest = as_words(keys.rest, 8)[:, 0]
    source, file, row = np.asarray(keys.source), np.asarray(keys.file), np.asarray(keys.row)
    order = np.lexsort((row, file, rest, content[:, 1], content[:, 0], source))
    columns = np.column_stack([source.astype(np.uint64), content])[order]
    copy = np.zeros(len(order), np.int32)
    if len(order):
        is_new = np.concatenate([[True], (columns[1:] != columns[:-1]).any(axis=1)])
        start = np.maximum.accumulate(np.where(is_new, np.arange(len(order)), 0))
        copy[order] = np.arange(len(order)) - start
    return copy


def pair_ids(sources: list[str], source: NDArray[np.int64], content: bytes, copy: NDArray[np.int32]) -> bytes:
    """16 bytes per pair over source, content id and copy number."""
    heads = [len(s.encode()).to_bytes(4, "big") + s.encode() for s in sources]
    blake2b = hashlib.blake2b
    return b"".join(
        blake2b(heads[s] + content[i * 16 : i * 16 + 16] + c.to_bytes(4, "big"), digest_size=16).digest()
        for i, (s, c) in enumerate(zip(source.tolist(), copy.tolist(), strict=True))
    )
