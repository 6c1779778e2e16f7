"""Disjoint sets (union-find) over the integers 0 to n - 1."""

from __future__ import annotations


class DisjointSets:
    """A partition of 0 to n - 1 that starts with n sets of one member.

    Union-find with path halving (Tarjan and van Leeuwen, "Worst-case analysis of set union algorithms", 1984).
    """

    def __init__(self, n: int) -> None:
        self._parents = list(range(n))

    def union(self, i: int, j: int) -> None:
        """Merge the sets of two members."""
        self._parents[self._root(j)] = self._root(i)

    def groups(self) -> list[list[int]]:
        """All sets, members in rising order, sets in the order of their smallest member."""
        by_root: dict[int, list[int]] = {}
        for i in range(len(self._parents)):
            by_root.setdefault(self._root(i), []).append(i)
        return list(by_root.values())

    def _root(self, i: int) -> int:
        parents = self._parents
        while parents[i] != i:
            parents[i] = parents[parents[i]]
            i = parents[i]
        return i


__all__ = ["DisjointSets"]
