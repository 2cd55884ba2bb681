# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""The protocols of PSNR and SSIM by name; metrics/psnr_ssim.py computes them. Imports nothing that takes long.

    sparnet                  SPARNet, CTCNet, WFEN     truncated, Y, Gaussian 11x11 SSIM
    benchmark                SFMNet, the Jiang survey  rounded, Y, 8 pixels cropped from each side, uniform 7x7 SSIM
    rgb                      FSRNet-pytorch            truncated, RGB, uniform 7x7 SSIM per channel
    basicsr_y, basicsr_rgb   BasicSR                   rounded, Y in float or RGB, Gaussian 11x11 SSIM per channel;
                                                       crop_border pixels cropped from each side
"""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from utils.errors import UserError, nearest


@dataclass(frozen=True)
class Protocol:
    """How two pictures are compared: `rounding` of floats to uint8, Y or RGB, `crop` pixels each side."""

    name: str
    rounding: str  # "truncate" or "round"
    luma: bool
    crop: int
    gaussian: bool  # SSIM window: Gaussian 11x11 (sigma 1.5, population covariance), or uniform 7x7
    exact_luma: bool = False  # Y is a float, not rounded to uint8
    sets_crop: bool = False  # `crop` is a parameter of the protocol (BasicSR's crop_border)

    @property
    def window(self) -> int:
        """Side of the SSIM window in pixels."""
        return 11 if self.gaussian else 7

    @property
    def smallest(self) -> int:
        """Side in pixels of the smallest picture that can be compared."""
        return self.window + 2 * self.crop


PROTOCOLS = {protocol.name: protocol for protocol in (
    Protocol("sparnet", "truncate", luma=True, crop=0, gaussian=True),
    Protocol("benchmark", "round", luma=True, crop=8, gaussian=False),
    Protocol("rgb", "truncate", luma=False, crop=0, gaussian=False),
    Protocol("basicsr_y", "round", luma=True, crop=0, gaussian=True, exact_luma=True, sets_crop=True),
    Protocol("basicsr_rgb", "round", luma=False, crop=0, gaussian=True, sets_crop=True))}
USUAL = ("sparnet", "benchmark", "rgb")  # what newtest.py scores by default


def protocol_named(name: str | Protocol) -> Protocol:
    """Returns the Protocol of that name; returns a Protocol unchanged. Raises ValueError, with the nearest name."""
    if isinstance(name, Protocol):
        return name
    if name not in PROTOCOLS:
        raise ValueError(f"unknown metric protocol {name!r}; it is one of {', '.join(PROTOCOLS)}."
                         + nearest(str(name), PROTOCOLS))
    return PROTOCOLS[name]


def choose_protocols(names: Iterable[str], crop_border: int = 0) -> list[Protocol]:
    """Returns the Protocols of these names, in the order of PROTOCOLS; crop_border: `crop` of those that take one."""
    chosen = {protocol_named(name).name for name in names}
    return [replace(protocol, crop=crop_border) if protocol.sets_crop else protocol
            for name, protocol in PROTOCOLS.items() if name in chosen]


def usual_protocols(side: int) -> list[Protocol]:
    """Returns the Protocols of USUAL that can compare faces of side x side pixels."""
    return [protocol for protocol in choose_protocols(USUAL) if protocol.smallest <= side]


def check_size(protocols: Iterable[Protocol], side: int, option: str) -> None:
    """Raises UserError, which names `option`, if faces of side x side pixels are too small for a protocol."""
    for protocol in protocols:
        if side < protocol.smallest:
            cropped = f" after cropping {protocol.crop} from each side" if protocol.crop else ""
            raise UserError(f"{option}: protocol {protocol.name} needs {protocol.window} pixels{cropped}, the faces "
                            f"have {side}. Choose other protocols with {option}.")
