# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Parts of benchmarks/on_device.py that measure one step or one pass of a network."""
import statistics
import time
from functools import partial

import torch
from torch.utils.flop_counter import FlopCounterMode

import utils.device
from benchmarks.ceilings import bandwidth, matrix_rate, seconds_of, time_by_kind
from benchmarks.measuring import alternate, median_ratio
from benchmarks.train_step import bare_step, fixed_batch, plain_loop
from models import build_recipe, create_network
from options.train_options import parse_train
from utils import amp

TOY = {  # options that make a recipe's networks tiny
    "sparnet": ["--load_size", "32", "--min_ch", "4", "--max_ch", "8", "--hourglass_ch", "4", "--res_depth", "0",
                "--bottleneck_size", "16"],
    "sparnethd": ["--load_size", "64", "--min_feat_size", "8", "--min_ch", "8", "--max_ch", "16", "--hourglass_ch", "8",
                  "--channel_multiple", "8", "--res_depth", "1", "--D_ch", "8", "--D_max_ch", "16", "--D_layers", "2",
                  "--bottleneck_size", "4", "--lambda_pcp", "0"],
    "gpen": ["--load_size", "16", "--narrow", "0.016", "--style_dim", "8"]}
ROUNDS = 5


def options_of(preset, device, batch, *words):
    return parse_train(["--preset", preset, f"--batch_size={batch}", f"--device={device}", *words])


def against_plain(options, device, level, toy):
    """Returns the columns of a row: seconds per step, images/s, and how many times as fast as the plain loop."""
    half, steps = utils.device.default_half(device), 1 if toy else 5
    batch = fixed_batch(options, device, utils.device.memory_format(device))
    step = bare_step(options, device, level, half)

    def ours():
        for _ in range(steps):
            step(batch)
    jobs = {"ours": ours, "plain": plain_loop(options, device, steps)}
    alternate(jobs, 1, device)  # warm up
    seconds = alternate(jobs, 1 if toy else ROUNDS, device)
    per_step = statistics.median(seconds["ours"]) / steps
    return {"precision": level, "s/step": per_step, "images/s": options.batch_size / per_step,
            "plain s/step": statistics.median(seconds["plain"]) / steps,
            "times as fast as plain": median_ratio(seconds["plain"], seconds["ours"])}


def step(device, toy):
    """SPARNet's training step against the plain loop."""
    rows = []
    for preset in ("sparnet_celeba", "sparnet_light_attn3d")[:1 if toy else 2]:
        for batch in (2,) if toy else (32, 256):
            for level in ("O2", "O0"):
                options = options_of(preset, device, batch, *TOY["sparnet"] * toy)
                rows.append({"preset": preset, "batch": batch, **against_plain(options, device, level, toy)})
    return rows


def sparnethd(device, toy):
    """SPARNetHD's step at 512 pixels and its peak memory, without and with checkpointing of activations."""
    rows = []
    for words in ([], ["--checkpointing"])[:1 if toy else 2]:
        options = options_of("sparnethd_ffhq", device, 2, "--lambda_pcp", "0", *words, *TOY["sparnethd"] * toy)
        batch = fixed_batch(options, device, utils.device.memory_format(device))
        take_step = bare_step(options, device, "O2", utils.device.default_half(device))
        utils.device.reset_peak_memory(device)
        seconds = seconds_of(partial(take_step, batch), device, repeats=1 if toy else 5)
        rows.append({"options": " ".join(words) or "none", "batch": 2, "pixels": options.load_size, "precision": "O2",
                     "s/step": seconds, "peak GB": utils.device.peak_memory_gb(device) or "not measured on a CPU"})
    return rows


def restoring(device, toy):
    """GPEN-512 in half precision."""
    name, size, rows = "gpen_512", 64 if toy else 512, []
    half, layout = utils.device.default_half(device), utils.device.memory_format(device)
    net = create_network(name, **{"size": size, "narrow": 0.03} if toy else {}).to(device, memory_format=layout).eval()
    amp.prepare_inference(net, "O2", half)
    for batch in (1,) if toy else (1, 8):
        faces = (torch.rand(batch, 3, size, size, device=device) * 2 - 1).contiguous(memory_format=layout)
        with torch.no_grad():
            seconds = seconds_of(partial(net, faces), device, repeats=1 if toy else 20)
        rows.append({"network": name, "batch": batch, "precision": str(half).removeprefix("torch."),
                     "ms per face": 1e3 * seconds / batch, "faces/s": batch / seconds,
                     "peak GB": utils.device.peak_memory_gb(device) or "not measured on a CPU"})
    return rows


def gpen(device, toy):
    """GPEN-256's step, all phases, against the plain loop."""
    options = options_of("gpen_256_narrow", device, 1 if toy else 8, "--lambda_id", "0", *TOY["gpen"] * toy)
    return [{"preset": "gpen_256_narrow", "batch": options.batch_size, **against_plain(options, device, "O2", toy)}]


def graphs(device, toy):
    """SPARNet restoring one face: as it is, compiled, and as a recorded graph of kernels."""
    options = options_of("sparnet_light_attn3d", device, 1, *TOY["sparnet"] * toy)
    net = build_recipe(options).networks["G"].to(device, memory_format=utils.device.memory_format(device)).eval()
    amp.prepare_inference(net, "O0" if device.type == "cpu" else "O2", utils.device.default_half(device))
    face = torch.rand(1, 3, options.load_size, options.load_size, device=device)
    rows = []
    backend = "eager" if toy else "inductor"
    for form, make in {"as it is": lambda: net, "torch.compile": lambda: torch.compile(net, backend=backend),
                       "graph": lambda: utils.device.record_graph(net, face)}.items():
        if form == "graph" and not utils.device.has_graphs(device):
            rows.append({"form": form, "ms per face": "needs CUDA", "seconds to start": "needs CUDA"})
            continue
        with torch.no_grad():
            start = time.perf_counter()
            run = make()
            run(face)
            utils.device.synchronize(device)
            began = time.perf_counter() - start
            rows.append({"form": form, "ms per face": 1e3 * seconds_of(lambda run=run: run(face), device),
                         "seconds to start": began})
    return rows


def ceilings(device, toy):
    """A step's share of the peak rates, and where its time goes."""
    half = utils.device.default_half(device)
    on_cpu = toy or device.type == "cpu"
    rate = matrix_rate(device, half, 256 if toy else 2048 if on_cpu else 8192)
    memory = bandwidth(device, 20 if toy else 200 if on_cpu else 4000)
    rows = []
    for batch in (2,) if toy else (32, 256):
        options = options_of("sparnet_light_attn3d", device, batch, *TOY["sparnet"] * toy)
        take_step = partial(bare_step(options, device, "O2", half),
                            fixed_batch(options, device, utils.device.memory_format(device)))
        with FlopCounterMode(display=False) as counter:
            take_step()
        seconds = seconds_of(take_step, device, repeats=1 if toy else 10)
        achieved = counter.get_total_flops() / seconds / 1e12
        rows.append({"preset": "sparnet_light_attn3d", "batch": batch, "TFLOP/s": achieved, "matrix TFLOP/s": rate,
                     "share": achieved / rate, "copy GB/s": memory,
                     **{f"{kind} %": 100 * share for kind, share in time_by_kind(take_step, device).items()}})
    return rows
