"""Graphics cards as their makers sell them: a catalogue, names and what they mean, what one costs.

Nothing here imports torch or numpy, and nothing looks at the machine it runs on.
"""

from flatout.gpus.advice import Advice, advise
from flatout.gpus.card import Card
from flatout.gpus.catalogue import cards
from flatout.gpus.compare import Comparison, compare
from flatout.gpus.names import Name, decode
from flatout.gpus.search import find

__all__ = ["Advice", "Card", "Comparison", "Name", "advise", "cards", "compare", "decode", "find"]
