"""What every framework promises, as a function that checks it; provisional."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from dotrain.ablation.layers import SurgeryError
from dotrain.frameworks.base import AbstractFramework
from dotrain.frameworks.rows import ArrayRows

#: What is no framework's.
_NOBODYS = (None, True, "0.5", {"a": 1}, object())


def check_framework(
    make: Callable[[], AbstractFramework],
    *,
    draw: Callable[[], Any] | None = None,
    data: Callable[[], Any] | None = None,
    model: Callable[[], Any] | None = None,
) -> None:
    """Check the contract of a framework, which must be installed; provisional, more may be asked.

    Importing its class imports none of its packages; what isn't its own, it leaves alone; what it
    asks of the environment are words; equal seeds give equal draws, other seeds others; a state of its
    generators that was kept draws what followed it. Batches hold every row once, in order or shuffled by the
    seed, anew in each epoch, and in the same order whichever epoch is the first; those of `Rows`, if it takes any, are
    those of the same arrays. A model can be done
    without each of its layers, if its framework leaves layers out at all; it stays as it was.

    Args:
        make: Returns an instance; the class itself will do.
        draw: Returns something drawn from its global generator that can be compared.
        data: Returns 11 rows as (features, labels), both counting up from 0; arrays by default, if
            it takes these.
        model: Returns a new model.

    Raises:
        AssertionError: If a promise is broken.
    """
    framework = make()
    _check_import(type(framework))
    words = [*framework.packages, *framework.distributions]
    for asked in (framework.threads(2), framework.environment()):
        words += [word for pair in asked.items() for word in pair]
    assert all(isinstance(word, str) and word for word in words), "expected words only"
    for thing in _NOBODYS:
        assert not framework.takes_data(thing), f"takes {thing!r} for its data"
        assert framework.same_data(thing, thing) is None, f"takes {thing!r} for its data"
        assert framework.number(thing) is None, f"takes {thing!r} for its number"
        assert not framework.is_model(thing), f"takes {thing!r} for its model"
    drawn = []
    for seed in (0, 0, 2**31 - 1):
        framework.reset()
        framework.seed(seed)
        drawn.append(draw() if draw else seed)
    assert drawn[0] == drawn[1], "equal seeds draw differently"
    assert drawn[0] != drawn[2], "different seeds draw the same"
    if draw:
        _check_state(framework, draw)
    rows = data() if data else (np.arange(11.0).reshape(11, 1), np.arange(11))
    if data or framework.takes_data(rows):
        _check_data(framework, rows)
    if not data and framework.takes_data(ArrayRows(rows)):
        found = [framework.batches(each, 4, 1, 1) for each in (ArrayRows(rows), rows)]
        read = [[np.asarray(y).tolist() for _, y in batches] for batches in found]
        assert read[0] == read[1], "batches of rows are not those of their arrays"
    if model is not None:
        _check_model(framework, model)


def _check_state(framework: AbstractFramework, draw: Callable[[], Any]) -> None:
    state = framework.random_state()
    if state is None:
        return  # it keeps none
    state = json.loads(json.dumps(state, allow_nan=False))
    following = [draw(), draw()]
    framework.seed(1)
    framework.set_random_state(state)
    assert [draw(), draw()] == following, "a state that was set doesn't draw what followed it"


def _check_import(cls: type[AbstractFramework]) -> None:
    code = f"import sys, {cls.__module__}; print(*sys.modules)"
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, env={**os.environ, **path}, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    early = set(cls.packages) & set(done.stdout.split())
    assert not early, f"importing {cls.__module__} imports {', '.join(sorted(early))}"


def _check_data(framework: AbstractFramework, rows: Any) -> None:
    def epoch(batches: Any) -> list[list[int]]:
        read = [tuple(np.asarray(part).ravel() for part in batch) for batch in batches]
        assert all((x == y).all() for x, y in read), "labels are not those of their features"
        return [y.astype(int).tolist() for _, y in read]

    assert framework.takes_data(rows), "doesn't take its own data"
    whole = list(range(11))
    plain = framework.batches(rows, 4, None, 0)
    assert epoch(plain) == epoch(plain) == [whole[:4], whole[4:8], whole[8:]], "rows out of order"
    first, again, other = (framework.batches(rows, 4, seed, 0) for seed in (1, 1, 2))
    orders = [epoch(first), epoch(first)]
    for order in orders:
        assert sorted(row for batch in order for row in batch) == whole, "not every row once"
    assert orders[0] != orders[1], "all epochs have the same order"
    assert orders == [epoch(again), epoch(again)], "equal seeds shuffle differently"
    assert orders[0] != epoch(other), "different seeds shuffle alike"
    later = framework.batches(rows, 4, 1, 1)
    assert epoch(later) == orders[1], "begun with epoch 1, it isn't that of an iteration before"


def _check_model(framework: AbstractFramework, make: Callable[[], Any]) -> None:
    framework.seed(0)
    model = make()
    assert framework.is_model(model), "doesn't know its own model"
    try:
        names, count = list(framework.layer_names(model)), framework.parameters(model)
    except SurgeryError:
        return  # it leaves no layers out
    assert framework.same_graph(model, make()), "two models made alike are not the same"
    framework.inherit(model, make())
    assert names, "the model has no layer that could be left out"
    assert len(names) == len(set(names)), "two layers have one name"
    for name in names:
        surgery = framework.without_layers(model, [name])
        assert surgery.removed == (name,)
        assert name not in framework.layer_names(surgery.model)
        assert not framework.same_graph(model, surgery.model), f"nothing changes without {name}"
        assert framework.parameters(surgery.model) == (count or 0) + surgery.params
    assert list(framework.layer_names(model)) == names, "the original was changed"
