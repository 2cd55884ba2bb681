# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Inputs of GPEN's colourization from a folder."""
from data.degradations import grey
from data.single_dataset import SingleDataset


class GreyInputs(SingleDataset):
    """SingleDataset that converts its images to grey."""

    input_dataset = "grey_inputs"

    @staticmethod
    def to_input(image, size):
        return grey(SingleDataset.to_input(image, size))
