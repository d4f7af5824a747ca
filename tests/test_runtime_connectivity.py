"""A home agent is cut off once it has had no route to any peer for a while, not before."""

from __future__ import annotations

from agents.runtime.connectivity import LASTING, Connectivity


def test_the_first_observation_counts_at_once() -> None:
    assert Connectivity().observe(True, 0.0) is True
    assert Connectivity().observe(False, 0.0) is False


def test_routes_that_are_replaced_are_no_loss() -> None:
    routes = Connectivity()
    routes.observe(True, 0.0)
    assert routes.observe(False, 1.0) is None
    assert routes.deadline() == 1.0 + LASTING
    assert routes.observe(True, 1.0 + LASTING / 2) is None
    assert routes.deadline() is None


def test_a_loss_that_lasts_is_told_once() -> None:
    routes = Connectivity()
    routes.observe(True, 0.0)
    assert routes.observe(False, 1.0) is None
    assert routes.observe(False, 1.0 + LASTING / 2) is None
    assert routes.observe(False, 1.0 + LASTING) is False
    assert routes.deadline() is None
    assert routes.observe(False, 2.0) is None


def test_a_route_that_is_back_is_told_at_once() -> None:
    routes = Connectivity()
    routes.observe(False, 0.0)
    assert routes.observe(False, 0.5) is None
    assert routes.observe(True, 1.0) is True
    assert routes.observe(True, 1.1) is None


def test_each_loss_is_waited_out_anew() -> None:
    routes = Connectivity()
    routes.observe(True, 0.0)
    routes.observe(False, 1.0)
    routes.observe(True, 1.05)
    assert routes.observe(False, 1.09) is None
    assert routes.observe(False, 1.0 + LASTING) is None
    assert routes.observe(False, 1.09 + LASTING) is False
