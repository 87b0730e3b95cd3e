"""Work that may block for longer than its caller has time."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds that an exit may be held up by spans and metrics on their way.
EXIT_SECONDS: Final = 2.0
#: Seconds for a worker whose try was just ended to notice it.
NOTICE_SECONDS: Final = 0.2


class Background:
    """Runs `work` in a daemon thread, never twice at the same time."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, unless it is running already."""
        if self.running:
            return
        self._thread = threading.Thread(target=self._work, name="toolspan", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # Python 3.12.0 starts no thread while it exits
            self._thread = None
            self._work()

    @property
    def running(self) -> bool:
        """Whether the work goes on at this moment."""
        return self._thread is not None and self._thread.is_alive()

    def run(self, deadline: float) -> bool:
        """Begin and wait until `deadline` (monotonic seconds); whether it is over by then."""
        self.start()
        return self.wait(deadline)

    def wait(self, deadline: float) -> bool:
        """Wait until `deadline` (monotonic seconds); whether it is over by then."""
        if self._thread is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))
        return not self.running
