"""`python -m dotrain` is `dotrain`."""

import sys

if __name__ == "__main__":
    if not sys.flags.safe_path:
        # The current folder, where a random.py would hide Python's own.
        del sys.path[0]

    from dotrain.cli import main

    main()
