"""The lessons as experiments: each lab measures one question on this machine, a file a lab.

`paired` says what a measured difference is worth, `rounds` takes the measurements in turn, and `places` finds
the devices.
"""
