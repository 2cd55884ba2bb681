# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Values that options name and networks use. Imports nothing, so that --help need not wait for torch."""

INITS = ("normal", "kaiming")  # first weights (models/init.py)
PIXEL_LOSSES = ("l1", "psnr")  # models/loss.py: pixel_loss
GAN_LOSSES = ("hinge", "lsgan", "vanilla", "wgan")  # forms of the adversarial loss (models/loss.py)
# Where the public weights files are found.
VGG16_ADDRESS = "https://download.pytorch.org/models/vgg16-397923af.pth"
VGG19_ADDRESS = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
IR_SE50_ADDRESS = "https://github.com/TreB1eN/InsightFace_Pytorch (model_ir_se50.pth)"
