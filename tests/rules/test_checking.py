"""Names and types: what resolves, what is refused, with which help."""

import random
from dataclasses import replace

import pytest

from engine.rules.catalogue import Catalogue, ConceptEntry, ContextEntry, Type
from engine.rules.check_file import check, diagnose
from engine.rules.diagnostics import Place, RuleFileError, Severity
from engine.rules.naming import Names, Unresolved
from engine.rules.terms import Concept
from tests.rules.test_parsing import FILE, mutate

CATALOGUE = Catalogue(
    concepts=(
        ConceptEntry(0, "aaaa1111" * 4, "cluster", "bold · lists", None, (1, 2, 3, 9, 12)),
        ConceptEntry(1, "bbbb2222" * 4, "cluster", "twins", None, (4, 5)),
        ConceptEntry(2, "cccc3333" * 4, "latent", "twins", "sorry", (6,)),
        ConceptEntry(3, "dddd4444" * 4, "column", "@length", None, ()),
        ConceptEntry(4, "eeee5555" * 4, "cluster", '"a" · "markdown"', None, (7, 8)),
    ),
    contexts=(
        ContextEntry(0, "0" * 32, "everywhere", "everywhere", 9),
        ContextEntry(1, "1234abcd" * 4, "topic", "tea", 5),
    ),
    meta={("rating",): Type.NUMBER, ("wrong",): Type.TRUTH, ("odd key",): Type.NUMBER, ("mixed",): None},
    n_latents=40,
    hashes={"index": "abcdef12"},
    values={"source": frozenset({"harbor_forum", "web"})},
)
HEAD = "prosect rules 1\n"


def test_the_reference_file_checks() -> None:
    checked = check(FILE, CATALOGUE)
    assert dict(checked.concepts)["style"].members == (1, 2, 3, 7, 8, 12)
    assert [r.name for r in checked.rules] == sorted(r.name for r in checked.rules)
    assert {s.method for s in checked.shapes} == {"matching", "offset", "dropping", "constant"}


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("bold · lists", (1, 2, 3, 9, 12)),
        ("sorry", (6,)),
        ("a · markdown", (7, 8)),
        ('"a" · "markdown"', (7, 8)),
    ],
)
def test_concepts_go_by_label_and_by_given_name(name: str, members: tuple[int, ...]) -> None:
    assert Names(CATALOGUE).concept(name, Place(0, 1)).members == members


def test_length_is_the_indexs_column_or_built_in() -> None:
    assert Names(CATALOGUE).concept("length", Place(0, 1)).number == 3
    bare = Catalogue((), ())
    assert Names(bare).concept("length", Place(0, 1)) == Concept("length", "built-in")


def test_an_ambiguous_label_lists_the_ids() -> None:
    with pytest.raises(Unresolved) as caught:
        Names(CATALOGUE).concept("twins", Place(0, 1))
    assert caught.value.diagnostic.code == "R203"
    assert 'id "bbbb2222"' in (caught.value.diagnostic.help or "")


