"""What a run searches: as it began, and as it goes on."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dotrain.config.arguments import names_taken, reachable
from dotrain.config.source import read_source
from dotrain.config.writing import to_yaml
from dotrain.core.book import TrialBook
from dotrain.core.events import Resumed
from dotrain.errors import UsageError
from dotrain.runs.definition import Experiment
from dotrain.space import Constraint, Searchspace, SpaceError, as_domain, value_text
from dotrain.store import Record, RunDir

#: The keys of ``search`` that say it.
KEYS = ("space", "space_constraints")


@dataclass(frozen=True)
class OtherSpace:
    """That a run began in another space than it goes on in.

    Attributes:
        began_in: The first.
        new: What it goes on in, as the journal holds it; None if it did so before.
    """

    began_in: Searchspace
    new: dict[str, Any] | None


def other_space(
    header: Mapping[str, Any], records: Sequence[Record], experiment: Experiment
) -> OtherSpace | None:
    """Return how the space of a run has changed; None if it never has.

    Args:
        header: The journal's.
        records: Those behind it.
        experiment: What goes on.

    Raises:
        UsageError: If it has, and can't be; or the journal, of an early version, doesn't tell what it was.
    """
    told = [r["space"] for r in records if r["type"] == "Resumed" and r.get("space")]
    before, now = _keys(header["config"]), _keys(experiment.config)
    if experiment.mode == "ablate" or not (told or before != now):
        return None
    try:
        began_in = _space_at_start(header)
    except (SpaceError, TypeError) as error:
        raise UsageError(
            f"search.space: it has changed, and the journal doesn't tell what it was ({error}); start a new run"
        ) from None
    has = told[-1] if told else _recorded(began_in)
    wanted = _recorded(experiment.space)
    assumed = dict(has.get("assumed", {}))
    if gone := next((name for name in has["domains"] if name not in wanted["domains"]), None):
        raise UsageError(
            f"search.space.{gone}: it can't be taken out of a run that goes on, since what new trials have for it must be "
            f"told; to search it no more, leave it one value: search.space.{gone}={{type: categorical, values: [...]}}"
        )
    for name in wanted["domains"]:
        if name not in has["domains"]:
            assumed[name] = _value_before(name, header, records, experiment)
    if bound := next((name for name in assumed if experiment.space.domains[name].when), None):
        raise UsageError(
            f"search.space.{bound}: it was not searched at first, so it can't have a condition: whether that held for "
            "the trials of before can't be told; start a new run"
        )
    wanted = {**wanted, "assumed": assumed} if assumed else wanted
    if wanted == has:
        return OtherSpace(began_in, None) if told else None
    for name, message in experiment.space.problems():
        raise UsageError(f"search.space.{name}: {message}")
    return OtherSpace(began_in, wanted)


def _value_before(
    name: str, header: Mapping[str, Any], records: Iterable[Record], experiment: Experiment
) -> Any:
    """Return what trials had for a hyperparameter that was not searched.

    Raises:
        UsageError: If it can't be told for sure.
    """
    fixed = header["config"].get("hparams") or {}
    if name in fixed:
        return fixed[name]
    functions = reachable(experiment.train, experiment.model, experiment.dataset)
    found = [one.signature() for one in functions if one is not None]
    defaults = [one.defaults for one in found if one is not None and name in one.names]
    ran = {(header.get("code") or {}).get("digest")}
    ran.update(r["code"] for r in records if r["type"] == "Resumed" and r.get("code"))
    if ran != {experiment.functions.code.digest} or not all(ran):
        why = "the code has changed since, or isn't known"
    elif names_taken(functions) is None or len(defaults) != 1:
        why = "not one function takes it, and by its name"
    elif name not in defaults[0]:
        why = "its default can't be read off"
    else:
        return defaults[0][name]
    raise UsageError(
        f"search.space.{name}: it was none of hparams, and what the trials of this run had for it can't be told: "
        f"{why}; start a new run"
    )


def had_before(records: Iterable[Record]) -> dict[str, Any]:
    """Return what the earlier trials of a run had for hyperparameters that were searched only when it went on.

    Args:
        records: The journal.
    """
    told = [r["space"] for r in records if r["type"] == "Resumed" and r.get("space")]
    return dict(told[-1].get("assumed", {})) if told else {}


def without_hparams(config: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Return a config without some of its fixed hyperparameters."""
    left = {
        name: value for name, value in (config.get("hparams") or {}).items() if name not in names
    }
    rest = {key: part for key, part in config.items() if key != "hparams"}
    return {**rest, "hparams": left} if left else rest


def _keys(config: Mapping[str, Any]) -> dict[str, Any]:
    search = config.get("search") or {}
    return {key: search[key] for key in KEYS if search.get(key)}


def _space_at_start(header: Mapping[str, Any]) -> Searchspace:
    config = header["config"]
    said = _keys(config)
    domains = {name: as_domain(spec) for name, spec in said.get("space", {}).items()}
    fixed = config.get("hparams") or {}
    constraints = [Constraint(text, domains, fixed) for text in said.get("space_constraints", ())]
    return Searchspace.unchecked(domains).constrained(constraints)


def _recorded(space: Searchspace) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(space.to_record()))
    return found


def keep_space(
    record: Mapping[str, Any] | None, run_dir: RunDir, experiment: Experiment, book: TrialBook
) -> str:
    """Write the space with which a run goes on into its config, so that it stays when it goes on once more.

    Args:
        record: The space, as of `OtherSpace`; None changes nothing.
        run_dir: The run directory; what else its config says stays.
        experiment: What goes on.
        book: The trials of before.

    Returns:
        How many of these lie in the space, and what isn't tried first any more; "" if it hasn't changed.
    """
    if record is None:
        return ""
    said = read_source(run_dir.config, (), is_written=True).data
    said = without_hparams(said, experiment.space.names)
    search = {key: part for key, part in (said.get("search") or {}).items() if key not in KEYS}
    run_dir.write_config(to_yaml({**said, "search": {**_keys(experiment.config), **search}}))
    space, trials = Searchspace.of_record(record), book.trials.values()
    inside = sum(space.reading(trial.params) is not None for trial in trials)
    text = f"another space is searched from here on; {inside} of {len(trials)} trials lie in it"
    had = ", ".join(f"{name} {value_text(value)}" for name, value in space.assumed.items())
    if had:
        text += f", those without as if they had {had}"
    dropped = sum(not space.allows(given) for given in experiment.optimizer.first)
    if dropped:
        text += f"; {dropped} of search.try_first, which had no turn yet, do not and are left out"
    return text


def space_of(resumed: Resumed | None) -> Searchspace | None:
    """Return the space that a driver begins with, if it is another one than that of the driver before.

    Its scheduler is told of it first, before anything is asked.
    """
    if resumed is None or resumed.space is None:
        return None
    return Searchspace.of_record(resumed.space)
