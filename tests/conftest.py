"""Lets tests import the repository's tools, which are not part of the package, and keeps what they
do apart from what the person at this machine has learned."""

import os
import signal
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

# Kernels that run the notebooks inherit it.
os.environ["GMLP_STATE"] = tempfile.mkdtemp(prefix="gmlp-state-")

# What a shell starts in the background ignores Ctrl-C, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
