"""An exception -> the word for how the call ended; the same words for every framework."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from toolspan.toolcall import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable


def outcome_of_error(
    error: BaseException, raised: Callable[[BaseException], Outcome | None] | None
) -> Outcome:
    """What `error` means, first by the framework's own reading."""
    outcome = raised(error) if raised is not None else None
    if outcome is None:
        word = "cancelled" if is_cancellation(type(error)) else "error"
        outcome = Outcome(error=word)  # type: ignore[arg-type]  # one of two words
    if outcome.exception is None:
        outcome.exception = error
    return outcome


def is_cancellation(kind: type[BaseException]) -> bool:
    """Whether an exception of this kind is somebody's wish to stop, not a failure."""
    if issubclass(kind, (KeyboardInterrupt, GeneratorExit)):
        return True
    for module, name in (("asyncio", "CancelledError"), ("trio", "Cancelled")):
        found = getattr(sys.modules.get(module), name, None)
        if found is not None and issubclass(kind, found):
            return True
    return False
