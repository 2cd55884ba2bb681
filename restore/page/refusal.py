# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""Refusal: what the page answers instead of a photo."""
from __future__ import annotations

from typing import Any

# {code: (HTTP status, sentence)}. page.html says the same in Chinese, by the code; values go into the braces.
REFUSALS = {
    "bad_form": (400, "The request is no form with a photo: {reason}."),
    "no_photo": (400, "The form has no file called photo."),
    "bad_option": (400, "The option {option} cannot be {value}: it is {known}."),
    "unknown_option": (400, "There is no option {option}; there are {known}."),
    "no_token": (401, "This page needs the token of the address that the program printed when it was started."),
    "wrong_host": (403, "This page is not served under the name {host}. Use the address that the program printed."),
    "other_site": (403, "The request comes from another site. Use the address that the program printed."),
    "unknown_photo": (404, "There is no such photo: it was removed, or its time is over. Restore it again."),
    "no_page": (404, "There is nothing at this address."),
    "wrong_method": (405, "This address does not take {method}; it takes {known}."),
    "not_ready": (409, "This photo is not restored yet."),
    "slow_upload": (408, "The upload took too long and was cut off."),
    "large_file": (413, "The file is larger than {megabytes} MB."),
    "wrong_type": (415, "Send the photo as multipart/form-data, as a browser's form does."),
    "bad_photo": (422, "The photo cannot be restored: {reason}."),
    "video": (422, "This is a video; the page restores photos. newphoto.py restores videos: python newphoto.py VIDEO "
                   "--output_path FOLDER."),
    "large_photo": (422, "The photo would have {megapixels} megapixels; at most {most} are restored."),
    "cancelled": (409, "It was cancelled."),
    "failed": (500, "The photo could not be restored because of an error in this program, which printed it."),
    "no_memory": (507, "There is not enough memory for this photo."),
    "busy": (503, "Too many photos are waiting. Try again in a few seconds."),
    "closing": (503, "The program is ending."),
}


class Refusal(Exception):
    """A photo or a request is refused. code: one of REFUSALS; values: for the sentence."""

    def __init__(self, code: str, **values: Any) -> None:
        self.code, self.values = code, values
        self.status, sentence = REFUSALS[code]
        self.sentence = sentence.format(**values)
        super().__init__(self.sentence)

    def copy(self) -> Refusal:
        """Returns one that was not raised: an exception holds the frames it went through, and so a photo's pixels."""
        return Refusal(self.code, **self.values)

    def record(self) -> dict[str, Any]:
        """Returns what is sent of it, for JSON."""
        return {"error": self.sentence, "code": self.code, "values": self.values}
