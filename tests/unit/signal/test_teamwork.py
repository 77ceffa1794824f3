"""Threads that share a frame: every share once, nobody waits for a thread that is late, none outlives its team."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest
from numba import njit
from numpy.typing import NDArray

from octmargin.signal import Calibration, Reconstructor
from octmargin.signal._teamwork import Team, finish_share, new_progress, take_share, wait_for_shares


@njit(nogil=True)
def take_all(progress: NDArray[np.int64], takers: NDArray[np.int64], member: int) -> int:
    """Write down who took which share; the number of shares that were done when all were."""
    share = take_share(progress, 1)
    while share < len(takers):
        takers[share] += 1 + 100 * member
        finish_share(progress, 1)
        share = take_share(progress, 1)
    wait_for_shares(progress, 1, len(takers))
    return (takers > 0).sum()  # type: ignore[no-any-return]


@pytest.mark.parametrize("helpers", [0, 1, 3])
def test_every_share_is_taken_once_and_done_when_the_caller_goes_on(helpers: int) -> None:
    team = Team(helpers)
    for _ in range(200):
        progress, takers = new_progress(2), np.zeros(500, dtype=np.int64)
        done: list[int] = []
        team.run(lambda member, p=progress, t=takers, d=done: d.append(take_all(p, t, member)))
        assert done
        assert (takers % 100 == 1).all()


def test_a_helper_that_is_late_finds_nothing_to_do() -> None:
    may_begin, ended = threading.Event(), threading.Event()
    progress, takers = new_progress(2), np.zeros(50, dtype=np.int64)

    def task(member: int) -> None:
        if member:
            assert may_begin.wait(30)
        take_all(progress, takers, member)
        if member:
            ended.set()

    Team(1).run(task)
    assert (takers == 1).all()
    may_begin.set()
    assert ended.wait(30)
    assert (takers == 1).all()


def test_the_threads_end_with_their_reconstructor() -> None:
    before = set(threading.enumerate())
    reconstructor = Reconstructor(Calibration(), samples=64, depth=32, threads=3)
    reconstructor.process(np.ones((64, 64), dtype=np.uint16))
    helpers = [thread for thread in threading.enumerate() if thread not in before]
    assert len(helpers) == 2
    del reconstructor
    gc.collect()
    for helper in helpers:
        helper.join(30)
        assert not helper.is_alive()


def test_frames_in_quick_succession_are_those_of_one_thread() -> None:
    frames = np.random.default_rng(0).integers(0, 4095, (60, 48, 128)).astype(np.uint16)
    one = Reconstructor(Calibration(), samples=128, depth=64, running_mean_frames=5)
    many = Reconstructor(Calibration(), samples=128, depth=64, running_mean_frames=5, threads=4)
    for frame in frames:
        np.testing.assert_array_equal(many.process(frame), one.process(frame))
