"""What is watched while a script runs. One file an idea.

seen       what the windows of lines saw
calls      times the calls that the user's lines make
tensors    reads, copies, masks and tensors that are made
output     printing, logging and saving
loaders    DataLoaders
losses     losses that live on with their graph
passes     calls of models: in which mode, whether for training, and by which line; in every window
compiled   what torch.compile compiled again
"""
