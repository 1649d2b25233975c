"""A pool of worker processes that survives the death of one.

Not pebble's: it spares twenty of these lines, but its map takes all scans at once, however slow the
consumer is, so the window and the order stay ours, and its licence is the LGPL.
"""

import contextlib
import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

import SimpleITK as sitk

from genesis_jax.errors import ScanError
from genesis_jax.interruption import Interruption

Job = TypeVar('Job')
Result = TypeVar('Result')


def in_order(
    function: Callable[[Job], Result], jobs: Iterable[Job], workers: int
) -> Generator[Result | None, None, None]:
    """Yields `function(job)` for every job, in order; None where it killed its process.

    One worker means this process. With more, at most two jobs per worker are under way, so
    memory stays bounded however slow the consumer is.
    """
    if workers == 1:
        yield from map(function, jobs)
        return
    with tempfile.TemporaryDirectory(prefix='data_prep_') as scratch:
        yield from _from_pool(function, jobs, workers, scratch)


def _from_pool(
    function: Callable[[Job], Result], jobs: Iterable[Job], workers: int, scratch: str
) -> Generator[Result | None, None, None]:
    remaining = iter(jobs)
    waiting: deque[tuple[Job, Future[Result]]] = deque()
    pool = _pool(workers, scratch)
    try:
        while True:
            for job in islice(remaining, 2 * workers - len(waiting)):
                try:
                    future = pool.submit(function, job)
                except BrokenProcessPool:
                    pool.shutdown()
                    pool = _pool(workers, scratch)
                    future = pool.submit(function, job)
                waiting.append((job, future))
            if not waiting:
                return
            job, future = waiting.popleft()
            try:
                result: Result | None = future.result()
            except BrokenProcessPool:  # takes every job under way along: find the one to blame
                result = _alone(function, job, scratch)
            yield result
    finally:
        pool.shutdown(cancel_futures=True)


def _pool(workers: int, scratch: str) -> ProcessPoolExecutor:
    # spawn: forking a process that runs threads (ITK, JAX) can deadlock
    context = multiprocessing.get_context('spawn')
    return ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(scratch,))


def _alone(function: Callable[[Job], Result], job: Job, scratch: str) -> Result | None:
    with _pool(1, scratch) as pool, contextlib.suppress(BrokenProcessPool):
        return pool.submit(function, job).result()
    return None


def _start_worker(scratch: str) -> None:
    tempfile.tempdir = scratch  # what a killed worker leaves goes with this folder
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)  # there is a worker for every core
    threading.Thread(target=_end_with_parent, args=(scratch,), daemon=True).start()


def _end_with_parent(scratch: str) -> None:
    """Workers of a killed parent would wait for work forever."""
    if parent := multiprocessing.parent_process():
        parent.join()
    shutil.rmtree(scratch, ignore_errors=True)
    os._exit(1)


KILLED = 'killed its worker process (out of memory?); use fewer --workers'


def stop_on_signal(pairs: Iterator[tuple], interruption: Interruption) -> Iterator[tuple]:
    """The pairs until the process is told to stop: between scans, where nothing swallows it."""
    for pair in pairs:
        if interruption.signal is not None:
            raise KeyboardInterrupt
        yield pair


def reason_of(error: Exception) -> str:
    """Why a scan was skipped: a clause that continues its name."""
    if isinstance(error, ScanError):
        return str(error)
    if isinstance(error, MemoryError):
        return 'needs more memory than there is; use fewer --workers'
    words = ' '.join(str(error).split())
    return f'failed unexpectedly ({type(error).__name__}: {words})'
