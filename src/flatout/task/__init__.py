"""What to train: the Task, the built-in tasks, and tasks from a file."""
