# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Measures the Trainer's iteration against a plain float32 loop over the same network, alternating.

    python -m benchmarks.train_step [--preset sparnet_celeba] [--batch_size 8] [--opt_level O0] [--json FILE]
                                    [any other option of newtrain.py]

trainer   Trainer.fit's loop: loader, augmentation, copy to the device, step, checks, log lines
fed       the same network, layout, precision, loader and copy to the device, without the Trainer's log, checks and
          timing
bare      like fed, but repeats one batch
plain     float32, NCHW, the networks in the plain form (benchmarks/plain_forms.py), torch.optim's Adam or RMSprop as in
          the published code, repeats one batch
The time to write a checkpoint is measured separately and divided by the default --save_latest_freq.
"""
import contextlib
import io
import itertools
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch

import utils.device
from benchmarks.measuring import alternate, machine, median_ratio, show
from benchmarks.plain_forms import plain_form
from data.drawn.builtin_faces import write_faces
from engine.evaluate import to_device
from engine.trainer import Trainer
from models import build_training_recipe
from models.base_model import optimizer_of
from options.train_options import parse_train
from utils import amp, distributed
from utils.errors import run_main
from utils.option_types import BATCH, at_least, tool_parser

SAVE_EVERY = 500  # newtrain.py's default --save_latest_freq


class SteppedTrainer(Trainer):
    """A Trainer that calls `between` after every `stride` steps."""

    stride, between = 1, None

    def _after_step(self):
        super()._after_step()
        if self.progress.step % self.stride == 0 and self.progress.step < self.total_steps:
            self.timer.pause()
            utils.device.synchronize(self.device)
            self.between(time.perf_counter())
            self.timer.resume()
            self.window_began = time.perf_counter()


def bare_step(options, device, opt_level, half, average=None, combine_grad=True, layout=None, compiled=False):
    """Returns a function that takes a batch and trains on it like the Trainer, without log and checks.

    average: argument of amp.initialize. layout: memory format; None: the Trainer's. compiled: by torch.compile. Without
    combine_grad, DistributedDataParallel averages the gradients of a recipe with one optimizer.
    """
    recipe = build_training_recipe(options)
    recipe.state = {name: value.to(device) for name, value in recipe.state.items()}
    optimizers = {}
    for name, spec in recipe.optimizers.items():
        layout = layout or utils.device.memory_format(device)
        nets = [recipe.networks[role].to(device, memory_format=layout).train() for role in spec.roles]
        plain = utils.device.make_optimizer(spec, spec.parameter_groups(recipe.networks), device, opt_level)
        optimizers[name] = amp.initialize(nets, plain, opt_level, options.loss_scale, combine_grad, half,
                                           average=average, buckets=len(recipe.optimizers) == 1)[1]
    if any(optimizer.needs_ddp for optimizer in optimizers.values()):
        recipe.networks = {role: distributed.wrap(net, accumulate=1) for role, net in recipe.networks.items()}
    if compiled:
        for net in recipe.networks.values():
            net.compile()

    numbers = itertools.count()

    def step(batch):
        for phase, losses in recipe.training_step(batch, next(numbers)):
            optimizer = optimizers[optimizer_of(phase)]
            with amp.scale_loss(sum(losses.values()), optimizer) as scaled:
                scaled.backward()
            optimizer.step()
            optimizer.zero_grad()
    return step


def bare_loop(options, trainer, steps, batches):
    """Returns a function that takes `steps` bare steps on batches of the iterator `batches`."""
    step = bare_step(options, trainer.device, trainer.opt_level, trainer.half, combine_grad=options.combine_grad)

    def run():
        for _ in range(steps):
            step(next(batches))
    return run


def plain_optimizer(spec, params):
    """Returns torch's optimizer for an OptimizerSpec."""
    return {"adam": torch.optim.Adam, "rmsprop": torch.optim.RMSprop}[spec.kind](params, **spec.numbers())


def plain_loop(options, device, steps):
    """Returns a function that takes `steps` plain steps: float32, NCHW, plain networks, torch's optimizers."""
    recipe = build_training_recipe(options)
    recipe.state = {name: value.to(device) for name, value in recipe.state.items()}
    optimizers = {}
    for name, spec in recipe.optimizers.items():
        for role in spec.roles:
            plain_form(recipe.networks[role]).to(device).train()
        optimizers[name] = plain_optimizer(spec, spec.parameter_groups(recipe.networks))
    batch = fixed_batch(options, device, torch.contiguous_format)
    numbers = itertools.count()

    def run():
        for number in itertools.islice(numbers, steps):
            for phase, losses in recipe.training_step(batch, number):
                sum(losses.values()).backward()
                optimizers[optimizer_of(phase)].step()
                optimizers[optimizer_of(phase)].zero_grad()
    return run


