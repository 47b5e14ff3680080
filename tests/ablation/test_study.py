"""The arms of a study: which there are, what each leaves out, and in which order they run."""

from __future__ import annotations

import pytest

from dotrain.ablation.ablators import AbstractAblator, AddOneIn, LeaveOneOut, Pairs
from dotrain.ablation.components import Component, Feature, Layer, LayerGroup, Switch, Variant
from dotrain.ablation.runner import StudyRunner
from dotrain.ablation.study import BASELINE, Arm, Features, Study
from dotrain.core.arm import ArmRun
from dotrain.core.seeding import derive_seed
from dotrain.errors import UsageError
from dotrain.space import Searchspace

A, B, C = parts = [Feature("a"), Layer("b"), Switch("c", {"c": 0})]
NAMES = [part.name for part in parts]


def test_leaving_one_out_makes_an_arm_of_each() -> None:
    ablator = LeaveOneOut()
    assert ablator.baseline(parts) == Arm("baseline", ())
    assert list(ablator.arms(parts)) == [Arm(name, (name,)) for name in NAMES]
    assert (ablator.adds, AbstractAblator.adds, AddOneIn.adds) == (False, False, True)


def test_adding_one_in_leaves_out_all_others() -> None:
    ablator = AddOneIn()
    assert ablator.baseline(parts) == Arm(BASELINE, tuple(NAMES))
    assert list(ablator.arms(parts)) == [
        Arm(NAMES[0], (NAMES[1], NAMES[2])),
        Arm(NAMES[1], (NAMES[0], NAMES[2])),
        Arm(NAMES[2], (NAMES[0], NAMES[1])),
    ]


def test_pairs_are_compared_with_their_parts() -> None:
    first, second, third = NAMES
    arms = list(Pairs(pairs=[[third, first]]).arms(parts))
    assert arms == [
        Arm(first, (first,)),
        Arm(third, (third,)),
        Arm(f"{third}+{first}", (third, first)),
    ]
    arms = list(Pairs(pairs=[[first, second], [second, third]]).arms(parts))
    assert [arm.name for arm in arms[:3]] == NAMES
    assert len(arms) == 5


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([["a"]], "expected two different names"),
        ([["a", "b", "c"]], "expected two different names"),
        ([["a", "a"]], "expected two different names"),
        ([["a", "b"], ["b", "a"]], "stands twice"),
    ],
)
def test_what_is_no_pair_is_refused(pairs: list[list[str]], message: str) -> None:
    with pytest.raises(ValueError, match=f"pairs: .*{message}"):
        Pairs(pairs=pairs)


def test_a_pair_of_unknown_names_is_refused_with_a_hint() -> None:
    with pytest.raises(ValueError, match=r"unknown component 'layer:B'; did you mean 'layer:b'\?"):
        list(Pairs(pairs=[["feature:a", "layer:B"]]).arms(parts))


def a_study(seeds: int = 2) -> Study:
    arms = (Arm(BASELINE), *LeaveOneOut().arms(parts))
    return Study({part.name: part for part in parts}, arms, seeds=seeds)


def test_a_study_knows_what_each_arm_leaves_out() -> None:
    study = a_study()
    assert study.left_out(BASELINE) == []
    assert study.left_out("layer:b") == [B]
    assert (Study({}, ()).adds, Study({}, ()).seeds) == (False, 5)
    with pytest.raises(ValueError, match=r"unpack"):
        study.left_out("no arm")


def test_a_study_runs_every_arm_with_a_seed_before_the_next_seed() -> None:
    runner = StudyRunner(a_study(), 3)
    runner.setup(Searchspace(), None, "max", 3)
    for _ in range(2):
        runner.initialize()
        trials = []
        while (trial := runner.get_suggestion()) is not None:
            trials.append(trial)
        assert [trial.arm for trial in trials] == [
            ArmRun(name, index) for index in range(2) for name in (BASELINE, *NAMES)
        ]
        seeds = [derive_seed(3, "ablation", index) for index in range(2)]
        assert [trial.seed for trial in trials] == [seeds[0]] * 4 + [seeds[1]] * 4
        assert all((trial.params, trial.budget) == ({}, None) for trial in trials)
    assert [trial.reason for trial in trials[:2]] == [
        "seed 0, the baseline",
        "seed 0, without feature:a",
    ]
    plan = runner.plan()
    assert (plan.configurations, plan.launches, plan.rungs) == (8, 8, ())
    assert not runner.needs_num_trials
    assert not runner.gives_budget


def test_the_arm_with_everything_says_so() -> None:
    study = Study({A.name: A}, (Arm(BASELINE, (A.name,)), Arm(A.name)), adds=True, seeds=1)
    runner = StudyRunner(study, 0)
    runner.initialize()
    runner.get_suggestion()
    full = runner.get_suggestion()
    assert full is not None
    assert full.reason == "seed 0, with everything"


def test_features_are_all_but_those_left_out() -> None:
    features = Features(["sex"])
    assert "age" in features
    assert "sex" not in features
    assert features.select(["age", "sex", "fare"]) == ["age", "fare"]
    assert features.seen == {"age", "sex", "fare"}
    assert Features().select(iter(["sex"])) == ["sex"]
    assert 7 in features
    assert features.seen >= {"7"}


def test_features_can_not_be_gone_through_or_be_a_text() -> None:
    with pytest.raises(UsageError, match=r"give features.select\(columns\)"):
        list(Features())  # type: ignore[call-overload]
    with pytest.raises(UsageError, match=r"takes a list of columns, got the text 'sex'"):
        Features().select("sex")


@pytest.mark.parametrize(
    ("group", "layers"),
    [
        (LayerGroup("g", ("d1", "no")), ["d1", "no"]),
        (LayerGroup("g", prefix="d"), ["d1", "d2"]),
        (LayerGroup("g", pattern="?2"), ["d2", "e2"]),
        (Layer("d1"), ["d1"]),
    ],
)
def test_a_group_is_the_layers_that_are_listed_or_match(
    group: LayerGroup | Layer, layers: list[str]
) -> None:
    assert group.layers_in(["d1", "d2", "e2"]) == layers


@pytest.mark.parametrize("group", [LayerGroup("g", prefix="x"), LayerGroup("g", pattern="x*")])
def test_a_group_without_layers_is_refused(group: LayerGroup) -> None:
    with pytest.raises(UsageError, match="no layer's name"):
        group.layers_in(["d1", "d2"])


def test_parts_that_set_the_same_value_go_together() -> None:
    same = [Switch("one", {"a": 0, "b": 1}), Switch("two", {"a": 0})]
    assert Variant.of(same) == Variant(hparams={"a": 0, "b": 1})
    assert Variant.of([]) == Variant(frozenset(), (), "", {})
    components: list[Component] = [*same, Switch("three", {"b": 2})]
    with pytest.raises(UsageError, match=r"component:three .*sets b to 1"):
        Variant.of(components)


def test_where_a_part_is_named_is_no_difference_to_its_name() -> None:
    assert Feature("a", path=("ablation", "features", 0)).name == "feature:a"
    assert (Feature("a").path, Feature("a").of_model, Layer("a").of_model) == ((), False, True)
