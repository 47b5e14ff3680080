"""What kind of failure ended an attempt, and what follows from it."""

from __future__ import annotations

import pickle

import pytest

from dotrain.core.events import Failed, from_record, to_record
from dotrain.core.failure import Failure, FailureKind

OURS = {"setup", "lost", "disk full", "peer", "port taken"}


@pytest.mark.parametrize("kind", FailureKind)
def test_what_follows_from_a_kind(kind: FailureKind) -> None:
    assert kind.is_ours == (kind in OURS)
    assert kind.ends_run == (kind == "disk full")
    assert kind.starts_again == (kind == "port taken")
    assert kind.blames_peer == (kind == "peer")
    assert kind.names_exception == (kind == "exception")
    assert kind.was_cut_off == (kind in {"lost", "timeout", "memory"})
    assert FailureKind(str(kind)) is kind


def test_a_kind_of_a_newer_version_keeps_its_text_and_is_the_functions_own() -> None:
    record = {"type": "Failed", "trial_id": "t0000", "attempt": 1}
    told = {"kind": "melted", "message": "too hot", "location": "", "source": "", "traceback": ""}
    event = from_record({**record, "failure": told})
    assert isinstance(event, Failed)
    kind = event.failure.kind
    assert kind == "melted"
    assert (kind.is_ours, kind.ends_run, kind.starts_again) == (False, False, False)
    assert to_record(event) == {**record, "failure": told}
    assert pickle.loads(pickle.dumps(kind)) == kind
    assert kind not in list(FailureKind)


def test_a_record_holds_plain_texts() -> None:
    record = to_record(Failed("t0000", 1, Failure(FailureKind.TIMEOUT, "too slow")))
    assert {type(value) for value in record["failure"].values()} == {str}
