"""Which way a metric is better: told by its name, written, or guessed and said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dotrain.config.direction import LARGER, SMALLER, direction_told
from dotrain.config.load import load_config
from dotrain.config.plan import make_plan
from tests.folder import Folder

NAMES = {
    "min": "loss val_loss test-loss valLoss MSELoss RMSE val_mean_squared_error cross_entropy "
    "log_loss f1_loss loss_score mean_neg_loss neg_score WER latency_ms loss2 negative_log_likelihood error_rate",
    "max": "accuracy val_accuracy testAccuracy top-5-acc F1Score f1 mAP R2 roc_auc recall@10 score "
    "neg_mean_squared_error val_neg_loss log_likelihood",
    None: "m metric glossy lossless terror value precisionist time 5 x_y neg_x val test_best",
}


@pytest.mark.parametrize(
    ("name", "told"), [(name, told) for told, names in NAMES.items() for name in names.split()]
)
def test_a_name_tells_its_direction_by_whole_words(name: str, told: str | None) -> None:
    assert direction_told(name) == told


@given(
    st.sampled_from(sorted(SMALLER | LARGER)),
    st.lists(st.sampled_from(["val", "test", "mean", "final", "x"]), max_size=3),
    st.sampled_from(["_", "-", ".", "/", " "]),
)
def test_every_word_tells_in_every_notation(word: str, before: list[str], between: str) -> None:
    told = "min" if word in SMALLER else "max"
    parts = [*before, word]
    assert direction_told(between.join(parts)) == told
    assert direction_told(between.join(parts).upper()) == told
    if word[-1].isalpha():
        assert direction_told("".join(part.capitalize() for part in parts)) == told


def test_no_word_tells_both() -> None:
    assert not SMALLER & LARGER


def head(metric: str, direction: str = "") -> str:
    return f"train: t.py:train\nmetric: {metric}\n" + (
        f"direction: {direction}\n" * bool(direction)
    )


def test_a_loss_is_never_maximised_unasked(folder: Folder) -> None:
    assert folder.problems(head("val_loss")) == [
        "2:9: metric: the name 'val_loss' says that smaller is better, but without 'direction' the "
        "largest would win; write direction: min (or direction: max, if that is meant)"
    ]
    assert folder.load(head("val_loss"), "direction=min").settings.direction == "min"


def test_a_written_direction_against_the_name_is_warned_of(folder: Folder) -> None:
    for metric, direction, better in (("val_loss", "max", "smaller"), ("auc", "min", "larger")):
        loaded = folder.load(head(metric, direction))
        (warning,) = make_plan(loaded)["warnings"]
        assert warning.endswith(
            f":3:12: direction: is {direction}, but the name '{metric}' says that {better} is better"
        )
        assert (loaded.settings.direction, loaded.guessed) == (direction, ())


@pytest.mark.parametrize(
    ("metric", "direction"), [("val_loss", "min"), ("auc", "max"), ("auc", "")]
)
def test_nothing_is_said_where_name_and_direction_agree(
    folder: Folder, metric: str, direction: str
) -> None:
    loaded = folder.load(head(metric, direction))
    assert (loaded.warnings, loaded.notes, loaded.guessed) == ([], [], ())


def test_a_guess_is_said_and_kept_for_reports(folder: Folder) -> None:
    loaded = folder.load(head("m"))
    (note,) = make_plan(loaded)["notes"]
    assert note.endswith(":2:9: direction: taken as max; write it to be sure")
    assert loaded.guessed == ("direction max",)
    assert folder.load(head("m", "max")).guessed == ()


def test_a_run_that_goes_on_keeps_the_direction_it_began_with(folder: Folder) -> None:
    file = folder.write("config.yaml", head("val_loss") + "hparams: {lr: 1}\n")
    folder.write("t.py", "def train(l_r=1): return 1.0\n")
    loaded = load_config(file, goes_on=True)
    assert loaded.settings.direction == "max"
    assert [warning.path[0] for warning in loaded.warnings] == ["metric", "hparams"]


def test_a_name_without_words_tells_nothing() -> None:
    assert direction_told(":") is None
