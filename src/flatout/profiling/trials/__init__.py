"""Experiments: after a script has ended, a copy of its model runs again with a fix and without.

trial         what an experiment measured
undisturbed   nothing that the copy does lasts: no random number, no output, no file, no setting
replica       the copy, and one step of it
pairs         two ways of the same work, timed turn by turn
batches       how long a step takes at other batch sizes
experiments   all of them, within a budget of seconds
"""
