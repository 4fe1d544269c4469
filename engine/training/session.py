"""One run from checked pairs to a tuned checkpoint: encode, reference pass, steps, saves, status.

Every process of a distributed run goes through the same code; only the first one writes.
"""

import math
import os
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from datasets import Dataset
from transformers import PrinterCallback

from engine.errors import Cancelled, ProsectError, TrainError
from engine.manifest import Manifest, fingerprint, is_current, package_versions, write_json, write_manifest
from engine.models.blocks import max_positions_of
from engine.models.devices import pick_device
from engine.progress import Progress
from engine.settings import TrainingSettings
from engine.training.checkpoint import StartCheckpoint, last_whole, readable
from engine.training.encode import EncodedPairs, encode
from engine.training.events import STOP_FLAG, EventLog, RunCallback, with_epoch
from engine.training.interventions import Intervention, check_fits, steering_columns
from engine.training.masks import SIDES, Masks, keep_columns
from engine.training.reference import ReferenceCache
from engine.training.report import RunReport, report_of
from engine.training.request import STATUS, read_status
from engine.training.saving import drop_torn, saving
from engine.training.shaped import ShapedPairs
from engine.training.steps import in_whole_steps, n_processes, n_reached
from engine.training.trainer import ShapedCollator, ShapedDPOTrainer, check_batches, training_arguments
from engine.wording import counted

STAGE_VERSION = 2
_OUTCOME_PREFIX = "rollout"
"""Settings that begin so change what is measured afterwards, not the run."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What is done beside weights and offsets."""

    interventions: tuple[Intervention, ...]
    masks: Masks


