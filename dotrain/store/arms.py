"""Launches in the journal: an arm of an ablation study, and what has its value of before there was a choice.

A launch says its `arm`. Its `params` say the same once more, as ``arm`` and ``seed``: so versions
before that field, which know no other way, read such a journal and go on with it as ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dotrain.core.arm import ArmRun
from dotrain.core.instructions import Instruction, Launch, to_record
from dotrain.core.trial import Trial

#: What isn't written: fields that came later, each with what means "as before".
_AS_BEFORE = {"avoid": (), "begins_from": "", "begins_at": 0, "keep_step": -1}


def write_instruction(instruction: Instruction) -> dict[str, Any]:
    """Return an instruction as the journal has it."""
    record = to_record(instruction)
    if isinstance(instruction, Launch):
        record["params"] = instruction.varied
        if instruction.arm is None:
            del record["arm"]
        for name, before in _AS_BEFORE.items():
            if record[name] == before:
                del record[name]
    return record


def read_trial(launch: Mapping[str, Any], header: Mapping[str, Any]) -> Trial:
    """Return the new trial of a launch's record.

    Args:
        launch: Of any version.
        header: The journal's; in a study every trial is a run of an arm.
    """
    params, seed = launch["params"], launch["seed"]
    if "study" not in header:
        begins = {name: launch[name] for name in ("begins_from", "begins_at") if name in launch}
        return Trial(params, seed=seed, **begins)
    told = launch.get("arm") or {"name": params["arm"], "seed_index": params["seed"]}
    return Trial({}, seed=seed, arm=ArmRun(told["name"], told["seed_index"]))
