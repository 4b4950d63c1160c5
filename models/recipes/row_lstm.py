"""The Row LSTM of van den Oord, Kalchbrenner & Kavukcuoglu 2016 (section 3.1): memory that runs down a picture.

With x a row of features, h and c what is remembered of the row above, * convolutions of width 3 along the row::

    [o, f, i, g] = [sigmoid, sigmoid, sigmoid, tanh](K_ss * h + K_is * x)
    c' = f c + i g
    h' = o tanh(c')

K_is is masked (B), K_ss is not: the row above is known whole. So what a pixel knows widens by one column a row, a
triangle; what lies beside it beyond that comes from the layers' masked convolutions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from avatar.models.recipes.masked import Masked1d

State = tuple[Tensor, Tensor]
"""h and c, each (n, hidden, w)."""


class RowLstm(nn.Module):
    """One layer with a residual connection: features (n, 2 hidden, h, w) to the same shape.

    :param hidden: of the memory; a multiple of 3 (a third for each colour).
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.into = Masked1d(2 * hidden, 4 * hidden, 3)
        self.across = nn.Conv1d(hidden, 4 * hidden, 3, padding=1, bias=False)
        self.out = Masked1d(hidden, 2 * hidden, 1)
        # The mask's thirds are colours, so that is how features are ordered first; within each: o, f, i, g.
        with torch.no_grad():
            assert self.into.bias is not None
            self.into.bias.view(3, 4, hidden // 3)[:, 1] = 1.0  # to begin with, memory is kept

    def begin(self, n: int, width: int) -> State:
        """What is known above the first row: nothing."""
        zero = self.out.weight.new_zeros(n, self.hidden, width)
        return zero, zero

    def forward(self, x: Tensor) -> Tensor:
        n, channels, height, width = x.shape
        rows = x.permute(2, 0, 1, 3).reshape(height * n, channels, width)
        fed = self.into(rows).reshape(height, n, 4 * self.hidden, width)
        state, seen = self.begin(n, width), []
        for row in fed:
            state = self._next(row, state)
            seen.append(state[0])
        told = self.out(torch.stack(seen).reshape(height * n, self.hidden, width))
        return x + told.reshape(height, n, channels, width).permute(1, 2, 0, 3)

    def row(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """One row (n, 2 hidden, w) after the rows that ``state`` remembers."""
        state = self._next(self.into(x), state)
        return x + self.out(state[0]), state

    def _next(self, fed: Tensor, state: State) -> State:
        h, c = state
        o, f, i, g = self._gates(fed + self.across(h))
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c

    def _gates(self, fed: Tensor) -> tuple[Tensor, ...]:
        """(n, 4 hidden, w) to four (n, hidden, w), each with its thirds by colour."""
        n, _, width = fed.shape
        by_colour = fed.reshape(n, 3, 4, self.hidden // 3, width)
        return tuple(by_colour[:, :, k].reshape(n, self.hidden, width) for k in range(4))
