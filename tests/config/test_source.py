"""Reading YAML: plain data only, nothing lost, nothing run, every mistake with its place."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dotrain.config import ConfigError, load_config
from dotrain.config.source import Source, read_source
from dotrain.config.writing import to_yaml
from tests.folder import Folder, other_locale

HEAD = "train: t.py:train\nmetric: m\n"


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        (
            "seed: 1\nname: a\nseed: 2\n",
            ["5:1: seed: duplicate key; it stands at FILE:3:1 already"],
        ),
        (
            "hparams: {a: 1, b: {c: 1, c: 2}, a: 2}\n",
            [
                "3:27: hparams.b.c: duplicate key; it stands at FILE:3:21 already",
                "3:34: hparams.a: duplicate key; it stands at FILE:3:11 already",
            ],
        ),
        (
            "hparams: {a: 1e-4, b: 1E5, c: [-2.e3, .5e3]}\n",
            [
                "3:14: hparams.a: YAML reads 1e-4 as text; write 1.0e-4 for the number",
                "3:23: hparams.b: YAML reads 1E5 as text; write 1.0e+5 for the number",
                "3:32: hparams.c[0]: YAML reads -2.e3 as text; write -2.e+3 for the number",
                "3:39: hparams.c[1]: YAML reads .5e3 as text; write .5e+3 for the number",
            ],
        ),
        (
            "hparams: {1: a, null: b, [x]: c, fine: d}\n",
            [
                "3:11: hparams: the key 1 is not text; put it in quotes",
                "3:17: hparams: the key null is not text; put it in quotes",
                "3:26: hparams: a key is not text; put it in quotes",
            ],
        ),
        (
            "name: 2024-01-01\nhparams: {day: 2024-13-45}\n",
            [
                "3:7: name: YAML reads 2024-01-01 as a date; put it in quotes for text",
                "4:16: hparams.day: YAML reads 2024-13-45 as a date; put it in quotes for text",
            ],
        ),
        (
            "hparams: {a: off, b: Yes, c: 010, d: 1:30, e: 1_1_1, f: 0b1, g: 1:30.5}\n",
            [
                "3:14: hparams.a: YAML reads off as false; write false, or 'off' in quotes for text",
                "3:22: hparams.b: YAML reads Yes as true; write true, or 'Yes' in quotes for text",
                "3:30: hparams.c: YAML reads 010 as 8; write 8, 10, or '010' in quotes for text",
                "3:38: hparams.d: YAML reads 1:30 as 90; write 90, or '1:30' in quotes for text",
                "3:47: hparams.e: YAML reads 1_1_1 as 111; write 111, or '1_1_1' in quotes for",
                "3:57: hparams.f: YAML reads 0b1 as 1; write 1, or '0b1' in quotes for text",
                "3:65: hparams.g: YAML reads 1:30.5 as 90.5; write 90.5, or '1:30.5' in quotes",
            ],
        ),
        (
            "hparams: {a: 1_0.5, b: -010, c: 08, d: 0o17, e: [no], f: -.5}\nname: on\n",
            [
                "3:14: hparams.a: YAML reads 1_0.5 as 10.5; write 10.5, or '1_0.5' in quotes for",
                "3:24: hparams.b: YAML reads -010 as -8; write -8, -10, or '-010' in quotes for",
                "3:33: hparams.c: YAML reads 08 as text; write 8 for the number, '08' in quotes for",
                "3:40: hparams.d: YAML reads 0o17 as text; write 15 for the number, '0o17' in",
                "3:50: hparams.e[0]: YAML reads no as false; write false, or 'no' in quotes for",
                "3:58: hparams.f: YAML reads -.5 as text; write -0.5 for the number, '-.5' in quotes",
                "4:7: name: YAML reads on as true; write true, or 'on' in quotes for text",
            ],
        ),
        (
            "hparams: {on: 1, 010: 2, true: 3}\n",
            [
                "3:11: hparams: the key on is not text: YAML reads on as true; put it in quotes",
                "3:18: hparams: the key 010 is not text: YAML reads 010 as 8; put it in quotes",
                "3:26: hparams: the key true is not text; put it in quotes",
            ],
        ),
        (
            "hparams: {!!int foo: 1, !!binary a: 2, !!timestamp b: 3}\n",
            [
                "3:11: hparams: the key foo is not text; put it in quotes",
                "3:25: hparams: the key a is not text; put it in quotes",
                "3:40: hparams: the key b is not text; put it in quotes",
            ],
        ),
        ("seed: !!int foo\n", ["3:7: seed: expected a whole number of 64 bits, got 'foo'"]),
        ("seed: !!int ''\n", ["3:7: seed: expected a whole number of 64 bits, got ''"]),
        ("seed: 0x_\n", ["3:7: seed: expected a whole number of 64 bits, got '0x_'"]),
        (
            f"seed: 1{'0' * 5000}\n",
            [f"3:7: seed: expected a whole number of 64 bits, got '1{'0' * 39}'"],
        ),
        ("hparams: {x: !!bool maybe}\n", ["3:14: hparams.x: expected true or false, got 'maybe'"]),
        ('hparams: {x: "\\uD800"}\n', ["3:14: hparams.x: expected text, got '\\ud800'"]),
        ("hparams: {x: [1\n", ["4:1: not valid YAML: while parsing a flow sequence expected"]),
        ("hparams:\n\tx: 1\n", ["4:1: not valid YAML: while scanning for the next token found"]),
        ("name: a\0b\n", ["3:8: not valid YAML: the character U+0000"]),
        ("hparams: *nowhere\n", ["3:10: not valid YAML: found undefined alias 'nowhere'"]),
        ("---\na: 1\n", ["3:1: not valid YAML: expected a single document"]),
        (
            "hparams: &h {x: {y: [*h]}}\n",
            ["3:10: hparams.x.y[0]: an alias refers to what it is part of"],
        ),
        ("hparams: &h {<<: *h, x: 1}\n", ["3:10: hparams: an alias refers to what it is part of"]),
        ("hparams: {<<: 3}\n", ["3:15: hparams: << expects a mapping or a list of mappings"]),
        (f"hparams: {'[' * 3000}{']' * 3000}\n", ["1:1: nested too deeply"]),
        ("hparams: {é漢: 1, 漢: 1, 漢: 2}\n", ["3:24: hparams.漢: duplicate key; it stands at"]),
    ],
    ids=lambda value: value[:30].strip() if isinstance(value, str) else "",
)
def test_each_mistake_in_the_text_has_its_place(folder: Folder, rest: str, expected: list[str]):
    found = folder.problems(HEAD + rest)
    expected = [line.replace("FILE", str(folder.path / "config.yaml")) for line in expected]
    assert [line[: len(start)] for line, start in zip(found, expected, strict=True)] == expected


@pytest.mark.parametrize(
    ("value", "tag"),
    [
        ("!!python/object/apply:os.system ['touch MARKER']", "!!python/object/apply:os.system"),
        ("!!python/object/apply:os.system\n  - touch MARKER", "!!python/object/apply:os.system"),
        ("!!python/object/new:os.system {args: ['touch MARKER']}", "!!python/object/new:os.system"),
        ("!!python/name:os.system ''", "!!python/name:os.system"),
        ("!!python/module:antigravity ''", "!!python/module:antigravity"),
        ("!!set {a, b}", "!!set"),
        ("!!binary aGVsbG8=", "!!binary"),
        ("!custom x", "!custom"),
    ],
)
def test_a_tag_is_refused_and_nothing_is_run(folder: Folder, value: str, tag: str):
    marker = folder.path / "marker"
    text = HEAD + f"hparams:\n  x: {value}\n".replace("MARKER", str(marker))
    assert folder.problems(text) == [
        f"4:6: hparams.x: the tag {tag} is not allowed; expected plain values"
    ]
    assert not marker.exists()


def test_a_tag_at_the_top_is_refused(folder: Folder):
    found = folder.problems("!!python/object:os.X\n" + HEAD)
    assert found[0] == "1:1: the tag !!python/object:os.X is not allowed; expected plain values"


def test_quoted_text_is_text_whatever_it_looks_like(folder: Folder):
    text = HEAD + "hparams: {a: '1e-4', b: \"2024-01-01\", c: 'yes', d: '7', e: '<<'}\n"
    assert folder.load(text).settings.hparams == {
        "a": "1e-4",
        "b": "2024-01-01",
        "c": "yes",
        "d": "7",
        "e": "<<",
    }


def test_numbers_are_read_as_numbers(folder: Folder):
    text = HEAD + "hparams: {a: 1.0e-4, b: 0x10, c: -3, d: .5, e: +1000, f: null, g: 64e+}\n"
    hparams = folder.load(text).settings.hparams
    assert hparams == {"a": 1e-4, "b": 16, "c": -3, "d": 0.5, "e": 1000, "f": None, "g": "64e+"}
    assert [type(hparams[key]) for key in "ac"] == [float, int]


def test_merged_keys_may_be_overridden_before_or_after_the_merge(folder: Folder):
    text = HEAD + (
        "hparams:\n"
        "  base: &base {x: 1, y: 1}\n"
        "  other: &other {y: 2, z: 2}\n"
        "  after: {<<: *base, x: 3}\n"
        "  before: {x: 3, <<: *base}\n"
        "  first_wins: {<<: [*base, *other]}\n"
    )
    hparams = folder.load(text).settings.hparams
    assert hparams["after"] == hparams["before"] == {"x": 3, "y": 1}
    assert hparams["first_wins"] == {"x": 1, "y": 1, "z": 2}


def test_a_mapping_with_a_merge_may_be_used_again(folder: Folder):
    text = HEAD + (
        "hparams:\n"
        "  base: &base {x: 1}\n"
        "  child: &child {<<: *base, x: 2}\n"
        "  again: *child\n"
        "  grandchild: {<<: *child, x: 3}\n"
    )
    hparams = folder.load(text).settings.hparams
    assert hparams["again"] == {"x": 2}
    assert hparams["grandchild"] == {"x": 3}


def test_a_merge_does_not_hide_a_real_duplicate(folder: Folder):
    text = HEAD + "hparams:\n  base: &base {x: 1}\n  child: {<<: *base, x: 2, x: 3}\n"
    assert folder.problems(text) == [
        f"5:28: hparams.child.x: duplicate key; it stands at {folder.path}/config.yaml:5:22 already"
    ]


def test_a_mistake_in_a_merged_value_is_shown_where_it_is_written(folder: Folder):
    text = HEAD + "hparams: {x: &x {retires: 5}}\nlimits: {<<: *x}\n"
    assert folder.problems(text) == ["3:18: limits.retires: unknown key; did you mean 'retries'?"]


def test_a_value_that_is_reported_once_is_not_reported_again_for_its_type(folder: Folder):
    assert folder.problems(HEAD + "limits: {retries: !!int x}\n") == [
        "3:19: limits.retries: expected a whole number of 64 bits, got 'x'"
    ]


def test_an_unknown_key_is_reported_even_if_its_value_is_wrong_too(folder: Folder):
    assert folder.problems(HEAD + "sed: 1e3\n") == [
        "3:1: sed: unknown key; did you mean 'seed'?",
        "3:6: sed: YAML reads 1e3 as text; write 1.0e+3 for the number",
    ]


def test_a_byte_order_mark_and_windows_line_ends_do_not_shift_positions(folder: Folder):
    file = folder.path / "config.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + HEAD.replace("\n", "\r\n").encode() + b"sed: 1\r\n")
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert str(caught.value) == f"{file}:3:1: sed: unknown key; did you mean 'seed'?"


@pytest.mark.parametrize(
    ("domain", "place"),
    [
        ("{type: categorical, values: [yes, true]}", "values[0]"),
        ("{type: int, range: [010, 5]}", "range[0]"),
        ("{type: int, range: [1, 5], step: 1_0}", "step"),
        ("{type: int, range: [1, 5], when: {opt: on}}", "when.opt"),
        ("{type: int, range: [1, 5], when: {opt: [sgd, off]}}", "when.opt[1]"),
        ("[DISCRETE, [010, 8]]", "[1][0]"),
        ("[INTEGER, [010, 3]]", "[1][0]"),
    ],
)
def test_what_was_misread_is_not_judged_as_well(folder: Folder, domain: str, place: str):
    space = f"search:\n  num_trials: 1\n  space: {{opt: [CATEGORICAL, [sgd]], x: {domain}}}\n"
    problems = folder.problems(HEAD + space)
    assert len(problems) == 1, problems
    assert f"search.space.x{'' if place.startswith('[') else '.'}{place}: YAML reads" in problems[0]


def test_a_file_is_utf8_whatever_the_locale(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_locale(monkeypatch)
    file = folder.path / "config.yaml"
    file.write_bytes("hparams: {a: ü}\n".encode())
    assert read_source(file).data == {"hparams": {"a": "ü"}}


# Files that are no config


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "is empty"),
        ("# only a comment\n", "is empty"),
        ("null\n", "is empty"),
        ("- a\n- b\n", "is a list"),
        ("just text\n", "is a str"),
        ("3\n", "is a int"),
    ],
)
def test_a_file_without_keys_is_no_config(folder: Folder, text: str, what: str):
    assert folder.problems(text) == [f"1:1: the config {what}; expected keys such as 'train:'"]


def test_a_file_that_is_missing_a_folder_or_no_utf8_is_named(tmp_path: Path):
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("name: é\n".encode("latin-1"))
    for file, message in [
        (tmp_path / "none.yaml", "can't be read: No such file or directory"),
        (tmp_path, "can't be read: Is a directory"),
        (latin, "is not UTF-8 text"),
    ]:
        with pytest.raises(ConfigError) as caught:
            load_config(file)
        assert str(caught.value).startswith(f"{file}: {message}")


# --set


def test_an_override_replaces_and_creates(folder: Folder):
    text = HEAD + "seed: 1\nhparams: {a: 1, b: 2}\n"
    loaded = folder.load(
        text,
        "seed=7",
        "hparams.a=[1, x]",
        "hparams.c.d=true",
        "limits.retries=5",
        "cluster={kind: inline}",
        "seed=8",
    )
    assert loaded.settings.seed == 8
    assert loaded.settings.hparams == {"a": [1, "x"], "b": 2, "c": {"d": True}}
    assert loaded.settings.limits.retries == 5
    assert loaded.settings.cluster.kind == "inline"
    assert loaded.data["limits"] == {"retries": 5}


def test_an_override_may_build_a_whole_search(folder: Folder):
    loaded = folder.load(HEAD, "search.space.lr=[DOUBLE, [0.0, 1.0]]", "search.num_trials=3")
    assert loaded.space.names == ("lr",)
    assert loaded.optimizer.num_trials == 3


def test_an_override_may_mend_what_the_file_has_wrong(folder: Folder):
    assert folder.load(HEAD + "seed: x\n", "seed=3").settings.seed == 3


def test_the_value_of_an_override_may_hold_an_equals_sign(folder: Folder):
    assert folder.load(HEAD, "hparams.a=b=c").settings.hparams == {"a": "b=c"}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seed", "--set seed: expected key.path=value"),
        ("=1", "--set =1: expected key.path=value"),
        ("a..b=1", "--set a..b=1: expected key.path=value"),
        ("sed=1", "--set sed=1: sed: unknown key; did you mean 'seed'?"),
        ("seed=x", "--set seed=x: seed: expected a whole number, got 'x'"),
        ("seed=1e3", "--set seed=1e3: seed: YAML reads 1e3 as text; write 1.0e+3 for the number"),
        ("seed=010", "--set seed=010: seed: YAML reads 010 as 8; write 8, 10, or '010' in quotes"),
        ("hparams.x=off", "--set hparams.x=off: hparams.x: YAML reads off as false; write false"),
        (
            "hparams={on: 1}",
            "--set hparams={on: 1}: hparams: the key on is not text: YAML reads on",
        ),
        ("seed.x=1", "--set seed.x=1: seed.x: 'seed' is a value, not a section"),
        ("hparams=[1", "--set hparams=[1: not valid YAML: while parsing a flow sequence"),
        ("limits.retires=1", "--set limits.retires=1: limits.retires: unknown key; did you mean"),
        ("limits={retires: 1}", "--set limits={retires: 1}: limits.retires: unknown key; did"),
        ("search.num_trials=3", "--set search.num_trials=3: search.space: required key is missing"),
        ("search=", "--set search=: search: must not be empty"),
        ("hparams={a: 1, a: 2}", "--set hparams={a: 1, a: 2}: hparams.a: duplicate key; it stands"),
        ("hparams=!!python/name:os.system ''", "--set hparams=!!python/name:os.system '': hparams"),
        ("hparams=\0", "--set hparams=\0: not valid YAML: the character U+0000"),
    ],
)
def test_a_mistake_in_an_override_is_blamed_on_it(folder: Folder, override: str, expected: str):
    found = folder.problems(HEAD + "seed: 1\n", override)
    assert found[0].startswith(expected)


def test_mistakes_of_overrides_come_first_in_their_order_whatever_they_end_in(folder: Folder):
    overrides = ["limits.z=a:7:8", "limits.y=1", "limits.x=a:0:9"]
    found = folder.problems("sed: 1\n" + HEAD + "metrc: 2\n", *overrides)
    assert [text.split(": ")[0] for text in found] == [
        *(f"--set {override}" for override in overrides),
        *("1:1", "4:1"),
    ]


def test_an_override_of_a_section_is_blamed_for_what_the_section_lacks(folder: Folder):
    search = "search:\n  num_trials: 1\n  space: {a: [INTEGER, [0, 1]]}\n"
    text = HEAD + search + "  optimizer: {name: asha, resource_max: 9}\n"
    override = "search.optimizer={name: asha}"
    assert folder.problems(text, override) == [
        f"--set {override}: search.optimizer.resource_max: required key is missing"
    ]


def test_beside_a_misread_value_of_a_parameter_its_other_mistakes_are_told(folder: Folder):
    text = (
        HEAD + "search:\n  num_trials: 1\n  space: {a: {type: float, range: [1e-4, 1], scale: 3}}\n"
    )
    misread, other = folder.problems(text)
    assert "YAML reads 1e-4 as text" in misread
    assert "search.space.a.scale: expected" in other


def test_an_override_is_not_blamed_for_the_rest_of_its_section(folder: Folder):
    text = HEAD + "limits: {retires: 3}\n"
    assert folder.problems(text, "limits.max_failures=0") == [
        "--set limits.max_failures=0: limits.max_failures: "
        "expected a number greater than or equal to 1, got 0",
        "3:10: limits.retires: unknown key; did you mean 'retries'?",
    ]


#: Text that YAML, of one version or the other, reads as something else.
LOOKALIKES = [
    *(
        "1e-3",
        "1e5",
        "-2.E+3",
        "2024-01-01",
        "~",
        "0x1f",
        "null",
        "true",
        "08",
        "-09",
        "0o17",
        "007",
    ),
    *(
        "on",
        "off",
        "yes",
        "No",
        "010",
        "1:30",
        "1:30.5",
        "1_1_1",
        "0b1",
        "1_0.5",
        ".inf",
        "y",
        "<<",
    ),
]


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**62), 2**62)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text()
        | st.sampled_from(LOOKALIKES),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text(min_size=1) | st.sampled_from(LOOKALIKES), inner, max_size=3)
        ),
        max_leaves=8,
    )
)
def test_what_is_written_reads_back_as_the_same(value: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "config.yaml")
        file.write_text(to_yaml({"value": value}), encoding="utf-8")
        source = read_source(file)
        assert source.problems == []
        assert source.data == {"value": value}
        assert read_source(file, [f"other={to_yaml(value, one_line=True)}"]).data["other"] == value


def test_a_word_in_the_config_of_an_earlier_run_is_what_it_was(tmp_path: Path) -> None:
    """What an earlier version wrote without quotes, since YAML 1.1 reads it as text."""
    file = tmp_path / "config.yaml"
    file.write_text("hparams: {a: 08, b: 0o17, c: 'on', d: '010'}\n")
    source = read_source(file, ["hparams.e=09"], is_written=True)
    assert source.data["hparams"] == {"a": "08", "b": "0o17", "c": "on", "d": "010", "e": 9}
    assert [problem.origin for problem in source.problems] == ["--set hparams.e=09"]


def test_what_both_versions_of_yaml_read_alike_is_taken(folder: Folder):
    text = (
        HEAD + "hparams: {a: TRUE, b: False, c: 0x1F, d: ~, e: , f: -0.5, g: 01.5, h: 1., i: +0}\n"
    )
    hparams = folder.load(text).settings.hparams
    assert list(hparams.values()) == [True, False, 31, None, None, -0.5, 1.5, 1.0, 0]


@pytest.mark.parametrize(("length", "lines"), [(97, 1), (98, 2)])
def test_text_is_wrapped_where_a_line_has_a_hundred_columns(length: int, lines: int) -> None:
    text = f"{'x' * length} y"
    assert len(to_yaml({"a": text}).splitlines()) == lines
    assert to_yaml({"a": [text, text]}, one_line=True) == f"{{a: [{text}, {text}]}}"


def test_a_call_is_told_in_its_own_words_the_closest_first() -> None:
    names = {("search",): "all", ("search", "space"): "searchspace"}
    source = Source.of_call({"search": {"space": {"x": [1, 2]}}}, {**names})
    assert (source.file, source.problems, source.names) == ("", [], names)
    found = [("search", "space", "x", 1), ("search", "n"), ("seed",), ()]
    told = [str(source.problem(path, "no")) for path in found]
    assert told == ["searchspace.x[1]: no", "all.n: no", "seed: no", "no"]
    assert source.has(("search", "space", "x", 1))
    assert not source.has(("search", "space", "x", 2))
    assert source.lacks("model") == "the call gives no 'model'"
