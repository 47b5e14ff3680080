"""Who lost attempts, and who is slow."""

from __future__ import annotations

from dotrain.core.failure import Failure, FailureKind
from dotrain.core.hosts import Try
from dotrain.core.trial import Trial
from dotrain.results.hosts import host_lines, hosts_of


def trial(*tries: Try, lost_on: tuple[str, ...] = ()) -> Trial:
    return Trial({}, tries=list(tries), lost_hosts=list(lost_on))


def well(host: str, *took_s: float) -> list[Trial]:
    return [trial(Try(host, None, one)) for one in took_s]


def test_of_one_host_nothing_is_told() -> None:
    assert hosts_of([*well("a", 1.0, 50.0), trial(lost_on=("a",))]) == []
    assert hosts_of([]) == []
    assert host_lines([]) == []


def test_each_host_has_what_became_of_its_attempts() -> None:
    failed = Try("b", Failure(FailureKind.EXCEPTION, "OSError: no"), 0.1)
    a, b = hosts_of([*well("a", 1.0, 3.0), trial(failed, Try("a", None, 2.0), lost_on=("b", "b"))])
    assert (a.host, a.ended_well, a.failed, a.lost, a.median_s, a.times) == (
        "a",
        3,
        0,
        0,
        2.0,
        None,
    )
    assert (b.host, b.ended_well, b.failed, b.lost, b.median_s, b.times) == (
        "b",
        0,
        1,
        2,
        None,
        None,
    )
    assert host_lines([a, b]) == ["lost: 2 attempts: 2 on b"]


def test_a_host_is_slow_by_at_least_three_attempts_of_three_times_as_long() -> None:
    quick = well("a", 1.0, 1.1, 1.2) + well("b", 1.0)
    slow = well("c", 9.9, 11.0, 12.0)
    line = "slow: c: an attempt took 11 s, 10.5 times as long as elsewhere (medians)"
    assert host_lines(hosts_of(quick + slow)) == [line]
    assert host_lines(hosts_of(quick + slow[:2])) == []
    assert host_lines(hosts_of(quick[:2] + slow)) == []
    assert host_lines(hosts_of(quick + well("c", 2.9, 2.9, 2.9))) == []


def test_of_many_hosts_the_worst_are_named() -> None:
    many = [trial(lost_on=(f"h{n:02}",) * (n + 1)) for n in range(12)]
    (line,) = host_lines(hosts_of(many))
    assert line.startswith("lost: 78 attempts: 12 on h11, 11 on h10, ")
    assert line.endswith(", 3 on h02, 3 on others")
