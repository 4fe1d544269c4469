"""Train a checkpoint on a shaped dataset: resumable, stoppable, and written down.

    RUN_DIR/
      request.json     what was asked (when started through a file)
      run.json         status, settings, counts; rewritten as the run goes on
      events.jsonl     one line per step, log and save
      checkpoints/     saves to resume from, safetensors
      model/           the tuned checkpoint, LoRA merged
      manifest.json    written last: its presence means finished

``python -m engine.training.run REQUEST`` is the same as a process, also under torchrun.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PrinterCallback

from engine.errors import Cancelled, ProsectError, TrainError
from engine.manifest import (
    Manifest,
    fingerprint,
    is_current,
    package_versions,
    write_json,
    write_manifest,
)
from engine.models.loading import pick_device, resolve_folder
from engine.progress import CancelToken, NullProgress, Progress
from engine.settings import TrainingSettings
from engine.training.checkpoint import StartCheckpoint, last_whole, load_start
from engine.training.encode import EncodedPairs, encode
from engine.training.events import STOP_FLAG, EventLog, RunCallback
from engine.training.losses import check_loss
from engine.training.offline import offline
from engine.training.reference import ReferenceCache
from engine.training.request import STATUS, read_request, read_status
from engine.training.shaped import ShapedPairs, read_shaped
from engine.training.trainer import ShapedCollator, ShapedDPOTrainer, training_arguments

STAGE_VERSION = 1
_OUTCOME_PREFIX = "rollout"
"""Settings that begin so change what is measured afterwards, not the run."""


@dataclass(frozen=True, slots=True)
class RunReport:
    """What a run did."""

    run_dir: Path
    model_dir: Path
    """The tuned checkpoint; it exists when ``is_finished``."""
    fingerprint: str
    n_pairs: int
    n_truncated: int
    """Pairs whose prompt + response exceeds max_length, so that the end of a response is not trained on."""
    n_prompt_lost: int
    """Pairs whose chat template renders the prompt differently once a response follows."""
    n_reference_computed: int
    """Pairs whose reference log-probabilities were not in the cache."""
    n_steps: int
    """Optimiser steps done in all, also before a resume."""
    resumed_from: int | None
    """Step of the save that this process went on from."""
    is_finished: bool
    last: dict[str, float]
    """Numbers of the last logged step: loss, loss/weighted, rewards/accuracies, …"""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"run_dir": str(self.run_dir), "model_dir": str(self.model_dir)}


def train(
    shaped_dir: Path,
    model_path: str,
    run_dir: Path,
    settings: TrainingSettings,
    progress: Progress,
    *,
    cache_dir: Path | None = None,
) -> RunReport:
    """Train on a shaped dataset, going on from the last whole save where there is one.

    Args:
        shaped_dir: folder with train.parquet.
        model_path: checkpoint to start from; it is also the reference.
        run_dir: one run; a finished one is returned as it is, another one's folder is refused.
        settings: everything that determines the result, with the inputs.
        progress: told about encode, reference and train; cancelling saves and stops.
        cache_dir: where reference log-probabilities are kept across runs; None: inside ``run_dir``.

    Raises:
        TrainError: input that must not or cannot be trained on, or a folder of another run.
        ModelError: a checkpoint that cannot be loaded.
        Cancelled: stopped on request, after saving; call again to go on.
    """
    is_main = int(os.environ.get("RANK", "0")) == 0
    run_dir.mkdir(parents=True, exist_ok=True)
    log = EventLog(run_dir / "events.jsonl", is_main=is_main)
    try:
        pairs = read_shaped(shaped_dir, settings.seed)
        check_loss(settings.loss_type, settings.label_smoothing, has_offsets=pairs.has_offsets)
        folder = resolve_folder(model_path)
        with offline():
            start = load_start(folder)
            run = _Run(run_dir, cache_dir or run_dir, settings, pairs, start, log, progress, is_main)
            return run.go()
    except ProsectError as error:
        log.write("cancelled" if isinstance(error, Cancelled) else "error", {"message": error.message})
        raise


@dataclass(frozen=True, slots=True)
class _Run:
    run_dir: Path
    cache_dir: Path
    settings: TrainingSettings
    pairs: ShapedPairs
    start: StartCheckpoint
    log: EventLog
    progress: Progress
    is_main: bool

    def go(self) -> RunReport:
        identity = self._fingerprint()
        if is_current(self.run_dir, identity):
            return _report_of(read_status(self.run_dir))
        self._refuse_other_run(identity)
        if self.is_main:
            (self.run_dir / STOP_FLAG).unlink(missing_ok=True)
        encoded = encode(self.pairs, self.start.tokenizer, self.settings.max_length, self.progress)
        if encoded.n_truncated:
            self.progress.note(
                f"{encoded.n_truncated} pairs exceed {self.settings.max_length} tokens and are cut"
            )
        if encoded.n_prompt_lost:
            self.progress.note(
                f"{encoded.n_prompt_lost} pairs have a prompt that the template renders in two ways"
            )
        callback, trainer = self._trainer(encoded)
        resume = last_whole(self.run_dir / "checkpoints") if self.is_main else None
        resume = _same_everywhere(trainer, resume)
        report = RunReport(
            self.run_dir,
            self.run_dir / "model",
            identity,
            self.pairs.n_pairs,
            encoded.n_truncated,
            encoded.n_prompt_lost,
            trainer.n_computed,
            0,
            int(resume.name.rpartition("-")[2]) if resume else None,
            is_finished=False,
            last={},
        )
        self._write_status("running", report)
        self.log.write("resume" if resume else "start", report.as_dict() | {"step": report.resumed_from or 0})
        return self._train(trainer, callback, report, resume)

    def _train(
        self, trainer: ShapedDPOTrainer, callback: RunCallback, report: RunReport, resume: Path | None
    ) -> RunReport:
        self.progress.start("train", _count_steps(self.settings, self.pairs.n_pairs, trainer), "steps")
        if report.resumed_from:
            self.progress.advance(report.resumed_from)
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
        values = asdict(report) | {"n_steps": trainer.state.global_step, "last": _last_log(trainer)}
        if callback.was_stopped:
            self._write_status("stopped", RunReport(**values))
            raise Cancelled(
                f"stopped after step {trainer.state.global_step} and saved",
                hint="train again to go on from there",
            )
        self._save_model(trainer, report.model_dir)
        finished = RunReport(**(values | {"is_finished": True}))
        self._write_status("finished", finished)
        if self.is_main:
            write_manifest(self.run_dir, self._manifest(finished))
        self.log.write("end", {"step": finished.n_steps} | finished.last)
        self.progress.finish()
        return finished

    def _trainer(self, encoded: EncodedPairs) -> tuple[RunCallback, ShapedDPOTrainer]:
        device = pick_device(self.settings.device).type
        if device == "cuda" and torch.cuda.device_count() > 1 and "RANK" not in os.environ:
            raise TrainError(
                "several GPUs are visible to a single process",
                hint="set CUDA_VISIBLE_DEVICES to one of them, or start the run under torchrun",
            )
        arguments = training_arguments(self.run_dir / "checkpoints", self.settings, device_type=device)
        precision = "bf16" if arguments.bf16 else "fp32"
        cache = ReferenceCache(self.cache_dir / "ref_logps" / f"{self.start.weights_hash}-{precision}")
        cache.load()
        callback = RunCallback(
            self.log, self.run_dir, self.progress, is_main=self.is_main, n_processes=arguments.world_size
        )
        tokenizer = self.start.tokenizer
        trainer = ShapedDPOTrainer(
            cache=cache,
            has_offsets=self.pairs.has_offsets,
            progress=self.progress,
            model=self.start.model,
            args=arguments,
            data_collator=ShapedCollator(
                pad_token_id=tokenizer.pad_token_id, max_length=self.settings.max_length
            ),
            train_dataset=Dataset(encoded.table),
            processing_class=tokenizer,
            callbacks=[callback],
            peft_config=_lora(self.settings),
        )
        trainer.remove_callback(PrinterCallback)
        if len(trainer.train_dataset) != self.pairs.n_pairs:
            raise TrainError(
                f"{self.pairs.n_pairs} pairs were given, {len(trainer.train_dataset)} would be trained on",
                hint="install the pinned trl: another version changes the data set",
            )
        return callback, trainer

    def _save_model(self, trainer: ShapedDPOTrainer, folder: Path) -> None:
        """The tuned checkpoint, complete and loadable without peft."""
        trainer.accelerator.wait_for_everyone()
        if self.settings.lora_rank == 0:
            trainer.save_model(str(folder))
        elif self.is_main:
            model = trainer.accelerator.unwrap_model(trainer.model)
            model.save_pretrained(str(self.run_dir / "adapter"))
            merged = model.merge_and_unload()
            merged.save_pretrained(str(folder))
        if self.is_main:
            self.start.tokenizer.save_pretrained(str(folder))
            (folder / "training_args.bin").unlink(missing_ok=True)  # a pickle; run.json says the same

    def _fingerprint(self) -> str:
        settings = {k: v for k, v in asdict(self.settings).items() if not k.startswith(_OUTCOME_PREFIX)}
        settings |= {"model": "", "processes": int(os.environ.get("WORLD_SIZE", "1"))}
        return fingerprint("train", STAGE_VERSION, self._inputs(), settings)

    def _inputs(self) -> dict[str, str]:
        return {
            "shaped": self.pairs.content_hash,
            "weights": self.start.weights_hash,
            "tokenizer": self.start.tokenizer_hash,
        }

    def _refuse_other_run(self, identity: str) -> None:
        if not (self.run_dir / STATUS).exists():
            return
        status = read_status(self.run_dir)
        if status["report"]["fingerprint"] != identity:
            raise TrainError(
                f"{self.run_dir} holds a run with other data, checkpoint or settings",
                hint="give the new run a folder of its own",
            )

    def _write_status(self, status: str, report: RunReport) -> None:
        if self.is_main:
            state = {"status": status, "process": os.getpid(), "report": report.as_dict()}
            state |= {"settings": asdict(self.settings), "inputs": self._inputs()}
            state |= {"model_path": str(self.start.path), "packages": _packages()}
            write_json(self.run_dir / STATUS, state)

    def _manifest(self, report: RunReport) -> Manifest:
        return Manifest(
            stage="train",
            stage_version=STAGE_VERSION,
            fingerprint=report.fingerprint,
            inputs=self._inputs(),
            settings=asdict(self.settings),
            facts={k: v for k, v in report.as_dict().items() if k not in ("run_dir", "model_dir")},
            packages=_packages(),
        )


def _packages() -> dict[str, str]:
    return package_versions("prosect", "torch", "transformers", "trl", "accelerate", "peft", "tokenizers")


def _report_of(status: dict[str, Any]) -> RunReport:
    values = status["report"]
    return RunReport(**(values | {k: Path(values[k]) for k in ("run_dir", "model_dir")}))


def _same_everywhere(trainer: ShapedDPOTrainer, resume: Path | None) -> Path | None:
    """The first process's choice of a save, on every process."""
    if trainer.accelerator.num_processes == 1:
        return resume
    from accelerate.utils import broadcast_object_list

    choice = broadcast_object_list([resume], from_process=0)
    path: Path | None = choice[0]
    return path


