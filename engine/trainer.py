# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The training loop. Trainer.fit reads from top to bottom."""
import contextlib
import time
from argparse import Namespace
from pathlib import Path

import utils.device
from data import training_dataset
from data.loader import BadImages, NoBatch, TrainingOrder, hold_out, make_loader, require_images, spread
from engine import checkpoint, run_folder, run_report
from engine.ema import Ema
from engine.evaluate import to_device
from engine.inspection import look_through
from engine.logger import Logger, clock, loss_line, time_line
from engine.loss_log import PendingLosses
from engine.precision import choose_precision, record
from engine.probe import refuse_diverged
from engine.profiling import Profiler
from engine.report import picture_grid
from engine.schedule import LR_SCALES, lr_factor
from engine.state import Networks, Optimizers, Options, Progress, RandomNumbers, RecipeState, TrainingState
from engine.stopping import Stopping
from engine.timer import StepTimer
from engine.validation import Validation
from metrics.psnr_ssim import decibels
from models import build_training_recipe
from models.base_model import optimizer_of
from models.weights import load_pretrained
from utils import amp, distributed
from utils.errors import UserError
from utils.sync_bn import require_batch_norm, synchronise_batch_norm


class Trainer:
    """One training run. `fit()` runs it and returns the exit status.

    options: what options/train_options.py parses. Raises UserError for everything that can be refused, before the run's
    folder changes.
    """

    def __init__(self, options: Namespace) -> None:
        self.options = o = options
        self.device = distributed.join_ranks(o)
        self._load_file_lists()
        with contextlib.ExitStack() as held:  # the lock of the run's folder, until fit() ends
            self.folder, going_on = distributed.from_main(lambda: run_folder.prepare(o, held))
            self._set_up(going_on)
            self._held = held.pop_all()

    # -- set-up -----------------------------------------------------------------------------------------------

    def _set_up(self, going_on):
        o = self.options
        saved = run_folder.load_checkpoint(self.folder, o) if going_on else None
        self.state = TrainingState(self.folder, saved)
        self.precision = choose_precision(o, self.device, saved.get("options", {}) if saved else None)
        self.opt_level, self.half = self.precision.precision
        self.progress = self.state.add("progress", Progress())
        self._plan_steps()
        self.profiler = Profiler(o.profile_steps, self.device, self.folder)
        self.profiler.check(self.progress.step, self.total_steps)
        utils.device.seed_everything(o.seed)
        self._build_networks()
        if distributed.rank():
            utils.device.seed_everything(o.seed + distributed.rank())  # each rank draws its own numbers from here on
        self.state.add("rng", RandomNumbers(self.device))
        self.state.add("options", Options(o, record(self.device, self.precision.precision)))
        self.state.forget_saved()
        if self.val_set:
            look_through(self.val_set, o)
        # From here on the run's folder changes: all that could be refused has been checked.
        self.log = Logger(self.folder, self.progress.step, o.rank_logs)
        if distributed.is_main():
            run_folder.write_options(o, self.folder)
        self.losses = PendingLosses(self.train_set.paths, self.progress.losses)
        self.bad_images = BadImages(len(self.train_set), o.on_bad_image, self.log.warn, self.progress.bad_images)
        self.elapsed_before = self.progress.elapsed
        self.first_step = self.progress.step  # of this call
        self.saved_step = self.progress.step if self.state.continues else None
        self.last_faces = None  # of the last step
        self.validated = False  # whether this call has validated
        self.stopping = Stopping(o.max_minutes)

    def _load_file_lists(self):
        o = self.options
        dataset, common = training_dataset(o)

        def list_of(folder, option):  # rank 0 builds a long list, the other ranks map it
            index_folder, outputs = Path(o.checkpoints_dir) / ".file_lists", run_folder.output_folders(o)
            return distributed.main_first(lambda: dataset.list_faces(folder, option, index_folder, outputs))

        train, val = hold_out(list_of(o.dataroot, "--dataroot"), o.val_count)
        if o.valroot:
            val = list_of(o.valroot, "--valroot")
        if o.val_max and len(val) > o.val_max:
            val = val.at(spread(o.val_max, len(val)))
        self.train_set = dataset(train, augmentation=o.augmentation, **common)
        self.val_set = dataset(val, augmentation="none", **common) if val else None

    def _plan_steps(self):
        """Sets the number of steps. A resumed run may have another batch size, so the rest is counted in images."""
        o = self.options
        self.images_per_step = o.batch_size * o.accumulate * distributed.world_size()
        require_images(self.train_set, o, distributed.world_size())
        left = -(-max(0, o.total_epochs * len(self.train_set) - self.progress.samples) // self.images_per_step)
        self.total_steps = o.train_steps or self.progress.step + left
        # The schedule counts images, too: it sees each step shifted by this many steps.
        self.schedule_offset = self.progress.samples / self.images_per_step - self.progress.step

    def _build_networks(self):
        """Builds, loads and moves the networks; then their averages, mixed precision and optimizers, in this order."""
        o = self.options
        self.recipe = build_training_recipe(o)
        if o.sync_bn:
            require_batch_norm(self.recipe.networks.values())
            self.recipe.replace({role: synchronise_batch_norm(net, self.device)
                                 for role, net in self.recipe.networks.items()})
        self.networks = dict(self.recipe.networks)
        if not self.state.continues:
            note = load_pretrained(self.networks, o)
            if note and distributed.is_main():
                print(note, flush=True)
        self.state.add("networks", Networks(self.networks))
        self.state.add("recipe", RecipeState(self.recipe))
        for net in (*self.networks.values(), *self.recipe.frozen.values()):
            net.to(self.device, memory_format=utils.device.memory_format(self.device))
        self.recipe.state.update({name: value.to(self.device) for name, value in self.recipe.state.items()})
        for net in self.networks.values():
            net.train()
            distributed.share_from_main([*net.parameters(), *net.buffers()])
        self.averages = {role: Ema(self.networks[role], decay) for role, decay in self.recipe.ema_decay.items()}
        averaged = {role: average.net for role, average in self.averages.items()}
        self.state.add("ema", Networks(averaged, "averages of the weights (--ema_decay)"))
        for net in self.recipe.frozen.values():
            amp.prepare_inference(net, self.opt_level, self.half)
        self.optimizers = {name: self._make_optimizer(spec) for name, spec in self.recipe.optimizers.items()}
        kinds = {name: spec.kind for name, spec in self.recipe.optimizers.items()}
        self.state.add("optimizers", Optimizers(self.optimizers, kinds))
        self.recipe.release(self.networks | averaged)
        if any(optimizer.needs_ddp for optimizer in self.optimizers.values()):
            self.recipe.replace({role: distributed.wrap(net, o.accumulate) for role, net in self.networks.items()})

    def _make_optimizer(self, spec):
        """Returns the optimizer that `spec` describes, under mixed precision, which also prepares its networks."""
        o = self.options
        optimizer = utils.device.make_optimizer(spec, spec.parameter_groups(self.networks), self.device,
                                                self.opt_level)
        return amp.initialize(
            [self.networks[role] for role in spec.roles], optimizer, self.opt_level, o.loss_scale, o.combine_grad,
            self.half, o.max_grad_norm, distributed.average_ if distributed.launched() else None,
            buckets=len(self.recipe.optimizers) == 1)[1]

    # -- the run ----------------------------------------------------------------------------------------------

    def fit(self) -> int:
        """Trains until the last step, --max_minutes or a signal.

        Returns the exit status: 0, or 128 plus the number of the signal. Raises UserError if the training failed.
        """
        with self._held, contextlib.closing(self.log), self.stopping:
            run_report.greet(self)
            self.started = time.monotonic()
            with contextlib.closing(self.profiler):
                self._loop()
            step = self.progress.step
            self.stopping.raise_failure(f"Saved after step {step}: go on with --continue_train." if step else
                                        "Nothing was trained yet.")
            if self.stopping.signal:
                self.log.say(f"Stopped by {self.stopping.signal.name} after step {step}; saved. Continue with "
                             f"--continue_train.")
                return self.stopping.exit_status
            self.bad_images.take_in_all_ranks()
            if distributed.is_main():
                run_report.finish(self)
            if step < self.total_steps:
                self.log.say(f"--max_minutes {self.options.max_minutes:g} ended this call after step {step} of "
                             f"{self.total_steps}; saved. Continue with --continue_train.")
            return 0

    def _loop(self):
        o = self.options
        self.timer = StepTimer(self.device, self.total_steps - self.progress.step)
        batches = iter(self._train_loader())
        while True:
            if self._validation_is_due():
                self._validate()
            if self.progress.step >= self.total_steps:
                self._wish_to_stop()  # a signal during the last step counts, too
                break
            self.timer.start_step()
            micro_batches = self.stopping.attempt(lambda: [self._next_batch(batches) for _ in range(o.accumulate)],
                                                  NoBatch)
            if self._wish_to_stop():
                break
            self._set_lr()
            self.profiler.before(self.progress.step + 1)
            losses = self._train_step(micro_batches)
            self.timer.step_done()
            self.progress.step += 1
            self.progress.samples += self.images_per_step
            self.losses.add(self.progress.step, losses, [i for b in micro_batches for i in b["index"]])
            self.last_faces = micro_batches[0]["faces"]
            self._after_step()
        if self.timer.has_window():
            self._log_window()
        if self.progress.step or not self.stopping.failure:
            self._save()

    def _wish_to_stop(self):
        """Returns whether to stop: any rank received a signal, failed or exceeded --max_minutes (engine/stopping.py).

        No rank starts a step, or a batch of a validation, that another one does not.
        """
        return self.stopping.agree()

    def _train_loader(self):
        o = self.options
        batches = (self.total_steps - self.progress.step) * o.accumulate
        order = TrainingOrder(len(self.train_set), o.batch_size, batches, o.seed, start=self.progress.samples,
                              rank=distributed.rank(), ranks=distributed.world_size())
        return make_loader(self.train_set, order, o.workers, self.device.type != "cpu", o.data_timeout)

    def _next_batch(self, batches):
        batch = next(batches)
        self.bad_images.check(batch)
        return batch | {"faces": to_device(batch, self.device)}

    def _train_step(self, micro_batches):
        """Runs all phases of one step. Returns {loss name: 0-d tensor on the device}, means over the micro-batches."""
        self.timer.got_data()
        shown, lazy = {}, False
        # Phase by phase; within a phase, forward and backward of one micro-batch after the other.
        for parts in zip(*(self._backward(b["faces"], i, len(micro_batches)) for i, b in enumerate(micro_batches)),
                         strict=True):
            phase = parts[0][0]
            optimizer = self.optimizers[optimizer_of(phase)]
            optimizer.step()
            optimizer.zero_grad()
            lazy |= optimizer_of(phase) != phase
            for _, losses in parts:
                for name, value in losses.items():
                    shown[name] = shown.get(name, 0) + value.detach() / len(parts)
        for role, average_of in self.averages.items():
            average_of.update(self.networks[role], self.progress.step)
        if lazy:  # only lazy phases change the recipe's state
            distributed.average_(list(self.recipe.state.values()))
        self.timer.mark("backward")
        return shown

    def _backward(self, faces, place, count):
        """Runs forward and backward of micro-batch `place` of `count`. Yields (phase, losses) after each phase."""
        phases = self.recipe.training_step(faces, self.progress.step)
        while True:
            with distributed.averaging(self.recipe.networks, place == count - 1):
                found = next(phases, None)
                if found is None:
                    return
                phase, losses = found
                self.timer.mark("forward")
                with amp.scale_loss(sum(losses.values()) / count, self.optimizers[optimizer_of(phase)]) as scaled:
                    scaled.backward()
                self.timer.mark("backward")
            yield phase, losses

    def _set_lr(self):
        o = self.options
        step, total = (steps + self.schedule_offset for steps in (self.progress.step, self.total_steps))
        self.lr_factor = LR_SCALES[o.scale_lr](distributed.world_size()) * lr_factor(
            step, total, o.lr_policy, o.warmup_steps, o.lr_decay_at, o.lr_gamma, o.lr_final)
        for name, optimizer in self.optimizers.items():
            optimizer.set_lr(self.recipe.optimizers[name].lr * self.lr_factor)

    # -- after a step: log, validate, save ----------------------------------------------------------------------

    def _after_step(self):
        o, step = self.options, self.progress.step
        at_end = step == self.total_steps
        if step % o.print_freq == 0 or at_end:
            self._log_window()
        save, show, keep = (step % every == 0 for every in (o.save_latest_freq, o.visual_freq, o.save_iter_freq))
        profiled = self.profiler.after(step)
        if not (save or show or keep or at_end or profiled):
            return
        self.timer.pause()
        self.losses.read()  # raises UserError for a loss that is not finite, before networks are scored or saved
        if save or at_end:
            self._save()  # before anything else that may fail
        if keep:
            self._save_weights(f"iter_{step}")
        if show:
            self.stopping.attempt(self._show)
        if profiled:
            self.log.say(f"Profile of --profile_steps {o.profile_steps}: tensorboard --logdir {self.profiler.folder}")
        self.timer.resume()

    def _validation_is_due(self):
        """Returns whether to validate now: at the end, and after an epoch. A validation that was stopped is due again.
        """
        step, last = self.progress.step, self.progress.last_val
        if not self.val_set or not step or last and last.get("step", step) == step:
            return False
        return step >= self.total_steps or self.progress.samples // len(self.train_set) > self._epoch()

    def _epoch(self):
        """Returns the 0-based epoch of the first image of the last step."""
        return (self.progress.samples - self.images_per_step) // len(self.train_set)

    def _log_window(self):
        o, length = self.options, len(self.train_set)
        means = self.timer.window()
        self.losses.read()
        left = means["total"] * (self.total_steps - self.progress.step)
        epoch = self._epoch()
        first = -(-epoch * length // self.images_per_step)  # the epoch's first step, 0-based
        last = -(-(epoch + 1) * length // self.images_per_step)
        # Counted in images, not in steps: a resumed run may have another batch size.
        place = min(-(-self.progress.samples // self.images_per_step), last)
        fps = self.images_per_step / means["total"]
        overflows = {name: optimizer.overflows() for name, optimizer in self.optimizers.items()}
        lr = self.lr_factor * o.lr
        self.log.say(time_line(self._elapsed(), left, means))
        self.log.say(loss_line(epoch + 1, place - first, last - first, self.progress.step, self.total_steps,
                               self.losses.last))
        scales = " ".join(f"{name}: scale {v.scale:g} skipped {'unknown' if v.skipped is None else v.skipped}"
                          for name, v in overflows.items())
        self.log.say(f"Progress: {100 * self.progress.step / self.total_steps:.1f} %  {fps:.2f} images/sec  "
                     f"ETA {clock(left)}  lr {lr:.3e}" + (f"  {scales}" if self.opt_level != "O0" else ""))
        self.log.record("train", self.progress.step, images_per_sec=fps, sec_per_step=means["total"], lr=lr,
                        epoch=self.progress.samples / length,
                        **{f"Loss_{name}": value for name, value in self.losses.last.items()},
                        **{f"skipped_{name}": v.skipped for name, v in overflows.items()})
        for name, seen in overflows.items():
            if (seen.in_a_row or 0) >= amp.MAX_SKIPS_IN_A_ROW:
                raise UserError(f"{seen.in_a_row} steps in a row overflowed in optimizer {name} (step "
                                f"{self.progress.step}, losses {self.losses.last}). Lower --loss_scale or use "
                                f"--loss_scale dynamic; checkpoints up to here are untouched.", status=1)

    def _show(self):
        if distributed.is_main():
            shown, _ = picture_grid(self.recipe, self.last_faces, rows=4)
            self.log.board.add_image("train", shown, self.progress.step, dataformats="HWC")

    def _validate(self):
        """Validates unless a signal or a failure ends it. The best networks so far are saved as best_net_*.pth."""
        self.timer.pause()
        self.losses.read()
        for net in self.networks.values():
            # Every rank validates with rank 0's batch norm statistics: these are saved.
            distributed.share_from_main(list(net.buffers()))
        record = Validation(self.options, self.val_set, self.recipe, self.device, self.log.warn).run(
            self.stopping, self._wish_to_stop)
        if record:
            self._use(record | {"step": self.progress.step})
        self.timer.resume()

    def _use(self, record):
        self.validated, self.progress.last_val = True, record
        self.log.say(f"Validation: PSNR {decibels(record['psnr'])} dB  SSIM {record['ssim']:.4f}  "
                     f"({self.val_set.input_title} {decibels(record['input_psnr'])} / {record['input_ssim']:.4f}; "
                     f"{record['faces']} faces, protocol {record['protocol']})")
        self.log.record("val", **record)
        if self.progress.best is None or record["psnr"] > self.progress.best["psnr"]:
            self.progress.best = record
            self._save_weights("best")
        if self.saved_step == self.progress.step:
            self._write_state()  # again: now with the result

    def _save(self):
        """Saves everything, unless this step is saved already. Raises UserError for a training that has diverged."""
        if self.saved_step == self.progress.step:
            return
        if self.last_faces is not None:
            refuse_diverged(self.recipe, self.networks, self.last_faces, self.progress.step)
        self._write_state()
        self._save_weights("latest")
        self.saved_step = self.progress.step

    def _write_state(self):
        self.progress.elapsed = self._elapsed()
        self.state.save(self.progress.step, self.options.keep_checkpoints)

    def _save_weights(self, label):
        distributed.from_main(lambda: checkpoint.save_weights(self.folder, label, self.recipe.released_networks()))

    def _elapsed(self):
        return self.elapsed_before + time.monotonic() - self.started
