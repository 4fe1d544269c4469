"""What every part of the façade stands on: the folder, its settings, the open index."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from engine.errors import ReviewError, RuleError, StoreError
from engine.paths import ProjectPaths
from engine.records import EVERYWHERE, Verdict
from engine.settings_file import load_settings
from engine.views.tables import JournalChange, Target

if TYPE_CHECKING:
    from engine.live.browse import Browser
    from engine.live.job_watch import Work
    from engine.pipeline.shape import Decisions
    from engine.settings import Settings


class Base:
    """A project folder; it need not exist before the first ``audit``."""

    def __init__(self, root: Path | str, *, overrides: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        self.paths = ProjectPaths(Path(root))
        self.settings: Settings = load_settings(self.paths.settings, overrides)
        self._browser: Browser | None = None

    def __repr__(self) -> str:
        """With its folder."""
        return f"{type(self).__name__}({str(self.paths.root)!r})"

    def __enter__(self) -> Self:
        """Nothing is opened yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close what was opened."""
        self.close()

    def close(self) -> None:
        """Let go of the index."""
        if self._browser is not None:
            self._browser.close()
            self._browser = None

    @property
    def browser(self) -> "Browser":
        """Read-only questions and the journal. Raises ``StoreError`` before the first audit."""
        if self._browser is None:
            from engine.live.browse import Browser

            if not self.paths.root.is_dir():
                raise StoreError(
                    f"there is no project at {self.paths.root}", hint="`prosect audit` makes one"
                )
            self._browser = Browser(self.paths, self.settings.review, self.settings.rules)
        return self._browser

    @property
    def index_file(self) -> Path:
        """The published index, a DuckDB file that is never changed. Raises ``StoreError`` where none is."""
        from engine.store.build import current_index

        return self.paths.index(current_index(self.paths).index_hash)

    @property
    def work(self) -> "Work":
        """Long jobs of this project, also those of other processes."""
        from engine.live.job_watch import Work

        return Work(self.paths)

    def rule_file(self, name: Path | str) -> Path:
        """A rule file by its path, or by its name alone in the project's rules folder, ``.rules`` left out.

        A path of several parts that leads nowhere comes back as it is: whoever reads it says so.

        Raises:
            RuleError: nothing is called so, with the names of those that there are.
        """
        path = Path(name)
        if path.exists() or len(path.parts) > 1:
            return path
        inside = self.paths.rules_dir / path
        found = [p for p in (inside, inside.with_name(f"{inside.name}.rules")) if p.exists()]
        if found:
            return found[0]
        there = sorted(p.stem for p in self.paths.rules_dir.glob("*.rules"))
        names = ", ".join(there[:8]) + (", …" if len(there) > 8 else "")
        raise RuleError(
            f"there is no rule file {path}",
            hint=f"{self.paths.rules_dir} has {names or 'none yet: `prosect rules from-verdicts` makes one'}",
        )

    def concept_target(self, what: str, context: str | None = None) -> Target:
        """A concept by name, id or start of an id, as something to decide on: everywhere, or in a context."""
        from engine.views.details import ConceptDetail

        named = self.browser.hypothesis_named(what)
        if named is not None and context is None and named[1] is not None:
            return self.browser.hypothesis(named[0], named[1])
        found = self.browser.find(what)
        if not isinstance(found, ConceptDetail):
            raise StoreError(f"`{what}` is a pair, not a concept", hint="see `prosect concepts`")
        if context is not None and context.strip().lower() != EVERYWHERE:
            return self.browser.hypothesis(found.concept_id, context)
        return Target("concept", found.concept_id, found.concept_id)

    def decide(
        self,
        what: str,
        verdict: Verdict | str | None,
        reason: str | None = None,
        *,
        context: str | None = None,
    ) -> JournalChange:
        """Write a verdict into the journal, by this project's author; durable on return.

        Args:
            what: a concept by name, id or start of an id.
            verdict: keep, suppress, amplify or ignore; None takes the verdict away.
            reason: why; kept with the verdict.
            context: name or start of an id of the context it is about; None: everywhere.

        Raises:
            StoreError: nothing or more than one thing is called so.
            ReviewError: there is no such verdict.
        """
        target = self.concept_target(what, context)
        if verdict is None:
            return self.browser.clear_verdict([target], reason)
        if verdict not in set(Verdict):
            known = ", ".join(Verdict)
            raise ReviewError(f"there is no verdict `{verdict}`", hint=f"verdicts: {known}")
        return self.browser.set_verdict([target], Verdict(verdict), reason)

    def decisions(self) -> "Decisions":
        """Verdicts and names as they stand."""
        from engine.pipeline.shape import Decisions

        held = self.browser.journal.state.verdicts
        entries = {key: entry.ident for key, entry in held.items()}
        return Decisions(tuple(self.browser.verdicts().values()), self.browser.names(), entries)
