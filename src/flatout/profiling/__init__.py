"""Where a step of an unmodified training script spends its time, and which of its lines cost it.

run_script     runs the script as Python would, in this process
torch_import   takes hold of torch when the script imports it, not before
recorder       steps, and the windows one after another: bare (stamps) and lines
stamps, lines  two of the windows
tracing        the third: a trace by PyTorch's profiler; what a step does, and its layers
evidence       all that they saw
rules          findings: what costs time, the fix, the predicted gain
verdict        what matters, in one sentence
document       all of it, as JSON can hold it
profile        a whole run of a script, from its start to its document
"""
