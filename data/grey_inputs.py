"""A folder of faces whose colour a network restores."""
from data.degradations import grey
from data.single_dataset import SingleDataset


class GreyInputs(SingleDataset):
    """As SingleDataset; what has colour is greyed."""

    input_dataset = "grey_inputs"

    @staticmethod
    def to_input(image, size):
        return grey(SingleDataset.to_input(image, size))
