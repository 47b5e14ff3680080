"""The pure core: trial states, events in, instructions out. No I/O, clock, thread or Dask."""
