"""What is known of one trial, for people; `story` finds it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from dotrain.report.columns import Column, fit
from dotrain.report.result import print_lines
from dotrain.report.text import duration, make_console, spark_line, usage_text
from dotrain.results.lineage import lineage_lines
from dotrain.results.text import number_text, printable

#: The most reports that are shown to people; of more, the first and the last.
_SHOWN_REPORTS = 20
_SPARK = 60


def print_trial(found: Mapping[str, Any]) -> None:
    """Print what `read_trial` returned to stdout."""
    console = make_console()
    ascii_only = console.options.ascii_only
    print_lines([printable(line) for line in trial_lines(found, ascii_only=ascii_only)], console)


def trial_lines(found: Mapping[str, Any], *, ascii_only: bool = False) -> list[str]:
    """Return one trial in full, for people.

    Args:
        found: What `read_trial` returned.
        ascii_only: For terminals that know no Unicode.
    """
    lines = [_headline(found), *_facts(found)]
    lines += [line for line in ("", *lineage_lines(found["lineage"])) if found["lineage"]]
    lines += ["", "story"]
    lines += [f"  [{entry['time_s']:8.1f} s] {entry['what']}" for entry in found["story"]]
    if found["reports"]:
        lines += ["", *_report_lines(found, ascii_only)]
    if found["error"]:
        lines += ["", *_error_lines(found["error"])]
    lines += ["", f"log         {found['log'] or 'none'}"]
    freed = f"freed (checkpoints.keep: {found['freed']})" if found["freed"] else "none"
    lines.append(f"checkpoint  {found['checkpoint'] or freed}")
    return lines


def _headline(found: Mapping[str, Any]) -> str:
    line = f"{found['trial_id']}: {found['state']}"
    if found["state"] in ("launched", "running", "stopping") and found["run_status"] != "running":
        line = f"{found['trial_id']}: was {found['state']} when the run ended"
    values = found.get("values") or {found["metric"]: found["value"]}
    for name, value in values.items():
        line += "" if value is None else f", {name} {number_text(value)}"
    if found.get("front"):
        line += f", one of {found['ranked']} on the Pareto front"
    if by := found.get("dominated_by"):
        line += f", dominated by {by[0]}" + (f" and {len(by) - 1} more" if len(by) > 1 else "")
    if found["rank"] is not None and found["ranked"] > 1 and "arm" not in found:
        line += f", rank {found['rank']} of {found['ranked']}"
    return line


def _facts(found: Mapping[str, Any]) -> list[str]:
    facts = []
    if "arm" in found:
        facts.append(("arm", found["arm"]))
        facts += [("changes", change) for change in found["changes"]]
        facts.append(("seed", f"number {found['seed_index']} of the study: {found['seed']}"))
    else:
        # As they are, for whoever wants to use them again.
        facts += [("parameters", "")] if found["params"] else []
        facts += [
            (f"  {name}", json.dumps(value, ensure_ascii=False))
            for name, value in found["params"].items()
        ]
        facts.append(("seed", str(found["seed"])))
        if values := found.get("repeats"):
            facts.append(("repeats", ", ".join(map(number_text, values))))
    took = f"{found['steps']} reported, {duration(found['seconds'])} in the train function"
    facts.append(("steps", took))
    facts += [("used", usage_text(found["usage"]))] if found["usage"] else []
    facts += [(mark, what) for mark, what in found["marks"].items()]
    facts += [(name, number_text(value)) for name, value in found["metrics"].items()]
    width = max(10, *(len(name) for name, _ in facts))
    return [f"{name:{width}}  {value}".rstrip() for name, value in facts]


def _report_lines(found: Mapping[str, Any], ascii_only: bool) -> list[str]:
    reports = found["reports"]
    values = [report["value"] for report in reports]
    spark = spark_line(values, _SPARK, ascii_only=ascii_only)
    lines = [
        f"reports ({len(reports)}): {spark}  "
        f"from {number_text(min(values))} to {number_text(max(values))}"
    ]
    half = _SHOWN_REPORTS // 2
    shown = reports if len(reports) <= _SHOWN_REPORTS else [*reports[:half], *reports[-half:]]
    names = [name for name in dict.fromkeys(key for r in shown for key in r) if name != "step"]
    columns = [Column("  step", [str(r["step"]) for r in shown], right=True)]
    for name in names:
        cells = [number_text(r[name]) if name in r else "" for r in shown]
        columns.append(Column(found["metric"] if name == "value" else name, cells, right=True))
    table, _ = fit(columns, None)
    if len(shown) < len(reports):
        table.insert(half + 1, f"  ... {len(reports) - len(shown)} more (--json has them)")
    return lines + table


def _error_lines(error: Mapping[str, Any]) -> list[str]:
    lines = [f"error: {error['message']}"]
    if error["host"]:
        lines.append(f"  on {error['host']}")
    if error["location"]:
        lines.append(f"  at {error['location']}")
    if error["source"]:
        lines.append(f"    {error['source']}")
    return lines + [f"  | {line}" for line in error["traceback"].splitlines()]
