"""Workers get as many slots as they have room for, and what two of them see is given away once."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dotrain.executors.dealing import Dealing, Gpu, Offer, Wish
from dotrain.executors.environment import this_offer
from dotrain.executors.gpus import NotTold, told_apart
from dotrain.executors.machine import Needs

GB = 10**9
NEEDS = st.builds(
    Needs,
    st.sampled_from([None, 0, 0.1, 0.3, 0.5, 1, 2, 3]),
    st.sampled_from([None, 1, 2, 3]),
    st.sampled_from([None, GB, 3 * GB]),
)


def gpus(*keys: str) -> tuple[Gpu, ...]:
    return tuple(Gpu(key, f"called {key}") for key in keys)


def offer(
    *keys: str, machine: str = "a", threads: int = 64, cores: int = 64, gigabytes: int = 1000
) -> Offer:
    return Offer(machine, threads, frozenset(range(cores)), gpus(*keys), gigabytes * GB, 1000 * GB)


OFFERS = st.builds(
    Offer,
    st.sampled_from("ab"),
    st.integers(1, 6),
    st.frozensets(st.integers(0, 5), min_size=1),
    # Of one machine workers see the same GPUs, or some of them, in any order.
    st.lists(st.sampled_from("wxyz"), unique=True).map(lambda keys: gpus(*keys)),
    st.integers(1, 6).map(lambda number: number * GB),
    st.just(8 * GB),
)
#: Of each step, whether a worker joins, or the one at that place leaves.
STEPS = st.lists(st.one_of(OFFERS, st.integers(0, 5)), max_size=12)


def check(dealing: Dealing, needs: Needs, there: dict[str, Offer]) -> None:
    share = min(Fraction(str(needs.gpus or 0)), Fraction(1))
    used: Counter[tuple[str, str]] = Counter()
    cores: Counter[tuple[str, int]] = Counter()
    slots: Counter[str] = Counter()
    for worker, has in there.items():
        shares = dealing.shares(worker)
        slots[has.machine] += len(shares)
        assert len(shares) * (needs.cpus or 1) <= has.threads
        assert len(shares) * (needs.memory_bytes or 0) <= has.memory_bytes
        for one in shares:
            assert set(one.gpus) <= set(has.gpus)
            assert len(set(one.gpus)) == len(one.gpus) == needs.visible_gpus
            assert one.cores <= has.cores
            assert len(one.cores) == (needs.cpus or 0)
            used.update((has.machine, gpu.key) for gpu in one.gpus)
            cores.update((has.machine, core) for core in one.cores)
        assert len(dealing.visible(worker)) == len(shares)
    assert all(count * share <= 1 for count in used.values())
    assert all(count == 1 for count in cores.values())
    assert all(count * (needs.memory_bytes or 0) <= 8 * GB for count in slots.values())


@given(needs=NEEDS, most=st.sampled_from([None, 1, 3]), steps=STEPS)
def test_nothing_is_given_away_twice_whoever_comes_and_goes(
    needs: Needs, most: int | None, steps: Sequence[Offer | int]
) -> None:
    dealing, there = Dealing(Wish(needs, most)), dict[str, Offer]()
    for number, step in enumerate(steps):
        before = {worker: dealing.shares(worker) for worker in there}
        if isinstance(step, Offer):
            worker = f"w{number}"
            there[worker] = step
            dealing.join({worker: step})
            # Who is alone on a machine and has enough has a slot.
            if not step.lack(needs) and sum(o.machine == step.machine for o in there.values()) == 1:
                assert dealing.shares(worker)
        elif step < len(there):
            worker = [*there][step]
            del there[worker]
            dealing.leave(worker)
            before.pop(worker)
            # What it had is there for those that have none.
            waiting = dealing.waiting()
            dealing.join({one: there[one] for one in waiting})
            assert not dealing.waiting()
            before = {w: had for w, had in before.items() if w not in waiting}
        assert all(dealing.shares(worker) == had for worker, had in before.items())
        check(dealing, needs, there)
    for worker in there:
        dealing.leave(worker)
    # All of it has come back.
    again, new = dict(there), Dealing(Wish(needs, most))
    dealing.join(again)
    new.join(again)
    assert [*map(dealing.shares, again)] == [*map(new.shares, again)]


@given(needs=NEEDS, has=OFFERS)
def test_what_is_too_little_is_told_of_exactly_those_who_get_nothing(
    needs: Needs, has: Offer
) -> None:
    dealing = Dealing(Wish(needs))
    dealing.join({"w": has})
    assert bool(dealing.shares("w")) is not bool(has.lack(needs))


def seen(needs: Needs, **offers: Offer) -> dict[str, list[tuple[str, ...] | None]]:
    dealing = Dealing(Wish(needs))
    dealing.join(offers)
    return {worker: dealing.visible(worker) for worker in offers}


def test_a_worker_with_several_gpus_has_several_slots() -> None:
    four = offer("0", "1", "2", "3")
    assert seen(Needs(gpus=1), w=four) == {"w": [(f"called {i}",) for i in range(4)]}
    assert len(seen(Needs(gpus=0.5), w=four)["w"]) == 8
    assert len(seen(Needs(gpus=1), w=replace(four, threads=3))["w"]) == 3
    assert len(seen(Needs(gpus=1, cpus=2), w=replace(four, threads=4))["w"]) == 2


def test_workers_that_see_the_same_gpus_share_them_out_and_in_their_own_order() -> None:
    # As dask-cuda starts them: each begins with another.
    first, second = offer("0", "1", threads=1), offer("1", "0", threads=1)
    assert seen(Needs(gpus=1), a=first, b=second) == {"a": [("called 0",)], "b": [("called 1",)]}
    assert seen(Needs(gpus=1), a=first, b=first) == {"a": [("called 0",)], "b": [("called 1",)]}
    found = seen(Needs(gpus=1), a=first, b=second, c=first)
    assert found["c"] == [], "there is no room for it"


def test_a_gpu_that_others_see_too_is_left_to_those_who_see_no_other() -> None:
    found = seen(Needs(gpus=1), a=offer("0", "1", threads=1), b=offer("0", threads=1))
    assert found == {"a": [("called 1",)], "b": [("called 0",)]}


def test_workers_of_other_machines_and_jobs_that_see_other_gpus_keep_theirs() -> None:
    found = seen(Needs(gpus=1), a=offer("0"), b=offer("0", machine="b"), c=offer("1"))
    assert all(len(slots) == 1 for slots in found.values())


def test_if_no_gpus_are_asked_for_a_worker_shares_its_own_out_among_its_slots_alone() -> None:
    two = offer("0", "1", threads=4)
    apart = [("called 0",), ("called 1",)]
    assert seen(Needs(cpus=2), a=two, b=two) == {"a": apart, "b": apart}
    assert seen(Needs(cpus=4), a=two) == {"a": [None]}, "as it was started"
    assert seen(Needs(cpus=2), a=offer(threads=4)) == {"a": [None, None]}
    assert seen(Needs(gpus=0, cpus=4), a=two) == {"a": [()]}


def test_cores_and_memory_are_of_the_machine_too() -> None:
    two = offer(threads=2, cores=3)
    assert [len(slots) for slots in seen(Needs(cpus=1), a=two, b=two).values()] == [2, 1]
    large = offer(gigabytes=900, threads=9)
    found = seen(Needs(memory_bytes=300 * GB), a=large, b=large)
    assert [len(slots) for slots in found.values()] == [2, 1]


def test_gpus_that_only_threads_are_missing_for_are_told() -> None:
    dealing = Dealing(Wish(Needs(gpus=1)))
    dealing.join({"a": offer("0", "1", "2", threads=1)})
    assert dealing.idle_gpus("a") == ["called 1", "called 2"]
    dealing = Dealing(Wish(Needs(gpus=2)))
    dealing.join({"a": offer("0", "1", "2")})
    assert dealing.idle_gpus("a") == [], "no rank can be had with one"
    dealing = Dealing(Wish(Needs(gpus=1)))
    dealing.join({"a": offer("0", "1", threads=2), "b": offer("0", "1", threads=2)})
    dealing.leave("b")
    assert dealing.idle_gpus("a") == [], "who joins gets what has been given back"


# ---- which GPU it is ----


@pytest.fixture
def smi(tmp_path: Path) -> dict[str, str]:
    """An environment in which `nvidia-smi` says what is asked of it."""
    file = tmp_path / "nvidia-smi"
    file.write_text('#!/bin/sh\n[ -n "$SAYS" ] && printf "$SAYS"\nexit ${CODE:-0}\n')
    file.chmod(0o755)
    return {"PATH": str(tmp_path)}


def says(monkeypatch: pytest.MonkeyPatch, text: str, code: int = 0) -> None:
    monkeypatch.setenv("SAYS", text)
    monkeypatch.setenv("CODE", str(code))


def test_two_jobs_that_both_call_theirs_0_have_other_gpus(
    smi: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = {**smi, "CUDA_VISIBLE_DEVICES": "0"}
    says(monkeypatch, "0, GPU-aaaa-1\n")
    assert told_apart(job) == (Gpu("GPU-aaaa-1", "0"),)
    says(monkeypatch, "0, GPU-bbbb-2\n")
    assert told_apart(job) == (Gpu("GPU-bbbb-2", "0"),)


def test_a_number_and_a_name_of_one_gpu_are_the_same(
    smi: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    says(monkeypatch, "0, GPU-aaaa-1\n1, GPU-bbbb-2\n")
    first, second = Gpu("GPU-aaaa-1", "0"), Gpu("GPU-bbbb-2", "1")
    assert told_apart(smi) == (first, second), "all, if nothing is said"
    for said, found in (
        ("1,0", (second, first)),
        ("GPU-bbbb-2,GPU-aaaa", (Gpu("GPU-bbbb-2", "GPU-bbbb-2"), Gpu("GPU-aaaa-1", "GPU-aaaa"))),
        ("0,7,1", (first,)),
        ("MIG-c", (Gpu("MIG-c", "MIG-c"),)),
        ("NoDevFiles", ()),
    ):
        assert told_apart({**smi, "CUDA_VISIBLE_DEVICES": said}) == found


def test_without_what_lists_them_names_are_taken_as_they_are(tmp_path: Path) -> None:
    found = told_apart({"PATH": str(tmp_path), "CUDA_VISIBLE_DEVICES": "0,GPU-b"})
    assert found == (Gpu("0", "0"), Gpu("GPU-b", "GPU-b"))


def test_a_list_that_fails_is_no_list_of_none(
    smi: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    says(monkeypatch, "No devices were found\n", 6)
    assert told_apart(smi) == ()
    says(monkeypatch, "Failed to initialize NVML: Driver/library version mismatch\n", 18)
    with pytest.raises(NotTold, match="exit code 18: Failed to initialize NVML"):
        told_apart({**smi, "CUDA_VISIBLE_DEVICES": "0"})


def test_a_worker_offers_what_it_was_started_with_and_the_machine_has() -> None:
    found = this_offer(Needs(), 3, GB, {"CUDA_VISIBLE_DEVICES": "1"})
    assert (found.threads, found.memory_bytes, found.gpus) == (3, GB, (Gpu("1", "1"),))
    assert found.cores == os.sched_getaffinity(0)
    limitless = this_offer(Needs(), 3, None, {})
    assert GB // 10 < limitless.memory_bytes <= limitless.machine_bytes
    assert limitless.machine == found.machine
