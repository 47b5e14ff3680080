"""Everything that is on the page, from the journal: what the template is filled with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dotrain.config.writing import to_yaml
from dotrain.core.trial import Trial
from dotrain.report.page.charts import Spec
from dotrain.report.page.cost import Cost, cost_of
from dotrain.report.page.curves import Curves, curves_of, fate, why
from dotrain.report.page.front import FrontPage, front_page
from dotrain.report.page.importance import Importance, importance_of
from dotrain.report.page.parameters import Parameter, searched
from dotrain.report.page.savings import Rung, Savings, rungs_of, savings_of
from dotrain.report.page.settings import (
    Configuration,
    configuration_of,
    environment_of,
)
from dotrain.report.page.slices import Slices, slices_of
from dotrain.report.page.study import StudyPage, study_page
from dotrain.report.page.timeline import Timeline, timeline_of
from dotrain.report.page.trials import TrialTable, table_of
from dotrain.report.page.verdict import Verdict, verdict_of
from dotrain.report.reading import Run
from dotrain.report.spaces import space_lines
from dotrain.results.checkpoints import checkpoint_of
from dotrain.results.marks import SIMULATED


@dataclass(frozen=True)
class Active:
    """A trial that has not come to an end, and how far it is."""

    trial: Trial
    why: str


@dataclass(frozen=True)
class Document:
    """What is on the page; a part that doesn't apply is None or empty.

    Attributes:
        run: The run.
        made_at: When the page was made, for people.
        verdict: What comes first.
        best: The best configuration, or that of a single run.
        curves: The curves of the trials.
        timeline: The best value over time.
        parameters: What was searched.
        importance: Which of it mattered.
        slices: Each of it against the metric.
        rungs: Of successive halving.
        savings: Steps saved.
        study: Of an ablation.
        front: Of a search by several metrics.
        active: Trials that have not come to an end.
        cost: Time and slots.
        environment: Where it was driven: what, and which.
        config: The resolved config, in YAML.
        table: Of all trials.
        marks: What must be known of the values, a sentence for each mark, and of what was searched.
        checkpoint: Where that of the best trial lies, in the run directory or as a URL; ``""`` if
            there is none.
        freed: What became of the others, a sentence each.
        charts: Every chart by its id on the page.
        data: The datasets of all charts by name.
    """

    run: Run
    made_at: str
    verdict: Verdict
    best: Configuration | None
    curves: Curves
    timeline: Timeline | None
    parameters: Sequence[Parameter]
    importance: Importance | None
    slices: Slices | None
    rungs: Sequence[Rung]
    savings: Savings | None
    study: StudyPage | None
    front: FrontPage | None
    active: Sequence[Active]
    cost: Cost
    environment: Sequence[tuple[str, str]]
    config: str
    table: TrialTable
    marks: Sequence[str]
    checkpoint: str
    freed: Sequence[str]
    charts: Mapping[str, Spec]
    data: Mapping[str, list[Any]]


def make_document(run: Run, made_at: str) -> Document:
    """Return everything that is on the page of a run.

    Args:
        run: The run.
        made_at: When the page is made, for people.
    """
    header, trials, result = run.header, run.trials, run.result
    metric, direction = result.metric, result.direction
    is_search = result.kind == "search"
    best = result.best
    front = front_page(result)
    picked = front.ids if front else [best.trial_id] if best else []
    checkpoint = (
        None if best is None else checkpoint_of(best, run.run_dir.path, run.header["direction"])
    )
    curves = curves_of(trials, metric, result.stands_out, picked)
    parameters = searched(header["config"], trials) if is_search else []
    by_one = is_search and front is None
    timeline = timeline_of(trials, metric, direction, run.state.time_s) if by_one else None
    slices = slices_of(trials, parameters, metric, picked) if is_search else None
    study = study_page(result)
    charts: dict[str, Spec | None] = {
        "curves": curves.spec,
        "timeline": timeline.spec if timeline else None,
        "forest": study.spec if study else None,
        **{f"slice-{i}": spec for i, spec in enumerate(slices.specs if slices else ())},
        **{f"front-{i}": spec for i, spec in enumerate(front.specs if front else ())},
    }
    parts = [part for part in (curves, timeline, slices, study, front) if part is not None]
    return Document(
        run=run,
        made_at=made_at,
        verdict=verdict_of(run),
        best=_configuration(result.hparams, best),
        curves=curves,
        timeline=timeline,
        parameters=parameters,
        importance=importance_of(trials, parameters, direction)
        if slices and len(parameters) > 1
        else None,
        slices=slices,
        rungs=rungs_of(trials, direction),
        savings=savings_of(trials),
        study=study,
        front=front,
        active=[Active(trial, why(trial)) for trial in trials if fate(trial) == "unfinished"],
        cost=cost_of(run.records, trials, run.state.time_s),
        environment=environment_of(header),
        config=to_yaml(header["config"]),
        table=table_of(trials, result.metrics, result.candidates if front else None),
        marks=[
            *(line for line in result.caveats.lines if line != SIMULATED),
            *space_lines(header, run.records),
        ],
        checkpoint=_shown(checkpoint, run) if checkpoint else "",
        freed=result.checkpoints.lines,
        charts={name: spec for name, spec in charts.items() if spec is not None},
        data={name: rows for part in parts for name, rows in part.data.items()},
    )


def _configuration(fixed: Mapping[str, Any], best: Trial | None) -> Configuration | None:
    if best is None or not (best.params or fixed):
        return None
    return configuration_of(best.params, fixed)


def _shown(checkpoint: str, run: Run) -> str:
    is_here = Path(checkpoint).is_relative_to(run.run_dir.path)
    return str(Path(checkpoint).relative_to(run.run_dir.path)) if is_here else checkpoint
