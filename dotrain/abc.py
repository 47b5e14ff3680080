"""The interfaces of all plugins, and what goes through them that `dotrain` itself doesn't name.

Events and instructions are what executors post and carry out, and observers are told. Samplers,
strategies, executors, observers and frameworks are provisional: until the first release they may still change.
"""

from dotrain.ablation.ablators import AbstractAblator
from dotrain.ablation.layers import Surgery, SurgeryError
from dotrain.core.arm import ArmRun
from dotrain.core.events import (
    AttemptEnd,
    Diverged,
    Event,
    Failed,
    Finished,
    Interrupted,
    Lost,
    Noted,
    Proposed,
    Reported,
    Resumed,
    SlotsChanged,
    Started,
    StopAsked,
    Stopped,
    TimePassed,
    TrialEvent,
    Used,
)
from dotrain.core.failure import Failure, FailureKind
from dotrain.core.instructions import Ask, Finish, Instruction, Kill, Launch, SetAside, Stop
from dotrain.core.limits import Limits
from dotrain.core.marks import Mark
from dotrain.core.observer import Observer, RunView
from dotrain.core.policy import AbstractEarlyStop, AbstractOptimizer
from dotrain.core.sampling import AbstractSampler, Outcome, Question
from dotrain.core.strategy import AbstractStrategy
from dotrain.core.usage import Usage
from dotrain.executors.base import AbstractExecutor, NamedFunction, Post
from dotrain.executors.threads import Threads
from dotrain.frameworks.base import AbstractFramework, Batching
from dotrain.frameworks.rows import Order, Rows

__all__ = [
    "AbstractAblator",
    "AbstractEarlyStop",
    "AbstractExecutor",
    "AbstractFramework",
    "AbstractOptimizer",
    "AbstractSampler",
    "AbstractStrategy",
    "ArmRun",
    "Ask",
    "AttemptEnd",
    "Batching",
    "Diverged",
    "Event",
    "Failed",
    "Failure",
    "FailureKind",
    "Finish",
    "Finished",
    "Instruction",
    "Interrupted",
    "Kill",
    "Launch",
    "Limits",
    "Lost",
    "Mark",
    "NamedFunction",
    "Noted",
    "Observer",
    "Order",
    "Outcome",
    "Post",
    "Proposed",
    "Question",
    "Reported",
    "Resumed",
    "Rows",
    "RunView",
    "SetAside",
    "SlotsChanged",
    "Started",
    "Stop",
    "StopAsked",
    "Stopped",
    "Surgery",
    "SurgeryError",
    "Threads",
    "TimePassed",
    "TrialEvent",
    "Usage",
    "Used",
]


def __dir__() -> list[str]:
    return __all__
