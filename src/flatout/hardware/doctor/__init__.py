"""Why torch sees no GPU, or a slow one.

    collect    reads the machine, and tries the GPU in a child process     -> Evidence
    diagnose   asks one small rule for each cause, the root causes first   -> Diagnosis

Nothing here imports torch, but for the child process (`probe.py`).
"""

from flatout.hardware.doctor.collect import collect
from flatout.hardware.doctor.diagnosis import Diagnosis, diagnose, diagnose_machine
from flatout.hardware.doctor.evidence import Evidence
from flatout.hardware.doctor.finding import Finding

__all__ = ["Diagnosis", "Evidence", "Finding", "collect", "diagnose", "diagnose_machine"]
