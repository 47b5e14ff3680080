"""From the config's `cluster:` section to an executor."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from dotrain.config.schema import Cluster, SimulationModel
from dotrain.errors import ResourcesUnavailable
from dotrain.executors.base import Executor


def make_executor(cluster: Cluster, log_dir: Path, slots_per_trial: int = 1) -> Executor:
    """Return the executor of a cluster section.

    Local worker processes are started at once, so that they import what they need while this
    process does the same; everything else waits for `Executor.start`.

    Args:
        cluster: Where trials are to run.
        log_dir: Where local workers write what isn't a trial's output.
        slots_per_trial: How many workers one trial takes.

    Raises:
        ResourcesUnavailable: If there can never be so many.
    """
    slots = cluster.slots(slots_per_trial)
    if slots is not None and slots < slots_per_trial:
        raise ResourcesUnavailable(
            f"one trial takes {slots_per_trial} workers (distribution.workers), and there will "
            f"never be more than {slots} (cluster: {cluster.kind}); "
            + (
                "use cluster.kind: local"
                if cluster.kind == "inline"
                else f"set cluster.workers to {slots_per_trial} or more"
            )
        )
    if cluster.kind == "inline":
        from dotrain.executors.inline import InlineExecutor

        return InlineExecutor()
    if cluster.kind == "simulated":
        from dotrain.executors.simulated import SimulatedExecutor

        return SimulatedExecutor(slots or 1, SimulationModel(**cluster.options))
    workers = None
    if cluster.kind == "local":
        from dotrain.executors.dask.local_workers import LocalWorkers

        workers = LocalWorkers(slots or 1, log_dir)
    from dotrain.executors.dask.connection import at_address, local_scheduler, of_class
    from dotrain.executors.dask.executor import DaskExecutor

    timeout_s = cluster.connect_timeout_s
    if workers is not None:
        connect = partial(local_scheduler)
    elif cluster.address is not None:
        tls = cluster.tls.model_dump() if cluster.tls else None
        connect = partial(at_address, cluster.address, timeout_s, tls)
    else:
        connect = partial(of_class, cluster.kind, cluster.options, cluster.workers)
    return DaskExecutor(
        connect, max_slots=cluster.workers, connect_timeout_s=timeout_s, workers=workers
    )