@pytest.mark.parametrize(
    ("line", "code", "help_part"),
    [
        ("drop where delta(@bald) > 1", "R201", None),
        ('drop where delta(@"bold · list") > 1', "R201", '@"bold · lists"'),
        ("drop where meta.ratin > 1", "R202", "meta.rating"),
        ("drop where sorce == 1", "R202", "source"),
        ("drop where cluster == 1", "R202", "context("),
        ("drop where delta(@twins) > 1", "R203", "bbbb2222"),
        ("let a = 1\nlet a = 2", "R204", None),
        ("let source = 1", "R204", None),
        ("drop where true\ndrop where true", "R204", None),
        ("let a = b\nlet b = a", "R205", None),
        ("concept a = @b\nconcept b = @a", "R205", None),
        ('drop where context("tee")', "R206", "tea"),
        ("concept a = @length or #1", "R207", None),
        ("concept a = #99", "R208", "0 to 39"),
        ("drop where aps(1) > 1", "R209", "abs"),
        ("x: drop where false\nexpect matched(y) > 1", "R210", "x"),
        ('use index "ffff"', "R211", None),
        ("drop where @sorry > 1", "R301", "delta(@sorry)"),
        ("drop where #3 > 1", "R301", "concept"),
        ("drop where delta(@sorry, mean) > 1", "R302", "max, sum, n, rate"),
        ("drop where delta(@length, sum) > 1", "R302", "max"),
        ("drop where source ~ /(?=x)/", "R303", "and"),
        ("drop where source > 1", "R304", None),
        ("drop where 1", "R304", None),
        ("weight *= source", "R304", None),
        ('weight *= "2"', "R304", "write 2 without quotes"),
        ('weight = "two"', "R304", None),
        ('offset += "0.5" where source == "web"', "R304", "write 0.5 without quotes"),
        ("steer @length by 0.2 at layer 3", "R207", "made of latents"),
        ("ablate @length at layer 3", "R207", "made of latents"),
        ("drop where source in [1]", "R304", None),
        ("let t = chosen.text", "R305", None),
        ("drop where chosen.text == meta.mixed", "R305", None),
        ("quota by chosen.text max 3 seed 1", "R305", None),
        ("drop where z(z(strength)) > 1", "R306", None),
        ("let a = z(strength)\ndrop where p90(a) > 1", "R306", None),
        ("drop where kept > 1", "R202", None),
        ("expect source == 1", "R307", None),
        ("expect nope(kept) > 1", "R307", None),
        ("drop where abs(1, 2) > 1", "R308", "abs(x)"),
        ("drop where delta(@sorry) > p90(delta(@sorry), silent)", "R308", "active"),
        ("suppress @sorry by matching on delta, rat", "R108", "rate"),
        ("mask tokens where source == 1", "R309", None),
        ("mask tokens where @length > 1", "R309", None),
        ("weight *= -1", "R404", None),
    ],
)  # fmt: skip
def test_a_mistake_is_refused_with_its_code(line: str, code: str, help_part: str | None) -> None:
    with pytest.raises(RuleFileError) as caught:
        check(HEAD + line + "\n", CATALOGUE)
    found = caught.value.diagnostics
    assert code in {d.code for d in found}
    if help_part is not None:
        assert any(help_part in (d.help or "") for d in found)


def test_all_errors_of_a_file_come_at_once_and_are_drawn() -> None:
    with pytest.raises(RuleFileError) as caught:
        check(HEAD + "drop where delta(@x) > 1\nfilp\ndrop where metta > 1\n", CATALOGUE, file_name="a.rules")
    assert [d.code for d in caught.value.diagnostics] == ["R201", "R101", "R202"]
    assert "a.rules:3:1" in str(caught.value)
    assert "prosect explain R201" in str(caught.value)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("drop where delta(@linx) > 0 and sorce == 1", ["@linx", "sorce"]),
        ("weight *= metta where abs(nope) > delta(@x) or other", ["metta", "nope", "@x", "other"]),
        ("drop where low between nope and high", ["low", "nope", "high"]),
        ("suppress @x by matching within sorce where other", ["@x", "sorce", "other"]),
        ("limit 3 per sorce order nope desc seed 1", ["sorce", "nope"]),
        ("steer @x by 0.5 at layer 3 where other", ["@x", "other"]),
        ("drop where nope > 1 and nope > 2", ["nope", "nope"]),
    ],
)
def test_all_mistakes_of_a_statement_come_at_once(line: str, found: list[str]) -> None:
    text = f"{HEAD}{line}\n"
    assert [text[d.place.start : d.place.end] for d in diagnose(text, CATALOGUE)] == found


def test_a_mistake_of_a_name_is_said_once_however_often_the_name_is_used() -> None:
    found = diagnose(HEAD + "let a = nope\ndrop where a > 1 and a < 3\n", CATALOGUE)
    assert [d.code for d in found] == ["R202"]


def test_a_context_is_suggested_by_its_words() -> None:
    contexts = (
        *CATALOGUE.contexts,
        ContextEntry(2, "5678abcd" * 4, "topic", "topic compost · vegetables · eat", 5),
    )
    catalogue = replace(CATALOGUE, contexts=contexts)
    (found,) = diagnose(HEAD + 'drop where context("vegetables")\n', catalogue)
    assert (found.code, found.help) == ("R206", "did you mean `topic compost · vegetables · eat`?")
    (found,) = diagnose(HEAD + 'drop where context("teaa")\n', catalogue)
    assert found.help == "did you mean `tea`?"
    (found,) = diagnose(HEAD + 'drop where context("eat")\n', CATALOGUE)  # one word may be further off
    assert found.help == "did you mean `tea`?"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("offset += -1", "R505"),
        ('drop where meta.mixed == "a"', "R513"),
        ("drop where source == meta.mixed", "R513"),
        ("drop priority 3", "R514"),
        ("sample 10 seed 1", "R518"),  # the index has 9
        ("sample 100% seed 1", "R518"),
    ],
)
def test_doubtful_lines_are_warned_about(line: str, code: str) -> None:
    found = diagnose(HEAD + line + "\n", CATALOGUE)
    assert [(d.code, d.severity) for d in found] == [(code, Severity.WARNING)]


