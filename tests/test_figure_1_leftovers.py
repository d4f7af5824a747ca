"""Figure 1 with agents as an ordinary user, and what is left of it afterwards: nothing."""

import os

import pytest
from leftovers import MARK, await_no_lab, await_none, files_of, snapshot
from people import Person

from tests.figure_1.endings import a_stop_ends_everything, traffic_passes
from tests.figure_1.inside import Remote

pytestmark = pytest.mark.emulation


def test_ordinary_user_runs_it_and_leaves_nothing(user: Person) -> None:
    before, files = snapshot(), files_of(user.user)
    remote = Remote(user.home, "hardened", user.popen)
    try:
        assert remote.call(traffic_passes, {}) == user.user
        remote.call(a_stop_ends_everything, {})
    finally:
        remote.close()
    assert await_none(os.environ[MARK]) == []
    assert await_no_lab(user.user) == []
    assert snapshot().since(before) == []
    # Only its run folder; others than a root that plays a user have files of their own elsewhere.
    if os.geteuid() == 0:
        new = set(files_of(user.user)) - set(files)
        assert [path for path in new if not path.startswith(f"{user.home}/")] == []
