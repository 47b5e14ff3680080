"""Scripts written for Maggy, of both generations, with their import lines changed and nothing else."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dotrain import Observer
from dotrain.errors import DotrainError, UsageError
from dotrain.maggy import Searchspace, Trial, experiment, tensorboard
from dotrain.maggy.ablation import AblationStudy
from dotrain.maggy.ablation.ablator import LOCO, AbstractAblator
from dotrain.maggy.earlystop import AbstractEarlyStop, MedianStoppingRule, NoStoppingRule
from dotrain.maggy.experiment_config import (
    AblationConfig,
    BaseConfig,
    HyperparameterOptConfig,
    LagomConfig,
    OptimizationConfig,
    TfDistributedConfig,
    TorchDistributedConfig,
)
from dotrain.maggy.optimizer import GP, TPE, AbstractOptimizer, Asha, GridSearch, RandomSearch
from dotrain.maggy.sets import Sets
from dotrain.training.errors import BadSetup

Run = Callable[..., Any]


@pytest.fixture
def lagom(tmp_path: Path) -> Run:
    def run(*args: Any, **more: Any) -> Any:
        where = {"runs_dir": tmp_path, "cluster": {"kind": "inline"}, "quiet": True}
        return experiment.lagom(*args, **{**where, **more})

    return run


def space() -> Searchspace:
    sp = Searchspace(kernel=("INTEGER", [2, 8]), pool=("Integer", [2, 8]))
    sp.add("dropout", ("double", [0.01, 0.99]))
    return sp


def test_a_search_space_is_what_maggys_was() -> None:
    sp = space()
    assert sp.names() == {"kernel": "INTEGER", "pool": "INTEGER", "dropout": "DOUBLE"}
    assert sp.to_dict()["dropout"] == ("DOUBLE", [0.01, 0.99])
    assert Searchspace(**sp.to_dict()).to_dict() == sp.to_dict()
    assert sp.kernel == sp.get("kernel") == [2, 8]
    assert sp.get("stride", 3) == 3
    assert sp.keys() == ["kernel", "pool", "dropout"]
    assert sp.values()[0] == ("INTEGER", [2, 8])
    assert [*sp] == [*sp.items()]
    assert next(iter(sp)) == {"name": "kernel", "type": "INTEGER", "values": [2, 8]}
    assert len(sp) == 3
    assert "pool" in sp
    assert Searchspace.DISCRETE == "DISCRETE"
    for params in sp.get_random_parameter_values(20):
        assert params in sp.space
        point = sp.transform([*params.values()])
        assert all(0 <= unit <= 1 for unit in point)
        assert sp.inverse_transform(point) == pytest.approx([*params.values()])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("kernel", ("INTEGER", [2, 8]), "'kernel' is there already"),
        ("names", ("INTEGER", [2, 8]), "a word of Maggy's own"),
        ("x", ("INTEGR", [2, 8]), "unknown type 'INTEGR'; did you mean 'INTEGER'"),
        ("x", [2, 8, 9], r"expected \(type, \[...\]\)"),
        ("x", ("INTEGER", [8, 2]), "lower bound 8"),
    ],
)
def test_a_search_space_refuses_where_it_is_written(name: str, value: Any, message: str) -> None:
    sp = space()
    with pytest.raises(UsageError, match=message):
        sp.add(name, value)
    assert sp.keys() == ["kernel", "pool", "dropout"]


KEYS = {
    *("best_id", "best_val", "best_config", "worst_id", "worst_val", "worst_config", "avg"),
    *("metric_list", "num_trials", "early_stopped", "num_epochs", "trial_id"),
}


def mnist(kernel: int, pool: int, dropout: float, reporter: Any) -> float:
    folder = tensorboard.logdir()
    assert Path(folder + "/validation").parent.is_dir()  # a text, as Maggy's was
    for epoch in range(3):
        reporter.log(f"epoch {epoch}", jupyter=True)
        reporter.broadcast(metric=kernel * pool + epoch)
    return kernel * pool


def test_the_search_of_the_notebooks_before_1_0(lagom: Run, capsys: Any) -> None:
    result = lagom(
        train_fn=mnist,
        searchspace=space(),
        optimizer="randomsearch",
        direction="max",
        num_trials=6,
        name="MNIST of mine",
        hb_interval=5,
        es_interval=1,
        es_min=5,
    )
    assert result.keys() == KEYS
    assert result["num_trials"] == len(result["metric_list"]) == 6
    best = result["best_config"]
    assert result["best_val"] == best["kernel"] * best["pool"] == max(result["metric_list"])
    assert result["worst_val"] == min(result["metric_list"])
    assert result["avg"] == sum(result["metric_list"]) / 6
    assert result["num_epochs"] == 3
    assert json.loads(json.dumps(result)) == result
    run_dir = result.found.run_dir
    assert run_dir.parent.name == "MNIST-of-mine"
    assert "epoch 2" in (run_dir / "trials" / result["best_id"] / "output.log").read_text()
    assert result._repr_html_() == result.found._repr_html_()


def test_what_means_nothing_here_is_taken_and_said_once(lagom: Run, capsys: Any) -> None:
    experiment._told.clear()
    for _ in range(2):
        lagom(lambda: 1.0, BaseConfig(hb_interval=5, description="the first"))
    said = capsys.readouterr().err.splitlines()
    assert sorted(line.split()[1] for line in said) == ["description", "hb_interval"]
    assert all("is taken and has no effect: " in line for line in said)


def test_positional_arguments_of_both_generations(lagom: Run) -> None:
    old = lagom(mnist, "demo", "optimization", space(), "randomsearch", "min", 2)
    assert old.found.run_dir.parent.name == "demo"
    assert old["best_val"] == min(old["metric_list"])
    new = lagom(mnist, HyperparameterOptConfig(2, "randomsearch", space(), "Metric", "min"))
    assert new["metric_list"] == old["metric_list"]
    assert new.found.run_dir.parent.name == "HPOptimization"


def oblivious(
    model: Any, train_set: Any, test_set: Any, hparams: dict[str, Any], reporter: Any
) -> Any:
    net = model(nl=hparams["kernel"])
    for step in range(hparams.get("budget", 2)):
        reporter.broadcast(net["nl"] + step, step)
    return {"accuracy": net["nl"] + sum(train_set) + sum(test_set), "loss": 0.5}


def network(nl: int = 4) -> dict[str, int]:
    return {"nl": nl}


def test_a_function_gets_what_its_configuration_has(lagom: Run) -> None:
    given = {"model": network, "train_set": [1, 2], "test_set": [3]}
    sp = Searchspace(kernel=("DISCRETE", [2, 4]))
    config = OptimizationConfig(9, "gridsearch", sp, "accuracy", es_policy="none", **given)
    result = lagom(oblivious, config)
    assert result["best_config"] == {"kernel": 4}
    assert result["metric_list"] == [8, 10]
    halving = OptimizationConfig(8, Asha(2, 1, 4), Searchspace(kernel=("INTEGER", [2, 9])), **given)
    assert lagom(oblivious, halving)["best_config"]["budget"] == 4


def test_what_has_a_default_need_not_be_given(lagom: Run) -> None:
    def train(hparams: Any, model: Any = None, test_set: Any = None) -> int:
        return 1 if model is test_set is None else 0

    assert (
        lagom(train, HyperparameterOptConfig(1, "randomsearch", space(), name="--"))["best_val"]
        == 1
    )


def test_the_dataset_of_the_last_generation(lagom: Run) -> None:
    config = HyperparameterOptConfig(1, "randomsearch", space(), dataset=[[1, 2], [3]])
    assert (
        lagom(lambda dataset, hparams: sum(dataset[0]) * 10 + sum(dataset[1]), config)["best_val"]
        == 33
    )


def test_of_several_numbers_the_first_counts_unless_that_can_not_be_meant(lagom: Run) -> None:
    sp = Searchspace(kernel=("DISCRETE", [2, 4]))

    def train(kernel: int) -> dict[str, float]:
        return {"loss": 1 / kernel, "accuracy": 0.5}

    assert (
        lagom(train, OptimizationConfig(2, "gridsearch", sp, direction="min"))["best_val"] == 0.25
    )
    with pytest.raises(
        DotrainError, match="Maggy takes the first, and 'loss' isn't to be searched"
    ):
        lagom(train, OptimizationConfig(2, "gridsearch", sp))
    with pytest.raises(
        DotrainError, match="returned a dict without 'auc'; it holds loss, accuracy"
    ):
        lagom(train, OptimizationConfig(2, "gridsearch", sp, "auc"))
    with pytest.raises(DotrainError, match=r"returned \[1, 2\] \(list\)"):
        lagom(lambda kernel: [1, 2], OptimizationConfig(2, "gridsearch", sp))
    # Where nothing is searched, it is what Maggy showed.
    assert lagom(lambda: [0.3, 0.9])["test result"] == 0.3


@pytest.mark.parametrize(
    ("said", "chosen"),
    [
        (None, {"name": "single"}),
        ("ASHA", {"name": "asha", "reduction_factor": 2, "resource_min": 1, "resource_max": 4}),
        (
            Asha(3, 1, 9),
            {"name": "asha", "reduction_factor": 3, "resource_min": 1, "resource_max": 9},
        ),
        (RandomSearch(), {"name": "random"}),
        (GridSearch(), {"name": "grid"}),
        (TPE(), {"name": "tpe"}),
        (GP(), {"name": "gp"}),
        (
            RandomSearch(
                pruner="hyperband", pruner_kwargs={"min_budget": 1, "max_budget": 9, "eta": 3}
            ),
            {"name": "hyperband", "resource_min": 1, "resource_max": 9, "reduction_factor": 3},
        ),
        (
            TPE(pruner="hyperband", pruner_kwargs={"max_budget": 9}),
            {"name": "bohb", "resource_max": 9},
        ),
    ],
)
def test_maggys_optimizers_are_dotrains(
    said: Any, chosen: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[dict[str, Any]] = []

    def own(function: Any, **call: Any) -> Any:
        calls.append(call)
        raise ZeroDivisionError

    monkeypatch.setattr(experiment.own, "lagom", own)
    sp = None if said is None else space()
    with pytest.raises(ZeroDivisionError):
        experiment.lagom(
            mnist if sp else (lambda: 1), searchspace=sp, optimizer=said, num_trials=8 if sp else 1
        )
    (call,) = calls
    assert call["optimizer"] == chosen
    assert call.get("num_trials") == (None if chosen["name"] in ("single", "grid") else 8)
    # Not before more than ten trials have ended, as by default there.
    assert call["early_stop"] == ({"name": "median", "min_trials": 11} if sp else None)


class CustomOptimizer(AbstractOptimizer):
    def initialize(self) -> None:
        self.left = self.searchspace.get_random_parameter_values(self.num_trials)
        self._log("initialized")

    def get_suggestion(self, trial: Trial | None = None) -> Any:
        if trial is not None:
            assert trial.status == Trial.FINALIZED
            assert trial.trial_id not in self.trial_store
            assert trial in self.final_store
            self._log(trial.to_json())
        if not self.left:
            return None
        new = self.create_trial(self.left.pop(), sample_type="random")
        assert new.status == Trial.PENDING
        return new

    def finalize_experiment(self, trials: Any) -> None:
        self._log(f"{len(trials)} trials, best {max(t.final_metric for t in trials)}")


class OneTrial(AbstractEarlyStop):
    def earlystop_check(to_check, finalized_trials, direction):  # type: ignore[no-untyped-def]
        assert direction == "max"
        assert all(
            len(trial.metric_history) == trial.metric_history[-1] // 100
            for trial in finalized_trials
        )
        return to_check.trial_id if to_check.metric_history[-1] % 100 < 30 else None


class ManyTrials(AbstractEarlyStop):
    @staticmethod
    def earlystop_check(to_check: Any, finalized_trials: Any, direction: Any) -> list[str]:
        return [i for i, trial in to_check.items() if trial.metric_history[-1] % 100 < 30]


@pytest.mark.parametrize("rule", [OneTrial(), ManyTrials()], ids=["of one", "of a mapping"])
def test_an_optimizer_and_a_rule_of_ones_own(lagom: Run, rule: Any) -> None:
    def train(kernel: int, pool: int, reporter: Any) -> float:
        for step in range(1, 5):
            reporter.broadcast(kernel * pool + 100 * step)
        return kernel * pool + 400

    sp = Searchspace(kernel=("INTEGER", [2, 8]), pool=("INTEGER", [2, 8]))
    config = HyperparameterOptConfig(12, CustomOptimizer(), sp, es_policy=rule, es_min=1)
    heard: list[str] = []

    class Hears(Observer):
        def on_event(self, event: Any, instructions: Any, time_s: float) -> None:
            heard.append(type(event).__name__)

    result = lagom(train, config, observers=[Hears()])
    assert heard.count("Finished") + heard.count("Stopped") == 12
    assert result["num_trials"] == 12
    trials = result.found.trials
    for index, trial in enumerate(trials):
        # The first two run to their end, and step 0 is never looked at.
        stops = trial.params["kernel"] * trial.params["pool"] < 30 and index > 1
        assert len(trial.metric_history) == (2 if stops else 4)
    assert 0 < result["early_stopped"] < 11
    log = (result.found.run_dir / "optimizer.log").read_text().splitlines()
    assert log[0] == "initialized"
    assert log[-1] == f"12 trials, best {result['best_val']}"
    told = json.loads(log[1])
    assert told["params"] == trials[0].params
    assert told["metric_history"] == [*trials[0].metric_history]
    header = json.loads((result.found.run_dir / "journal.jsonl").read_text().splitlines()[0])
    assert header["config"]["search"]["optimizer"]["name"].endswith(":CustomOptimizer")


def test_an_optimizer_may_give_budgets_wait_and_lose_trials(lagom: Run) -> None:
    class Ladder(AbstractOptimizer):
        def initialize(self) -> None:
            self.left = 3

        def get_suggestion(self, trial: Any = None) -> Any:
            if self.left == 1 and self.trial_store:
                return "IDLE"
            self.left -= 1
            if self.left < 0:
                return None
            return self.create_trial({"kernel": self.left}, "promoted", run_budget=self.left + 1)

        def finalize_experiment(self, trials: Any) -> None:
            assert [t.params["budget"] for t in trials] in ([3, 1], [])

    def train(kernel: int, budget: int) -> float:
        return budget / (kernel - 1)  # of the second nothing is left

    sp = Searchspace(kernel=("INTEGER", [0, 8]))
    result = lagom(train, OptimizationConfig(1, Ladder(), sp, es_policy=NoStoppingRule()))
    assert result["metric_list"] == [3.0, -1.0]
    with pytest.raises(
        DotrainError, match="the optimizer gives a budget: let the train function ask"
    ):
        lagom(lambda kernel: 1.0, OptimizationConfig(1, Ladder(), sp))


def test_what_an_optimizer_of_ones_own_does_wrong_has_its_name(lagom: Run) -> None:
    class Broken(CustomOptimizer):
        def get_suggestion(self, trial: Any = None) -> Any:
            return {"kernel": 3}

    with pytest.raises(DotrainError, match="optimizer Broken raised TypeError: expected a Trial"):
        lagom(
            lambda kernel: 1,
            OptimizationConfig(2, Broken(), Searchspace(kernel=("INTEGER", [2, 8]))),
        )


def test_a_trial_tells_what_maggys_told() -> None:
    trial = Trial({"kernel": 3, "budget": 2})
    assert trial.status == Trial.PENDING == "PENDING"
    assert trial.trial_id == Trial({"budget": 2, "kernel": 3}).trial_id
    told = json.loads(trial.to_json())
    assert told["__class__"] == "Trial"
    assert told["params"] == {"kernel": 3, "budget": 2}
    assert told["final_metric"] is None
    with pytest.raises(UsageError, match="expected hyperparameters by their names"):
        Trial([3])


TABLE = {"pclass": [3, 1, 2], "fare": [7.0, 71.0, 8.0], "sex": [0, 1, 1]}


def load(num_epochs: int, batch_size: int, features: Any) -> Any:
    return {name: TABLE[name] for name in features.select(TABLE)}, num_epochs * batch_size


def study(**more: Any) -> AblationStudy:
    made = AblationStudy(
        "titanic_train_dataset", training_dataset_version=1, label_name="survived", **more
    )
    made.features.include("pclass")
    made.features.include(["fare", "sex"], "pclass")
    return made


def titanic(dataset_function: Any) -> float:
    columns, rows = dataset_function(5, 10)
    return sum(value for values in columns.values() for value in values) + rows


@pytest.mark.usefixtures("rehearsed_here")
def test_the_ablation_of_the_notebooks(lagom: Run, capsys: Any) -> None:
    made = study(dataset_generator=load)
    made.features.exclude("sex", "nothing")
    made.features.list_all()
    assert capsys.readouterr().out == "pclass\nfare\n"
    assert made.features.included_features == {"pclass", "fare"}
    old = lagom(
        map_fun=titanic,
        experiment_type="ablation",
        ablation_study=made,
        ablator="loco",
        name="LOCO",
    )
    assert old["num_trials"] == 3
    assert old["best_config"] == {"ablated_feature": "None", "ablated_layer": "None"}
    assert old["worst_config"] == {"ablated_feature": "fare", "ablated_layer": "None"}
    assert old["worst_val"] == old["best_val"] - 86
    new = lagom(titanic, AblationConfig(made, LOCO(made, []), name="LOCO"))
    assert new == old


def test_layers_of_a_study_are_listed_and_taken_out(capsys: Any) -> None:
    layers = study().model.layers
    layers.include("dense_2", ["dense_3", "dense_2"])
    layers.include_groups(["dense_2", "dense_4"])
    layers.include_groups(prefix="dense")
    layers.print_all()
    layers.exclude(["dense_3"])
    layers.exclude_groups(["dense_2", "dense_4"])
    layers.print_all_groups()
    assert layers.included_layers == {"dense_2"}
    assert capsys.readouterr().out == "dense_2\ndense_3\n{'prefix': 'dense'}\n"
    with pytest.raises(
        UsageError, match=r"include_groups: expected lists of names, got the text 'text'"
    ):
        layers.include_groups("text")


@pytest.mark.usefixtures("rehearsed_here")
def test_a_study_may_have_seeds_and_data_of_the_call(lagom: Run) -> None:
    result = lagom(titanic, AblationConfig(study(seeds=2)), data=load)
    assert result["num_trials"] == 8
    assert len(result.found["components"]) == 3


@pytest.mark.usefixtures("rehearsed_here")
def test_an_ablator_of_ones_own(lagom: Run) -> None:
    class Both(AbstractAblator):
        def get_number_of_trials(self) -> int:
            return 2

        def initialize(self) -> None:
            whole = {"ablated_feature": "None", "ablated_layer": "None"}
            self.trial_buffer = [
                Trial(whole | {"ablated_feature": c}, "ablation") for c in ("None", "sex")
            ]

        def get_trial(self, ablation_trial: Any = None) -> Trial | None:
            return self.trial_buffer.pop() if self.trial_buffer else None

    result = lagom(titanic, AblationConfig(study(dataset_generator=load), Both(None, None)))
    assert [t.arm.name for t in result.found.trials] == ["baseline", "feature:sex"]
    assert result["worst_config"]["ablated_feature"] == "sex"


def refusals() -> Iterator[tuple[Callable[[Run], Any], str]]:
    sp = Searchspace(kernel=("INTEGER", [2, 8]))
    yield lambda run: run(None), "expected a train function, got None"
    yield (
        lambda run: run(lambda kernel: 1, OptimizationConfig(2, "randomserch", sp)),
        "unknown 'randomserch'; did you mean 'randomsearch'",
    )
    yield (
        lambda run: run(lambda kernel: 1, OptimizationConfig(8, "asha", sp)),
        r"<lambda>\(\) doesn't ask for 'budget', which ASHA gives each trial",
    )
    yield lambda run: run(lambda: 1, num_trials=3), "num_trials: without a searchspace it is one"
    yield (
        lambda run: run(lambda kernel: 1, OptimizationConfig(2, "none", sp)),
        "none searches nothing; name one",
    )
    yield (
        lambda run: run(oblivious, OptimizationConfig(2, "randomsearch", sp)),
        r"oblivious\(\) asks for 'model', which OptimizationConfig doesn't give: write model=",
    )
    yield (
        lambda run: run(lambda kernel, foo: 1, OptimizationConfig(2, "randomsearch", sp)),
        r"<lambda>\(\) asks for 'foo', which nobody provides",
    )
    yield (
        lambda run: run(
            oblivious, OptimizationConfig(1, "none", None, model={}, train_set=1, test_set=2)
        ),
        "model: expected the class of the model, or a function that makes it",
    )
    yield (
        lambda run: run(
            lambda kernel: 1, OptimizationConfig(2, "randomsearch", sp, es_policy="mean")
        ),
        "es_policy: expected 'median', 'none' or an AbstractEarlyStop, got 'mean'",
    )
    yield (
        lambda run: run(titanic, AblationConfig(study())),
        "'titanic_train_dataset' is in a feature store that isn't asked here; give dataset_generator=",
    )
    yield lambda run: run(titanic, AblationConfig("titanic")), "expected an AblationStudy, got 'tit"
    yield (
        lambda run: run(titanic, AblationConfig(study(dataset_generator=load), "pairs")),
        "ablator: expected 'loco' or an AbstractAblator, got 'pairs'",
    )
    yield lambda run: run(titanic, experiment_type="ablatoin"), "experiment_type: expected 'optim"
    yield (
        lambda run: run(oblivious, TorchDistributedConfig(network, backend="deepspeed")),
        "backend: 'deepspeed' isn't there; zero_lvl=3",
    )
    yield (
        lambda run: run(oblivious, OptimizationConfig(2, "none", None), num_trials=3),
        "num_trials beside a configuration; write all of it there",
    )
    yield (
        lambda run: run(lambda: 1, TfDistributedConfig(), cluster={"kind": "dask_address"}),
        "say how many workers train together",
    )
    yield lambda run: OptimizationConfig(2), "OptimizationConfig: missing a required argument: 'opt"
    yield lambda run: BaseConfig(nam="x"), "BaseConfig: got an unexpected keyword argument 'nam'"
    yield lambda run: RandomSearch(pruner="sha"), "random: of Maggy's options pruner='hyperband'"


@pytest.mark.parametrize(("write", "message"), [*refusals()], ids=range(19))
def test_what_can_not_be_is_told_before_anything_starts(
    write: Callable[[Run], Any], message: str, lagom: Run, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        write(lagom)
    assert not [*tmp_path.iterdir()]


def test_data_that_can_not_be_sent_are_named(lagom: Run) -> None:
    def train(train_set: Any, kernel: int) -> int:
        return kernel

    sp = Searchspace(kernel=("INTEGER", [2, 8]))
    config = OptimizationConfig(1, "randomsearch", sp, train_set=(n for n in range(3)))
    with pytest.raises(
        UsageError, match=r"train_set: generator\); give arrays, or load them inside"
    ):
        lagom(train, config)


class Rank:
    rank, num_replicas_in_sync = 1, 2


@pytest.mark.parametrize("name", ["train_set", "dataset"])
def test_rows_are_dealt_out_to_ranks_each_as_many(name: str) -> None:
    rows = [10, 11, 12, 13, 14]
    given = [rows, [1, 2]] if name == "dataset" else rows
    sets = Sets({name: given, "test_set": [1, 2]} if name == "train_set" else {name: given})
    dealt = sets.dealt(Rank(), None, {})
    mine, others = dealt[name] if name == "dataset" else (dealt[name], dealt["test_set"])
    assert [*mine] == [11, 13, 10]  # the first one once more
    assert len(mine) == 3
    assert others == [1, 2]
    with pytest.raises(BadSetup, match="a tuple has no rows to deal out"):
        Sets({"train_set": (rows, rows)}).dealt(Rank(), None, {})


def test_files_are_read_by_process_data_once() -> None:
    calls = []

    def process_data(*files: str) -> list[str]:
        calls.append(files)
        return [file.upper() for file in files]

    sets = pickle.loads(pickle.dumps(Sets({"train_set": "a", "test_set": "b"}, str)))
    assert sets.given == {"train_set": "a", "test_set": "b"}
    sets = Sets({"train_set": "a", "test_set": "b"}, process_data)
    assert (sets("train"), sets("test")) == ("A", "B")
    assert Sets({"dataset": ["a", "b"]}, process_data).read() == {"dataset": ["A", "B"]}
    assert calls == [("a", "b"), ("a", "b")]
    assert Sets({"train_set": [1], "test_set": "b"}, process_data).read()["train_set"] == [1]


def test_configurations_are_maggys() -> None:
    assert isinstance(BaseConfig(), LagomConfig)
    config = HyperparameterOptConfig(4, "randomsearch", Searchspace())
    found = (config.optimization_key, config.direction, config.es_interval, config.es_min)
    assert found == ("Metric", "max", 1, 10)
    assert (config.es_policy, config.name, config.hb_interval) == ("median", "HPOptimization", 1)
    assert OptimizationConfig(4, "asha", Searchspace()).optimization_key == "metric"
    assert AblationConfig(None).ablator == "loco"
    assert TfDistributedConfig(network).name == "tfDist"
    torch = TorchDistributedConfig(network, [1], [2], {"x": 1})
    assert (torch.module, torch.train_set, torch.test_set, torch.hparams) == (
        network,
        [1],
        [2],
        {"x": 1},
    )
    assert MedianStoppingRule() == {"name": "median"}


SCRIPT = """
from MAGGY import experiment
from MAGGY import Searchspace
from MAGGY.optimizer import AbstractOptimizer
from MAGGY.earlystop import AbstractEarlyStop
from MAGGY.trial import Trial
from MAGGY.experiment import experiment as same
from MAGGY.config import HyperparameterOptConfig
from MAGGY.experiment_config.tf_distributed import TfDistributedConfig
from MAGGY.experiment_config.torch_distributed import TorchDistributedConfig
from MAGGY.experiment_config.optimization import OptimizationConfig
from MAGGY.experiment_config.hyperparameter_optimization import HyperparameterOptConfig
from MAGGY.experiment_config.ablation import AblationConfig
from MAGGY.ablation import AblationStudy
from MAGGY.ablation.ablator import AbstractAblator, LOCO

