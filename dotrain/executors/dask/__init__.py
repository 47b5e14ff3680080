"""Trials on Dask: workers started here, a running scheduler, or any Dask cluster class.

Every Dask worker process serves one *slot*: a Dask task that stays for the whole run, takes
attempts from the driver one after another, and runs each at once. Dask places the slots, watches
the workers and carries the messages; a trial costs one message out and its reports back, not the
scheduling of a task.
"""
