"""The one table of actions: bindings, help, hint bar, palette and key card are all made from it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

GLOBAL, GRID, REVIEW, PAGE, RECORD, PAIR, RULES, PLAN, TRAIN, RUNS, JOBS = (
    "global", "grid", "review", "page", "record", "pair", "rules", "plan", "train", "runs", "jobs",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Action:
    """Something a person can do."""

    ident: str
    """Also the word after ``:``."""
    keys: tuple[str, ...]
    """Key sequences; the first is the one shown."""
    scope: str
    label: str
    """Short, for the hint bar; empty: not in the hint bar."""
    help: str
    argument: str = ""
    """What ``:ident`` takes after it, for help."""


def _a(ident: str, keys: str, scope: str, label: str, text: str, argument: str = "") -> Action:
    return Action(
        ident, tuple(k.strip() for k in keys.split("  ") if k.strip()), scope, label, text, argument
    )


ACTIONS: tuple[Action, ...] = (
    # Reviewing
    _a("keep", "=", REVIEW, "keep", "verdict keep: a plan must leave it as it is", "REASON"),
    _a("suppress", "-", REVIEW, "suppress", "verdict suppress: the model shall learn less of it", "REASON"),
    _a("amplify", "+", REVIEW, "amplify", "verdict amplify: the model shall learn more of it", "REASON"),
    _a("ignore", "i", REVIEW, "ignore", "verdict ignore: out of the queue, still in collateral", "REASON"),
    _a("clear", "backspace  delete", REVIEW, "", "take the verdict away"),
    _a("repeat", ".", REVIEW, "", "give the last verdict again"),
    _a(
        "stay",
        ";",
        REVIEW,
        "",
        "after a verdict stay on the row, or go on to the next undecided one; begins as review.advance says",
    ),
    _a("reason", "r", REVIEW, "", "write a reason for the verdict here, else for the one just given", "TEXT"),
    _a(
        "name",
        "c",
        REVIEW,
        "",
        "name the concept, starting from a proposed name; an empty one: its label again",
        "NAME",
    ),
    _a("next-undecided", "n", GRID, "", "next row without a verdict"),
    _a("previous-undecided", "N", GRID, "", "previous row without a verdict"),
    _a(
        "undo",
        "u",
        GLOBAL,
        "undo",
        "take back your last step, also one from before a restart or from the shell",
    ),
    _a("redo", "ctrl+r", GLOBAL, "", "restore what you took back last"),
    _a(
        "restore-verdicts",
        "W",
        GLOBAL,
        "",
        "write verdicts and names again that journal.jsonl had and has no more; what it has now stays",
    ),
    # Moving
    _a("down", "j  down", GRID, "", "next row"),
    _a("up", "k  up", GRID, "", "previous row"),
    _a("first", "g g  home", GRID, "", "first row, or the row that the count says"),
    _a("last", "G  end", GRID, "", "last row, or the row that the count says"),
    _a("half-down", "ctrl+d", GRID, "", "half a screen down"),
    _a("half-up", "ctrl+u", GRID, "", "half a screen up"),
    _a("page-down", "ctrl+f  pagedown", GRID, "", "a screen down"),
    _a("page-up", "ctrl+b  pageup", GRID, "", "a screen up"),
    _a("screen-top", "H", GRID, "", "first row on the screen, or as many below it as the count says"),
    _a("screen-middle", "M", GRID, "", "row in the middle of the screen"),
    _a("screen-bottom", "L", GRID, "", "last row on the screen, or as many above it as the count says"),
    _a("line-down", "ctrl+e", GRID, "", "move the view a row down under the cursor"),
    _a("line-up", "ctrl+y", GRID, "", "move the view a row up under the cursor"),
    _a("open", "enter  l  right", GRID, "open", "open what the cursor is on"),
    # Tables
    _a("filter", "/", GRID, "filter", "filter rows: words, col:value, col>n, !term", "TEXT"),
    _a("column-left", "<", GRID, "", "choose the column to the left"),
    _a("column-right", ">", GRID, "", "choose the column to the right"),
    _a("sort", "s", GRID, "sort", "sort by the chosen column; again turns it round", "COLUMN"),
    _a("sort-add", "S", GRID, "", "add the chosen column as a further sort key"),
    _a(
        "facets",
        "F",
        GRID,
        "facets",
        "values of the chosen column, numbers in bins, with counts; left and right: other columns; tab marks;"
        " enter filters",
        "COLUMN",
    ),
    _a("like-cell", ",", GRID, "", "filter to rows with the same value in the chosen column"),
    _a("everywhere", "e", GRID, "", "hypotheses: all, everywhere only, inside contexts only"),
    _a("select", "space", GRID, "", "select this row and move on"),
    _a("select-range", "V", GRID, "", "start a range; again ends it"),
    _a("zoom", "z", GLOBAL, "", "hide or show the pane beside or below"),
    # Pages
    _a("page-next", "j  down", PAGE, "", "next place, or scroll"),
    _a("page-previous", "k  up", PAGE, "", "previous place, or scroll"),
    _a("page-first", "g g  home", PAGE, "", "top"),
    _a("page-last", "G  end", PAGE, "", "bottom"),
    _a("scroll-half-down", "ctrl+d", PAGE, "", "half a screen down"),
    _a("scroll-half-up", "ctrl+u", PAGE, "", "half a screen up"),
    _a("scroll-down", "ctrl+f  pagedown  space", PAGE, "", "a screen down"),
    _a("scroll-up", "ctrl+b  pageup", PAGE, "", "a screen up"),
    _a("scroll-line-down", "ctrl+e", PAGE, "", "a line down"),
    _a("scroll-line-up", "ctrl+y", PAGE, "", "a line up"),
    _a("section-next", "tab", PAGE, "section", "next section of the page"),
    _a("section-previous", "shift+tab", PAGE, "", "previous section"),
    _a("open-item", "enter  l  right", PAGE, "open", "open what the cursor is on"),
    _a("record-next", "J", RECORD, "next", "next record of the list or page that this one came from"),
    _a("record-previous", "K", RECORD, "", "previous record of it"),
    _a("search", "/", PAGE, "search", "search the text of this page", "TEXT"),
    _a("search-next", "n", PAGE, "", "next match"),
    _a("search-previous", "N", PAGE, "", "previous match"),
    # Pair
    _a("layout", "v", PAIR, "layout", "side by side, stacked, inline difference"),
    _a("diff", "d", PAIR, "diff", "mark the words that differ"),
    _a("activations", "a", PAIR, "", "light the tokens on which the concept fires, or do not"),
    _a("fold-prompt", "p", PAIR, "prompt", "show the whole prompt"),
    _a("concepts", "t", PAIR, "concept", "next concept of this pair as the one whose peaks are shown"),
    # Rules
    _a("edit-rule", "enter", RULES, "edit", "edit the line; every edit is saved and planned at once"),
    _a("new-rule", "o", RULES, "new", "begin a statement below"),
    _a("switch-rule", "space", RULES, "on/off", "switch the statement off, or on again"),
    _a("delete-rule", "d d", RULES, "", "take the statement out"),
    _a("rule-down", "J", RULES, "", "move the statement down"),
    _a("rule-up", "K", RULES, "", "move the statement up"),
    _a(
        "rule-undo",
        "u",
        RULES,
        "undo",
        "take the last edit of this file back, also one from before a restart",
    ),
    _a("rule-redo", "ctrl+r", RULES, "", "restore it"),
    _a("rules-from-verdicts", "A", RULES, "from verdicts", "add statements for verdicts that have none here"),
    _a("editor", "E", RULES, "$EDITOR", "the whole file in $EDITOR"),
    _a("rule-file", "f", RULES, "", "open or begin another rule file", "NAME"),
    # Plan
    _a("reread-rules", "R", PLAN, "", "read the file again; asks before it drops what is not saved"),
    _a("compile", "C", PLAN, "compile", "write the shaped dataset of these rules; asks first"),
    _a(
        "train",
        "T",
        TRAIN,
        "train",
        "train on a shaped dataset in a process of its own; says what it takes and asks first",
        "OPTIONS",
    ),
    # Runs
    _a("smoother", "}", RUNS, "smooth", "smooth the curves more"),
    _a("rougher", "{", RUNS, "", "smooth the curves less"),
    _a("resume-run", "r", RUNS, "resume", "go on with a run that ended early; asks first"),
    _a(
        "outcome",
        "O",
        RUNS,
        "outcome",
        "measure what a finished run changed beside its forecast, or its difference from RUN; asks first",
        "RUN",
    ),
    _a("stop-run", "X", RUNS, "stop", "ask the run to save and stop; asks first"),
    _a("stop-job", "X", JOBS, "stop", "ask the job to stop at a safe place; again ends its process"),
    # Going places
    _a("back", "q  h  left", GLOBAL, "back", "back to where you came from"),
    _a(
        "close",
        "escape",
        GLOBAL,
        "",
        "close the innermost thing only: a message, what is being typed, a selection, a section shown whole,"
        " a filter, the page",
    ),
    _a("hypotheses", "g h", GLOBAL, "", "hypotheses: what the data teaches"),
    _a("contexts", "g x", GLOBAL, "", "contexts"),
    _a("pairs", "g p", GLOBAL, "", "pairs"),
    _a("rules", "g r", GLOBAL, "", "rules: write them, see what they would do"),
    _a("plan", "g l", GLOBAL, "", "plan: all that the rules would do, collateral first"),
    _a("runs", "g u", GLOBAL, "", "training runs: curves, forecast against outcome"),
    _a("jobs", "g j", GLOBAL, "", "long work: audits, compilations, training; progress and output"),
    _a("last-view", "`", GLOBAL, "", "the view before this one"),
    _a("history-back", "[", GLOBAL, "", "back in history"),
    _a("history-forward", "]", GLOBAL, "", "forward in history"),
    _a("mark", "m any", GLOBAL, "", "mark this place with a letter"),
    _a("jump", "' any", GLOBAL, "", "jump to the place marked with a letter"),
    # Tools
    _a("yank-id", "y y", GLOBAL, "", "copy the id"),
    _a("yank-row", "y r", GLOBAL, "", "copy the row, tab-separated"),
    _a("yank-name", "y n", GLOBAL, "", "copy the name"),
    _a("yank-page", "y p", GLOBAL, "", "copy the text of the page"),
    _a("yank-shell", "y s", GLOBAL, "", "copy the shell command that shows the same"),
    _a("shell-command", "!", GLOBAL, "", "show the shell command that shows the same"),
    _a("help", "?", GLOBAL, "keys", "keys and commands; type to filter, enter runs", "WORDS"),
    _a("palette", "ctrl+p", GLOBAL, "", "the same list as help"),
    _a("command", ":", GLOBAL, "", "type a command by name"),
    _a("tour", "g t", GLOBAL, "", "a short tour of what is here"),
    _a("coverage", "g v", GLOBAL, "", "how far the review is"),
    _a(
        "reload",
        "R",
        GLOBAL,
        "",
        "look for a newer index and other people's verdicts now; filter and sort again",
    ),
    _a("redraw", "ctrl+l", GLOBAL, "", "draw the screen again"),
    _a("write", "w", GLOBAL, "", "write rules again that could not be saved"),
    _a("cancel", "ctrl+c", GLOBAL, "", "cancel what runs; twice: quit"),
    _a("suspend", "ctrl+z", GLOBAL, "", "to the shell; fg comes back"),
    _a(
        "quit",
        "Q  ctrl+q",
        GLOBAL,
        "quit",
        "quit; verdicts are saved already, and rules that are not are asked about",
    ),
)
BY_ID: Mapping[str, Action] = {a.ident: a for a in ACTIONS}


TITLES: Mapping[str, str] = {
    REVIEW: "Verdicts", GRID: "Lists", PAGE: "Pages", RECORD: "Concept, context, pair", PAIR: "Pair",
    RULES: "Rules", PLAN: "Rules and plan", TRAIN: "Rules, plan, runs and jobs", RUNS: "Runs",
    JOBS: "Jobs", GLOBAL: "Everywhere",
}  # fmt: skip
"""What scopes are called: where their actions work."""


def bindings(scopes: Iterable[str], available: frozenset[str] | None = None) -> dict[str, str]:
    """Key sequence → action id for these scopes; later scopes win over earlier ones.

    Args:
        scopes: general before special.
        available: ids that exist in this project; None: all.
    """
    found: dict[str, str] = {}
    for scope in scopes:
        for action in ACTIONS:
            if action.scope == scope and (available is None or action.ident in available):
                found.update(dict.fromkeys(action.keys, action.ident))
    return found


def shown_keys(action: Action) -> str:
    """Keys as help shows them: ``g g, home``."""
    return ", ".join(k.replace(" any", " a–z") for k in action.keys)


def key_card() -> str:
    """Every action as a Markdown table: the generated key reference."""
    lines = ["# Keys", "", "Made from `tui/actions.py`. A number before a key is a count.", ""]
    for scope, title in TITLES.items():
        rows = [a for a in ACTIONS if a.scope == scope]
        if rows:
            lines += [f"## {title}", "", "| keys | command | what it does |", "|---|---|---|"]
            lines += [*(_card_row(action) for action in rows), ""]
    return "\n".join(lines)


def _card_row(action: Action) -> str:
    command = f":{action.ident} {action.argument}".strip()
    return f"| {' '.join(_code(k) for k in action.keys)} | `{command}` | {action.help} |"


def _code(key: str) -> str:
    key = key.replace(" any", " a–z")
    return f"`{key}`" if key != "`" else "`` ` ``"