def fixed_batch(options, device, memory_format):
    shape = (options.batch_size, 3, options.load_size, options.load_size)
    shapes = {"lr": shape, "hr": shape}
    if "pmaps_ch" in options:
        shapes["priors"] = (shape[0], options.hmaps_ch + options.pmaps_ch, shape[2] // 2, shape[3] // 2)
    return {name: (torch.rand(shape, device=device) * 2 - 1).contiguous(memory_format=memory_format)
            for name, shape in shapes.items()}


def measure(preset, batch_size, opt_level, device, steps, rounds, workers, folder, others=()):
    """Returns one row: seconds per step of each loop and the ratios of their rounds.

    others: further arguments for newtrain.py's parser.
    """
    faces = Path(folder) / "faces"
    write_faces(faces, max(256, 2 * batch_size), first_seed=0)
    options = parse_train([
        "--preset", preset, f"--batch_size={batch_size}", f"--device={device}", f"--workers={workers}",
        "--dataroot", str(faces / "images"), f"--checkpoints_dir={folder}", f"--name={preset}_{batch_size}",
        f"--train_steps={steps * (rounds + 2)}", f"--save_latest_freq={10 ** 9}", f"--visual_freq={10 ** 9}",
        "--print_freq=10", *([f"--opt_level={opt_level}"] if opt_level else []), *others])
    if opt_level not in (None, "O0") and not options.amp_dtype:  # insists on it on any processor
        options.amp_dtype = str(utils.device.default_half(utils.device.pick_device(device))).removeprefix("torch.")
    trainer = SteppedTrainer(options)
    device = trainer.device
    one = fixed_batch(options, device, utils.device.memory_format(device))
    others = {"fed": bare_loop(options, trainer, steps, (to_device(b, device) for b in trainer._train_loader())),
              "bare": bare_loop(options, trainer, steps, itertools.repeat(one)),
              "plain": plain_loop(options, device, steps)}
    alternate(others, 1, device)  # warm up
    seconds = {"trainer": [], **{name: [] for name in others}}

    def between(now):
        if hasattr(trainer, "window_began"):  # the first window is a warm-up
            seconds["trainer"].append(now - trainer.window_began)
            for name, (value,) in alternate(others, 1, device).items():
                seconds[name].append(value)
    trainer.stride, trainer.between = steps, between
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        trainer.fit()
    print(f"{preset} batch {batch_size}: measuring took {time.perf_counter() - start:.0f} s", file=sys.stderr)
    start = time.perf_counter()
    trainer._save()
    save = time.perf_counter() - start
    per_step = {name: statistics.median(values) / steps for name, values in seconds.items()}
    return {"preset": preset, "batch": batch_size, "precision": trainer.opt_level,
            **{f"{name} s/step": value for name, value in per_step.items()},
            "trainer images/s": batch_size / per_step["trainer"],
            "faster than plain": median_ratio(seconds["plain"], seconds["trainer"]),
            "loading adds": f"{100 * (median_ratio(seconds['fed'], seconds['bare']) - 1):.1f} %",
            "trainer adds": f"{100 * (median_ratio(seconds['trainer'], seconds['fed']) - 1):.1f} %",
            "checkpoint adds": f"{100 * save / SAVE_EVERY / per_step['bare']:.2f} %",
            "GB": utils.device.peak_memory_gb(device) or 0}


def main():
    parser = tool_parser(__doc__)
    parser.add_argument("--preset", nargs="+", default=["sparnet_celeba", "sparnet_light_attn3d"],
                        help="presets to measure (default: sparnet_celeba sparnet_light_attn3d)")
    parser.add_argument("--batch_size", type=at_least(1, largest=BATCH), nargs="+", default=None,
                        help="faces per step, one or more values (default: 8 on a CPU, 32 and 256 elsewhere)")
    parser.add_argument("--opt_level", choices=["O0", "O1", "O2"], default=None,
                        help="precision: O0, O1 or O2 (default: newtrain.py's)")
    parser.add_argument("--device", default="auto", help="device: auto, npu, cuda or cpu (default: auto)")
    parser.add_argument("--steps", type=at_least(1, largest=1_000_000), default=5,
                        help="number of steps per round (default: 5)")
    parser.add_argument("--rounds", type=at_least(1, largest=1_000_000), default=7,
                        help="number of alternating rounds (default: 7)")
    parser.add_argument("--workers", type=at_least(0, largest=1024), default=1,
                        help="number of loader processes (default: 1)")
    parser.add_argument("--json", default=None, help="JSON file to write (default: none)")
    a, others = parser.parse_known_args()
    device = utils.device.pick_device(a.device)
    sizes = a.batch_size or ([8] if device.type == "cpu" else [32, 256])
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure(preset, size, a.opt_level, a.device, a.steps, a.rounds, a.workers, folder,
                        others) for preset in a.preset for size in sizes]
    show(f"Training step on {machine(device)}; medians of {a.rounds} alternating rounds", rows, a.json)


if __name__ == "__main__":
    run_main(main)
