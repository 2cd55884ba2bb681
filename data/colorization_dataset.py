"""Grey and colour faces, generated from any folder of colour faces, for GPEN's colourization."""
from data.degradations import grey
from data.single_dataset import SingleDataset
from data.square_folder import SquareFolder, area


class ColorizationDataset(SquareFolder):
    """Samples {'lr', 'hr'}: uint8 HWC RGB, load_size square; lr is hr as grey (ITU-R 601 luma), in three channels."""

    input_dataset = "grey_inputs"
    to_side = staticmethod(area)

    def make_pair(self, face, rng, path, mirrored):
        return {"lr": grey(face), "hr": face}


class GreyInputs(SingleDataset):
    """SingleDataset that converts its images to grey."""

    input_dataset = "grey_inputs"

    @staticmethod
    def to_input(image, size):
        return grey(SingleDataset.to_input(image, size))
