"""The training loop, to be read from top to bottom: Trainer.fit."""
import signal
import time
from pathlib import Path

import torch
import yaml

from data import find_dataset
from data.loader import BadImages, InOrder, TrainingOrder, hold_out, make_loader, spread
from models import build_recipe
from models.networks import WeightsError, count_parameters, load_weights, match_weights
from utils import amp, checkpoint
from utils import device as devices
from utils.ema import Ema
from utils.errors import UserError
from utils.evaluate import average, restore_all, score_faces, to_device
from utils.images import list_images, save_image
from utils.logger import Logger, clock, loss_line, read_metrics, time_line
from utils.report import picture_grid, write_curves
from utils.schedule import lr_factor
from utils.timer import StepTimer

EXIT_CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}


class Trainer:
    """Everything of one training run, from its options. `fit()` runs it and returns the exit status."""

    def __init__(self, options):
        self.options = o = options
        self.device = devices.pick_device(o.device, o.device_id)
        self.opt_level = o.opt_level or devices.default_opt_level(self.device)
        self.half = getattr(torch, o.amp_dtype) if o.amp_dtype else devices.default_half(self.device)
        self._load_file_lists()
        self._plan_steps()
        self.folder = self._make_folder()
        state = checkpoint.load_state(self.folder) if o.continue_train else None
        devices.set_up(self.device)
        devices.seed_everything(o.seed)
        self._build_networks(state)
        # From here on the run's folder changes: all that could be refused has been looked at.
        self._write_options()
        self.log = Logger(self.folder, state["progress"]["step"] if state else 0)
        self.bad_images = BadImages(len(self.train_set), o.on_bad_image, self.log.say)
        self._restore_progress(state)
        self.stop_signal = None

    # -- set-up -----------------------------------------------------------------------------------------------

    def _load_file_lists(self):
        o = self.options
        train, val = hold_out(list_images(o.dataroot, "--dataroot"), o.val_count)
        if o.valroot:
            val = list_images(o.valroot, "--valroot")
        if o.val_max and len(val) > o.val_max:
            val = [val[i] for i in spread(o.val_max, len(val))]
        common = {"load_size": o.load_size, "scale_factor": o.scale_factor, "seed": o.seed,
                  "min_size": o.min_size, "on_bad_image": o.on_bad_image}
        dataset = find_dataset(o.dataset_name)
        if not dataset.trains:
            raise UserError(f"--dataset_name {o.dataset_name} is for restoring (newtest.py), not for training.")
        self.train_set = dataset(train, augmentation=o.augmentation, **common)
        self.val_set = dataset(val, augmentation="none", **common) if val else None

    def _plan_steps(self):
        o = self.options
        self.images_per_step = o.batch_size * o.accumulate
        if self.images_per_step > len(self.train_set):
            raise UserError(f"--batch_size {o.batch_size} times --accumulate {o.accumulate} is more than the "
                            f"{len(self.train_set)} images to train on in {o.dataroot}.")
        self.total_steps = o.train_steps or -(-o.total_epochs * len(self.train_set) // self.images_per_step)

    def _make_folder(self):
        o = self.options
        if Path(o.name).name != o.name or o.name in ("", ".", ".."):
            raise UserError(f"--name {o.name!r} must be a plain folder name, without slashes.")
        folder = Path(o.checkpoints_dir) / o.name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not o.continue_train and checkpoint.list_states(folder):
                raise UserError(f"{folder} already holds checkpoints of a run: go on with it (--continue_train), "
                                f"or choose another --name, or remove the folder.")
        except OSError as error:
            raise UserError(f"--checkpoints_dir: cannot write into {folder}: {error.strerror}.") from None
        return folder

    def _write_options(self):
        path = self.folder / "options.yml"
        try:
            path.write_text(yaml.safe_dump(vars(self.options), sort_keys=False))
        except OSError as error:
            raise UserError(f"--checkpoints_dir: cannot write {path}: {error.strerror}.") from None

    def _build_networks(self, state):
        o = self.options
        self.recipe = build_recipe(o)
        if o.pretrain_model_path and not state:
            load_weights(self.recipe.networks["G"], o.pretrain_model_path)
        averages = {}
        for role, net in self.recipe.networks.items():
            if state:
                try:
                    net.load_state_dict(match_weights(net, state["networks"][role]))
                except WeightsError as error:
                    raise UserError(f"--continue_train: the checkpoint in {self.folder} is of another network; "
                                    f"{error}") from None
            net.to(self.device, memory_format=devices.memory_format(self.device)).train()
        for role, decay in self.recipe.ema_decay.items():
            averages[role] = Ema(self.recipe.networks[role], decay)
            if state:
                averages[role].net.load_state_dict(state["ema"][role])
        self.optimizers = {}
        for phase, spec in self.recipe.optimizers.items():
            nets = [self.recipe.networks[role] for role in spec.roles]
            params = [p for net in nets for p in net.parameters()]
            adam = devices.adam(params, self.device, self.opt_level, spec.lr, spec.betas, spec.weight_decay)
            self.optimizers[phase] = amp.initialize(
                nets, adam, self.opt_level, o.loss_scale, o.combine_grad, self.half, o.max_grad_norm)[1]
            if state:
                self.optimizers[phase].load_state_dict(state["optimizers"][phase])
        self.averages = averages
        self.recipe.released = self.recipe.networks | {role: a.net for role, a in averages.items()}

    def _restore_progress(self, state):
        progress = state["progress"] if state else {}
        self.step = progress.get("step", 0)
        self.samples = progress.get("samples", 0)
        self.best = progress.get("best")
        self.elapsed_before = progress.get("elapsed", 0.0)
        self.bad_images.bad.update(progress.get("bad_images", {}))
        self.last_val = progress.get("last_val")
        self.losses = progress.get("losses", {})
        if state:
            devices.set_rng_state(state["rng"][0], self.device)

    # -- the run ----------------------------------------------------------------------------------------------

    def fit(self):
        """Train to the end, to --max_minutes or to a signal.

        Returns the exit status: 0, or 143 / 130 after SIGTERM / Ctrl-C.
        """
        self._greet()
        self.started = time.monotonic()
        previous = {s: signal.signal(s, self._note_signal) for s in EXIT_CODES}
        try:
            self._loop()
            if self.stop_signal:
                self.log.say(f"Stopped by {signal.Signals(self.stop_signal).name} after step {self.step}; saved. "
                             f"Go on with --continue_train.")
                return EXIT_CODES[self.stop_signal]
            self._finish()
            if self.step < self.total_steps:
                self.log.say(f"--max_minutes {self.options.max_minutes:g} are over after step {self.step} of "
                             f"{self.total_steps}; saved. Go on with --continue_train.")
            return 0
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            self.log.close()

    def _note_signal(self, number, frame):
        self.stop_signal = number
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a second Ctrl-C does not wait

    def _loop(self):
        o = self.options
        self.timer = StepTimer(self.device, self.total_steps - self.step)
        self.pending = []  # (step, losses on the device, indices) since the last log line
        batches = iter(self._train_loader())
        while self.step < self.total_steps and not self._must_stop():
            self.timer.start_step()
            micro_batches = [self._next_batch(batches) for _ in range(o.accumulate)]
            self._set_lr()
            losses = self._train_step(micro_batches)
            self.timer.step_done()
            self.step += 1
            self.samples += self.images_per_step
            self.pending.append((self.step, losses, [i for b in micro_batches for i in b["index"]]))
            self._after_step(micro_batches[0]["faces"])
        self._save()

    def _must_stop(self):
        """Whether a signal came, or --max_minutes are over before the end is reached."""
        limit = self.options.max_minutes
        return bool(self.stop_signal or (limit and self.step < self.total_steps
                                         and time.monotonic() - self.started >= 60 * limit))

    def _train_loader(self):
        o = self.options
        order = TrainingOrder(len(self.train_set), o.batch_size, (self.total_steps - self.step) * o.accumulate,
                              o.seed, start=self.samples)
        return make_loader(self.train_set, order, o.workers, pin_memory=self.device.type != "cpu")

    def _next_batch(self, batches):
        batch = next(batches)
        self.bad_images.check(batch)
        return batch | {"faces": to_device(batch, self.device)}

    def _train_step(self, micro_batches):
        """All phases of one step; {loss name: 0-d tensor on the device}, means over the micro-batches."""
        self.timer.got_data()
        shown = {}
        # Phase by phase; within a phase, forward and backward of one micro-batch after the other.
        for parts in zip(*(self._backward(b["faces"], len(micro_batches)) for b in micro_batches), strict=True):
            phase = parts[0][0]
            self.optimizers[phase].step()
            self.optimizers[phase].zero_grad()
            for _, losses in parts:
                for name, value in losses.items():
                    shown[name] = shown.get(name, 0) + value.detach() / len(parts)
        for role, average_of in self.averages.items():
            average_of.update(self.recipe.networks[role])
        self.timer.mark("backward")
        return shown

    def _backward(self, faces, count):
        """Forward and backward of one of `count` micro-batches; yields (phase, losses) after each phase."""
        for phase, losses in self.recipe.training_step(faces, self.step):
            self.timer.mark("forward")
            with amp.scale_loss(sum(losses.values()) / count, self.optimizers[phase]) as scaled:
                scaled.backward()
            self.timer.mark("backward")
            yield phase, losses

    def _set_lr(self):
        o = self.options
        self.lr_factor = lr_factor(self.step, self.total_steps, o.lr_policy, o.warmup_steps, o.lr_decay_at,
                                   o.lr_gamma, o.lr_final)
        for phase, optimizer in self.optimizers.items():
            optimizer.set_lr(self.recipe.optimizers[phase].lr * self.lr_factor)

    # -- after a step: log, validate, save ----------------------------------------------------------------------

    def _after_step(self, faces):
        o = self.options
        at_end = self.step == self.total_steps
        must_stop = self._must_stop()
        if self.step % o.print_freq == 0 or at_end or must_stop:
            self._log_window()
        if must_stop:
            return  # what is left of the time is for saving
        epoch_ended = self.samples // len(self.train_set) > self._epoch()
        jobs = []
        if self.step % o.visual_freq == 0:
            jobs.append(lambda: self._show(faces))
        if self.val_set and (epoch_ended or at_end):
            jobs.append(self._validate)
        if self.step % o.save_latest_freq == 0 and not at_end:
            jobs.append(self._save)
        if self.step % o.save_iter_freq == 0:
            jobs.append(lambda: checkpoint.save_weights(self.folder, f"iter_{self.step}", self.recipe.released))
        if jobs:
            self.timer.pause()
            for job in jobs:
                job()
            self.timer.resume()

    def _epoch(self):
        """The 0-based epoch that the first image of the last step belongs to."""
        return (self.samples - self.images_per_step) // len(self.train_set)

    def _log_window(self):
        o, length = self.options, len(self.train_set)
        means = self.timer.window()
        self._read_losses()
        left = means["total"] * (self.total_steps - self.step)
        epoch = self._epoch()
        first = -(-epoch * length // self.images_per_step)  # the epoch's first step, 0-based
        last = -(-(epoch + 1) * length // self.images_per_step)
        fps = self.images_per_step / means["total"]
        overflows = {phase: optimizer.overflows() for phase, optimizer in self.optimizers.items()}
        lr = self.lr_factor * o.lr
        self.log.say(time_line(self._elapsed(), left, means))
        self.log.say(loss_line(epoch + 1, self.step - first, last - first, self.step, self.total_steps, self.losses))
        scales = " ".join(f"{phase}: scale {v.scale:g} skipped {'unknown' if v.skipped is None else v.skipped}"
                          for phase, v in overflows.items())
        self.log.say(f"Progress: {100 * self.step / self.total_steps:.1f} %  {fps:.2f} images/sec  "
                     f"ETA {clock(left)}  lr {lr:.3e}" + (f"  {scales}" if self.opt_level != "O0" else ""))
        self.log.record("train", self.step, images_per_sec=fps, sec_per_step=means["total"], lr=lr,
                        epoch=self.samples / length,
                        **{f"Loss_{name}": value for name, value in self.losses.items()},
                        **{f"skipped_{phase}": v.skipped for phase, v in overflows.items()})
        for phase, seen in overflows.items():
            if (seen.in_a_row or 0) >= amp.MAX_SKIPS_IN_A_ROW:
                raise UserError(f"{seen.in_a_row} steps in a row overflowed in phase {phase} (step {self.step}, losses "
                                f"{self.losses}). Lower --loss_scale or use --loss_scale dynamic; checkpoints up "
                                f"to here are untouched.", status=1)

    def _read_losses(self):
        """Bring the losses since the last call to the host, in one transfer; stop at one that is not finite."""
        if not self.pending:
            return
        names = list(self.pending[0][1])
        table = torch.stack([losses[n] for _, losses, _ in self.pending for n in names]).view(-1, len(names))
        for values, finite, (step, _, indices) in zip(
                table.tolist(), table.isfinite().tolist(), self.pending, strict=True):
            for name, value, good in zip(names, values, finite, strict=True):
                if not good:
                    files = ", ".join(self.train_set.paths[i] for i in indices)
                    raise UserError(f"Loss_{name} is {value} at step {step}. The batch was: {files}. Checkpoints "
                                    f"up to here are untouched.", status=1)
        self.losses = dict(zip(names, table[-1].tolist(), strict=True))
        self.pending = []

    def _show(self, faces):
        self.log.board.add_image("train", picture_grid(self.recipe, faces, rows=4), self.step, dataformats="HWC")

    def _validate(self):
        o = self.options
        rows = []
        bad = BadImages(len(self.val_set), o.on_bad_image, self.log.say)
        loader = make_loader(self.val_set, InOrder(len(self.val_set), o.val_batch_size), o.workers)
        for batch, sr in restore_all(self.recipe, loader, self.device):
            bad.check(batch)
            rows += score_faces(sr, batch, [o.val_protocol])
        (psnr, ssim), (low, low_ssim) = (average(rows, o.val_protocol, w) for w in ("sr", "bicubic"))
        self.last_val = {"psnr": psnr, "ssim": ssim, "bicubic_psnr": low, "bicubic_ssim": low_ssim,
                         "faces": len(rows), "protocol": o.val_protocol, "step": self.step}
        self.log.say(f"Validation: PSNR {psnr:.4f} dB  SSIM {ssim:.4f}  (bicubic {low:.4f} / {low_ssim:.4f}; "
                     f"{len(rows)} faces, protocol {o.val_protocol})")
        self.log.record("val", **self.last_val)
        if self.best is None or psnr > self.best["psnr"]:
            self.best = self.last_val
            checkpoint.save_weights(self.folder, "best", self.recipe.released)

    def _save(self):
        self._read_losses()  # weights that a non-finite loss has spoilt must not replace good ones
        state = {
            "networks": {role: net.state_dict() for role, net in self.recipe.networks.items()},
            "ema": {role: average_of.net.state_dict() for role, average_of in self.averages.items()},
            "optimizers": {phase: optimizer.state_dict() for phase, optimizer in self.optimizers.items()},
            "rng": [devices.rng_state(self.device)],  # of every rank
            "progress": {"step": self.step, "samples": self.samples, "best": self.best, "losses": self.losses,
                         "last_val": self.last_val, "elapsed": self._elapsed(),
                         "bad_images": self.bad_images.bad},
            "options": vars(self.options),
        }
        checkpoint.save_state(self.folder, self.step, state, self.options.keep_checkpoints)
        checkpoint.save_weights(self.folder, "latest", self.recipe.released)

    # -- words ----------------------------------------------------------------------------------------------------

    def _elapsed(self):
        return self.elapsed_before + time.monotonic() - self.started

    def _greet(self):
        o = self.options
        self.log.say(devices.banner(self.device, self.opt_level, self.half, o.workers))
        networks = ", ".join(f"{role} {count_parameters(net) / 1e6:.3f} M"
                             for role, net in self.recipe.networks.items())
        self.log.say(f"Recipe {o.model}: networks {networks} parameters. Data: {len(self.train_set)} faces in "
                     f"{o.dataroot}" + (f", {len(self.val_set)} to validate on." if self.val_set else "."))
        self.log.say(f"{'Going on after step ' + str(self.step) + ' of' if self.step else 'Training for'} "
                     f"{self.total_steps} steps of {self.images_per_step} faces; files go into {self.folder}")

    def _finish(self):
        """The last words of a run that came to its end: figures, bad images, pictures, where to look."""
        o = self.options
        faces = self.val_set or self.train_set
        loader = make_loader(faces, InOrder(min(len(faces), 8), 8), workers=0)
        batch = to_device(next(iter(loader)), self.device)
        save_image(picture_grid(self.recipe, batch, rows=8), self.folder / "samples.png")
        write_curves(read_metrics(self.folder), self.folder / "curves.png")
        seconds, steps = self.timer.mean()
        for line in self.bad_images.report():
            self.log.say(line)
        memory = devices.peak_memory_gb(self.device)
        if memory is not None:
            self.log.say(f"Memory: {memory:.2f} GB on the device at most")
        if seconds:
            self.log.say(f"Performance: {self.images_per_step / seconds:.2f} images/sec, {seconds:.6f} sec/step "
                         f"(mean of {steps} steps, the first {self.timer.skip} left out)")
        if self.last_val:
            self.log.say(f"Accuracy: {self.last_val['psnr']:.4f} dB PSNR, bicubic "
                         f"{self.last_val['bicubic_psnr']:.4f} dB (protocol {o.val_protocol})")
        self.log.say(f"Look at {self.folder}/samples.png (LR | SR | HR | attention), curves.png, metrics.jsonl, "
                     f"or: tensorboard --logdir {self.folder}/tensorboard")
