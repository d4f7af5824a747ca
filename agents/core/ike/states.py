"""The life of an IKE SA, and of a Child SA under it, as tables."""

from enum import StrEnum


class IkeState(StrEnum):
    """Where an IKE SA stands."""

    INIT_SENT = "init-sent"
    AUTH_SENT = "auth-sent"
    HALF_OPEN = "half-open"
    ESTABLISHED = "established"
    DELETING = "deleting"
    DEAD = "dead"


class IkeTrigger(StrEnum):
    """What moves an IKE SA from one state to the next."""

    RETRIED = "retried"
    """IKE_SA_INIT begins anew: a cookie, another group, an unknown SPI at the other end."""
    ANSWERED = "answered"
    AUTHENTICATED = "authenticated"
    CLOSED = "closed"
    """This end deletes it, and waits for the answer."""
    ENDED = "ended"


IKE_TRANSITIONS: dict[IkeState, dict[IkeTrigger, IkeState]] = {
    IkeState.INIT_SENT: {
        IkeTrigger.RETRIED: IkeState.INIT_SENT,
        IkeTrigger.ANSWERED: IkeState.AUTH_SENT,
        IkeTrigger.ENDED: IkeState.DEAD,
    },
    IkeState.AUTH_SENT: {
        IkeTrigger.RETRIED: IkeState.INIT_SENT,
        IkeTrigger.AUTHENTICATED: IkeState.ESTABLISHED,
        IkeTrigger.CLOSED: IkeState.DELETING,
        IkeTrigger.ENDED: IkeState.DEAD,
    },
    IkeState.HALF_OPEN: {
        IkeTrigger.AUTHENTICATED: IkeState.ESTABLISHED,
        IkeTrigger.ENDED: IkeState.DEAD,
    },
    IkeState.ESTABLISHED: {
        IkeTrigger.CLOSED: IkeState.DELETING,
        IkeTrigger.ENDED: IkeState.DEAD,
    },
    IkeState.DELETING: {IkeTrigger.ENDED: IkeState.DEAD},
    IkeState.DEAD: {},
}
"""State → trigger → next state; a trigger that a state does not name is a fault of the program."""

LARVAL = (IkeState.INIT_SENT, IkeState.AUTH_SENT, IkeState.HALF_OPEN)


class ChildState(StrEnum):
    """Where a Child SA stands."""

    INSTALLED = "installed"
    REKEYING = "rekeying"
    REKEYED = "rekeyed"
    """There is a successor; this one waits for its Delete (make before break, §2.8)."""
    DELETING = "deleting"
    GONE = "gone"


class ChildTrigger(StrEnum):
    """What moves a Child SA from one state to the next."""

    REKEY = "rekey"
    FAILED = "failed"
    REPLACED = "replaced"
    DELETE = "delete"
    DELETED = "deleted"


CHILD_TRANSITIONS: dict[ChildState, dict[ChildTrigger, ChildState]] = {
    ChildState.INSTALLED: {
        ChildTrigger.REKEY: ChildState.REKEYING,
        ChildTrigger.REPLACED: ChildState.REKEYED,
        ChildTrigger.DELETE: ChildState.DELETING,
        ChildTrigger.DELETED: ChildState.GONE,
    },
    ChildState.REKEYING: {
        ChildTrigger.FAILED: ChildState.INSTALLED,
        ChildTrigger.REPLACED: ChildState.REKEYED,
        ChildTrigger.DELETE: ChildState.DELETING,
        ChildTrigger.DELETED: ChildState.GONE,
    },
    ChildState.REKEYED: {
        ChildTrigger.DELETE: ChildState.DELETING,
        ChildTrigger.DELETED: ChildState.GONE,
    },
    ChildState.DELETING: {ChildTrigger.DELETED: ChildState.GONE},
    ChildState.GONE: {},
}
"""State → trigger → next state; as above."""
