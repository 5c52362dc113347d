"""Data on its way to the model: resident on the device or streaming in, and the order of the samples."""
