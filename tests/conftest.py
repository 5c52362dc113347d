"""What all tests share."""

import os

# One thread: two on a busy machine of two cores wait for each other at every small operation.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
