"""A study in a config: one mistake is told once, with its place, and hides none of another kind."""

from __future__ import annotations

import pytest

from dotrain.config.load import load_config
from tests.folder import Folder

HEAD = "train: u.py:train\nmetric: m\ndirection: max\ndata: u.py:load\nmodel: u.py:build\n"
USER = "def train(a=1, **more): return 1\ndef load({}): ...\ndef build(): ...\n"


@pytest.mark.parametrize(
    ("section", "problems"),
    [
        ("{features: [f, f]}", ["7:26: ablation.features[1]: feature:f is named twice"]),
        (
            "{features: [f], components: {c: {}}}",
            [
                "7:43: ablation.components.c: changes nothing: expected the hyperparameters that "
                "switch it off"
            ],
        ),
        (
            "{components: {c: {a: 1, reporter: 2, b: 3}}}",
            [
                "7:32: ablation.components.c.a: changes nothing: hparams.a is 1 already",
                "7:35: ablation.components.c.reporter: this name is reserved: functions get "
                "something else by it",
            ],
        ),
        ("{}", ["7:1: ablation: leaves nothing out; expected features, layers, layer_groups, "
                "models or components"]),
        (
            "{features: [f], ablator: {name: pairs, pairs: [[a, b]]}}",
            ["7:36: ablation.ablator: pairs: unknown component 'a'; known: feature:f"],
        ),
        (
            "{features: [f], ablator: {name: pairs, pairs: []}}",
            ["7:36: ablation.ablator: makes no arm beside the baseline"],
        ),
        (
            "{features: [f], ablator: {name: pairs, pairz: []}}",
            [
                "7:27: ablation.ablator.pairs: required key is missing",
                "7:50: ablation.ablator.pairz: unknown key; did you mean 'pairs'?",
            ],
        ),
    ],
)  # fmt: skip
def test_each_mistake_of_a_study_is_told_once(
    folder: Folder, section: str, problems: list[str]
) -> None:
    folder.write("u.py", USER.format("features"))
    assert folder.problems(f"{HEAD}hparams: {{a: 1}}\nablation: {section}\n") == problems


@pytest.mark.parametrize("takes", ["features", "**any", "*, features=None", "a, features"])
def test_columns_are_left_out_by_a_function_that_asks_for_them(folder: Folder, takes: str) -> None:
    folder.write("u.py", USER.format(takes))
    assert folder.load(HEAD + "ablation: {features: [f, g]}\n").study is not None


def test_columns_are_not_left_out_by_any_other(folder: Folder) -> None:
    file = folder.write("u.py", USER.format("a"))
    why = (
        f"{file}:2: load() doesn't ask for 'features', so no column can be left out; use "
        "features.select(columns) there"
    )
    text = HEAD + "ablation: {features: [f, g]}\n"
    assert folder.problems(text) == [
        f"6:23: ablation.features[0]: {why}",
        f"6:26: ablation.features[1]: {why}",
    ]
    (found,) = folder.problems(text.replace("u.py:load", "u.py:lad"))
    assert found.startswith("4:7: data: ")
    # Of what is made at import, nobody can tell.
    folder.write("u.py", USER.format("a") + "load = wrapped(load)\n")
    folder.load(text)


def test_few_seeds_are_told_with_what_would_do(folder: Folder) -> None:
    folder.write("u.py", USER.format("features"))
    text = HEAD + "ablation: {features: [f], seeds: %s}\n"
    told = "5 seeds can't show anything: with 1 comparisons the smallest possible adjusted p is 0.0625; 6 seeds would do"
    for seeds, expected in ((5, [told]), (6, [])):
        file = folder.write("config.yaml", text % seeds)
        loaded = load_config(file, mode="ablate")
        assert [warning.message for warning in loaded.warnings] == expected
        assert [warning.path for warning in loaded.warnings] == [("ablation", "seeds")] * len(
            expected
        )


@pytest.mark.parametrize(
    ("takes", "lacking"),
    [
        ("", ["data_gen", "model_gen", "model_gen"]),
        ("data_gen", ["model_gen", "model_gen"]),
        ("dataset_function, model_function", []),
        ("**anything", []),
    ],
)
def test_what_a_train_function_does_not_ask_for_nothing_is_left_out_of(
    folder: Folder, takes: str, lacking: list[str]
) -> None:
    folder.write("u.py", USER.format("features").replace("a=1, **more", f"{takes}"))
    section = "ablation: {features: [f], layers: [x], layer_groups: [[y, z]]}\n"
    if not lacking:
        folder.load(HEAD + section)
        return
    places = [text.partition(": FOLDER") for text in folder.problems(HEAD + section)]
    told = [place[0].partition(" doesn't ask for '")[2].partition("'")[0] for place in places]
    assert told == lacking
