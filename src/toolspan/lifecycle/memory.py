"""A bounded memory: the newest entries stay, the oldest go."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Memory(Generic[K, V]):
    """A mapping of at most `size` entries, safe in threads."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[K, V] = OrderedDict()
        self._renew_lock()
        if (register := getattr(os, "register_at_fork", None)) is not None:
            register(after_in_child=self._renew_lock)

    def _renew_lock(self) -> None:
        """At first, and in a forked child, where a lock of another thread never opens."""
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        """The entry, or None."""
        with self._lock:
            return self._entries.get(key)

    def pop(self, key: K) -> V | None:
        """The entry, which is forgotten, or None."""
        with self._lock:
            return self._entries.pop(key, None)

    def put(self, key: K, value: V) -> None:
        """Remember `value`, forgetting the oldest entry when there are too many."""
        with self._lock:
            self._entries[key] = value
            self._entries.move_to_end(key)
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)