nr_iterations = 3
sp = Searchspace(kernel=('INTEGER', [2, 8]),
                  pool=('INTEGER', [2, 8]))

def helper(value):
    return value / 10

def train_fn(kernel, pool):
    from MAGGY import tensorboard
    accuracy = 0
    for i in range(nr_iterations):
        accuracy += helper(kernel * pool)
    return accuracy

result = experiment.lagom(train_fn, searchspace=sp,
                          optimizer='randomsearch',
                          num_trials=5, name='demo',
                          direction='max')
print("BEST", result['best_val'] > 0, result['num_trials'], same is experiment)

class CustomOptimizer(AbstractOptimizer):
    def initialize(self):
        self.left = 3

    def get_suggestion(self, trial=None):
        # Return trial, return None if experiment finished
        self.left -= 1
        return Trial({'kernel': 2 + self.left, 'pool': 2}) if self.left >= 0 else None

    def finalize_experiment(self, trials):
        print("FINAL", sorted(t.params['kernel'] for t in trials))

class CustomEarlyStop(AbstractEarlyStop):
    def earlystop_check(to_check, finalized_trials, direction):
        pass

experiment.lagom(train_fn, searchspace=sp, optimizer=CustomOptimizer(), es_policy=CustomEarlyStop())
result = experiment.lagom(train_fn=lambda: 0.5, name='MNIST')
print("SINGLE", result['best_val'])
"""


def test_the_talks_snippets_run_by_their_import_lines(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace("MAGGY", "dotrain.maggy"))
    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "BEST True 5 True" in done.stdout
    assert "FINAL [2, 3, 4]" in done.stdout
    assert "SINGLE 0.5" in done.stdout
    (archive,) = tmp_path.glob("runs/demo/*/code.zip")
    assert archive.is_file()
