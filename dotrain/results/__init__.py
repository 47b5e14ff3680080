"""What a run has come to: a search, by one metric or several, or a study, as data; how it looks is for others.

`to_json` of a result is what ``result.json`` holds and ``--json`` prints; inside, nobody reads that.
"""

from dotrain.results.arms import ArmResult
from dotrain.results.base import RunResult
from dotrain.results.failures import FailureGroup
from dotrain.results.front import FrontResult
from dotrain.results.making import expected_result, kind_of, result_of
from dotrain.results.search import AbstractSearchResult, SearchResult, best_trial, ranked
from dotrain.results.study import StudyResult
from dotrain.results.trials import Counts

__all__ = [
    "AbstractSearchResult",
    "ArmResult",
    "Counts",
    "FailureGroup",
    "FrontResult",
    "RunResult",
    "SearchResult",
    "StudyResult",
    "best_trial",
    "expected_result",
    "kind_of",
    "ranked",
    "result_of",
]
