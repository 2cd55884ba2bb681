# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
"""utils/names.py: names on one line of valid text."""
from utils.names import printable


def test_names_stay_on_one_line_of_valid_text():
    assert printable("脸/é 1.png") == "脸/é 1.png"
    assert printable("a\nwarning: b\r\x1b[2J\u2028.png") == r"a\nwarning: b\r\x1b[2J\u2028.png"
    printable("\udcc1\udcb3.png").encode()  # GBK bytes, as Python reads them from a folder
    assert printable("\udcc1\udcb3.png") == r"\xc1\xb3.png"
