"""One attempt, one life: a process that is prepared, begins, runs and ends, and nothing left of it.

    host          the driver, or a Dask worker: says what runs where
      fork server   has imported what attempts need; forks a keeper for each slot
        keeper        one for each slot: has the next child ready, ends whatever an attempt started
          child         one attempt, or one rank of it

Processes talk in messages over pairs of sockets (`pipe`); who holds the other end of one that ends is
gone. No thread runs beside the user's function, and no process is forked that has threads.
"""
