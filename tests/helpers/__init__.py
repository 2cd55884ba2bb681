# Copyright (c) 2026, the authors. SPDX-License-Identifier: BSD-3-Clause
