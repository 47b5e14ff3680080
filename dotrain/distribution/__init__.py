"""How one trial spans workers, whatever the framework.

The strategy of one worker (`single`), how ranks agree on a stop (`agreement`), and the processes
they run in (`launcher` in the Dask worker, `warm` and `rank` in processes of their own). Other
strategies lie with their frameworks.
"""
