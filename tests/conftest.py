"""What all tests share."""

import os
import tempfile

# One thread: two on a busy machine of two cores wait for each other at every small operation.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
# Libraries and decisions of races from before, or of a user, must not change what is tested.
if "FLATOUT_CACHE" not in os.environ:
    _cache = tempfile.TemporaryDirectory(prefix="flatout-tests-")
    os.environ["FLATOUT_CACHE"] = _cache.name
