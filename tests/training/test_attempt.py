"""One attempt, called directly: arguments by name, the reporter, output, what comes back."""

from __future__ import annotations

import contextlib
import copy
import functools
import io
import json
import re
import sys
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dotrain.ablation.components import Component, Feature, Layer, Switch
from dotrain.ablation.study import Arm, Features, Study
from dotrain.core.arm import ArmRun
from dotrain.core.events import Failed, Finished, Noted, Reported, Started, Stopped, TrialEvent
from dotrain.core.instructions import Launch
from dotrain.core.strategy import Seat
from dotrain.data.declared import Declared
from dotrain.data.files import FileSource
from dotrain.data.preparing import prepare
from dotrain.data.table import Table
from dotrain.distribution.single import Single
from dotrain.errors import UsageError
from dotrain.training.arguments import Hparams
from dotrain.training.attempt import run_attempt
from dotrain.training.channel import Channel
from dotrain.training.errors import EarlyStop
from dotrain.training.numbers import as_number
from dotrain.training.output import captured
from dotrain.training.place import Place
from dotrain.training.program import LoadedProgram, Program
from dotrain.usercode.function import FunctionRef, Functions

Run = Callable[..., tuple[TrialEvent, list[TrialEvent]]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def call(
        train: Callable[..., Any],
        params: dict[str, Any] | None = None,
        hparams: dict[str, Any] | None = None,
        budget: float | None = None,
        model: Callable[..., Any] | None = None,
        data: Callable[..., Any] | None = None,
        left_out: Sequence[Component] = (),
        table: Table | None = None,
        rank: int = 0,
        stop: str | None = None,
    ) -> tuple[TrialEvent, list[TrialEvent]]:
        study = None
        if left_out:
            arm = Arm("the arm", tuple(one.name for one in left_out))
            study = Study({one.name: one for one in left_out}, (Arm("baseline"), arm))
        program = Program(
            "token",
            Functions(FunctionRef("train")),
            "score",
            hparams or {},
            str(tmp_path),
            study=study,
            table=table,
        )
        run = ArmRun("the arm", 0) if left_out else None
        launch = Launch("why", "t0000", 1, params or {}, budget, 7, arm=run)
        sent: list[TrialEvent] = []
        loaded = LoadedProgram(program, train, model, data)
        channel = Channel(sent.append)
        if stop:
            channel.stop(stop)
        end = run_attempt(
            loaded,
            launch,
            channel,
            worker="here",
            place=Place(Single(), Seat(rank)),
            capture=captured,
        )
        return end, sent

    return call


def test_a_function_gets_what_it_asks_for_by_name(run: Run, tmp_path: Path) -> None:
    got: dict[str, Any] = {}

    def train(lr, batch_size, hparams, seed, budget, trial_dir, unknown=5):  # type: ignore[no-untyped-def]
        got.update(locals())
        return 1

    end, _ = run(train, {"lr": 0.1}, {"batch_size": 8}, budget=3)
    assert isinstance(end, Finished)
    got.pop("got", None)
    assert got == {
        "lr": 0.1,
        "batch_size": 8,
        "hparams": {"lr": 0.1, "batch_size": 8},
        "seed": 7,
        "budget": 3,
        "trial_dir": tmp_path / "trials" / "t0000",
        "unknown": 5,
    }


def test_kwargs_take_the_hyperparameters_and_nothing_else(run: Run) -> None:
    got: dict[str, Any] = {}

    def train(**kwargs: Any) -> float:
        got.update(kwargs)
        return 1.0

    run(train, {"lr": 0.1}, {"batch_size": 8})
    assert got == {"lr": 0.1, "batch_size": 8}


def test_an_argument_nobody_provides_fails_with_a_hint(run: Run) -> None:
    end, sent = run(lambda lrr: 1, {"lr": 0.1})
    assert isinstance(end, Failed)
    assert end.failure.kind == "setup"
    assert "asks for 'lrr', which nobody provides; did you mean 'lr'?" in end.failure.message
    assert sent == []


def test_a_number_of_any_kind_is_a_number() -> None:
    numbers = (1, 1.0, np.float32(1), np.int64(1), np.array(1.0), np.array([1.0]), Decimal(1))
    for value in (*numbers, Fraction(1), np.array([1], dtype=object)):
        assert as_number(value) == 1.0
    others = (True, "1", b"1", None, [1], np.ones(2), np.bool_(True), 1j, Decimal("sNaN"))
    for value in (*others, np.array(True, dtype=object), pd.Series([True], dtype="boolean")):
        assert as_number(value) is None


# Importing TensorFlow adds the types of ml_dtypes to NumPy's table, so a test names whose it means.
NUMPYS = {scalar for scalar in np.sctypeDict.values() if scalar.__module__ == "numpy"}
SMALL = {each for each in vars(ml_dtypes).values() if isinstance(each, type)} - {
    ml_dtypes.finfo,
    ml_dtypes.iinfo,
}


@pytest.mark.parametrize("scalar", sorted(NUMPYS, key=str))
def test_of_numpys_types_the_real_numbers_are_numbers(scalar: type[np.generic]) -> None:
    """Floats of text, of booleans, and of the real part of a complex number are a wrong result."""
    values = np.ones(1, dtype="M8[s]" if scalar is np.datetime64 else scalar)
    is_number = values.dtype.kind in "iufO"
    for value in (values[0], values, values.reshape(())):
        assert (as_number(value) is not None) == is_number


@pytest.mark.parametrize("scalar", sorted(SMALL, key=str))
def test_the_small_numbers_of_accelerators_are_numbers(scalar: type[np.generic]) -> None:
    values = np.ones(1, dtype=scalar)
    expected = None if "complex" in scalar.__name__ else float(values[0])
    for value in (values[0], values, values.reshape(())):
        assert as_number(value) == expected


class FakeTensor:
    """What of another framework's tensor counts here."""

    shape = ()

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype

    def __float__(self) -> float:
        return 1.0


@pytest.mark.parametrize(
    ("dtype", "is_number"),
    [
        *((f"torch.{name}", True) for name in ("float32", "bfloat16", "float16", "int64", "uint8")),
        *((f"<dtype: '{name}'>", True) for name in ("float32", "bfloat16", "int32", "half")),
        *(("float8_e4m3fn", True), ("mlx.core.float32", True), ("Float64", True)),
        *(("torch.bool", False), ("<dtype: 'bool'>", False), ("boolean", False)),
        *(("torch.complex64", False), ("<dtype: 'string'>", False), ("<dtype: 'variant'>", False)),
    ],
)
def test_a_tensor_is_a_number_if_its_type_is(dtype: str, is_number: bool) -> None:
    assert (as_number(FakeTensor(dtype)) is not None) == is_number


def test_a_value_whose_conversion_breaks_is_no_number() -> None:
    class Broken:
        def __float__(self) -> float:
            raise RuntimeError("a tensor on another device, say")

    assert as_number(Broken()) is None


def test_a_dict_gives_the_metric_by_its_name_and_keeps_the_others(run: Run) -> None:
    def train(reporter: Any) -> dict[str, Any]:
        reporter.broadcast({"loss": 0.5, "score": np.float32(0.25), "note": "text"})
        return {"loss": 0.4, "score": 0.25, "inf": float("inf")}

    end, sent = run(train)
    assert end == Finished("t0000", 1, 0.25, {"loss": 0.4})
    assert sent == [
        Started("t0000", 1, "here", 0),
        Reported("t0000", 1, 0, 0.25, {"loss": 0.5}),
    ]


def test_steps_count_by_themselves_and_go_on_from_a_checkpoint(run: Run) -> None:
    def train(reporter: Any, checkpoint: Any) -> float:
        reporter.broadcast(1)
        reporter.broadcast(1, step=9)
        reporter.broadcast(1)
        with checkpoint.save(step=4):
            pass
        return 1.0

    _, sent = run(train)
    assert [event.step for event in sent[1:]] == [0, 9, 10]  # type: ignore[attr-defined]
    _, sent = run(train)
    assert sent[0] == Started("t0000", 1, "here", 4)
    # The report before the checkpoint comes once more: this launch doesn't know of it.
    *reports, doubt = sent[1:]
    assert [event.step for event in reports] == [0, 4, 9, 10]  # type: ignore[attr-defined]
    assert isinstance(doubt, Noted)
    assert (doubt.mark, "never asked for checkpoint.latest" in doubt.what) == ("not loaded", True)


def a_loop(*, loads: str, counts: bool = True, stops: bool = False) -> Callable[[Any, Any], float]:
    """A function of three steps in each attempt, of which some load what they have saved."""

    def train(reporter: Any, checkpoint: Any) -> float:
        begins_at = checkpoint.step if counts else 0
        if loads == "latest" and checkpoint.latest:
            (checkpoint.latest / "state").read_text()
        if loads == "generators":
            checkpoint.restore_random_state()
        for step in range(begins_at, begins_at + 3):
            with checkpoint.save(step=step + 1) as folder:
                (folder / "state").touch()
            reporter.broadcast(1, step)
        if stops:
            raise EarlyStop
        return 1.0

    return train


@pytest.mark.parametrize(
    ("options", "is_marked"),
    [
        ({"loads": "latest"}, False),
        ({"loads": "generators"}, False),
        ({"loads": "nothing"}, True),
        ({"loads": "nothing", "stops": True}, True),
        # It begins anew and says so: what counts as continued is taken back.
        ({"loads": "nothing", "counts": False}, False),
    ],
    ids=str,
)
def test_what_counts_on_from_a_checkpoint_that_it_never_loads_is_marked(
    run: Run, options: dict[str, Any], is_marked: bool
) -> None:
    train = a_loop(**options)
    marks = [[e.mark for e in sent if isinstance(e, Noted)] for _, sent in (run(train), run(train))]
    assert marks[0] == []
    assert ("not loaded" in marks[1]) == is_marked


@pytest.mark.parametrize(
    ("reported", "returned", "unlike"),
    [
        ([0.5, 0.9, 0.7], 0.7, None),
        ([0.5, 0.9, 0.7], 0.9, None),
        ([0.5, 0.9, 0.7], 0.70005, None),  # rounded
        ([0.5, 0.9, 0.7], 0.5, "returned 0.5, but reported 0.7 last and 0.9 at best"),
        ([0.5, 0.9, 0.7], 0.0, "returned 0, but reported 0.7 last and 0.9 at best"),
        ([0.0], 1e-12, None),
        ([], 0.5, None),
        ([0.5, 0.9, 0.7], None, None),
    ],
)
def test_a_value_unlike_what_was_reported_is_told(
    run: Run, reported: list[float], returned: float | None, unlike: str | None
) -> None:
    def train(reporter: Any) -> float | None:
        for value in reported:
            reporter.broadcast(value)
        return returned

    end, _ = run(train)
    assert isinstance(end, Finished)
    assert (end.unlike or "").startswith(unlike or "")
    assert bool(end.unlike) == bool(unlike)


def test_prints_go_to_the_log_and_the_streams_come_back(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def train(reporter: Any) -> float:
        print("to stdout")
        print("to stderr", file=sys.stderr)
        reporter.log("to the log")
        raise ValueError("broken\nin two lines")

    before = sys.stdout, sys.stderr, sys.breakpointhook
    end, _ = run(train)
    assert (sys.stdout, sys.stderr, sys.breakpointhook) == before
    assert capsys.readouterr() == ("", "")
    log = (tmp_path / "trials" / "t0000" / "output.log").read_text()
    for text in ("t0000, attempt 1: why", "to stdout", "to stderr", "to the log", "Traceback"):
        assert text in log
    assert isinstance(end, Failed)
    assert "dotrain/training" not in end.failure.traceback


def test_a_breakpoint_talks_to_the_terminal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(sys, "stdin", io.StringIO("p 6 * 7\nc\n"))

    def train() -> float:
        breakpoint()
        return 1.0

    end, _ = run(train)
    assert isinstance(end, Finished)
    assert "42" in terminal.getvalue()


def test_the_users_frame_is_named_even_if_a_library_raised(run: Run) -> None:
    def train() -> float:
        return float(np.linalg.inv(np.zeros((2, 2)))[0, 0])

    end, _ = run(train)
    assert isinstance(end, Failed)
    assert "test_attempt.py" in end.failure.location
    assert "np.linalg.inv" in end.failure.source
    assert "LinAlgError: Singular matrix" in end.failure.message


def test_generators_call_the_users_functions_by_signature(run: Run) -> None:
    def build(units: int, activation: str = "relu") -> tuple[int, str]:
        return units, activation

    def load(split: str, seed: int) -> tuple[str, int]:
        return split, seed

    def train(model_gen: Any, model_function: Any, data_gen: Any, dataset_function: Any) -> float:
        assert model_gen.create() == (3, "relu")
        assert model_gen.create(activation="tanh") == (3, "tanh")
        assert model_function() == (3, "relu")
        assert data_gen.load() == ("train", 7)
        assert data_gen.load("validation") == ("validation", 7)
        assert dataset_function("test", 1) == ("test", 1)
        return 1.0

    end, _ = run(train, {"units": 3}, model=build, data=load)
    assert isinstance(end, Finished), end


def test_generators_without_a_function_say_so(run: Run) -> None:
    end, _ = run(lambda model_gen: model_gen.create())
    assert isinstance(end, Failed)
    assert "the config has no 'model:'" in end.failure.message
    end, _ = run(lambda data_gen: data_gen.batch())
    assert isinstance(end, Failed)
    assert "the config has no 'data:'" in end.failure.message


COLUMNS = {"a": 1.0, "b": 2.0}
WITHOUT_A = (Feature("a"),)
NO_AUGMENT = (Switch("augment", {"augment": False}),)


def load_data(epochs: int, batch_size: int, features: Any, seed: int = 0, split: str = "?") -> Any:
    return epochs, batch_size, features.select(COLUMNS), seed, split


def build(units: int, features: Any, *, dropout: float = 0.5) -> Any:
    return units, features.select(COLUMNS), dropout


@pytest.mark.parametrize(
    "call",
    [
        lambda give: give(3, 32),
        lambda give: give(3, batch_size=32),
        lambda give: give(batch_size=32, epochs=3),
        lambda give: give.load(epochs=3, batch_size=32),
        lambda give: give.load("train", epochs=3, batch_size=32),
    ],
)
def test_every_form_of_a_call_hands_on_what_the_function_asks_for(
    run: Run, call: Callable[[Any], Any]
) -> None:
    def train(dataset_function: Any) -> float:
        assert call(dataset_function) == (3, 32, ["b"], 7, "train")
        return 1.0

    end, _ = run(train, data=load_data, left_out=WITHOUT_A)
    assert isinstance(end, Finished), end


@pytest.mark.parametrize(
    "call",
    [
        lambda make: make(8),
        lambda make: make.create(8),
        lambda make: make.create(units=8),
        lambda make: make(units=8, dropout=0.25),
    ],
)
def test_every_form_of_a_call_for_a_model_does_too(run: Run, call: Callable[[Any], Any]) -> None:
    def train(model_function: Any, data_gen: Any) -> float:
        assert data_gen(3, 32)
        assert call(model_function) == (8, ["b"], 0.25)
        return 1.0

    hparams = {"dropout": 0.25, "units": 4}
    end, _ = run(train, hparams=hparams, model=build, data=load_data, left_out=WITHOUT_A)
    assert isinstance(end, Finished), end


NAMES = ("p", "q", "r")


@given(cut=st.integers(0, 3), named=st.sets(st.sampled_from(NAMES)), known=st.data())
def test_a_call_gives_each_argument_once_whatever_its_form(
    cut: int, named: set[str], known: Any
) -> None:
    """The caller's own win, by position as by name; the rest comes from the trial."""
    from dotrain.training.arguments import bind
    from dotrain.training.errors import BadSetup

    def function(p: Any, q: Any, r: Any = "default", *, features: Any) -> dict[str, Any]:
        return {"p": p, "q": q, "r": r, "features": features}

    hparams = {name: f"trial's {name}" for name in known.draw(st.sets(st.sampled_from(NAMES)))}
    args = [f"call's {name}" for name in NAMES[:cut]]
    given = {name: f"call's {name}" for name in named}
    called = {**given, **dict(zip(NAMES, args, strict=False))}
    if named & set(NAMES[:cut]) or not {"p", "q"} <= hparams.keys() | called.keys():
        with pytest.raises(BadSetup):
            bind(function, {"features": "ours"}, hparams, args, given)
        return
    bound = bind(function, {"features": "ours"}, hparams, args, given)
    expected = {"r": "default", **hparams, **called, "features": "ours"}
    assert function(*bound.args, **bound.kwargs) == expected
    assert bound.hparams == hparams.keys() - called.keys()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda give: give(1, 2, 3, 4, 5, 6),
            r"load_data\(\) takes 5 by position \(epochs, .*got 6",
        ),
        (lambda give: give(1, epochs=2), r"load_data\(\) is given 'epochs' twice"),
        (
            lambda give: give(1, 2, bach_size=2),
            "takes no argument 'bach_size'; did you mean 'batch",
        ),
        (
            lambda give: give(1, 2, ["a"]),
            "gets 'features' from dotrain, and this call .*last argum",
        ),
        (lambda give: give(1, 2, features=["a"]), "gets 'features' from dotrain: take it out"),
        (lambda give: give(1), r"load_data\(\) asks for 'batch_size', which nobody provides"),
    ],
)
def test_a_call_that_does_not_fit_names_the_users_function(
    run: Run, call: Callable[[Any], Any], message: str
) -> None:
    end, _ = run(lambda data_gen: len(call(data_gen)), data=load_data)
    assert isinstance(end, Failed)
    assert end.failure.kind == "setup"
    assert re.search(message, end.failure.message), end.failure.message
    assert "test_attempt.py" in end.failure.location


