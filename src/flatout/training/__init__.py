"""From a Task to a Run: the chunk loop, the record, checkpoints, and when to stop."""
