"""The ways to run training steps. A new plan is one file here and one line in the registry."""
