"""How long a call may take, and when it is tried again."""

from __future__ import annotations

import random
import time

from far_keras.errors import RequestError, ServingError, UnavailableError

__all__ = ["Deadline", "Retry"]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0


class Deadline:
    """A moment until which something must be done.

    Args:
        seconds: From now.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds until then; negative when it is past."""
        return self._end - time.monotonic()


class Retry:
    """Exponential backoff with full jitter, for calls that found no server.

    The pause before try n + 1 is drawn evenly from 0 to 0.1 x 2^n seconds, at most 2: clients that
    lost the same server do not come back at the same moment (M. Brooker, "Exponential Backoff And
    Jitter", 2015). No other failure is tried again: it would happen again, or load a server that
    has too much to do already.

    Args:
        retries: How often a call is tried again, at most.
    """

    def __init__(self, retries: int) -> None:
        if not isinstance(retries, int) or isinstance(retries, bool) or retries < 0:
            raise RequestError(f"retries: expected a whole number from 0 on. Received: {retries!r}")
        self.retries = retries

    def pause(self, tried: int, error: ServingError, deadline: Deadline) -> float | None:
        """Seconds until the next try; None if there is to be none.

        Args:
            tried: How often the call was tried.
            error: How it failed the last time.
            deadline: Until when an answer is of use.
        """
        if not isinstance(error, UnavailableError) or tried > self.retries:
            return None
        longest = min(_FIRST_PAUSE * 2 ** (tried - 1), _LONGEST_PAUSE)
        pause = random.uniform(0, longest)
        return pause if pause < deadline.left() else None
