"""The judge of searchers: problems, searchers, virtual time, statistics, a page; see `../judge.py`."""
