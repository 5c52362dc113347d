"""The measured comparison of plans and devices for one task: does it agree, how fast is it, who wins."""
