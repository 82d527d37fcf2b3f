"""minicredit: who gets the credit?

How can each layer of a network learn what to change, when a brain has no transposed weights to send
errors through?  Every proposed rule is one short file in `minicredit.rules`, on the same networks,
data and kernels.

>>> from minicredit import ask, create
>>> from minicredit.rules import Backprop
>>> net = create((64, 32, 10))
>>> rule = Backprop(net)
"""
from minicredit.errors import UserError
from minicredit.network import Network, create, forward
from minicredit.rules.asking import ask

__version__ = "0.1.0"
__all__ = ["Network", "UserError", "ask", "create", "forward"]
