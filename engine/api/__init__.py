"""``Project``: everything that front ends and notebooks may ask of a project.

Nothing heavy is imported until a stage needs it. Reading the index and writing the journal goes through
``browser``; long work goes through one method per stage and reports to a ``Progress``.
"""

from engine.api.files import diagnose_text as diagnose_text
from engine.api.files import examine as examine
from engine.api.files import export_shaped as export_shaped
from engine.api.files import format_rules as format_rules
from engine.api.files import preview_source as preview_source
from engine.api.files import project_of as project_of
from engine.api.files import sample_folder as sample_folder
from engine.api.listing import Counts as Counts
from engine.api.listing import Listing as Listing
from engine.api.looking import Looking
from engine.api.naming import Naming
from engine.api.reading import Reading
from engine.api.shaping import Shaping
from engine.api.trust import Trust
from engine.pipeline.mix import source_specs as source_specs


class Project(Reading, Looking, Naming, Shaping, Trust):
    """A project folder; it need not exist before the first ``audit``.

    The parts are classes of their own files only to be short: front ends see one object.
    """

    def card(self, limit: int = 30) -> str:
        """The audit as a Markdown page for others: what it teaches, verdicts, what was made of them, data.

        Args:
            limit: rows at most of each table of hypotheses; what is left out is counted.
        """
        from engine.api.card import audit_card

        return audit_card(self, limit)