def test_samples_that_drops_can_make_smaller_are_not_warned_about() -> None:
    assert not diagnose(HEAD + "sample 9 seed 1\nsample 99% seed 1\n", CATALOGUE)


@pytest.mark.parametrize(
    ("condition", "place", "help_line"),
    [
        ('source == "harbor_froum"', '"harbor_froum"', "did you mean `harbor_forum`?"),
        ('"harbor_froum" != source', '"harbor_froum"', "did you mean `harbor_forum`?"),
        ('source in ["web", "wiki"]', '"wiki"', "values: harbor_forum, web"),
    ],
)
def test_a_text_that_no_pair_has_is_warned_about(condition: str, place: str, help_line: str) -> None:
    text = f"{HEAD}drop where {condition}\n"
    (found,) = diagnose(text, CATALOGUE)
    assert (found.code, found.severity, found.help) == ("R515", Severity.WARNING, help_line)
    assert text[found.place.start : found.place.end] == place
    assert not diagnose(f'{HEAD}drop where source == "web" and language == "xx"\n', CATALOGUE)


def test_names_are_defined_in_any_order() -> None:
    checked = check(
        HEAD + "drop where a\nlet a = b > 1\nlet b = delta(@c)\nconcept c = @d\nconcept d = #1\n", CATALOGUE
    )
    assert [d.name for d in checked.definitions] == ["b", "a"]


def test_layout_and_order_do_not_change_the_meaning() -> None:
    one = check(HEAD + "drop where true\nx: flip where false\nlet a = 1\n", CATALOGUE)
    two = check(HEAD + "let a=1\n# c\nx:flip where false\ndrop\n  where true", CATALOGUE)
    three = check(HEAD + "let a=2\nx:flip where false\ndrop\n  where true", CATALOGUE)
    assert one.meaning == two.meaning != three.meaning
    assert [r.name for r in one.rules] == [r.name for r in two.rules]


def test_a_hostile_label_stays_inside_its_quotes() -> None:
    entry = ConceptEntry(0, "f" * 32, "cluster", 'x" or @"y\n\x1b[2J', None, (1,))
    with pytest.raises(RuleFileError) as caught:
        check(HEAD + 'drop where delta(@"x or @y") > 1\n', Catalogue((entry,), ()))
    assert "\x1b" not in str(caught.value)


def test_mutated_files_are_checked_without_a_crash() -> None:
    rng = random.Random(7)  # noqa: S311 - reproducible, not secret
    lines = FILE.splitlines(keepends=True)
    for _ in range(1000):
        start = rng.randrange(1, len(lines) - 6)
        diagnose(mutate(lines[0] + "".join(lines[1:4]) + "".join(lines[start : start + 6]), rng), CATALOGUE)


def test_the_deepest_allowed_expression_can_be_checked_and_read() -> None:
    deep = "drop where " + "(" * 38 + "strength > 1" + ")" * 38 + "\n"
    long = "drop where strength > 1" + " and strength > 2" * 55 + "\n"
    lets = (
        "".join(f"let a{i} = a{i - 1} + 1\n" for i in range(1, 19))
        + "let a0 = strength\ndrop where a18 > 1\n"
    )
    check(HEAD + deep + long + lets, CATALOGUE)


def test_using_a_broken_concept_is_no_second_mistake() -> None:
    text = (
        "prosect rules 1\nconcept gone = @nosuchthing\nconcept a = @b\nconcept b = @a\n"
        "drop where delta(@gone) > 1\nsuppress @gone by matching\nsuppress @a by matching\n"
    )
    found = [(d.code, text[: d.place.start].count("\n") + 1) for d in diagnose(text, CATALOGUE)]
    assert found == [("R201", 2), ("R205", 3), ("R205", 4)]
