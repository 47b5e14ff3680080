"""Trials on Dask: a running scheduler, or any Dask cluster class.

Every Dask worker has one *slot*: a Dask task that stays for the whole run, takes attempts from the driver
one after another, and hands each at once to a process of its own. Dask places the slots, watches the
workers and carries the messages; a trial costs one message out and its reports back, not the scheduling
of a task.
"""
