"""Where a step of an unmodified training script spends its time, and which of its lines cost it.

run_script     runs the script as Python would, in this process
torch_import   takes hold of torch when the script imports it, not before
boundaries     where steps end
recorder       the windows, one after another:
stamps         one with time stamps only (bare)
plain          one without any, which tells what the stamps take
lines, watch   what lines of the script do with tensors
tracing        a trace by PyTorch's profiler; what a step does, and its layers
subject        the model that experiments copy when the script has ended
trials         these experiments
evidence       all that was seen
rules          findings: what costs time, the fix, the predicted gain
verdict        what matters, in one sentence
document       all of it, as JSON can hold it
profile        a whole run of a script, from its start to its document
"""
