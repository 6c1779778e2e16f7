"""A dictionary in memory with a bound on its number of entries, their total size, or both."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class BoundedCache(Generic[Key, Value]):
    """Key to value; the oldest entries are dropped once a bound is exceeded. The newest entry is always kept.

    Args:
        max_items: largest number of entries; None for no limit.
        max_size: largest total of `size`; None for no limit.
        size: size of a value, for example its bytes. Required with `max_size`.
        lru: reading an entry makes it the newest (least recently used go first). False: the order of insertion counts.
        thread_safe: guard every call with a lock. The lock is reentrant and available as `lock`.
    """

    def __init__(
        self,
        max_items: int | None = None,
        max_size: int | None = None,
        size: Callable[[Value], int] | None = None,
        *,
        lru: bool = True,
        thread_safe: bool = False,
    ) -> None:
        self.max_items, self.max_size, self._size_of, self._lru = max_items, max_size, size, lru
        self._entries: OrderedDict[Key, Value] = OrderedDict()
        self.lock: AbstractContextManager[object] = threading.RLock() if thread_safe else nullcontext()
        self.size = 0
        """Total size of all entries; 0 without a size function."""

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: Key) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[Key]:
        """Keys, oldest first, as of now."""
        with self.lock:
            return iter(list(self._entries))

    def get(self, key: Key) -> Value | None:
        """The value of a key, or None."""
        with self.lock:
            if self._lru and key in self._entries:
                self._entries.move_to_end(key)
            return self._entries.get(key)

    def peek(self, key: Key) -> Value | None:
        """The value of a key, or None; does not count as a use."""
        return self._entries.get(key)

    def put(self, key: Key, value: Value) -> Value:
        """Store a value, drop the oldest entries beyond the bounds, and return the value."""
        with self.lock:
            if key in self._entries:
                self.size -= self._measure(self._entries[key])
            self._entries[key] = value
            self.size += self._measure(value)
            if self._lru:
                self._entries.move_to_end(key)
            while len(self._entries) > 1 and self._full():
                _, dropped = self._entries.popitem(last=False)
                self.size -= self._measure(dropped)
        return value

    def discard(self, key: Key) -> None:
        """Drop an entry, if there is one."""
        with self.lock:
            if key in self._entries:
                self.size -= self._measure(self._entries.pop(key))

    def _measure(self, value: Value) -> int:
        return 0 if self._size_of is None else self._size_of(value)

    def _full(self) -> bool:
        many = self.max_items is not None and len(self._entries) > self.max_items
        return many or (self.max_size is not None and self.size > self.max_size)


__all__ = ["BoundedCache"]
