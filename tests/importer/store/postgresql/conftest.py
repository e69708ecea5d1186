"""Without libpq not even the modules can be imported; what then is skipped is told by the tests of both databases."""

from __future__ import annotations

import ctypes.util
import os

collect_ignore_glob = [] if ctypes.util.find_library("pq") or os.environ.get("CI") == "true" else ["test_*.py"]
