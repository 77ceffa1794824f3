"""Runs a study on several processors; the results do not depend on how many."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

from octmargin.errors import InputError, OctMarginError
from octmargin.margin import Assessor
from octmargin_simulator.study.examination import Examined, examine
from octmargin_simulator.study.leakage import check_unseen, training_seeds_of
from octmargin_simulator.study.plan import StudyPlan, Task
from octmargin_simulator.study.records import Blocks, StudyResults

Progress = Callable[[int, int], None]


class StudyError(OctMarginError):
    """A study could not be brought to its end."""


def run_study(
    plan: StudyPlan, *, processes: int | None = None, progress: Progress | None = None
) -> StudyResults:
    """Examine every specimen of the plan; `processes` defaults to the number of processors.

    `progress(done, total)` is told of every examined specimen, in the caller's thread. Raises InputError where the
    model has seen a specimen in its training, ConfigError for a model that does not exist, StudyError where a process
    died.
    """
    assessor = Assessor(plan.model)
    check_unseen(plan.model, plan.seeds, training_seeds_of(plan.model))
    processes = os.cpu_count() or 1 if processes is None else processes
    if processes < 1:
        raise InputError(f"study: {processes} processes; give at least 1")
    tasks = plan.tasks()
    found: dict[int, list[Examined]] = {}
    for done, (index, examined) in enumerate(_examinations(plan, tasks, processes), start=1):
        found[index] = examined
        if progress is not None:
            progress(done, len(tasks))
    faces = [face for index in range(len(tasks)) for face in found[index]]
    return StudyResults(
        plan,
        tuple(assessor.classes),
        [face.record for face in faces],
        Blocks.joined([face.blocks for face in faces]),
    )


def _examinations(
    plan: StudyPlan, tasks: Sequence[Task], processes: int
) -> Iterator[tuple[int, list[Examined]]]:
    """Index and result of every task, in the order in which they are done."""
    if processes == 1:
        for index, task in enumerate(tasks):
            yield index, examine(plan, task)
        return
    # Spawned: a forked process would inherit the threads' locks of this one, without the threads.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(processes, len(tasks)), context, initializer=_end_on_interrupt)
    try:
        futures = {pool.submit(examine, plan, task): index for index, task in enumerate(tasks)}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BrokenProcessPool as error:
        raise StudyError(
            "study: a process died, perhaps for want of memory; give fewer --processes"
        ) from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _end_on_interrupt() -> None:
    # Ctrl-C reaches every process: the parent says so, the others just end.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
