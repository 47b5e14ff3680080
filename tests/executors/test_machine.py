"""Every rank has what it needs of a machine, and no GPU is given away twice."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dotrain.executors.environment import this_machine
from dotrain.executors.machine import Machine, Needs

GPUS = st.integers(0, 9).map(lambda count: tuple(f"GPU-{i}" for i in range(count)))
#: Whole numbers, and shares as people write them.
ASKED = st.sampled_from([1, 2, 3, 4, 0.1, 0.2, 0.25, 0.3, 0.34, 0.5, 0.7, 0.9])


def machine(gpus: tuple[str, ...] = (), cores: int = 64, memory_bytes: int = 10**12) -> Machine:
    return Machine(cores, gpus, memory_bytes)


@given(gpus=GPUS, asked=ASKED)
def test_each_slot_sees_what_was_asked_for_and_no_gpu_is_more_than_used_up(
    gpus: tuple[str, ...], asked: float
) -> None:
    needs = Needs(gpus=asked)
    slots = machine(gpus).slots(needs)
    assert slots is not None
    dealt = machine(gpus).deal(needs, slots) or []
    assert [len(one) for one in dealt] == [max(1, int(asked))] * slots
    assert all(set(one) <= set(gpus) and len(set(one)) == len(one) for one in dealt)
    share = min(Fraction(str(asked)), Fraction(1))
    used = Counter(gpu for one in dealt for gpu in one)
    assert all(count * share <= 1 for count in used.values())
    # One more would be too many.
    left = [gpu for gpu in gpus if (used[gpu] + 1) * share <= 1]
    assert len(left) < max(1, asked)
    assert machine(gpus).lack(needs, slots) == ""
    assert machine(gpus).lack(needs, slots + 1).startswith(f"gpus: {len(gpus)}, enough for {slots}")


@given(gpus=GPUS, slots=st.integers(1, 20))
def test_if_nobody_asks_all_are_dealt_out_evenly(gpus: tuple[str, ...], slots: int) -> None:
    dealt = machine(gpus).deal(Needs(), slots)
    if not gpus:
        assert dealt is None
        return
    assert dealt is not None
    assert [len(one) for one in dealt] == [max(1, len(gpus) // slots)] * slots
    used = Counter(gpu for one in dealt for gpu in one)
    if len(gpus) >= slots:
        assert max(used.values()) == 1
    else:
        assert set(used) == set(gpus)
        assert max(used.values()) - min(used.values()) <= 1


@pytest.mark.parametrize(
    ("needs", "slots", "lack"),
    [
        (Needs(cpus=3), 2, "cpus: 8, enough for 2 of 9"),
        (Needs(memory_bytes=6 * 10**9), 2, "memory: 16GB, enough for 2 of 9"),
        (Needs(gpus=1, cpus=1), 4, "gpus: 4, enough for 4 of 9"),
        (Needs(gpus=0.5, cpus=8, memory_bytes=10**6), 1, "gpus: 4, enough for 8 of 9"),
        (Needs(gpus=0), None, ""),
        (Needs(), None, ""),
    ],
)
def test_what_is_scarcest_bounds_it(needs: Needs, slots: int | None, lack: str) -> None:
    found = machine(("0", "1", "2", "3"), cores=8, memory_bytes=16 * 10**9)
    assert found.slots(needs) == slots
    assert found.lack(needs, 9) == lack


def test_gpus_that_are_not_wanted_are_hidden() -> None:
    assert machine(("0", "1")).deal(Needs(gpus=0), 2) == [(), ()]
    assert machine().deal(Needs(gpus=0), 1) == [()]


@pytest.mark.parametrize(
    ("said", "gpus"),
    [
        ("0,1", ("0", "1")),
        (" GPU-a , MIG-b", ("GPU-a", "MIG-b")),
        ("0,-1,2", ("0",)),
        ("", ()),
        ("none", ()),
    ],
)
def test_what_the_environment_says_is_what_there_is(said: str, gpus: tuple[str, ...]) -> None:
    found = this_machine({"CUDA_VISIBLE_DEVICES": said})
    assert found.gpus == gpus
    assert found.cores >= 1
    assert found.memory_bytes > 10**8
