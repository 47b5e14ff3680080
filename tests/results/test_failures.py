"""Failures that are alike are one group: whatever passes is masked, and other numbers are not."""

from __future__ import annotations

import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dotrain.core import events as e
from dotrain.core.book import TrialBook
from dotrain.core.failure import Failure, FailureKind
from dotrain.core.limits import Limits
from dotrain.core.trial import Trial
from dotrain.results.failures import FailureGroup, failure_groups, failure_key, masked
from tests.conftest import Project

OWN = "/scratch/user/tmp"
#: How a message may go on around what it names.
AROUND = [
    "{}",
    "it is {}; give it another",
    "no file '{}'",
    "<generator object f at {}>",
    "can't be had ({}, 3)",
    "{}: no such thing",
]

names = st.text("abcdefghijklmnopqrstuvwxyz0123456789_", min_size=8, max_size=8)
pids = st.integers(1, 4_194_304)
numbers = st.one_of(
    st.integers(0, 10**9),
    st.floats(0, 1e6, allow_nan=False).map(repr),
    st.tuples(st.integers(0, 4096), st.integers(0, 4096)),
    st.builds("{}x{}".format, st.integers(0, 999), st.integers(0, 999)),
    st.builds("{}:{}".format, st.integers(0, 99), st.integers(0, 99)),
    st.builds("{}.{}.{}".format, *[st.integers(0, 99)] * 3),
)
FOLDERS = ["/tmp", "/var/tmp", "/dev/shm", "/private/var/folders/zz/q0x_1/T", OWN]
FORMATS = [
    "%Y-%m-%d",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%d %H:%M:%S.%f",
    "%Y-%m-%d %H:%M:%S,123+02:00",
    "%Y-%m-%dT%H:%M:%SZ",
    "%Y%m%d-%H%M%S",
    "%Y/%m/%d %H:%M",
    "%H:%M:%S",
    "%a %b %d %H:%M:%S %Y",
    "%A, %d %B %Y %H:%M:%S",
]


def both(values: st.SearchStrategy[Any], *texts: str) -> st.SearchStrategy[tuple[str, str]]:
    """Draw two texts of one form with different values in it."""
    pair = st.tuples(values, values)
    return st.tuples(st.sampled_from(texts), pair).map(
        lambda drawn: (drawn[0].format(drawn[1][0]), drawn[0].format(drawn[1][1]))
    )


def formatted(form: str) -> st.SearchStrategy[str]:
    moments = st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31))
    return moments.map(lambda moment: moment.strftime(form))


PASSING: dict[str, st.SearchStrategy[tuple[str, str]]] = {
    "address": both(st.integers(2**20, 2**64 - 1), "0x{:x}", "0x{:016X}"),
    "uuid": both(st.uuids(), "{}", "run-{}", "{}.json"),
    "hex of a uuid": both(st.uuids().map(lambda one: one.hex), "{}", "part_{}"),
    "folder": both(
        names,
        *(
            f"{folder}/{name}"
            for folder in FOLDERS
            for name in ("tmp{}", "dotrain-{}", "x.{}/a/b.csv")
        ),
    ),
    "folder of Python": both(names, "/data/tmp{}/part.csv", "tmp{}"),
    "pid": both(
        pids, "pid {}", "PID={}", "(pid: {})", "pid(s) {}, 12", "process {}", "/proc/{}/fd"
    ),
    "measured": both(
        st.floats(0.001, 1e6).map("{:,.3f}".format),
        *("{} s", "{}s", "{} ms", "{} MB", "{} GiB", "{} seconds", "{} min"),
    ),
    "step": both(pids, "step {}"),
    "trial": both(st.integers(0, 99_999).map("{:04d}".format), "runs/a/trials/t{}/model.h5"),
    **{form: both(formatted(form), "{}") for form in FORMATS},
}


@pytest.mark.parametrize("what", PASSING)
@given(st.data(), st.sampled_from(AROUND), st.sampled_from(list(FailureKind)))
def test_what_passes_makes_no_other_failure(
    what: str, data: st.DataObject, around: str, kind: FailureKind
) -> None:
    one, other = data.draw(PASSING[what])
    one, other = around.format(one), around.format(other)
    assert masked(one, OWN) == masked(other, OWN)
    first, second = (Failure(kind, text, "u.py:3 in f") for text in (one, other))
    if not kind.names_exception:
        assert failure_key(first, OWN) == failure_key(second, OWN)


