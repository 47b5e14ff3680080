"""One attempt, called directly: arguments by name, the reporter, output, what comes back."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dotrain.core.events import Failed, Finished, Reported, Started, TrialEvent
from dotrain.core.instructions import Launch
from dotrain.distribution.single import Single
from dotrain.training.attempt import run_attempt
from dotrain.training.channel import Channel
from dotrain.training.numbers import as_number
from dotrain.training.place import Place
from dotrain.training.program import FunctionRef, LoadedProgram, Program

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
    ) -> tuple[TrialEvent, list[TrialEvent]]:
        program = Program(
            "token", FunctionRef("train"), None, None, "score", hparams or {}, str(tmp_path)
        )
        launch = Launch("why", "t0000", 1, params or {}, budget, 7)
        sent: list[TrialEvent] = []
        loaded = LoadedProgram(program, train, model, data)
        end = run_attempt(
            loaded,
            launch,
            Channel(sent.append),
            run_dir=str(tmp_path),
            worker="here",
            whole_process=False,
            place=Place(Single()),
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


@pytest.mark.parametrize("scalar", sorted(set(np.sctypeDict.values()), key=str))
def test_of_numpys_types_the_real_numbers_are_numbers(scalar: type[np.generic]) -> None:
    """Floats of text, of booleans, and of the real part of a complex number are a wrong result."""
    values = np.ones(1, dtype="M8[s]" if scalar is np.datetime64 else scalar)
    is_number = values.dtype.kind in "iufO"
    for value in (values[0], values, values.reshape(())):
        assert (as_number(value) is not None) == is_number


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
        return {"loss": 0.4, "score": 0.75, "inf": float("inf")}

    end, sent = run(train)
    assert end == Finished("t0000", 1, 0.75, {"loss": 0.4})
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
    assert [event.step for event in sent[1:]] == [0, 4, 9, 10]  # type: ignore[attr-defined]


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