@dataclass(frozen=True, slots=True)
class Session:
    """A run in this process."""

    run_dir: Path
    cache_dir: Path
    settings: TrainingSettings
    pairs: ShapedPairs
    changes: Changes
    start: StartCheckpoint
    log: EventLog
    progress: Progress

    @property
    def is_main(self) -> bool:
        """The process that writes."""
        return self.log.is_main

    @property
    def max_length(self) -> int:
        """Tokens at most: beyond its positions a checkpoint fails, or answers with what it never learnt."""
        positions = max_positions_of(self.start.model)
        return min(self.settings.max_length, positions or self.settings.max_length)

    def go(self) -> RunReport:
        """Finish the run, or return it when it is finished. Raises ``Cancelled`` after saving."""
        identity = self._fingerprint()
        if is_current(self.run_dir, identity):
            return report_of(read_status(self.run_dir))
        self._refuse_other_run(identity)
        self._check()
        if self.is_main:
            (self.run_dir / STOP_FLAG).unlink(missing_ok=True)
        used = self.pairs.first(self._n_reached())
        encoded = encode(used, self.start.tokenizer, self.max_length, self.progress)
        self._say_what_is_unusual(encoded)
        callback, trainer = self._trainer(self._with_shares(self._with_changes(used, encoded)))
        resume = last_whole(self.run_dir / "checkpoints") if self.is_main else None
        resume = _same_everywhere(trainer, resume)
        report = RunReport(
            self.run_dir,
            self.run_dir / "model",
            identity,
            self.pairs.n_pairs,
            used.n_pairs,
            encoded.n_truncated,
            encoded.n_prompt_lost,
            encoded.n_inoculated,
            trainer.n_computed,
            0,
            int(resume.name.rpartition("-")[2]) if resume else None,
            is_finished=False,
            last={},
            max_length=self.max_length,
        )
        self._write_status("running", report)
        self.log.write("resume" if resume else "start", report.as_dict() | {"step": report.resumed_from or 0})
        try:
            return self._train(trainer, callback, report, resume)
        except Cancelled:
            raise
        except BaseException:
            self._leave_failed(report)
            raise

    def _leave_failed(self, report: RunReport) -> None:
        """Make room and say that the run failed; where nothing can be written, the error itself says so."""
        if not self.is_main or is_current(self.run_dir, report.fingerprint):
            return  # finished: it is only the last line of the log that failed
        drop_torn(self.run_dir)
        with suppress(ProsectError, OSError):
            self._write_status("failed", report)

    def _check(self) -> None:
        """Refuse before anything takes time what could not be trained with these settings."""
        check_batches(self.settings)
        check_fits(self.changes.interventions, self.start.model)
        if not self.changes.masks.are_known(self.settings.seed, self._n_reached(), self.pairs.n_pairs):
            steps = math.ceil(self._n_reached() / self.settings.batch_pairs)
            raise TrainError(
                f"token masks are known for fewer pairs than the {self._n_reached():,} that this run reaches",
                hint=f"`prosect train` in one process with --steps {steps} reads the others before it starts",
            )
        check_device(self.settings)

    def _with_shares(self, table: pa.Table) -> pa.Table:
        micro = check_batches(self.settings)
        return in_whole_steps(table, micro, self.settings.batch_pairs // micro, n_processes())

    def _say_what_is_unusual(self, encoded: EncodedPairs) -> None:
        note = self.progress.note
        if self.max_length < self.settings.max_length:
            note(
                f"training.max_length {self.settings.max_length} is lowered to {self.max_length}:"
                " the checkpoint has no more positions"
            )
        if encoded.n_truncated:
            note(f"{counted(encoded.n_truncated, 'pair')} of more than {self.max_length} tokens cut")
        if encoded.n_prompt_lost:
            note(f"{counted(encoded.n_prompt_lost, 'pair')} whose prompt the template renders in two ways")
        if encoded.n_inoculated:
            note(f"{counted(encoded.n_inoculated, 'pair')} inoculated")
        if "strftime_now" in str(self.start.tokenizer.chat_template):
            note("the chat template writes today's date: the same run tomorrow has other tokens")

    def _train(
        self, trainer: ShapedDPOTrainer, callback: RunCallback, report: RunReport, resume: Path | None
    ) -> RunReport:
        self.progress.start(
            "train", self.settings.steps or -(-self.pairs.n_pairs // self._pairs_per_step()), "steps"
        )
        if report.resumed_from:
            self.progress.advance(report.resumed_from)
        if resume:
            trainer.go_on_counting(resume)
        trainer.train(resume_from_checkpoint=str(resume) if resume else None)
        last = with_epoch(_last_log(trainer), report.n_used / report.n_pairs)
        values = asdict(report) | {"n_steps": trainer.state.global_step, "last": last}
        if callback.was_stopped:
            self._write_status("stopped", RunReport(**values))
            raise Cancelled(
                f"stopped after step {trainer.state.global_step} and saved",
                hint="train again to go on from there",
            )
        with saving():
            self._save_model(trainer, report.model_dir)
        finished = RunReport(**(values | {"is_finished": True}))
        self._write_status("finished", finished)
        if self.is_main:
            write_manifest(self.run_dir, self._manifest(finished))
            # saves to resume from hold the optimiser, too: several times the checkpoint that is left
            shutil.rmtree(self.run_dir / "checkpoints", ignore_errors=True)
        self.log.write("end", {"step": finished.n_steps} | finished.last)
        self.progress.finish()
        return finished

    def _trainer(self, encoded: pa.Table) -> tuple[RunCallback, ShapedDPOTrainer]:
        device = pick_device(self.settings.device).type
        settings = replace(self.settings, max_length=self.max_length)
        arguments = training_arguments(self.run_dir / "checkpoints", settings, device_type=device)
        precision = "bf16" if arguments.bf16 else "fp32"
        cache = ReferenceCache(self.cache_dir / "ref_logps" / f"{self.start.weights_hash}-{precision}")
        cache.load()
        callback = RunCallback(
            self.log,
            self.run_dir,
            self.progress,
            is_main=self.is_main,
            n_processes=arguments.world_size,
            share_used=self._n_reached() / self.pairs.n_pairs,
        )
        tokenizer = self.start.tokenizer
        trainer = ShapedDPOTrainer(
            cache=cache,
            has_offsets=self.pairs.has_offsets,
            progress=self.progress,
            model=self.start.model,
            args=arguments,
            data_collator=ShapedCollator(pad_token_id=tokenizer.pad_token_id, max_length=self.max_length),
            train_dataset=Dataset(encoded),
            processing_class=tokenizer,
            callbacks=[callback],
            peft_config=_lora(self.settings),
        )
        trainer.remove_callback(PrinterCallback)
        if len(trainer.train_dataset) != encoded.num_rows:
            raise TrainError(
                f"{encoded.num_rows} pairs came in, {len(trainer.train_dataset)} would be trained on",
                hint="install the pinned trl: another version changes the data set",
            )
        trainer.intervene(self.changes.interventions)
        return callback, trainer

    def _with_changes(self, used: ShapedPairs, encoded: EncodedPairs) -> pa.Table:
        """The encoded pairs, with the columns that say where steering acts and which tokens count."""
        table = encoded.table
        items, masks = self.changes.interventions, self.changes.masks
        if not items and not masks.spans:
            return table
        given = [name for name in ("tools",) if name in used.table.column_names]
        rows = used.table.select(["pair_id", "prompt", *SIDES, *given]).to_pylist()
        ids, prompts = [row["pair_id"] for row in rows], [row["prompt"] for row in rows]
        tools = [row.get("tools") for row in rows]
        for name, steered in steering_columns(items, ids, prompts, self.start.tokenizer, tools).items():
            table = table.append_column(name, pa.array(steered, pa.int64()))
        kept = keep_columns(masks, rows, encoded.table, self.start.tokenizer)
        for name, counts in kept.columns.items():
            table = table.append_column(name, pa.array(counts, pa.list_(pa.int8())))
        if kept.n_tokens:
            empty = f"; {kept.n_empty} responses have no text left" if kept.n_empty else ""
            self.progress.note(f"{kept.n_tokens} response tokens are masked{empty}")
        return table

    def _save_model(self, trainer: ShapedDPOTrainer, folder: Path) -> None:
        """The tuned checkpoint, complete and loadable without peft."""
        trainer.accelerator.wait_for_everyone()
        trainer.accelerator.unwrap_model(trainer.model).config.use_cache = self.start.uses_cache
        if self.settings.lora_rank == 0:
            trainer.save_model(str(folder))
        elif self.is_main:
            model = trainer.accelerator.unwrap_model(trainer.model)
            model.save_pretrained(str(self.run_dir / "adapter"))
            merged = model.merge_and_unload()
            merged.save_pretrained(str(folder))
            readable(self.run_dir / "adapter", "adapter_config.json")
        if self.is_main:
            self.start.tokenizer.save_pretrained(str(folder))
            (folder / "training_args.bin").unlink(missing_ok=True)  # a pickle; run.json says the same
            readable(folder)

    def _pairs_per_step(self) -> int:
        return self.settings.batch_pairs * n_processes()

    def _n_reached(self) -> int:
        """Pairs that the run sees; encoding and reference pass need no others."""
        return n_reached(self.settings.steps, self.settings.batch_pairs, self.pairs.n_pairs)

    def _fingerprint(self) -> str:
        settings = {k: v for k, v in asdict(self.settings).items() if not k.startswith(_OUTCOME_PREFIX)}
        settings.pop("pilot_share")  # what is forecast beforehand does not change the run
        settings |= {"model": "", "processes": n_processes()}
        return fingerprint("train", STAGE_VERSION, self._inputs(), settings)

    def _inputs(self) -> dict[str, str]:
        inputs = {
            "shaped": self.pairs.content_hash,
            "weights": self.start.weights_hash,
            "tokenizer": self.start.tokenizer_hash,
        }
        if self.changes.masks.names:
            used = self.pairs.first(self._n_reached()).table.column("pair_id").to_pylist()
            inputs["masks"] = self.changes.masks.content_hash(frozenset(used))
        items = self.changes.interventions
        return inputs | {f"intervention {i}": item.content_hash for i, item in enumerate(items)}

    def _refuse_other_run(self, identity: str) -> None:
        if not (self.run_dir / STATUS).exists():
            return
        status = read_status(self.run_dir)
        if status["report"]["fingerprint"] != identity:
            raise TrainError(
                f"{self.run_dir} holds a run with other data, checkpoint or settings, or of an older version",
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


def check_device(settings: TrainingSettings) -> None:
    """Refuse a device that is not there, and several for one process.

    Raises:
        ModelError: no such device.
        TrainError: a single process would spread over all GPUs.
    """
    device = pick_device(settings.device).type
    if device == "cuda" and torch.cuda.device_count() > 1 and "RANK" not in os.environ:
        raise TrainError(
            "several GPUs are visible to a single process",
            hint="set CUDA_VISIBLE_DEVICES to one of them, or start the run under torchrun",
        )


def _packages() -> dict[str, str]:
    return package_versions("prosect", "torch", "transformers", "trl", "accelerate", "peft", "tokenizers")


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
    last = {k: float(v) for k, v in steps[-1].items()} if steps else {}
    return {k: v for k, v in last.items() if math.isfinite(v)}


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
