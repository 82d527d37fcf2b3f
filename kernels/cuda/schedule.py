"""An order for the works of a step in which few launches do much.

    a work has to wait for     who wrote what it reads, who read or wrote what it writes
    its height                 how many works have to follow it, one after the other
    next                       the highest of those that can go, and with it all that can go and
                               want the same kernel: one launch

So the chain that decides how long a step takes is never kept waiting, and what has time waits
until its likes are there: the gradients of all layers share a launch, and so do their noises.
"""
from minicredit.kernels.cuda.work import MOST


def waits(works):
    """For every work the set of earlier ones that it has to wait for, by index."""
    writer, readers, before = {}, {}, []
    for number, one in enumerate(works):
        reads, writes = {id(a) for a in one.reads}, {id(a) for a in one.writes}
        behind = {writer[a] for a in reads | writes if a in writer}
        for a in writes:
            behind |= readers.pop(a, set())
            writer[a] = number
        for a in reads:
            readers.setdefault(a, set()).add(number)
        before.append(behind - {number})
    return before


def heights(before):
    """How long the longest chain is that starts at each work."""
    high = [1] * len(before)
    for number in reversed(range(len(before))):
        for earlier in before[number]:
            high[earlier] = max(high[earlier], high[number] + 1)
    return high


def schedule(works):
    """Lists of works that share a launch, in order.

    Parameters
    ----------
    works : list of Work, in an order that is right

    Returns
    -------
    list of lists of Work, 16 at most in each
    """
    works = [one for one in works if one.blocks]
    before = waits(works)
    high, done, left, launches = heights(before), set(), list(range(len(works))), []
    while left:
        ready = [n for n in left if before[n] <= done]
        first = max(ready, key=lambda n: (high[n], -n))
        chosen = [n for n in ready if works[n].key == works[first].key][:MOST]
        if first not in chosen:
            chosen[-1] = first
        launches.append([works[n] for n in sorted(chosen)])
        done.update(chosen)
        left = [n for n in left if n not in done]
    return launches
