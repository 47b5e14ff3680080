"""Variables for trials' processes: their names, where values come from, what is refused."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import pytest

from dotrain.config.plan import make_plan
from dotrain.errors import UsageError
from dotrain.runs.definition import Experiment
from dotrain.training.environment import Environment, Sealed
from tests.folder import Folder

HEAD = "train: t.py:train\nmetric: m\ndirection: max\n"
CANARY = "canary-5e1f"


def test_a_bare_name_is_taken_from_here_and_a_value_is_a_text(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_KEY", CANARY)
    loaded = folder.load(HEAD + "env: [A_KEY, {HF_HOME: /scratch, N: 4}]\n")
    assert loaded.environment.values() == {"A_KEY": CANARY, "HF_HOME": "/scratch", "N": "4"}
    assert make_plan(loaded)["env"] == ["HF_HOME", "N", "A_KEY"]
    config = Experiment.of(loaded).config
    assert config["env"] == ["A_KEY", {"HF_HOME": "/scratch", "N": 4}]


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ("[NO_SUCH_THING]", "4:7: env[0]: the environment of this process has no NO_SUCH_THING; set it there"),
        ("['A=secret']", "4:7: env[0]: expected a name of letters, digits and '_', got 'A=...'; write {NAME: value}"),
        ("[{'a b': c}]", "4:15: env[0].a b: expected a name of letters, digits and '_', got 'a b'"),
        ("[{A: 1}, {A: 2}]", "4:19: env[1].A: A stands here twice"),
        ("[{DOTRAIN_X: a}]", "4:19: env[0].DOTRAIN_X: DOTRAIN_X: variables that begin with DOTRAIN_ are dotrain's own"),
        ("[{PYTHONPATH: a}]", "4:20: env[0].PYTHONPATH: PYTHONPATH can't be set here: where modules come from"),
        ("[{OMP_NUM_THREADS: 2}]", "4:25: env[0].OMP_NUM_THREADS: OMP_NUM_THREADS can't be set here: cluster.threads sets it"),
        ("[{MKL_NUM_THREADS: 2}]", "4:25: env[0].MKL_NUM_THREADS: MKL_NUM_THREADS can't be set here: cluster.threads sets it"),
        ("[{A: true}]", "4:11: env[0].A: expected "),
        ("[3]", "4:7: env[0]: expected text, got 3"),
        ("[{A: 'a\\0b'}]", None),
    ],
)  # fmt: skip
def test_what_cannot_be_set_is_refused_at_its_line(
    folder: Folder, env: str, message: str | None
) -> None:
    if message is None:
        env, message = r'[{A: "a\0b"}]', "4:11: env[0].A: a variable can't hold a null character"
    (found,) = folder.problems(HEAD + f"env: {env}\n")
    assert found.startswith(message)
    assert "secret" not in found


def test_what_a_process_looks_at_when_it_begins_is_too_late_inline(folder: Folder) -> None:
    text = HEAD + "env: [{PYTHONHASHSEED: 1}]\n"
    folder.load(text)
    (found,) = folder.problems(text + "cluster: {kind: inline}\n")
    assert "PYTHONHASHSEED is looked at when a process begins" in found


def test_nothing_is_missing_where_nothing_is_trained(folder: Folder) -> None:
    text = HEAD + "env: [NO_SUCH_THING]\ncluster: {kind: simulated}\n"
    assert folder.load(text).environment.values() == {}


def test_what_is_missing_in_a_run_that_goes_on_is_told_when_it_is_needed(folder: Folder) -> None:
    from dotrain.config import load_config

    file = folder.write("config.yaml", HEAD + "env: [NO_SUCH_THING]\n")
    loaded = load_config(file, goes_on=True)
    with pytest.raises(UsageError, match=r"config\.yaml:4:7: env\[0\]: .* no NO_SUCH_THING"):
        loaded.environment.require()


@pytest.mark.parametrize(
    ("address", "warned"),
    [("tcp://127.0.0.1:1", False), ("tcp://localhost:1", False), ("tcp://[::1]:1", False),
     ("tcp://far.example:1", True), ("far.example:1", True)],
)  # fmt: skip
def test_values_that_leave_this_machine_unencrypted_are_warned_of(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, address: str, warned: bool
) -> None:
    monkeypatch.setenv("A_KEY", CANARY)
    cluster = f"cluster: {{kind: address, address: '{address}'}}\n"
    warnings = [str(w) for w in folder.load(HEAD + "env: [A_KEY]\n" + cluster).warnings]
    assert ["A_KEY go to far.example unencrypted" in w for w in warnings].count(True) == warned
    plain = folder.load(HEAD + "env: [{A: b}]\n" + cluster).warnings
    assert not [w for w in plain if "unencrypted" in str(w)]


def test_a_secret_that_stands_in_the_config_is_warned_of(folder: Folder) -> None:
    (warning,) = folder.load(HEAD + "env: [{MY_API_KEY: abc}]\n").warnings
    assert "a value that stands in the config is kept in the run directory" in str(warning)


def test_an_executor_that_sets_none_is_refused(folder: Folder) -> None:
    folder.write(
        "mine.py",
        """
        from dotrain.executors.inline import InlineExecutor

        class Mine(InlineExecutor.__base__):
            def slots(self, per_trial): return 1
            def start(self, program, post): ...
            def carry_out(self, instruction): ...
            def pump(self, timeout_s): ...
            def close(self): ...
        """,
    )
    (found,) = folder.problems(HEAD + "env: [{A: b}]\ncluster: {kind: 'mine:Mine'}\n")
    assert found == ("4:6: env: kind 'mine:Mine' sets no variables; give them to it another way")


def test_values_are_neither_shown_nor_pickled(folder: Folder) -> None:
    held = Environment({"PLAIN": "p"}, {"A_KEY": CANARY})
    sealed = Sealed.of(held)
    for shown in (repr(held), str(held), f"{[held]}", repr(sealed), repr((1, sealed))):
        assert CANARY not in shown
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="are not pickled"):
            attempt(held)
    # What holds no such value goes anywhere.
    assert pickle.loads(pickle.dumps(Environment({"PLAIN": "p"}))).values() == {"PLAIN": "p"}
    assert pickle.loads(pickle.dumps(sealed)).open().values() == held.values()


def test_nothing_of_a_run_can_be_pickled_or_shown_with_a_value(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_KEY", CANARY)
    experiment = Experiment.of(folder.load(HEAD + "env: [A_KEY]\n"))
    program = experiment.program("token", Path("/nowhere"))
    assert CANARY not in repr(program) + repr(experiment) + json.dumps(experiment.config)
    with pytest.raises(TypeError, match="are not pickled"):
        pickle.dumps(program)