def _last_log(trainer: ShapedDPOTrainer) -> dict[str, float]:
    steps = [entry for entry in trainer.state.log_history if "loss" in entry]
    return {k: float(v) for k, v in steps[-1].items()} if steps else {}


def _count_steps(settings: TrainingSettings, n_pairs: int, trainer: ShapedDPOTrainer) -> int:
    per_step = settings.batch_pairs * trainer.accelerator.num_processes
    return settings.steps or -(-n_pairs // per_step)


def _lora(settings: TrainingSettings) -> Any:
    if settings.lora_rank == 0:
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=settings.lora_rank,
        lora_alpha=2 * settings.lora_rank,
        lora_dropout=0.0,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )


@contextmanager
def _stop_on_signal(token: CancelToken) -> Iterator[None]:
    """Ctrl+C and termination save and stop; a second one ends the process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, _frame: object) -> None:
        if token.is_cancelled:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        token.cancel()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(arguments: list[str]) -> int:
    """Run one request file; 0 finished, 130 stopped, 2 failed. Messages go to stderr and events.jsonl."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m engine.training.run REQUEST_JSON\n")
        return 2
    token = CancelToken()
    try:
        request = read_request(Path(arguments[0]))
        with _stop_on_signal(token):
            train(
                request.shaped_dir,
                request.model_path,
                request.run_dir,
                request.settings,
                NullProgress(token),
                cache_dir=request.cache_dir,
            )
    except Cancelled as stopped:
        sys.stderr.write(f"{stopped}\n")
        return 130
    except ProsectError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    finally:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
