"""Grids and what lies on them: who can go where, what is covered, densities.

All is NumPy, computed once when a task is made. A cell is `row * cols + col`;
"metres" are those of the paper: cell (r, c) is at (1 + 0.1 r, 1 + 0.1 c).
"""

import itertools

import numpy as np

from jaxrl_reward.submodular import gaussian

ACTIONS = ("stay", "right", "down", "left", "up")
MOVES = np.array([(0, 0), (0, 1), (1, 0), (0, -1), (-1, 0)])
STEP = 0.1  # metres from cell to cell
VARIANCE = float(np.log(2.0))  # of the Gaussian processes here, softplus(0)


def successors(free: np.ndarray) -> np.ndarray:
    """Where each action leads: `[n, 5]` int32; a move that is blocked stays.

    Args:
      free: `[rows, cols]` bool, false where there is a wall.
    """
    rows, cols = free.shape
    row, col = np.indices(free.shape).reshape(2, -1, 1)
    to_row, to_col = row + MOVES[:, 0], col + MOVES[:, 1]
    inside = (to_row >= 0) & (to_row < rows) & (to_col >= 0) & (to_col < cols)
    to_row, to_col = np.where(inside, to_row, row), np.where(inside, to_col, col)
    open_ = inside & free[to_row, to_col] & free[row, col]
    return np.where(open_, to_row * cols + to_col, row * cols + col).astype(np.int32)


def blocks(free: np.ndarray, span: int = 2) -> list[list[int]]:
    """The `span x span` cells that each cell covers, of which it is the first.

    Walls are not covered, nor what lies behind them: a cell of the block is
    covered if one of its neighbours towards the first cell is.
    """
    rows, cols = free.shape

    def covered(r: int, c: int) -> list[int]:
        seen = np.zeros((span, span), bool)
        for i, j in np.ndindex(span, span):
            near = (i, j) == (0, 0) or (i > 0 and seen[i - 1, j]) or (j > 0 and seen[i, j - 1])
            seen[i, j] = near and r + i < rows and c + j < cols and free[r + i, c + j]
        return [(r + i) * cols + c + j for i, j in np.argwhere(seen).tolist()]

    return [covered(r, c) for r, c in np.ndindex(rows, cols)]


def two_rooms() -> np.ndarray:
    """7 x 14: rooms of 7 x 4 at both ends, and a corridor of 2 rows, `[7, 14]` bool."""
    free = np.zeros((7, 14), bool)
    free[:, :4] = free[:, 10:] = free[2:4] = True
    return free


def metres(rows: int, cols: int) -> np.ndarray:
    """Where the cells are, `[n, 2]` float32."""
    return (1 + STEP * np.indices((rows, cols)).reshape(2, -1).T).astype(np.float32)


def bimodal(rows: int, cols: int) -> np.ndarray:
    """Weights 0.27 to 0.73, high in two opposite corners, `[n]`."""
    x, y = np.linspace(-1, 1, rows), np.linspace(-1, 1, cols)
    return (1 / (1 + np.exp(-np.outer(x, y)))).reshape(-1)


def density(rows: int, cols: int, seed: int) -> np.ndarray:
    """A smooth positive map, `[n]`: 3 plus a draw of a Gaussian process, at least 0.

    Matern 5/2 of 1 metre and variance log 2, known to be 0 at one random cell
    (up to noise 1e-3).
    """
    rng = np.random.default_rng(seed)
    points = metres(rows, cols)
    prior = gaussian.kernel("matern52", points, variance=VARIANCE)
    left = gaussian.conditioned(prior, points[rng.integers(len(points))][None], noise=1e-3).table()
    factor = np.linalg.cholesky(left + 1e-6 * np.eye(len(points)))
    return np.maximum(3 + factor @ rng.normal(size=len(points)), 0)


def nests(rows: int, cols: int, seed: int, sites: int = 647) -> np.ndarray:
    """A kernel density of clustered sites, `[n]`, at most 1.

    The sites are drawn (a Thomas process: clusters of Gaussian spread), as many
    as there are nests in Funwi-Gabga and Mateu (2012), whose data these are not.
    """
    rng = np.random.default_rng(seed)
    centres = rng.random((12, 2))
    chosen = centres[rng.choice(12, sites, p=rng.dirichlet(np.ones(12)))]
    at = chosen + 0.05 * rng.normal(size=(sites, 2))
    cells = (np.indices((rows, cols)).reshape(2, -1).T + 0.5) / (rows, cols)
    apart = np.square(cells[:, None] - at[None]).sum(-1)
    height = np.exp(-0.5 * apart / 0.06**2).sum(1)
    return height / height.max()


def disjoint_items(cells: int, sizes: tuple[int, ...], seed: int) -> list[list[int]]:
    """Random disjoint groups of cells of these sizes."""
    order = np.random.default_rng(seed).permutation(cells)
    ends = np.cumsum((0, *sizes))
    return [sorted(order[a:b].tolist()) for a, b in itertools.pairwise(ends)]


def overlapping_items(cells: int, sizes: tuple[int, ...], seed: int) -> list[list[int]]:
    """Random groups of cells of these sizes, drawn independently."""
    rng = np.random.default_rng(seed)
    return [sorted(rng.choice(cells, size, replace=False).tolist()) for size in sizes]
