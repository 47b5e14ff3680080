"""How one trial spans devices and workers.

The strategies (`single`, `mirrored`, `multi_worker`), what makes Keras train with them as one
process would (`tensorflow`, `exact`), how ranks agree on a stop (`agreement`), and the processes
they run in (`launcher` in the Dask worker, `warm` and `rank` in processes of their own).
"""
