"""A token bucket: so many a second, and as many at once."""


class RateLimit:
    """Allows `rate` a second on average, `rate` at once at most."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._tokens = rate
        self._last: float | None = None

    def allow(self, now: float) -> bool:
        """Take one token if there is one; `now` in seconds."""
        if self._last is not None:
            self._tokens = min(self._rate, self._tokens + (now - self._last) * self._rate)
        self._last = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
