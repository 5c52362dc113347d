"""Graphics cards as their makers sell them: a catalogue, names and what they mean, what one costs."""
