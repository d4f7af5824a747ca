"""Why somebody is not believed, or gets nothing."""


class NotAuthorised(Exception):  # noqa: N818 - an answer, not an error of the program
    """Somebody is not who, or may not do what, it claims.

    `reason` is one word for counters, events and the other end; `detail` is for a person here.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
