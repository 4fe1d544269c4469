"""What can be asked without a project: sample data, previews, rule files, exports."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import StoreError
from engine.paths import ProjectPaths
from engine.settings_file import load_settings

if TYPE_CHECKING:
    from engine.compiler.export import ExportReport
    from engine.ingest.run import SourcePreview, SourceSpec
    from engine.pipeline.prepare import Examined
    from engine.rules.diagnostics import Diagnostic


def sample_folder() -> Path:
    """The sample data that ships with prosect: inside the package, or beside it in a checkout.

    Raises:
        StoreError: this installation carries none.
    """
    here = Path(__file__).resolve().parent.parent
    for folder in (here / "sample_data", here.parent / "sample_data"):
        if (folder / "reader").is_dir():
            return folder
    raise StoreError(
        "this installation carries no sample data", hint="install prosect from its wheel or checkout"
    )


def preview_source(source: "SourceSpec", n: int = 10) -> "SourcePreview":
    """What a source looks like: guessed format, columns, the first pairs."""
    from engine.ingest.run import preview

    return preview(source, n)


def examine(
    project: Path | None,
    reader: str | None,
    *,
    layer: int | None = None,
    sae: str | None = None,
    n_pairs: int | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
) -> "Examined":
    """This machine, and what reading with a reader would cost on it."""
    from engine.pipeline.audit import ReaderChoice
    from engine.pipeline.prepare import examine as look

    paths = ProjectPaths(project) if project is not None else None
    settings = load_settings(paths.settings if paths is not None else None, overrides)
    return look(paths, ReaderChoice(reader, layer, sae) if reader else None, n_pairs, settings)


def format_rules(path: Path, *, check_only: bool = False) -> bool:
    """Bring a rule file into canonical layout; True when it was, or would be, changed."""
    from engine.compiler.verbs import format_file

    return format_file(path, check_only=check_only)


def diagnose_text(path: Path) -> "tuple[str, tuple[Diagnostic, ...]]":
    """A rule file's text and its syntax errors; names are not checked without a project."""
    from engine.compiler.verbs import check_text, read_rules

    text = read_rules(path)
    return text, check_text(text, None)


def export_shaped(
    shaped: Path, out_dir: Path, target: str, *, replicate: int | None = None, seed: int = 0,
    bucket: bool = False,
) -> "ExportReport":  # fmt: skip
    """Write a shaped dataset for another trainer; refuses to lose anything."""
    from engine.compiler.export import ExportRequest, export

    if ProjectPaths(shaped).pairs.exists():
        project_of(shaped)  # says which datasets a whole project has
    return export(ExportRequest(shaped, out_dir, target, replicate, seed, bucket))


def project_of(folder: Path) -> ProjectPaths:
    """The project that DIR/shaped/HASH or DIR/runs/ID lies in. Raises ``TrainError`` where there is none."""
    from engine.pipeline.train import project_of as find

    return find(folder)
