"""The process of a local Dask worker.

It reads the scheduler's address from its standard input, and ends when that is closed: the driver
holds the other end, so no worker outlives it, however it dies.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import threading
import traceback

from distributed import Worker

#: How long a worker that is told to end may take, in seconds.
_GRACE_S = 2.0


async def _serve(address: str, name: str, folder: str) -> None:
    loop = asyncio.get_running_loop()
    end = asyncio.Event()
    watch = threading.Thread(target=_wait_for_the_end, args=(loop, end), daemon=True)
    watch.start()
    async with Worker(
        address,
        nthreads=1,
        name=name,
        local_directory=folder,
        memory_limit=0,
        dashboard=False,
        host="127.0.0.1",
    ) as worker:
        finished = asyncio.ensure_future(worker.finished())
        await asyncio.wait(
            [finished, asyncio.ensure_future(end.wait())], return_when=asyncio.FIRST_COMPLETED
        )


def _wait_for_the_end(loop: asyncio.AbstractEventLoop, end: asyncio.Event) -> None:
    sys.stdin.buffer.read()
    # A train function that doesn't return must not keep the process.
    timer = threading.Timer(_GRACE_S, os._exit, args=(1,))
    timer.daemon = True
    timer.start()
    loop.call_soon_threadsafe(end.set)


def main() -> None:
    """Run a worker until standard input ends."""
    name, folder = sys.argv[1:3]
    address = sys.stdin.readline().strip()
    if not address:
        return
    # A thread that computes gives way to the one that talks within a millisecond.
    sys.setswitchinterval(0.001)
    code = 0
    try:
        asyncio.run(_serve(address, name, folder))
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    # A driver that was killed can't clean up any more.
    shutil.rmtree(folder, ignore_errors=True)
    # The thread that reads standard input would keep the interpreter from ending in order.
    os._exit(code)


if __name__ == "__main__":
    main()
