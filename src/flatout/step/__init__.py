"""One training step as a graph: traced from the user's own model, loss and optimizer."""
