"""Scripts that teach a shell the commands, and how its unfinished lines are read and answered.

The mechanism is Click's: the script calls ``prosect`` with ``_PROSECT_COMPLETE`` set, and Click asks the
parameters. Its scripts are replaced: names of concepts hold quotes, spaces, commas, backslashes and signs
such as ``@`` at which bash parts words; in zsh and fish a value after ``--option=`` and a folder after ``~/``
were lost or could not be used.
"""

import os
import re
from typing import ClassVar

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ZshComplete,
    add_completion_class,
    split_arg_string,
)

from engine.cli.start import COMPLETION, PROGRAM
from engine.safe_text import one_line

_BASH = r"""%(complete_func)s() {
    local line kind value
    COMPREPLY=()
    while IFS= read -r line; do
        kind=${line%%%%,*} value=${line#*,}
        case $kind in
            dir) compopt -o dirnames 2>/dev/null ;;
            file) compopt -o default 2>/dev/null ;;
            open) compopt -o nospace 2>/dev/null; COMPREPLY+=("$value") ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done < <(COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_WORDBREAKS="$COMP_WORDBREAKS" \
        %(complete_var)s=bash_complete "$1" 2>/dev/null)
}
complete -o nosort -F %(complete_func)s %(prog_name)s 2>/dev/null ||
    complete -o default -F %(complete_func)s %(prog_name)s  # bash before 4.4
"""
_ZSH = r"""#compdef %(prog_name)s

%(complete_func)s() {
    local -a lines plain open home
    local line kind value lead tab=$'\t'
    lines=("${(@f)$(COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT - 1)) \
        %(complete_var)s=zsh_complete %(prog_name)s 2>/dev/null)}")
    [[ ${words[CURRENT]} == --*=* ]] && lead=${words[CURRENT]%%%%=*}=
    for line in $lines; do
        kind=${line%%%%$tab*} value=${line#*$tab}
        case $kind in
            dir) compset -P 1 '--*='; _path_files -/ ;;
            file) compset -P 1 '--*='; _path_files ;;
            home) home+=("$lead~/${(q)value}") ;;
            open) open+=("$lead$value") ;;
            plain) plain+=("$lead$value") ;;
        esac
    done
    (( $#plain )) && _describe -V values plain -U
    (( $#open )) && _describe -V beginnings open -U -S ''
    (( $#home )) && compadd -U -Q -V folders -a home
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i }
    compdef %(complete_func)s %(prog_name)s
fi
"""
_FISH = r"""function %(complete_func)s
    set -l lead (string match -r -- '^--[^=]+=' (commandline -t))
    for line in (env %(complete_var)s=fish_complete COMP_WORDS=(commandline -cp) \
            COMP_CWORD=(commandline -t) %(prog_name)s 2>/dev/null)
        set -l parts (string split -m 1 "," -- $line)
        switch $parts[1]
            case dir
                for found in (__fish_complete_directories $parts[2])
                    printf '%%s\n' "$lead$found"
                end
            case file
                for found in (__fish_complete_path $parts[2])
                    printf '%%s\n' "$lead$found"
                end
            case plain
                printf '%%s\n' "$lead$parts[2]"
        end
    end
end
complete --no-files --keep-order --command %(prog_name)s --arguments "(%(complete_func)s)"
"""
_BARE = re.compile(r"[^\w@%+./,:=-]", re.ASCII)
"""What bash would not take as a plain part of a word; letters of other scripts stay as they are."""
_IN_DOUBLE = re.compile(r'(["$`\\])')


class Word:
    """The last word of an unfinished line of bash, as typed."""

    def __init__(self, line: str) -> None:
        self.raw, self.quote = "", ""
        """From its beginning; the quotation mark that is open at the end."""
        self._since_quote = ""
        is_escaped = False
        for sign in line:
            if is_escaped or (self.quote and sign not in (self.quote, "\\")):
                is_escaped = False
            elif sign == "\\" and self.quote != "'":
                is_escaped = True
            elif sign == self.quote:
                self.quote = ""
            elif not self.quote and sign in "'\"":
                self.quote, self._since_quote = sign, ""
                self.raw += sign
                continue
            elif not self.quote and sign.isspace():
                self.raw = ""
                continue
            self.raw += sign
            self._since_quote += sign

    def reply(self, value: str, breaks: str) -> str:
        """What to give bash for ``value``: it keeps what stands before the last sign that parts words."""
        if self.quote == "'":
            return _closed(value.replace("'", "'\\''"), "'")
        if self.quote == '"':
            # An exclamation mark would mean history even here, and a backslash before it would stay.
            return _closed(_IN_DOUBLE.sub(r"\\\1", value).replace("!", "\"'!'\""), '"')
        home = "~" if value.startswith("~/") else ""
        whole = home + _BARE.sub(lambda m: m[0] if m[0].isalpha() else "\\" + m[0], value[len(home) :])
        kept = _kept(self.raw, breaks)
        return whole[len(kept) :] if whole.startswith(kept) else whole


def _closed(quoted: str, quote: str) -> str:
    """With the closing mark where bash, which sees one at the end, would add none."""
    return quoted + quote if quoted.endswith(quote) else quoted


def _kept(raw: str, breaks: str) -> str:
    """A word up to the last sign at which bash parts words."""
    ends = [m.end() for m in re.finditer(r"\\.|.", raw, re.DOTALL) if m[0] in breaks]
    return raw[: ends[-1]] if ends else ""


class Bash(BashComplete):
    """Reads the line itself: bash parts words at ``@``, ``=`` and ``:``."""

    source_template: ClassVar[str] = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """Whole words, and the one that is being typed."""
        line = os.environ["COMP_LINE"]
        words = split_arg_string(line)[1:]
        is_typing = bool(Word(line).raw)
        return (words[:-1], words[-1]) if is_typing and words else (words, "")

    def format_completion(self, item: "CompletionItem") -> str:
        """One line: what it is, and what to put into the line."""
        if item.type != "plain":
            return f"{item.type},{item.value}"
        word = Word(os.environ["COMP_LINE"])
        kind = "open" if _is_open(item) else "plain"
        return f"{kind},{word.reply(str(item.value), os.environ.get('COMP_WORDBREAKS', ''))}"


class Zsh(ZshComplete):
    """Lines of what it is, the value and what it means, as ``_describe`` takes the last two."""

    source_template: ClassVar[str] = _ZSH

    def format_completion(self, item: "CompletionItem") -> str:
        """One line."""
        value = str(item.value)
        if item.type == "plain" and value.startswith("~/"):
            return f"home\t{value[2:]}"
        kind = "open" if item.type == "plain" and _is_open(item) else item.type
        said = one_line(item.help or "", 200)
        named = re.sub(r"([\\:])", r"\\\1", value) if kind in ("open", "plain") else value
        return f"{kind}\t{named}:{said}" if said else f"{kind}\t{named}"


class Fish(FishComplete):
    """Values may hold commas."""

    source_template: ClassVar[str] = _FISH


def _is_open(item: "CompletionItem") -> bool:
    """More belongs to the word, and no space after it."""
    return str(item.value).endswith(("=", "."))


def register() -> None:
    """Make Click use these for a line that is being completed."""
    add_completion_class(Bash)
    add_completion_class(Zsh)
    add_completion_class(Fish)


def script(shell: str) -> str:
    """The script of a shell."""
    made = {"bash": Bash, "zsh": Zsh, "fish": Fish}[shell]
    complete = made(click.Group(PROGRAM), {}, PROGRAM, COMPLETION)
    return complete.source_template % complete.source_vars()
