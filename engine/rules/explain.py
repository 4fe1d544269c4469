"""Every diagnostic code of the rule language: why it exists and what the fix looks like.

Codes are never reused: a withdrawn code stays in the table as a gap. R1xx syntax, R2xx names, R3xx types,
R4xx statements, R5xx warnings of a plan, R6xx errors of a plan.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Explanation:
    """What `prosect explain CODE` prints."""

    code: str
    title: str
    why: str
    example: str
    """A wrong line and its correction, or what to do."""


_TABLE: tuple[tuple[str, str, str, str], ...] = (
    (
        "R101",
        "expected a statement",
        "Every statement starts with a verb in the first column.",
        "filp where …  →  flip where …",
    ),
    (
        "R102",
        "`=` assigns",
        "One sign has one meaning: `=` defines a name or sets a weight, `==` compares.",
        'drop where source = "web"  →  drop where source == "web"',
    ),
    (
        "R103",
        "a bracket is never closed",
        "A statement ends at the next line that starts in the first column.",
        "flip where (a > 1  →  flip where (a > 1)",
    ),
    (
        "R104",
        "unexpected character",
        "The character starts no word, number, string or operator.",
        "drop where a § b",
    ),
    (
        "R105",
        "a string or regular expression is never closed",
        "Both must end on the line they start on.",
        'tag "style  →  tag "style"',
    ),
    (
        "R106",
        "nested too deeply or too long",
        "Limits keep every file readable and every check fast.",
        "give a part a name with `let`",
    ),
    (
        "R107",
        "a number is out of range",
        "Numbers are finite 64-bit floating-point numbers.",
        "weight *= 1e999",
    ),
    (
        "R108",
        "unexpected word or sign",
        "The grammar allows something else here.",
        "cap weight 4  →  cap weight 0 .. 4",
    ),
    (
        "R109",
        "version line",
        "A file says which version of the language it is written in, so that a newer prosect"
        " reads it as it was meant and an older one refuses it.",
        "prosect rules 1",
    ),
    (
        "R110",
        "comparisons do not chain",
        "`1 < x < 3` means different things in different languages.",
        "1 < x < 3  →  x between 1 and 3",
    ),
    (
        "R111",
        "a statement starts in the first column",
        "Indented lines continue the statement above; that is how a"
        " mistake in one statement cannot swallow the next.",
        "remove the spaces before the verb",
    ),
    ("R112", "unknown escape", 'Strings know \\" \\\\ \\n \\t.', 'tag "a\\d"  →  tag "a\\\\d"'),
    (
        "R201",
        "no such concept",
        "`@name` is a concept of this file, a name given in review, or a working label of the index.",
        "delta(@flatery)  →  delta(@flattery)",
    ),
    (
        "R202",
        "no such column or name",
        "Bare words are columns, `let` and `context` names.",
        "meta.agrement  →  meta.agreement",
    ),
    (
        "R203",
        "a label fits several concepts",
        "Working labels need not be unique; ids are.",
        'concept refusal = id "a1b2c3d4"',
    ),
    (
        "R204",
        "defined twice",
        "A name means one thing in a file; the same rule twice would count once.",
        "rename one of the two",
    ),
    ("R205", "defined in a circle", "A name cannot be defined through itself.", "let a = b  /  let b = a"),
    (
        "R206",
        "no such context",
        '`context("label or id prefix")` is a context of the index.',
        'soften context("tea") by 0.5',
    ),
    (
        "R207",
        "concepts of different kinds do not mix",
        "Latents can be united; a column or a direction has one score of its own.",
        "concept a = #1 or #2",
    ),
    (
        "R208",
        "no such latent",
        "The number is outside the SAE of this index.",
        "#131072 with an SAE of 131072 latents",
    ),
    ("R209", "no such function", "See engine/docs/rules.md for the list.", "aps(x)  →  abs(x)"),
    ("R210", "no such rule", "`matched(NAME)` names a rule of this file.", "expect matched(links) > 10"),
    (
        "R211",
        "made for other data",
        "`use` pins a file to an index or reader.",
        "remove or update the `use` line",
    ),
    (
        "R301",
        "a concept is not a number",
        "A concept has a score on each span; say which.",
        "@style > 2  →  chosen(@style) > 2",
    ),
    (
        "R302",
        "no such aggregate",
        "The store keeps max, sum and n of every latent and span; rate is n / tokens.",
        "chosen(@style, last)  →  chosen(@style, max)",
    ),
    (
        "R303",
        "not a regular expression",
        "Rules use RE2: linear time, no look-around, no back-references.",
        "/(?=http)/  →  /http/",
    ),
    (
        "R304",
        "types do not fit",
        "Every expression is a number, a text or a truth value; nothing is converted silently.",
        'fold == "3"  →  fold == 3',
    ),
    (
        "R305",
        "a whole text cannot be used here",
        "Texts can be matched, compared and measured, not kept.",
        "let t = chosen.text  →  let t = chosen.text ~ /x/",
    ),
    (
        "R306",
        "a statistic of a statistic",
        "z, pct, p90, mean and sd look at the input pairs once.",
        "z(z(x))  →  z(x)",
    ),
    (
        "R307",
        "not available here",
        "Some words exist in `expect` only, some in pair expressions only.",
        "drop where kept > 3",
    ),
    ("R308", "wrong arguments", "The function takes other arguments.", "abs(1, 2)  →  abs(1)"),
    (
        "R309",
        "tokens have activations only",
        "In `mask tokens where` a concept is its own activation at the token.",
        "mask tokens where @style > 0.3",
    ),
    (
        "R401",
        "a seed is missing",
        "Whatever draws pairs must be reproducible.",
        "sample 50000  →  sample 50000 seed 7",
    ),
    (
        "R402",
        "`keep` alone is ambiguous",
        "Keep these, or keep only these?",
        "keep where x  →  keep only where x",
    ),
    (
        "R403",
        "a target is missing",
        "Suppressing aims at zero; amplifying has no natural target.",
        "amplify @x by matching  →  amplify @x by matching to 0.2",
    ),
    (
        "R404",
        "a value is out of range",
        "Weights are ≥ 0, shares lie between 0% and 100%, `pct` runs from 0 to 100. A percent sign stands"
        " only where a share means something: not behind offsets, targets, `max`, caps and steering.",
        "suppress @x by offset 50%  →  suppress @x by offset 0.5",
    ),
    (
        "R405",
        "no such method",
        "suppress and amplify work by matching, offset or dropping.",
        "suppress @x by maching  →  suppress @x by matching",
    ),
    (
        "R407",
        "a verb that was left out",
        "Some verbs of other tools were dropped for clearer ones.",
        "balance by source max 9 seed 1  →  quota by source max 9 seed 1",
    ),
    ("R408", "actions contradict each other", "One rule cannot drop and protect.", "split the rule in two"),
    (
        "R501",
        "protected from a drop",
        "`protect` wins over `drop`; the pairs stay.",
        "open the pairs and decide",
    ),
    (
        "R502",
        "a label pattern matches other concepts than the lock",
        "The lock's concepts are used.",
        "prosect compile --update-lock",
    ),
    ("R503", "a percentile is 0", "The concept is silent on most pairs.", "p90(delta(@x), active)"),
    (
        "R504",
        "missing values",
        "Comparisons with a missing value are false; `!=`, the negation of `==`, and `not` are true.",
        "check the column in the ingest report",
    ),
    (
        "R505",
        "a negative offset",
        "suppress and amplify know the sign; a raw offset leaves it to you.",
        "amplify @x by offset 0.5",
    ),
    (
        "R506",
        "a rule matches nothing",
        "It has no effect on this data. Counts such as @bold are ln(1 + n), and @length is ln(tokens): a"
        " threshold in pieces or tokens is rarely reached.",
        "drop where chosen(@bold) > 3  →  drop where chosen(@bold) > log(4.5)",
    ),
    (
        "R507",
        "flipped pairs with a raw offset",
        "The offset's expression sees the pair as labelled, the loss sees it flipped.",
        "use suppress or amplify by offset",
    ),
    ("R508", "few pairs", "A target that few pairs carry moves with noise.", "widen the selection"),
    (
        "R509",
        "the target recurs outside the selection",
        "Shaping inside a selection can be undone outside it.",
        "drop the `where`, or add a second statement",
    ),
    (
        "R510",
        "a held concept moves",
        "A concept with the verdict keep moves further than its limit.",
        "hold it: matching holds keep-concepts exactly",
    ),
    (
        "R511",
        "weights or offsets were limited",
        "The caps of the settings or of the file were reached.",
        "raise max_weight or max_offset in [rules]",
    ),
    (
        "R512",
        "few effective pairs",
        "Uneven weights leave fewer effective pairs: (Σw)²/Σw².",
        "cap weight 0.2 .. 5",
    ),
    (
        "R513",
        "a meta column of several types",
        "Only its texts are used, other values count as missing.",
        "clean the column before ingest",
    ),
    ("R514", "priority without effect", "Only `weight =` can conflict.", "remove `priority`"),
    (
        "R515",
        "a text that no pair has",
        "A comparison with a source, language, slot, annotator or model that this index does not have"
        " is false for every pair.",
        'drop where source == "harbor_froum"  →  drop where source == "harbor_forum"',
    ),
    (
        "R516",
        "a concept moves against the verb",
        "Matching brings a concept to its target from either side: one that rejected responses carry rises."
        " Other statements may move it, too.",
        "suppress @bold by offset 0.5",
    ),
    (
        "R517",
        "an action beside `drop`",
        "A dropped pair is in no training data, so its tag is seen in the ledger only, and its weight,"
        " offset, instruction or flip act only where another rule protects the pair.",
        'drop, tag "spam" where x  →  drop where x because "spam"',
    ),
    (
        "R518",
        "a sample of everything",
        "The index has no more pairs than the sample asks for, so nothing is left out.",
        "sample 99999 seed 1  →  sample 900 seed 1",
    ),
    (
        "R601",
        "conflicting weights",
        "Two rules set different weights on one pair.",
        "give one of them `priority 1`",
    ),
    (
        "R602",
        "no such weights",
        "No weights within the limits meet the targets.",
        "raise `max`, widen the selection or soften the target",
    ),
    ("R603", "an expectation failed", "`expect` lines are the tests of a rule file.", "look at the plan"),
    (
        "R604",
        "the lock has drifted",
        "What the file resolves to is no longer what was reviewed.",
        "prosect compile --update-lock",
    ),
    ("R605", "nothing is left", "No pair would be trained on.", "check the rules that drop"),
    (
        "R606",
        "no such pair",
        '`pair("…")` takes the beginning of one id.',
        "`y y` in the workstation copies it",
    ),
)

EXPLANATIONS: dict[str, Explanation] = {row[0]: Explanation(*row) for row in _TABLE}


def explain(code: str) -> Explanation | None:
    """The explanation of a code, in any letter case; None if there is no such code."""
    return EXPLANATIONS.get(code.strip().upper())
