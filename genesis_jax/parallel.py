"""The one place that knows devices: processes, the mapped step, sharding.

A step is written as the program of one device, which sees its part of the global batch and talks
to the others through collectives over `AXIS`. Here it is mapped over all devices of all processes.
State is passed and returned without a device axis; batches and per-example results carry one.
"""

import functools
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from genesis_jax.errors import UserError
from genesis_jax.interruption import Interruption

AXIS = 'batch'


def start() -> None:
    """Joins the other processes, if this is one of several; caches compilations.

    For programs to call first, before anything touches a device. JAX recognises TPU pods, SLURM
    and Open MPI; elsewhere JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID tell.
    """
    if jax.config.jax_compilation_cache_dir is None:  # type: ignore[attr-defined]
        base = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
        jax.config.update('jax_compilation_cache_dir', str(Path(base) / 'genesis_jax' / 'xla'))
    # Also what compiles in less than a second: there is a lot of it.
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)
    if 'JAX_COORDINATOR_ADDRESS' in os.environ:
        try:
            count, index = (int(os.environ[f'JAX_{n}']) for n in ('NUM_PROCESSES', 'PROCESS_ID'))
        except (KeyError, ValueError):
            raise UserError(
                'JAX_COORDINATOR_ADDRESS is set, but JAX_NUM_PROCESSES and JAX_PROCESS_ID are not '
                'both whole numbers; set all three or none'
            ) from None
        jax.distributed.initialize(num_processes=count, process_id=index)
        return
    try:
        jax.distributed.initialize()
    except ValueError:  # no cluster: one process
        return


def is_main_process() -> bool:
    """Whether this process is the one that writes logs and pictures."""
    return jax.process_index() == 0


def create(init: Callable, *arguments: Any) -> Any:
    """Runs `init(*arguments)` on every device; all is replicated, without a device axis.

    The train state must be born mapped: an array made under plain jit cannot be donated to a step
    that spans several processes.
    """
    return _mapped(init, len(arguments))(np.zeros(jax.local_device_count()), *arguments)


@functools.lru_cache(maxsize=4)
def _mapped(init, count):
    """`init` of so many arguments, mapped; compiled once for runs that differ in the seed."""
    in_axes = (0, *[None] * count)
    return jax.pmap(lambda _, *arguments: init(*arguments), AXIS, in_axes=in_axes, out_axes=None)


def spmd(function: Callable, *, out_axes: Any = None, donate: bool = False) -> Callable:
    """Maps `function(state, batch)`, the program of one device, over all devices.

    Args:
      out_axes: None for a result that is the same on every device; 0 for one with a device axis;
        or a tree of these.
      donate: whether the state's memory is reused for the result.
    """
    return jax.pmap(
        function, AXIS, in_axes=(None, 0), out_axes=out_axes, donate_argnums=0 if donate else ()
    )


def shard(batch: Mapping[str, np.ndarray]) -> dict[str, jax.Array]:
    """A host batch `[local batch, ...]` on the local devices: `[devices, per device, ...]`."""
    devices = jax.local_devices()
    sharding = NamedSharding(Mesh(np.array(devices), (AXIS,)), P(AXIS))
    return jax.tree.map(
        lambda x: jax.device_put(x.reshape(len(devices), -1, *x.shape[1:]), sharding), batch
    )


def next_examples(examples: jax.Array) -> jax.Array:
    """The next example of the global batch for each, within the program of one device.

    Args:
      examples: this device's, `[B, ...]`. Of P processes, one holds every P-th of the batch, and
        its devices consecutive ones of these.
    """
    return _next_examples(examples, jax.device_count(), jax.local_device_count())


def _next_examples(examples, devices, local):
    """As `next_examples`, of so many devices in all and in each process."""
    steps = [(d, d - d % local + (d % local - 1) % local) for d in range(devices)]
    first = jax.lax.ppermute(examples[:1], AXIS, steps)
    following = jnp.concatenate([examples[1:], first])  # of this process
    if devices == local:
        return following
    # The next process has them in the same places; after the last one it is the first's next.
    lent = jnp.where(jax.lax.axis_index(AXIS) < local, following, examples)
    back = [(device, (device - local) % devices) for device in range(devices)]
    return jax.lax.ppermute(lent, AXIS, back)


def to_global(tree: Any) -> Any:
    """State as one process sees it, as the global arrays that a checkpoint of all needs."""
    if jax.process_count() == 1:
        return tree
    return multihost_utils.host_local_array_to_global_array(tree, _all_devices(), P())


def to_local(tree: Any) -> Any:
    """The inverse of `to_global`."""
    if jax.process_count() == 1:
        return tree
    return multihost_utils.global_array_to_host_local_array(tree, _all_devices(), P())


def interruption() -> Interruption:
    """A context manager that notes requests to stop, for `should_stop`.

    Among several processes JAX's preemption service listens to SIGTERM, so that is left to it.
    """
    if jax.process_count() == 1:
        return Interruption()
    return Interruption(noted=(), as_sigterm=(signal.SIGINT,))


def should_stop(stop: bool, step: int) -> bool:
    """Whether to stop after this step; `stop`: whether this process was asked to.

    Several processes must stop at the same step, on which JAX's preemption service agrees.
    """
    if jax.process_count() == 1:
        return stop
    return multihost_utils.reached_preemption_sync_point(step)


def _all_devices():
    return Mesh(np.array(jax.devices()), (AXIS,))
