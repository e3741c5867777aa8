"""Byte pair encoding of one word, in time that grows with n log n of its length."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence

END_OF_WORD = "</w>"


def merged(word: str, ranks: Mapping[tuple[str, str], int]) -> Sequence[str]:
    """Split a word into the parts of `clip.simple_tokenizer.SimpleTokenizer.bpe`, which takes time by the square.

    Both merge all pairs of the lowest rank, from left to right, until no pair has a rank. Here only the neighbours of a
    merged pair are looked at again.

    :param word: at least one character.
    :param ranks: pair of adjacent parts -> rank.
    """
    parts = [*word[:-1], word[-1] + END_OF_WORD]  # "" once it is merged into the part before it
    before, after = list(range(-1, len(parts) - 1)), list(range(1, len(parts) + 1))
    begins: dict[int, list[int]] = {}  # rank -> where pairs of that rank begin, some of which are gone by their turn
    lowest: list[int] = []  # heap of these ranks

    def rank_at(begin: int) -> int | None:
        end = after[begin]
        return ranks.get((parts[begin], parts[end])) if end < len(parts) else None

    def look(begin: int) -> None:
        if begin >= 0 and (rank := rank_at(begin)) is not None:
            if rank not in begins:
                begins[rank] = []
                heapq.heappush(lowest, rank)
            begins[rank].append(begin)

    for begin in range(len(parts)):
        look(begin)
    while lowest:
        rank, changed = heapq.heappop(lowest), []
        for begin in sorted(begins.pop(rank)):
            if rank_at(begin) == rank:
                end = after[begin]
                parts[begin], parts[end] = parts[begin] + parts[end], ""
                after[begin] = after[end]
                if after[end] < len(parts):
                    before[after[end]] = begin
                changed.append(begin)
        for begin in changed:
            look(before[begin])
            look(begin)
    return [part for part in parts if part]
