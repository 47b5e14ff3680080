"""Every mistake of the contract, with its place and its words."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dotrain.config import ConfigError, LoadedConfig, load_config
from dotrain.space import Categorical, Discrete, Float, Int, Searchspace
from tests.folder import Folder

HEAD = "train: t.py:train\nmetric: m\n"
SEARCH = HEAD + "search:\n  num_trials: 3\n  space:\n"  # what follows starts on line 6
ONE = SEARCH + "    lr: {type: float, range: [0, 1]}\n"  # on line 7


def test_a_full_config_loads(folder: Folder):
    loaded = folder.load("""\
        name: digits-asha
        train: t.py:train
        model: t.py:train
        data:  t.py:load
        metric: val_accuracy
        direction: max
        seed: 0
        hparams: {batch_size: 64}
        search:
          space:
            lr:         {type: float, range: [1.0e-4, 1.0e-1], scale: log}
            units:      {type: int, range: [16, 128]}
            width:      {type: discrete, values: [64, 16, 32]}
            opt:        {type: categorical, values: [sgd, adam]}
            momentum:   {type: float, range: [0.0, 0.99], when: {opt: sgd}}
            kernel:     [INTEGER, [2, 8]]
          optimizer:  {name: asha, reduction_factor: 3, resource_min: 1, resource_max: 9}
          num_trials: 60
          early_stop: {name: median, min_trials: 7}
        cluster: {kind: dask_jobqueue.SLURMCluster, options: {cores: 4}, workers: 8}
        limits: {trial_timeout_s: 600, max_time_s: 7200, retries: 2, max_failures: 10}
        """)
    assert loaded.space.domains == {
        "lr": Float(range=(1e-4, 1e-1), scale="log"),
        "units": Int(range=(16, 128)),
        "width": Discrete(values=[16, 32, 64]),
        "opt": Categorical(values=["sgd", "adam"]),
        "momentum": Float(range=(0.0, 0.99), when={"opt": "sgd"}),
        "kernel": Int(range=(2, 8)),
    }
    assert type(loaded.optimizer).__name__ == "ASHA"
    assert (loaded.optimizer.resource_max, loaded.optimizer.num_trials) == (9, 60)
    assert loaded.early_stop.min_trials == 7
    assert loaded.settings.limits.trial_timeout_s == 600
    assert (loaded.train.function, loaded.dataset.function) == ("train", "load")


def test_the_least_config_is_one_run_with_the_documented_defaults(folder: Folder):
    loaded = folder.load(HEAD, file="my study (2).yaml")
    settings = loaded.settings
    assert loaded.mode == "run"
    assert (settings.name, settings.seed, settings.direction) == ("my-study--2-", 0, "max")
    assert (settings.search, settings.cluster.kind, settings.cluster.workers) == (
        None,
        "local",
        None,
    )
    assert type(loaded.optimizer).__name__ == "Single"
    assert type(loaded.early_stop).__name__ == "NoStop"
    assert loaded.space.names == ()
    assert loaded.data == {**yaml.safe_load(HEAD), "name": "my-study--2-", "seed": 0}


def test_a_search_is_random_without_early_stop_by_default(folder: Folder):
    loaded = folder.load(ONE)
    assert type(loaded.optimizer).__name__ == "RandomSearch"
    assert type(loaded.early_stop).__name__ == "NoStop"


NAME = "expected letters, digits, '.', '_' and '-', a letter or digit first, got "

MISTAKES = {
    # Keys
    "unknown key": (HEAD + "sed: 1\n", ["3:1: sed: unknown key; did you mean 'seed'?"]),
    "unknown key unlike any": (
        HEAD + "cluster: {xyz: 1}\n",
        [
            "3:11: cluster.xyz: unknown key; "
            "known: adapt, address, connect_timeout_s, kind, options, threads, tls, workers"
        ],
    ),
    "unknown key of search": (
        ONE + "  optimiser: {name: grid}\n",
        ["7:3: search.optimiser: unknown key; did you mean 'optimizer'?"],
    ),
    "unknown key of a domain": (
        SEARCH + "    lr: {type: float, range: [0, 1], scal: log}\n",
        ["6:38: search.space.lr.scal: unknown key; did you mean 'scale'?"],
    ),
    "unknown key of a list": (
        SEARCH + "    c: {type: categorical, value: [a]}\n",
        [
            "6:5: search.space.c.values: required key is missing",
            "6:28: search.space.c.value: unknown key; did you mean 'values'?",
        ],
    ),
    "unknown key of a section": (
        HEAD + "limits: {retires: 1}\n",
        ["3:10: limits.retires: unknown key; did you mean 'retries'?"],
    ),
    "unknown key of a section in a section": (
        HEAD + "cluster: {tls: {ca_flie: a, cert: b, key: c}}\n",
        [
            "3:11: cluster.tls.ca_file: required key is missing",
            "3:17: cluster.tls.ca_flie: unknown key; did you mean 'ca_file'?",
        ],
    ),
    "unknown key of distribution": (
        HEAD + "distribution: {stratgy: single}\n",
        ["3:16: distribution.stratgy: unknown key; did you mean 'strategy'?"],
    ),
    "missing keys": (
        "# a comment\nseed: 1\n",
        ["2:1: train: required key is missing", "2:1: metric: required key is missing"],
    ),
    "missing space": (
        HEAD + "search:\n  num_trials: 3\n",
        ["3:1: search.space: required key is missing"],
    ),
    "missing num_trials": (
        HEAD + "search:\n  space: {lr: [DOUBLE, [0, 1]]}\n",
        ["3:1: search.num_trials: required by this optimizer: how many configurations to sample"],
    ),
    "missing plugin name": (
        ONE + "  optimizer: {resource_max: 9}\n",
        ["7:3: search.optimizer.name: required key is missing"],
    ),
    # Empty sections
    "empty search": (HEAD + "search:\n", ["3:8: search: must not be empty"]),
    "empty ablation": (HEAD + "ablation:\n", ["3:10: ablation: must not be empty"]),
    "empty cluster": (HEAD + "cluster:\n", ["3:9: cluster: must not be empty"]),
    "empty hparams": (HEAD + "hparams:\n", ["3:9: hparams: must not be empty"]),
    "empty model": (HEAD + "model:\n", ["3:7: model: must not be empty"]),
    "empty train": ("train:\nmetric: m\n", ["1:7: train: must not be empty"]),
    "empty tls": (HEAD + "cluster: {tls: }\n", ["3:15: cluster.tls: must not be empty"]),
    "empty space": (
        HEAD + "search: {num_trials: 1, space: {}}\n",
        ["3:32: search.space: must not be empty"],
    ),
    "empty metric": ("train: t.py:train\nmetric: ''\n", ["2:9: metric: must not be empty"]),
    "empty domain": (
        SEARCH + "    lr:\n",
        ["6:8: search.space.lr: expected a mapping, got None"],
    ),
    # Wrong types
    "types at the top": (
        "train: 5\nmetric: true\ndirection: maximum\nseed: 1.0\nhparams: [1]\n",
        [
            "1:8: train: expected text, got 5",
            "2:9: metric: expected text, got True",
            "3:12: direction: expected 'max' or 'min', got 'maximum'",
            "4:7: seed: expected a whole number, got 1.0",
            "5:10: hparams: expected a mapping, got [1]",
        ],
    ),
    "true is no number": (
        HEAD + "seed: true\nlimits: {retries: true, max_time_s: true}\n",
        [
            "3:7: seed: expected a whole number, got True",
            "4:19: limits.retries: expected a whole number, got True",
            "4:37: limits.max_time_s: expected a number, got True",
        ],
    ),
    "text is no number": (
        HEAD + "seed: '7'\nlimits: {max_time_s: '60'}\n",
        [
            "3:7: seed: expected a whole number, got '7'",
            "4:22: limits.max_time_s: expected a number, got '60'",
        ],
    ),
    "sections that are values": (
        HEAD + "search: random\ncluster: local\nlimits: 3\n",
        [
            "3:9: search: expected a mapping, got 'random'",
            "4:10: cluster: expected a mapping, got 'local'",
            "5:9: limits: expected a mapping, got 3",
        ],
    ),
    "optimizer as a name": (
        ONE + "  optimizer: asha\n",
        ["7:14: search.optimizer: expected a mapping, got 'asha'; write {name: asha}"],
    ),
    # Impossible values
    "impossible numbers": (
        HEAD
        + "seed: -1\nlimits: {trial_timeout_s: .inf, max_time_s: 0, retries: -1, max_failures: 0}\n",
        [
            "3:7: seed: expected a number greater than or equal to 0, got -1",
            "4:27: limits.trial_timeout_s: expected a finite number, got inf",
            "4:45: limits.max_time_s: expected a number greater than 0, got 0",
            "4:57: limits.retries: expected a number greater than or equal to 0, got -1",
            "4:75: limits.max_failures: expected a number greater than or equal to 1, got 0",
        ],
    ),
    "num_trials": (
        HEAD + "search: {num_trials: 0, space: {lr: [DOUBLE, [0, 1]]}}\n",
        ["3:22: search.num_trials: expected a number greater than or equal to 1, got 0"],
    ),
    "name with a slash": (HEAD + "name: a/b\n", [f"3:7: name: {NAME}'a/b'"]),
    "name that goes up": (HEAD + "name: ..\n", [f"3:7: name: {NAME}'..'"]),
    "name that goes up further on": (HEAD + "name: a/../b\n", [f"3:7: name: {NAME}'a/../b'"]),
    "name with a line end": (HEAD + 'name: "a\\n"\n', [f"3:7: name: {NAME}'a\\n'"]),
    "name with a space": (HEAD + "name: a b\n", [f"3:7: name: {NAME}'a b'"]),
    # Domains
    "log scale from zero": (
        SEARCH + "    lr: {type: float, range: [0.0, 1], scale: log}\n",
        ["6:30: search.space.lr.range: log scale needs a lower bound > 0, got 0.0"],
    ),
    "bounds the wrong way round": (
        SEARCH + "    n: {type: int, range: [8, 2]}\n",
        ["6:27: search.space.n.range: lower bound 8 is over upper bound 2"],
    ),
    "a fraction in an int": (
        SEARCH + "    n: {type: int, range: [0.5, 2]}\n",
        ["6:28: search.space.n.range[0]: expected a whole number, got 0.5"],
    ),
    "text in a range": (
        SEARCH + "    lr: {type: float, range: ['0', 1]}\n",
        ["6:31: search.space.lr.range[0]: expected a number, got '0'"],
    ),
    "lost floats in a range": (
        SEARCH + "    lr: {type: float, range: [1e-4, 1e-1], scale: log}\n",
        [
            "6:31: search.space.lr.range[0]: YAML reads 1e-4 as text; write 1.0e-4 for the number",
            "6:37: search.space.lr.range[1]: YAML reads 1e-1 as text; write 1.0e-1 for the number",
        ],
    ),
    "one bound": (
        SEARCH + "    lr: {type: float, range: [1]}\n",
        ["6:30: search.space.lr.range: too few values: [1]"],
    ),
    "three bounds": (
        SEARCH + "    lr: {type: float, range: [1, 2, 3]}\n",
        ["6:30: search.space.lr.range: too many values: [1, 2, 3]"],
    ),
    "endless bound": (
        SEARCH + "    lr: {type: float, range: [0, .inf]}\n",
        ["6:30: search.space.lr.range: expected finite bounds, got [0.0, inf]"],
    ),
    "step": (
        SEARCH + "    lr: {type: float, range: [0, 1], step: 0}\n",
        ["6:44: search.space.lr.step: expected a number > 0, got 0.0"],
    ),
    "text as a step": (
        SEARCH + "    lr: {type: float, range: [0, 1], step: '0.1'}\n",
        ["6:44: search.space.lr.step: expected a number, got '0.1'"],
    ),
    "true as a bound": (
        SEARCH + "    n: {type: int, range: [true, 3]}\n",
        ["6:28: search.space.n.range[0]: expected a whole number, got True"],
    ),
    "scale": (
        SEARCH + "    lr: {type: float, range: [0, 1], scale: lg}\n",
        ["6:45: search.space.lr.scale: expected 'linear' or 'log', got 'lg'"],
    ),
    "type": (
        SEARCH + "    lr: {type: flot, range: [0, 1]}\n",
        [
            "6:16: search.space.lr.type: "
            "expected one of float, int, discrete, categorical, "
            "normal, log_normal, got 'flot'"
        ],
    ),
    "no type": (
        SEARCH + "    lr: {range: [0, 1]}\n",
        [
            "6:9: search.space.lr: needs a type: one of float, int, discrete, categorical, "
            "normal, log_normal, or the form [INTEGER, [2, 8]]"
        ],
    ),
    "no domain": (SEARCH + "    lr: 5\n", ["6:9: search.space.lr: expected a mapping, got 5"]),
    "no values": (
        SEARCH + "    c: {type: categorical, values: []}\n",
        ["6:36: search.space.c.values: expected a list of values, got []"],
    ),
    "nested values": (
        SEARCH + "    c: {type: categorical, values: [[1, 2], {a: 1}, [1, 2]]}\n",
        ["6:36: search.space.c.values: [1, 2] stands twice"],
    ),
    "a sigma that is none": (
        SEARCH + "    c: {type: normal, mu: 0, sigma: 0}\n",
        ["6:37: search.space.c.sigma: expected a number > 0, got 0.0"],
    ),
    "a normal by other names": (
        SEARCH + "    c: {type: normal, mean: 0, sigma: 1}\n",
        [
            "6:5: search.space.c.mu: required key is missing",
            "6:23: search.space.c.mean: unknown key; known: mu, range, sigma, type, when",
        ],
    ),
    "constraints with mistakes": (
        SEARCH + "    a: {type: int, range: [1, 8]}\n    opt: [CATEGORICAL, [sgd, adam]]\n"
        "  space_constraints:\n"
        "  - a * c <= 64\n  - a <=\n  - opt == 'sdg'\n  - a\n  - bs <= 3\n"
        "hparams: {bs: 1}\n",
        [
            "9:5: search.space_constraints[0]: there is no hyperparameter 'c'; known: a, bs, opt; "
            "text stands in quotes",
            "10:5: search.space_constraints[1]: can't be read: invalid syntax",
            "11:5: search.space_constraints[2]: 'opt' is never 'sdg'; did you mean 'sgd'?",
            "12:5: search.space_constraints[3]: expected a comparison, such as a <= b; 'a' is a number",
            "13:5: search.space_constraints[4]: it names nothing that is searched",
        ],
    ),
    "a constraint that is no text": (
        SEARCH + "    a: {type: int, range: [1, 8]}\n  space_constraints: [3]\n",
        ["7:23: search.space_constraints[0]: expected text, got 3"],
    ),
    "a constraint that no configuration meets": (
        SEARCH + "    a: {type: int, range: [1, 8]}\n    b: {type: int, range: [1, 8]}\n"
        "  space_constraints: [a <= b, a * b > 64]\n",
        ["8:31: search.space_constraints[1]: none of the 64 configurations meets it"],
    ),
    "constraints that no configuration meets together": (
        SEARCH + "    a: {type: int, range: [1, 8]}\n    b: {type: int, range: [1, 8]}\n"
        "  space_constraints: [a < b, b < a]\n",
        ["8:3: search.space_constraints: none of the 64 configurations meets all of them"],
    ),
    "a constraint that no draw meets": (
        SEARCH + "    a: {type: float, range: [0, 1]}\n    b: {type: float, range: [0, 1]}\n"
        "  space_constraints: [a + b > 2]\n",
        [
            "8:23: search.space_constraints[0]: none of 10,000 random draws meets it; narrow the ranges instead"
        ],
    ),
    "a grid without a point that meets them": (
        SEARCH + "    a: {type: float, range: [0, 1]}\n    b: {type: float, range: [0, 1]}\n"
        "  space_constraints: [a + b > 1, a + b < 1.2]\n"
        "  optimizer: {name: grid, points: 3}\n",
        [
            "9:14: search.optimizer: no point of the grid meets search.space_constraints; take more points"
        ],
    ),
    "a list as a condition": (
        SEARCH + "    c: {type: categorical, values: [[1, 2], [3]]}\n"
        "    d: {type: int, range: [0, 1], when: {c: [1, 2]}}\n",
        ["7:8: search.space.d: when: 'c' is never 1; write [[1, 2]] for the list"],
    ),
    "a mapping as a condition": (
        SEARCH + "    c: {type: categorical, values: [{a: 1}, [3]]}\n"
        "    d: {type: int, range: [0, 1], when: {c: {a: 1}}}\n",
        [
            "7:41: search.space.d.when: expected a value of 'c', a list of values, or a range such "
            "as {min: 2}, {max: 5} or {min: 2, max: 5}, got {'a': 1}; write [{a: 1}] for the mapping",
        ],
    ),
    "values twice": (
        SEARCH + "    c: {type: categorical, values: [a, b, a]}\n",
        ["6:36: search.space.c.values: 'a' stands twice"],
    ),
    "text among numbers": (
        SEARCH + "    d: {type: discrete, values: [1, a]}\n",
        ["6:33: search.space.d.values: expected numbers, got 'a'; use categorical"],
    ),
    "the deck's type": (
        SEARCH + "    k: [INTEGR, [2, 8]]\n",
        ["6:8: search.space.k: unknown type 'INTEGR'; did you mean 'INTEGER'?"],
    ),
    "the deck's form with nothing behind it": (
        SEARCH + "    k: [INTEGER]\n",
        ["6:8: search.space.k: expected a mapping, got ['INTEGER']"],
    ),
    "the deck's form with more behind it": (
        SEARCH + "    k: [INTEGER, [2, 8], 1]\n",
        ["6:8: search.space.k: expected a mapping, got ['INTEGER', [2, 8], 1]"],
    ),
    "the deck's bounds": (
        SEARCH + "    k: [INTEGER, [8, 2]]\n",
        ["6:5: search.space.k.range: lower bound 8 is over upper bound 2"],
    ),
    "when without a parameter": (
        SEARCH
        + "    opt: {type: categorical, values: [sgd]}\n"
        + "    m: {type: int, range: [0, 1], when: {opr: sgd}}\n",
        ["7:8: search.space.m: when: no parameter 'opr'; did you mean 'opt'?"],
    ),
    "when with an impossible value": (
        SEARCH
        + "    opt: {type: categorical, values: [sgd]}\n"
        + "    m: {type: int, range: [0, 1], when: {opt: [sgd, adam]}}\n",
        ["7:8: search.space.m: when: 'opt' is never 'adam'"],
    ),
    "when without a value": (
        SEARCH
        + "    opt: {type: categorical, values: [sgd]}\n"
        + "    m: {type: int, range: [0, 1], when: {opt: []}}\n",
        ["7:41: search.space.m.when: expected at least one value of 'opt'"],
    ),
    "when that is no mapping": (
        SEARCH + "    m: {type: int, range: [0, 1], when: opt}\n",
        ["6:41: search.space.m.when: expected a mapping, got 'opt'"],
    ),
    "when in a circle": (
        SEARCH
        + "    a: {type: int, range: [0, 1], when: {b: 1}}\n"
        + "    b: {type: int, range: [0, 1], when: {a: 1}}\n",
        ["6:8: search.space.a: when: the conditions go round in a circle"],
    ),
    "two mistakes in one parameter": (
        SEARCH + "    budget: {type: int, range: [0, 1], when: {b: 1}}\n",
        [
            "6:13: search.space.budget: "
            "this name is reserved: train functions get something else by it",
            "6:13: search.space.budget: when: no parameter 'b'; known: budget",
        ],
    ),
    # Names
    "fixed and searched": (
        "hparams: {lr: 1, x: 2}\n" + ONE,
        ["1:11: hparams.lr: is searched as well (search.space); take one out"],
    ),
    "reserved hparam of a search": (
        "hparams: {reporter: 1}\n" + ONE,
        ["1:11: hparams.reporter: this name is reserved"],
    ),
    "a fixed budget beside an optimizer that gives one": (
        "hparams: {budget: 1}\n" + ONE + "  optimizer: {name: asha, resource_max: 9}\n",
        ["1:11: hparams.budget: this name is reserved"],
    ),
    "reserved hparams of a single run": (
        HEAD + "hparams: {reporter: 1, seed: 2}\n",
        [
            "3:11: hparams.reporter: this name is reserved",
            "3:24: hparams.seed: this name is reserved",
        ],
    ),
    # Plugins
    "unknown plugins": (
        ONE + "  optimizer: {name: ahsa}\n  early_stop: {name: medan}\n",
        [
            "7:21: search.optimizer.name: "
            "unknown optimizer 'ahsa'; did you mean 'asha'? (or module:Class)",
            "8:22: search.early_stop.name: "
            "unknown early-stop rule 'medan'; did you mean 'median'? (or module:Class)",
        ],
    ),
    "plugin options": (
        ONE
        + "  optimizer: {name: asha, resource_mx: 9, reduction_factor: 1}\n"
        + "  early_stop: {name: median, min_trials: '5', min_reports: -1}\n",
        [
            "7:3: search.optimizer.resource_max: required key is missing",
            "7:27: search.optimizer.resource_mx: unknown key; did you mean 'resource_max'?",
            "7:61: search.optimizer.reduction_factor: "
            "expected a number greater than or equal to 2, got 1",
            "8:42: search.early_stop.min_trials: expected a whole number, got '5'",
            "8:60: search.early_stop.min_reports: "
            "expected a number greater than or equal to 0, got -1",
        ],
    ),
    "an option of a plugin that has none": (
        ONE + "  optimizer: {name: random, points: 3}\n",
        ["7:29: search.optimizer.points: unknown key; known: name"],
    ),
    "options that don't go together": (
        ONE + "  optimizer: {name: asha, resource_max: 3, resource_min: 5}\n",
        ["7:14: search.optimizer: resource_min 5 is over resource_max 3; swap them?"],
    ),
    "grid over a continuum": (
        ONE + "  optimizer: {name: grid}\n",
        [
            "7:14: search.optimizer: parameter 'lr': "
            "a grid over a float needs 'step' here or 'points' in the optimizer"
        ],
    ),
    "single with a space": (
        ONE + "  optimizer: {name: single}\n",
        ["7:14: search.optimizer: optimizer 'single' runs once and takes no search space"],
    ),
    # Cluster
    "cluster kind": (
        HEAD + "cluster: {kind: adress}\n",
        [
            "3:17: cluster.kind: unknown kind 'adress'; did you mean 'address'? "
            "(or a Dask cluster class, package.module.Class)"
        ],
    ),
    "kind without address": (
        HEAD + "cluster: {kind: address}\n",
        ["3:1: cluster.address: kind 'address' needs the scheduler's, tcp://host:8786"],
    ),
    "an address with nothing behind it": (
        HEAD + "cluster: {kind: address, address: }\n",
        ["3:26: cluster.address: kind 'address' needs the scheduler's, tcp://host:8786"],
    ),
    "address without kind": (
        HEAD + "cluster: {workers: 2, address: 'tcp://host:8786'}\n",
        ["3:23: cluster.address: goes with kind 'address' only, not 'local'"],
    ),
    "inline with workers": (
        HEAD + "cluster: {kind: inline, workers: 2}\n",
        ["3:34: cluster.workers: kind 'inline' runs one trial at a time; expected 1"],
    ),
    "cluster values": (
        HEAD + "cluster: {workers: 0, connect_timeout_s: 0}\n",
        [
            "3:20: cluster.workers: expected a number greater than or equal to 1, got 0",
            "3:42: cluster.connect_timeout_s: expected a number greater than 0, got 0",
        ],
    ),
    # What is left out
    "layers of no model": (
        HEAD + "ablation: {layers: [a]}\n",
        [
            "3:21: ablation.layers[0]: the config has no 'model:' to leave it out of; the train "
            "function then gets the model from model_gen.create()",
        ],
    ),
    "an ablator without arms": (
        HEAD + "ablation: {components: {a: {b: 1}}, ablator: {name: pairs, pairs: []}}\n",
        ["3:46: ablation.ablator: makes no arm beside the baseline"],
    ),
    "the rule of the other mode": (
        HEAD + "ablation: {components: {a: {b: 1}}, early_stop: {name: medan}}\n",
        [
            "3:56: ablation.early_stop.name: "
            "unknown early-stop rule 'medan'; did you mean 'median'? (or module:Class)"
        ],
    ),
    "mistakes in an ablation": (
        HEAD + "ablation: {layer_groups: [5, [1], {prefx: a}, {prefix: ''}], seeds: 0}\n",
        [
            "3:27: ablation.layer_groups[0]: expected a list, got 5",
            '3:31: ablation.layer_groups[1][0]: expected text, got 1; write "1", in quotes',
            "3:35: ablation.layer_groups[2].prefix: required key is missing",
            "3:36: ablation.layer_groups[2].prefx: unknown key; did you mean 'prefix'?",
            "3:56: ablation.layer_groups[3].prefix: must not be empty",
            "3:69: ablation.seeds: expected a number greater than or equal to 1, got 0",
        ],
    ),
    # How one trial spans devices and workers
    "unknown strategy": (
        HEAD + "distribution: {strategy: mirored, workers: 2}\n",
        [
            "3:26: distribution.strategy: unknown strategy 'mirored'; did you mean 'mirrored'? "
            "(or module:Class)"
        ],
    ),
    "no workers": (
        HEAD + "distribution: {strategy: mirrored, workers: 0}\n",
        ["3:45: distribution.workers: expected a number greater than or equal to 1, got 0"],
    ),
    "how many workers": (
        HEAD + "distribution: {strategy: multi_worker_mirrored}\n",
        ["3:15: distribution: strategy 'multi_worker_mirrored' needs 'workers': how many"],
    ),
    "single on two": (
        HEAD + "distribution: {strategy: single, workers: 2}\n",
        [
            "3:15: distribution: strategy 'single' trains on one worker, not 2; say workers: 1 "
            "(-s distribution.workers=1), or another strategy: "
            "'mirrored' (devices of one machine), 'multi_worker_mirrored', 'ddp' or 'fsdp'"
        ],
    ),
    "option of a strategy": (
        HEAD + "distribution: {strategy: mirrored, exakt: false}\n",
        ["3:36: distribution.exakt: unknown key; did you mean 'exact'?"],
    ),
    # All at once
    "everything at once": (
        "nme: x\ntrain: t.py:trian\nmetric: m\nseed: 1\nseed: 1\nhparams: {a: 1e5}\n"
        "search:\n  space:\n    lr: {type: float, range: [0.0, 1], scale: log}\n"
        "  optimizer: {name: asha, resource_max: x}\n",
        [
            "1:1: nme: unknown key; did you mean 'name'?",
            "2:8: train: FOLDER/t.py has no function 'trian'; did you mean 'train'?",
            "5:1: seed: duplicate key; it stands at FOLDER/config.yaml:4:1 already",
            "6:14: hparams.a: YAML reads 1e5 as text; write 1.0e+5 for the number",
            "9:30: search.space.lr.range: log scale needs a lower bound > 0, got 0.0",
            "10:41: search.optimizer.resource_max: expected a whole number, got 'x'",
        ],
    ),
}


@pytest.mark.parametrize(("text", "expected"), MISTAKES.values(), ids=MISTAKES.keys())
def test_each_mistake_has_its_place_and_its_words(folder: Folder, text: str, expected: list[str]):
    expected = [line.replace("FOLDER", str(folder.path)) for line in expected]
    assert folder.problems(text) == expected


@pytest.mark.parametrize("name", sorted(Searchspace.RESERVED))
def test_no_parameter_may_take_the_name_of_an_argument_with_another_meaning(
    folder: Folder, name: str
):
    assert folder.problems(SEARCH + f"    {name}: [INTEGER, [1, 2]]\n") == [
        f"6:{len(name) + 7}: search.space.{name}: "
        "this name is reserved: train functions get something else by it"
    ]


@pytest.mark.parametrize("name", ["digits", "a", "0", "a..b", "A-1_b.c", "x" * 100])
def test_a_name_that_makes_one_folder_is_accepted(folder: Folder, name: str):
    assert folder.load(HEAD + f"name: '{name}'\n").settings.name == name


@pytest.mark.parametrize("stem", ["..", ".hidden", "a b", "näme", "'q\"", "x" * 200, "@@"])
def test_the_name_that_a_file_gives_is_one_that_a_config_may_give(folder: Folder, stem: str):
    name = folder.load(HEAD, file=f"{stem}.yaml").settings.name
    assert folder.load(HEAD + f"name: '{name}'\n").settings.name == name


def test_a_fixed_budget_is_a_hyperparameter_where_no_optimizer_gives_one(folder: Folder):
    assert folder.load(HEAD + "hparams: {budget: 3}\n").settings.hparams == {"budget": 3}
    assert folder.load(ONE + "hparams: {budget: 3}\n").settings.hparams == {"budget": 3}


def test_true_in_when_is_not_one(folder: Folder):
    text = SEARCH + (
        "    a: {type: categorical, values: [1, true]}\n"
        "    b: {type: int, range: [0, 1], when: {a: true}}\n"
    )
    space = folder.load(text).space
    assert {"a": 1} in space
    assert {"a": True, "b": 0} in space


def test_loaded_data_is_plain_and_loads_to_the_same_config(folder: Folder):
    text = ONE + "    k: [INTEGER, [2, 8]]\nhparams: &h {a: {b: [1, x, null, true, 1.5]}}\n"
    first = folder.load(text, "seed=5")
    second = folder.load(yaml.safe_dump(first.data), file="other.yaml")
    assert second.settings == first.settings
    assert second.data == first.data


# Whatever a file holds, loading it gives a config or the list of its mistakes


def words(text: str) -> st.SearchStrategy[str]:
    return st.sampled_from(text.split())


KEYS = words(
    "train model data metric direction name seed hparams search space optimizer num_trials "
    "early_stop ablation layer_groups prefix components distribution strategy workers cluster "
    "kind address options tls limits retries trial_timeout_s type range values when scale step lr "
    "self float resource_max min_trials << = x"
)
TEXTS = words(
    "t.py:train t.py:nope none.py:f os:path x.y:z : a.b.c:d random grid asha median none float int "
    "discrete categorical log linear INTEGER DOUBLE max min local inline address a.B "
    "dotrain.core.policy:AbstractOptimizer"
)
PIECES = st.sampled_from(
    [": ", "- ", "\n", "\n  ", "{", "}", "[", "]", ", ", "&a ", "*a", "<<: *a", "? ", "| ", "---\n"]
) | st.sampled_from(
    ["'", '"', "#", "%", "\0", "\t", "0x_", "1e5", "2024-13-45", "1:99", ".nan", "\\ud800"]
)
TAGS = st.sampled_from(["!!int ", "!!float ''", "!!timestamp ", "!!python/name:os.system ", "!x "])
SCALARS = st.one_of(
    TEXTS, st.none(), st.booleans(), st.integers(), st.floats(), st.dates(), st.text(max_size=5)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=10,
)
DOMAIN = st.fixed_dictionaries(
    {"type": st.sampled_from(["float", "int", "discrete", "categorical"])},
    optional={
        "range": st.lists(st.integers(-3, 9) | SCALARS, max_size=3),
        "values": st.lists(SCALARS, max_size=3),
        "scale": st.sampled_from(["log", "linear", "x"]),
        "step": st.integers(-1, 3) | SCALARS,
        "when": st.dictionaries(st.sampled_from("abc"), VALUES, max_size=2) | VALUES,
    },
)
CONFIGS = st.fixed_dictionaries(
    {"train": TEXTS | st.just("t.py:train"), "metric": st.just("m") | VALUES},
    optional={
        "search": st.fixed_dictionaries(
            {"space": st.dictionaries(st.sampled_from(["a", "b", "seed"]), DOMAIN | VALUES)},
            optional={"optimizer": VALUES, "num_trials": st.just(3) | VALUES, "early_stop": VALUES},
        )
        | VALUES,
        "cluster": st.dictionaries(KEYS, VALUES, max_size=4),
        "ablation": st.dictionaries(KEYS, VALUES, max_size=4),
        "hparams": VALUES,
        "name": VALUES,
        "seed": VALUES,
        "model": VALUES,
    },
)
fuzz = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def check_loads_or_explains(folder: Folder, text: str | bytes, overrides: list[str]) -> None:
    file = folder.path / "config.yaml"
    file.write_bytes(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text)
    try:
        loaded, problems = load_config(file, overrides), []
    except ConfigError as error:
        loaded, problems = None, error.problems
    assert isinstance(loaded, LoadedConfig) or problems
    for problem in problems:
        assert problem.origin.startswith((str(file), "--set "))
        assert problem.message


@fuzz
@given(CONFIGS)
def test_any_structure_loads_or_is_explained(folder: Folder, data: Any):
    check_loads_or_explains(folder, yaml.safe_dump(data, allow_unicode=True), [])


@fuzz
@given(
    st.lists(KEYS | TEXTS | PIECES | TAGS | st.text(max_size=3), max_size=30).map("".join),
    st.booleans(),
)
def test_any_text_loads_or_is_explained(folder: Folder, text: str, with_head: bool):
    check_loads_or_explains(folder, (HEAD if with_head else "") + text, [])


@fuzz
@given(st.binary(max_size=20))
def test_any_bytes_load_or_are_explained(folder: Folder, data: bytes):
    check_loads_or_explains(folder, HEAD.encode() + data, [])


@fuzz
@given(st.lists(st.tuples(st.lists(KEYS, max_size=3).map(".".join), st.text() | TEXTS), max_size=3))
def test_any_overrides_load_or_are_explained(folder: Folder, pairs: list[tuple[str, str]]):
    check_loads_or_explains(folder, ONE, [f"{key}={value}" for key, value in pairs])
