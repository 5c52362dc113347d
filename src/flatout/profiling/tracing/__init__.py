"""A light trace of a few steps by PyTorch's profiler, and what it says: what a step does, and its layers.

window      opens the profiler over some steps, never beside another window or another profiler
marks       the ranges that tell steps, parts and layers apart in its trace
host        what each thread does at each moment
arithmetic  how much of an operator computes, on a CPU
cpu         the split of a step on a CPU
device      what a GPU does, and what it waits for
layers      the time by layer
split       the split of a step, as long as a bare one
file        all of it as a Chrome trace
"""