def test_a_split_that_the_function_does_not_ask_for_is_refused(run: Run) -> None:
    def load() -> list[int]:
        return [1]

    end, _ = run(lambda data_gen: sum(data_gen.load() + data_gen.load("train")), data=load)
    assert end == Finished("t0000", 1, 2.0)
    for ask in (
        lambda give: give.load("validation"),
        lambda give: give.batch(split="validation"),
        lambda give: give(split="validation"),
    ):
        end, _ = run(lambda data_gen, ask=ask: sum(ask(data_gen)), data=load)
        assert isinstance(end, Failed)
        assert "split 'validation', but load() doesn't ask for 'split'" in end.failure.message


def test_a_declared_table_is_called_like_a_function(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("a,b,y\n" + "1,2,0\n" * 10)
    table = prepare(Declared(FileSource(str(file)), "y"), tmp_path / "runs")

    def train(data_gen: Any) -> float:
        columns = list(data_gen()[0].columns)
        assert columns == ["b"] == list(data_gen("validation")[0].columns)
        assert len(data_gen("validation")[0]) == len(data_gen.load(split="validation")[0]) == 2
        return 1.0

    end, _ = run(train, table=table, left_out=WITHOUT_A)
    assert isinstance(end, Finished), end
    for call, message in [
        (lambda give: give(3, 32), r"data_gen() takes 1 by position (split), got 2"),
        (lambda give: give.load("train", size=3), "data_gen() takes no argument 'size'"),
    ]:
        end, _ = run(lambda data_gen, call=call: call(data_gen), table=table)
        assert isinstance(end, Failed)
        assert message in end.failure.message


def ignoring(features: Any) -> dict[str, float]:
    return dict(COLUMNS)


def asking_about_b(features: Any) -> dict[str, float]:
    return {name: COLUMNS[name] for name in features.select(["b"])}


def without_wraps(*args: Any, **kwargs: Any) -> dict[str, float]:
    return ignoring(Features())


NEVER_ASKED = {
    "features ignored": (lambda data_gen: len(data_gen()), {"data": ignoring}, "ignoring()"),
    "by load": (lambda data_gen: len(data_gen.load()), {"data": ignoring}, "ignoring()"),
    "by batch": (lambda data_gen: len(data_gen.batch()), {"data": ignoring}, "ignoring()"),
    "another column": (
        lambda data_gen: len(data_gen()),
        {"data": asking_about_b},
        "has never asked 'features' about it",
    ),
    "a decorator that hands nothing on": (
        lambda data_gen: len(data_gen()),
        {"data": without_wraps},
        "'a' was not left out of the data: without_wraps() has never asked 'features' about it; "
        "give features.select(columns) in every trial",
    ),
    "a partial that binds features": (
        lambda data_gen: len(data_gen()),
        {"data": functools.partial(ignoring, Features())},
        "ignoring()",
    ),
    "asked by the model only": (
        lambda data_gen, model_gen: len(data_gen()) + len(model_gen.create(8)),
        {"data": ignoring, "model": build},
        "ignoring()",
    ),
    "data_gen never used": (
        lambda data_gen: 1.0,
        {"data": ignoring},
        "has never used data_gen",
    ),
}


@pytest.mark.parametrize("case", NEVER_ASKED)
def test_an_arm_whose_column_nobody_asked_about_is_refused(run: Run, case: str) -> None:
    train, functions, message = NEVER_ASKED[case]
    end, _ = run(train, left_out=WITHOUT_A, **functions)  # type: ignore[arg-type]
    assert isinstance(end, Failed), end
    assert end.failure.kind == "setup"
    assert end.failure.message.startswith("arm the arm: ")
    assert message in end.failure.message
    end, _ = run(train, **functions)  # type: ignore[arg-type]
    assert isinstance(end, Finished), end


def test_every_column_of_an_arm_must_have_been_asked_about(run: Run) -> None:
    both = (*WITHOUT_A, Feature("b"))
    end, _ = run(lambda data_gen: len(data_gen()), data=asking_about_b, left_out=both)
    assert isinstance(end, Failed)
    assert "'a' was not left out of the data" in end.failure.message


def test_data_kept_between_trials_are_no_silent_success(run: Run) -> None:
    kept: list[Any] = []

    def load(features: Any) -> list[str]:
        if not kept:
            kept.extend(features.select(COLUMNS))
        return kept

    end, _ = run(lambda data_gen: len(data_gen()), data=load)
    assert end == Finished("t0000", 1, 2.0)
    end, _ = run(lambda data_gen: len(data_gen()), data=load, left_out=WITHOUT_A)
    assert isinstance(end, Failed)
    assert "load() has never asked 'features' about it" in end.failure.message


def test_a_model_that_could_not_be_built_has_not_been_built(run: Run) -> None:
    def train(model_gen: Any) -> float:
        with contextlib.suppress(Exception):
            model_gen.create()
        return 1.0

    layer = (Layer("dense"),)
    end, _ = run(train, model=lambda: object(), left_out=layer)
    assert isinstance(end, Failed)
    assert "has never called model_gen.create()" in end.failure.message


SWITCHED = {
    "by name": (lambda augment: 1.0, {}),
    "with **kwargs": (lambda **kwargs: 1.0, {}),
    "read": (lambda hparams: hparams["augment"] + 1.0, {}),
    "read if there": (lambda hparams: hparams.get("augment") + 1.0, {}),
    "the whole": (lambda hparams: len({**hparams}), {}),
    "by the data function": (
        lambda data_gen: data_gen(),
        {"data": lambda augment: 1.0},
    ),
    "by the model function": (
        lambda model_gen: model_gen.create(),
        {"model": lambda augment: 1.0},
    ),
}
NOT_SWITCHED = {
    "nobody": (lambda hparams: hparams["lr"], {}),
    "looked at only": (lambda hparams: len(repr(hparams)), {}),
    "the model, but it was never made": (lambda model_gen: 1.0, {"model": lambda augment: 1.0}),
    "a value of the call's": (
        lambda model_gen: model_gen.create(augment=True),
        {"model": lambda augment: 1.0},
    ),
    "a value of the call's, by position": (
        lambda model_gen: model_gen(True),
        {"model": lambda augment: 1.0},
    ),
}


@pytest.mark.parametrize("case", SWITCHED)
def test_a_component_that_somebody_asked_for_is_switched_off(run: Run, case: str) -> None:
    train, functions = SWITCHED[case]
    end, _ = run(train, hparams={"lr": 1.0, "augment": True}, left_out=NO_AUGMENT, **functions)  # type: ignore[arg-type]
    assert isinstance(end, Finished), end


@pytest.mark.parametrize("case", NOT_SWITCHED)
def test_a_component_that_nobody_asked_for_is_refused(run: Run, case: str) -> None:
    train, functions = NOT_SWITCHED[case]
    hparams = {"lr": 1.0, "augment": True}
    end, _ = run(train, hparams=hparams, left_out=NO_AUGMENT, **functions)  # type: ignore[arg-type]
    assert isinstance(end, Failed), end
    assert end.failure.kind == "setup"
    assert "arm the arm: component:augment was not switched off: no function has asked for" in (
        end.failure.message
    )
    end, _ = run(train, hparams=hparams, **functions)  # type: ignore[arg-type]
    assert isinstance(end, Finished), end


def test_a_trial_that_goes_on_from_a_checkpoint_need_not_make_everything_again(run: Run) -> None:
    def train(checkpoint: Any, data_gen: Any) -> float:
        if not checkpoint.step:
            with checkpoint.save(step=1):
                pass
            raise ValueError("lost")
        return 1.0

    arm = (*WITHOUT_A, *NO_AUGMENT)
    run(train, data=asking_about_b, left_out=arm)
    end, _ = run(train, data=asking_about_b, left_out=arm)
    assert isinstance(end, Finished), end


def test_a_trial_that_is_stopped_early_is_no_failure(run: Run) -> None:
    def train(reporter: Any, data_gen: Any) -> float:
        reporter.broadcast(0.5)
        return float(len(data_gen()))

    end, _ = run(train, data=asking_about_b, left_out=WITHOUT_A, stop="too low")
    assert isinstance(end, Stopped), end


def test_the_chiefs_use_is_what_counts_of_several_ranks(run: Run) -> None:
    ends = [run(lambda: 1.0, left_out=WITHOUT_A, rank=rank)[0] for rank in range(2)]
    assert isinstance(ends[0], Failed)
    assert isinstance(ends[1], Finished), ends[1]


def test_hyperparameters_that_remember_are_a_dict_like_any_other() -> None:
    plain = {"a": 1, "b": 2}
    for use in (
        lambda h: {**h},
        dict,
        lambda h: h | {},
        lambda h: {} | h,
        lambda h: (lambda **kwargs: kwargs)(**h),
        copy.copy,
        copy.deepcopy,
        lambda h: h.copy(),
        lambda h: dict(h.items()),
        lambda h: dict(zip(h.keys(), h.values(), strict=True)),
        lambda h: json.loads(json.dumps(h)),
        lambda h: yaml.safe_load(yaml.safe_dump(h)),
        lambda h: yaml.safe_load(yaml.dump(h)),
        lambda h: {name: h[name] for name in reversed(h)},
        lambda h: h if h == plain else {},
    ):
        asked: set[str] = set()
        found = use(Hparams(plain, asked))
        assert found == plain
        assert asked == {"a", "b"}
    for ask in (
        lambda h: h["a"],
        lambda h: h.get("a"),
        lambda h: h.pop("a"),
        lambda h: h.setdefault("a", 1),
        lambda h: 1 if "a" in h else 0,
    ):
        asked = set()
        assert ask(Hparams(plain, asked)) == 1
        assert asked == {"a"}


def test_features_refuse_what_would_leave_nothing_out() -> None:
    features = Features(["3"])
    assert 3 not in features
    with pytest.raises(UsageError, match=r"takes a list of columns, got the text 'sex'"):
        features.select("sex")
    with pytest.raises(UsageError, match=r"give features.select\(columns\)"):
        list(features)


# A budget that the function doesn't keep to


def past_budget(tmp_path: Path) -> list[str]:
    log = (tmp_path / "trials" / "t0000" / "output.log").read_text()
    return [line for line in log.splitlines() if "budget" in line]


@pytest.mark.parametrize(
    ("steps", "done"),
    [
        (range(9), 4),
        ([None] * 9, 4),
        (range(1, 9), 4),  # one that counts from 1
        (range(1, 9, 2), 5),
    ],
)
def test_the_first_report_past_the_budget_is_noted_once(
    run: Run, tmp_path: Path, steps: list[int | None], done: int
) -> None:
    def train(reporter: Any, **hparams: Any) -> float:
        for step in steps:
            reporter.broadcast(0.5, step)
        return 0.5

    assert isinstance(run(train, budget=3)[0], Finished)
    assert past_budget(tmp_path) == [
        f"--- note: trained {done} steps, more than its budget of 3; the train function must ask "
        "for 'budget' and stop there, counting those that its checkpoint has done"
    ]


@pytest.mark.parametrize("steps", [range(3), range(1, 4), [None] * 3, [2], []])
def test_a_function_that_keeps_to_its_budget_is_let_be(
    run: Run, tmp_path: Path, steps: list[int | None]
) -> None:
    def train(reporter: Any, **hparams: Any) -> float:
        for step in steps:
            reporter.broadcast(0.5, step)
        return 0.5

    for budget in (3, None):
        assert isinstance(run(train, budget=budget)[0], Finished)
    assert past_budget(tmp_path) == []