@given(
    st.lists(numbers.map(str), min_size=2, max_size=2, unique=True),
    st.sampled_from(
        [*AROUND, "shape {} instead of (3, 4)", "process {} of 4", "column {} of x.csv"]
    ),
)
def test_numbers_that_mean_something_stay(values: list[str], around: str) -> None:
    one, other = (around.format(value) for value in values)
    assert (masked(one, OWN), masked(other, OWN)) == (one, other)
    first, second = (Failure(FailureKind.SETUP, text) for text in (one, other))
    assert failure_key(first, OWN) != failure_key(second, OWN)


@pytest.mark.parametrize(
    "text",
    [
        "Decoder 5 has no input, Marker 7 has",
        "expected rank 2, got 3 at user.py:12:30",
        "its worker process ended with exit code 7; given up after 2 tries (limits.retries)",
        "learning_rate=1e-05 isn't one of 0.1, 0.01",
        "/data/tmp/a.csv and /home/me/tmp/b.csv differ",
        "shapes (3,4) and (5,6) not aligned: 4 (dim 1) != 5 (dim 0)",
    ],
)
def test_what_only_looks_alike_stays(text: str) -> None:
    assert masked(text, OWN) == text


def test_an_address_may_be_cut_off() -> None:
    texts = [f"returned <f at 0x{digits}... (f)" for digits in ("7f3a9c", "7f0b", "1", "")]
    assert len({masked(text, OWN) for text in texts}) == 1


@given(st.text(), st.sampled_from(FOLDERS))
def test_any_text_can_be_masked(text: str, folder: str) -> None:
    once = masked(text, folder)
    assert masked(once, folder) == masked(masked(once, folder), folder)


def test_code_that_was_unpacked_anew_is_the_same_place() -> None:
    folder = tempfile.gettempdir()
    keys = {
        failure_key(
            Failure(FailureKind.EXCEPTION, "ValueError: no", f"{folder}/dotrain-{n}/a/u.py:{line}"),
            folder,
        )
        for n, line in ((1, 3), (22, 3), (3, 4))
    }
    assert len(keys) == 2, "another line is another place"


def groups_of(*failures: Failure) -> list[FailureGroup]:
    book = TrialBook(0, Limits())
    for failure in failures:
        trial = Trial({})
        book.accept(trial)
        book.launch(trial, None, "a sample", 0.0, 1)
        book.apply(e.Failed(trial.trial_id, 1, failure), 1.0)
    return failure_groups(book.trials.values(), Path("/runs/1"))


def test_failures_that_differ_by_what_was_measured_are_one_group() -> None:
    sizes = "950", "1,204", "1,234,567"
    texts = [f"used {size} MB, more than the limit (900)" for size in sizes]
    (group,) = groups_of(*(Failure(FailureKind.MEMORY, text) for text in texts))
    assert group.size == 3


@given(
    st.lists(
        st.builds(
            Failure,
            st.sampled_from(FailureKind),
            st.builds("E: {} at 0x{:x}".format, st.integers(1, 2), st.integers(2**20, 2**48)),
            st.sampled_from(["u.py:3 in f", "/tmp/x/u.py:3 in f", "/tmp/y/u.py:3 in f", ""]),
        ),
        max_size=8,
    )
)
def test_a_group_tells_of_its_first_trial_as_that_failed(failures: list[Failure]) -> None:
    groups = groups_of(*failures)
    sizes = [group.size for group in groups]
    assert sum(sizes) == len(failures)
    assert sizes == sorted(sizes, reverse=True)
    seen = set()
    for group in groups:
        key = failure_key(group.error, tempfile.gettempdir())
        alike = [f for f in failures if failure_key(f, tempfile.gettempdir()) == key]
        assert group.error is group.trial.error is alike[0]
        assert group.size == len(alike)
        seen.add(key)
    assert len(seen) == len(groups)


def test_trials_that_return_the_same_kind_of_thing_fail_alike(project: Project) -> None:
    result = project.run(
        """
        import tempfile
        kept = []

        def train(x):
            kept.append(value for value in [x])
            return kept[-1] if x % 2 else Path(tempfile.mkdtemp())

        class Path(str):
            pass
        """,
        search={
            "space": {"x": {"type": "discrete", "values": list(range(8))}},
            "optimizer": {"name": "grid"},
        },
        cluster={"kind": "inline"},
    )
    groups = result.summary["failures"]
    assert [group["count"] for group in groups] == [4, 4]
    for group in groups:
        (failed,) = [t for t in result.trials if t.trial_id == group["trial_id"]]
        assert failed.error is not None
        assert group["message"] == failed.error.message
    assert any(" at 0x" in group["message"] for group in groups)
    assert any(tempfile.gettempdir() in group["message"] for group in groups)
