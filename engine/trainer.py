"""The training loop. Trainer.fit reads from top to bottom."""
import signal
import time
from argparse import Namespace
from pathlib import Path

import torch

import utils.device
from data import training_dataset
from data.loader import BadImages, InOrder, TrainingOrder, hold_out, make_loader, spread
from engine import checkpoint, run_folder
from engine.ema import Ema
from engine.evaluate import average, input_psnr, restore_all, score_faces, to_device
from engine.logger import Logger, clock, loss_line, read_metrics, time_line
from engine.loss_log import PendingLosses
from engine.report import picture_grid, write_curves
from engine.schedule import LR_SCALES, lr_factor
from engine.state import Networks, Optimizers, Options, Progress, RandomNumbers, RecipeState, TrainingState
from engine.timer import StepTimer
from models import build_training_recipe
from models.base_model import optimizer_of
from models.weights import count_parameters, load_pretrained
from restore.restorer import Restorer
from utils import amp, distributed
from utils.errors import UserError
from utils.images import save_image
from utils.sync_bn import require_batch_norm, synchronise_batch_norm

TIME_IS_UP = 1  # a reason to stop; below every signal's number, so that a signal outranks it
EXIT_CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}


class Trainer:
    """One training run. `fit()` runs it and returns the exit status.

    options: what options/train_options.py parses. Raises UserError for everything that can be refused, before the run's
    folder changes.
    """

    def __init__(self, options: Namespace) -> None:
        self.options = o = options
        self.device = distributed.join_ranks(o)
        self.opt_level = o.opt_level or utils.device.default_opt_level(self.device)
        self.half = getattr(torch, o.amp_dtype) if o.amp_dtype else utils.device.default_half(self.device)
        self._load_file_lists()
        self.folder, going_on = distributed.from_main(lambda: run_folder.prepare(o))
        self.state = TrainingState(self.folder, run_folder.load_checkpoint(self.folder, o) if going_on else None)
        self.progress = self.state.add("progress", Progress())
        self._plan_steps()
        utils.device.seed_everything(o.seed)
        self._build_networks()
        if distributed.rank():
            utils.device.seed_everything(o.seed + distributed.rank())  # each rank draws its own numbers from here on
        self.state.add("rng", RandomNumbers(self.device))
        self.state.add("options", Options(o))
        self.state.forget_saved()
        # From here on the run's folder changes: all that could be refused has been checked.
        if distributed.is_main():
            run_folder.write_options(o, self.folder)
        self.log = Logger(self.folder, self.progress.step, o.rank_logs)
        self.losses = PendingLosses(self.train_set.paths, self.progress.losses)
        self.bad_images = BadImages(len(self.train_set), o.on_bad_image, self.log.warn, self.progress.bad_images)
        self.elapsed_before = self.progress.elapsed
        self.stop_signal = None

    # -- set-up -----------------------------------------------------------------------------------------------

    def _load_file_lists(self):
        o = self.options
        dataset, common = training_dataset(o)

        def list_of(folder, option):  # rank 0 builds a long list, the other ranks map it
            index_folder = Path(o.checkpoints_dir) / ".file_lists"
            return distributed.main_first(lambda: dataset.list_faces(folder, option, index_folder))

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
        if self.images_per_step > len(self.train_set):
            several = f" on {distributed.world_size()} devices" if distributed.world_size() > 1 else ""
            raise UserError(f"--batch_size {o.batch_size} times --accumulate {o.accumulate}{several} is more than the "
                            f"{len(self.train_set)} images to train on in {o.dataroot}: choose a smaller --batch_size.")
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
            load_pretrained(self.networks, o)
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

        Returns the exit status: 0, or 143 / 130 after SIGTERM / Ctrl-C.
        """
        self._greet()
        self.started = time.monotonic()
        previous = {s: signal.signal(s, self._note_signal) for s in EXIT_CODES}
        try:
            self._loop()
            if self.stop_signal:
                self.log.say(f"Stopped by {signal.Signals(self.stop_signal).name} after step {self.progress.step}; "
                             f"saved. Continue with --continue_train.")
                return EXIT_CODES[self.stop_signal]
            if distributed.is_main():
                self._finish()
            if self.progress.step < self.total_steps:
                self.log.say(f"--max_minutes {self.options.max_minutes:g} ended this call after step "
                             f"{self.progress.step} of {self.total_steps}; saved. Continue with --continue_train.")
            return 0
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            self.log.close()

    def _note_signal(self, number, frame):
        self.stop_signal = number
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a second Ctrl-C stops at once

    def _loop(self):
        o = self.options
        self.timer = StepTimer(self.device, self.total_steps - self.progress.step)
        self.must_stop = self._wish_to_stop()
        batches = iter(self._train_loader())
        while self.progress.step < self.total_steps and not self.must_stop:
            self.timer.start_step()
            micro_batches = [self._next_batch(batches) for _ in range(o.accumulate)]
            self._set_lr()
            losses = self._train_step(micro_batches)
            self.timer.step_done()
            self.progress.step += 1
            self.progress.samples += self.images_per_step
            self.losses.add(self.progress.step, losses, [i for b in micro_batches for i in b["index"]])
            self.must_stop = self._wish_to_stop()
            self._after_step(micro_batches[0]["faces"])
        self._save()

    def _wish_to_stop(self):
        """Returns whether to stop: any rank received a signal (stored as stop_signal) or exceeded --max_minutes."""
        limit = self.options.max_minutes
        over = limit and time.monotonic() - self.started >= 60 * limit
        wish = distributed.largest(int(self.stop_signal or (TIME_IS_UP if over else 0)))
        if wish > TIME_IS_UP:
            self.stop_signal = wish
        return wish > 0

    def _train_loader(self):
        o = self.options
        batches = (self.total_steps - self.progress.step) * o.accumulate
        order = TrainingOrder(len(self.train_set), o.batch_size, batches, o.seed, start=self.progress.samples,
                              rank=distributed.rank(), ranks=distributed.world_size())
        return make_loader(self.train_set, order, o.workers, pin_memory=self.device.type != "cpu")

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

    def _after_step(self, faces):
        o = self.options
        at_end = self.progress.step == self.total_steps
        if self.progress.step % o.print_freq == 0 or at_end or self.must_stop:
            self._log_window()
        if self.must_stop and not at_end:
            return  # the remaining time is for saving
        epoch_ended = self.progress.samples // len(self.train_set) > self._epoch()
        jobs = []
        if self.progress.step % o.visual_freq == 0:
            jobs.append(lambda: self._show(faces))
        if self.val_set and (epoch_ended or at_end):
            jobs.append(self._validate)
        if self.progress.step % o.save_latest_freq == 0 and not at_end:
            jobs.append(self._save)
        if self.progress.step % o.save_iter_freq == 0:
            jobs.append(lambda: self._save_weights(f"iter_{self.progress.step}"))
        if jobs:
            self.timer.pause()
            self.losses.read()  # raises UserError for a loss that is not finite, before networks are scored or saved
            for job in jobs:
                job()
            self.timer.resume()

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

    def _show(self, faces):
        if distributed.is_main():
            shown, _ = picture_grid(self.recipe, faces, rows=4)
            self.log.board.add_image("train", shown, self.progress.step, dataformats="HWC")

    def _validate(self):
        o = self.options
        rows = []
        bad = BadImages(len(self.val_set), o.on_bad_image, self.log.warn)
        order = InOrder(len(self.val_set), o.val_batch_size, distributed.rank(), distributed.world_size())
        for net in self.networks.values():
            # Every rank validates with rank 0's batch norm statistics: these are saved.
            distributed.share_from_main(list(net.buffers()))
        for faces in restore_all(Restorer(self.recipe, self.device), make_loader(self.val_set, order, o.workers)):
            bad.check(faces.batch)
            rows += score_faces(faces, [o.val_protocol])
        rows = [row for part in distributed.gather(rows) for row in part]
        (psnr, ssim), (low, low_ssim) = (average(rows, o.val_protocol, w) for w in ("restored", "input"))
        self.progress.last_val = {"psnr": psnr, "ssim": ssim, "input_psnr": low, "input_ssim": low_ssim,
                                  "faces": len(rows), "protocol": o.val_protocol, "step": self.progress.step}
        title = self.val_set.input_title
        self.log.say(f"Validation: PSNR {psnr:.4f} dB  SSIM {ssim:.4f}  ({title} {low:.4f} / {low_ssim:.4f}; "
                     f"{len(rows)} faces, protocol {o.val_protocol})")
        self.log.record("val", **self.progress.last_val)
        if distributed.is_main() and (self.progress.best is None or psnr > self.progress.best["psnr"]):
            self.progress.best = self.progress.last_val
            self._save_weights("best")

    def _save(self):
        self.progress.elapsed = self._elapsed()
        self.state.save(self.progress.step, self.options.keep_checkpoints)
        self._save_weights("latest")

    def _save_weights(self, label):
        if distributed.is_main():
            checkpoint.save_weights(self.folder, label, self.recipe.released_networks())

    # -- messages ------------------------------------------------------------------------------------------------

    def _elapsed(self):
        return self.elapsed_before + time.monotonic() - self.started

    def _greet(self):
        o = self.options
        self.log.say(utils.device.banner(self.device, self.opt_level, self.half, o.workers, trains=True))
        networks = ", ".join(f"{role} {count_parameters(net) / 1e6:.3f} M"
                             for role, net in self.networks.items())
        self.log.say(f"Recipe {o.model}: networks {networks} parameters. Data: {len(self.train_set)} faces in "
                     f"{o.dataroot}" + (f", {len(self.val_set)} to validate on." if self.val_set else "."))
        for faces in (self.train_set, self.val_set):
            for line in faces.warnings if faces else ():
                self.log.say(f"warning: {line}")
        ranks = distributed.world_size()
        several = f" ({ranks} ranks of {self.images_per_step // ranks})" if distributed.launched() else ""
        step = self.progress.step
        self.log.say(f"{f'Continuing after step {step} of' if step else 'Training for'} {self.total_steps} steps of "
                     f"{self.images_per_step} faces{several}; files go into {self.folder}")

    def _finish(self):
        """Reports the end of a run: images, curves, bad images, speed, accuracy, where to look."""
        o = self.options
        faces = self.val_set or self.train_set
        batch = to_device(next(iter(make_loader(faces, InOrder(min(len(faces), 8), 8), workers=0))), self.device)
        shown, titles = picture_grid(self.recipe, batch, rows=8)
        save_image(shown, self.folder / "samples.png")
        write_curves(read_metrics(self.folder), faces.input_title, self.folder / "curves.png")
        seconds, steps = self.timer.mean()
        for line in self.bad_images.report():
            self.log.say(line)
        memory = utils.device.peak_memory_gb(self.device)
        if memory is not None:
            self.log.say(f"Memory: {memory:.2f} GB on the device at most")
        if seconds:
            self.log.say(f"Performance: {self.images_per_step / seconds:.2f} images/sec, {seconds:.6f} sec/step "
                         f"(mean of {steps} steps, the first {self.timer.skip} left out)")
        if self.progress.last_val:
            self.log.say(f"Accuracy: {self.progress.last_val['psnr']:.4f} dB PSNR, {faces.input_title} "
                         f"{input_psnr(self.progress.last_val):.4f} dB (protocol {o.val_protocol})")
        self.log.say(f"Look at {self.folder}/samples.png ({titles}), curves.png, metrics.jsonl, "
                     f"or: tensorboard --logdir {self.folder}/tensorboard")
