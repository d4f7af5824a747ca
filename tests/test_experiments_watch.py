"""What happens on a running network is observed whatever its fields are called."""

from experiments.data import EventName
from experiments.watch import Watcher


def test_an_agents_event_may_have_any_field() -> None:
    watcher = Watcher()
    try:
        fields = {"node": "HA1", "kind": "child-failed", "name": "payload", "time_ns": 3}
        watcher.observe(EventName.AGENT, 7, **fields)
        (seen,) = watcher.since(0)
        assert (seen.name, seen.time_ns, seen.fields) == (EventName.AGENT, 7, fields)
    finally:
        watcher.close()
