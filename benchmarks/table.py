"""The results in words: a table a size, and each target with what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from benchmarks.results import Cell, Figures, Key, Results

PEERS = ("wlmscpfs", "Orthanc")
SQLITE, POSTGRES = "SQLite", "PostgreSQL"
POSTGRES_2 = "PostgreSQL, 2 workers"
SMALL, BIG = 1000, 1_000_000

_NEW = {query: Cell(query) for query in ("Q1", "Q2", "Q3", "Q5", "Q6", "Q7")}
_ALL = Cell("Q4", is_kept=True)
_CROWD = Cell("Q1", clients=32)
# By size: how many times the best peer's queries a second.
_TIMES_THE_BEST_PEER = {
    _NEW["Q1"]: (POSTGRES, {100: 5, 1000: 30, 10_000: 250}),
    _NEW["Q3"]: (POSTGRES, {100: 5, 1000: 30, 10_000: 250}),
    _NEW["Q2"]: (POSTGRES, {100: 5, 1000: 20, 10_000: 150}),
    _ALL: (POSTGRES, {100: 8, 1000: 15}),
    _CROWD: (POSTGRES_2, {100: 5, 1000: 30}),
}
_MOST_TIMES_OUR_THOUSAND = 1.5


@dataclass(frozen=True)
class Target:
    """What is to be reached, what was, and whether that is enough."""

    words: str
    wanted: str
    reached: str
    is_met: bool
    # The same by processor time, which a machine that is busy with other things disturbs less.
    by_cpu: str = ""


def tables(results: Results) -> str:
    """A table a size, then the targets."""
    parts = [_table(results, size) for size in sorted({size for size, _, _ in results})]
    reached = list(targets(results))
    lines = ["Targets (medians; ratio to the best peer of this run)"]
    for each in reached:
        mark = "met  " if each.is_met else "SHORT"
        line = f"  {mark} {each.words:58} {each.reached:>9}   wanted {each.wanted:9} {each.by_cpu}"
        lines.append(line.rstrip())
    errors = [
        f"  {size:,} {server} {cell.label}: {figures.error}"
        for (size, server, cell), figures in results.items()
        if figures.error
    ]
    if errors:
        lines += ["", "Errors", *errors]
    return "\n\n".join([*parts, "\n".join(lines)])


# --- a size ---------------------------------------------------------------------------------------

_COLUMNS = (
    f"{'':12} {'':22} {'a second':>9} {'× peer':>7} {'median':>8} {'p99':>8}  "
    f"{'server':>8} {'database':>8} {'client':>8} {'memory':>7}"
)
_UNITS = (
    f"{'':12} {'':22} {'':>9} {'':>7} {'ms':>8} {'ms':>8}  "
    f"{'ms CPU':>8} {'ms CPU':>8} {'ms CPU':>8} {'MB':>7}"
)


def _table(results: Results, size: int) -> str:
    lines = [f"{size:,} entries", _COLUMNS, _UNITS]
    cells = dict.fromkeys(cell for of, _, cell in results if of == size)
    for cell in cells:
        best = best_peer(results, size, cell)
        first = True
        for (of, server, which), figures in results.items():
            if (of, which) != (size, cell):
                continue
            head = f"{cell.label:12}" if first else " " * 12
            first = False
            lines.append(f"{head} {server:22} {_line(figures, best)}")
        lines.append(f"{'':12} {_matches(results, size, cell)}")
    return "\n".join(lines)


def _line(figures: Figures, best: float) -> str:
    if figures.error:
        return f"    error: {figures.error}"
    ratio = f"{figures.per_second / best:7.1f}" if best else " " * 7
    return (
        f"{figures.per_second:9.1f} {ratio} {figures.median:8.2f} {figures.p99:8.2f}  "
        f"{figures.server_cpu:8.2f} {figures.database_cpu:8.2f} {figures.client_cpu:8.2f} "
        f"{figures.memory:7.0f}"
    )


def _matches(results: Results, size: int, cell: Cell) -> str:
    of_cell = [figures for key, figures in results.items() if (key[0], key[2]) == (size, cell)]
    count = of_cell[0].matches
    octets = max((run.measured.octets for each in of_cell for run in each.runs), default=0)
    return f"({count:,} matches, {octets / max(count, 1):.0f} bytes each)"


def best_peer(results: Results, size: int, cell: Cell) -> float:
    """The queries a second of the fastest peer; 0 when none was measured."""
    return max((each.per_second for each in _of_peers(results, size, cell)), default=0.0)


def _least_cpu(results: Results, size: int, cell: Cell) -> float:
    return min((each.cpu for each in _of_peers(results, size, cell)), default=0.0)


def _of_peers(results: Results, size: int, cell: Cell) -> list[Figures]:
    return [each for peer in PEERS if (each := _figures(results, (size, peer, cell)))]


def _figures(results: Results, key: Key) -> Figures | None:
    found = results.get(key)
    return found if found and found.runs and not found.error else None


# --- targets --------------------------------------------------------------------------------------


def targets(results: Results) -> Iterator[Target]:
    """Those for which this run has the figures."""
    sizes = sorted({size for size, _, _ in results})
    for size in sizes:
        yield from _against_peers(results, size)
    yield from _at_any_size(results)
    for size in sizes:
        yield from _of_our_own(results, size)


def _against_peers(results: Results, size: int) -> Iterator[Target]:
    for cell, (server, wanted) in _TIMES_THE_BEST_PEER.items():
        figures, best = _figures(results, (size, server, cell)), best_peer(results, size, cell)
        if figures and best and size in wanted:
            words = f"{cell.label}, {size:,} entries, {server}"
            target = _at_least(words, figures.per_second / best, wanted[size])
            by_cpu = _least_cpu(results, size, cell) / max(figures.cpu, 1e-9)
            yield replace(target, by_cpu=f"by CPU {by_cpu:.1f} ×")


def _at_any_size(results: Results) -> Iterator[Target]:
    for cell, (server, _) in _TIMES_THE_BEST_PEER.items():
        small, big = (_figures(results, (size, server, cell)) for size in (SMALL, BIG))
        if small and big and cell != _CROWD:
            words = f"{cell.label}, {BIG:,} entries against {SMALL:,}, time"
            target = _at_most(words, big.median / small.median, _MOST_TIMES_OUR_THOUSAND)
            yield replace(target, by_cpu=_by_cpu(big, small))


def _of_our_own(results: Results, size: int) -> Iterator[Target]:
    def of(server: str, cell: Cell) -> Figures | None:
        return _figures(results, (size, server, cell))

    if crowd := of(POSTGRES_2, _CROWD):
        words = f"{_CROWD.label}, {size:,} entries, p99 against median"
        yield _at_most(words, crowd.p99 / crowd.median, 10)
        if alone := of(POSTGRES, _CROWD):
            # Where the load client shares the processors, their time a query tells.
            ratio = max(
                crowd.per_second / alone.per_second, 2 * alone.server_cpu / crowd.server_cpu
            )
            words = f"2 workers against one, {size:,} entries, or by CPU a query"
            yield _at_least(words, ratio, 1.7)
    if size == BIG and (one := of(POSTGRES, _NEW["Q3"])):
        for query, wanted in (("Q5", 2), ("Q6", 5), ("Q7", 5)):
            if figures := of(POSTGRES, _NEW[query]):
                words = f"{query} against Q3, {size:,} entries, time"
                target = _at_most(words, figures.median / one.median, wanted)
                yield replace(target, by_cpu=_by_cpu(figures, one))
    for cell in (_NEW["Q1"], _NEW["Q2"]):
        file, server = of(SQLITE, cell), of(POSTGRES, cell)
        if file and server:
            words = f"{cell.label}, {size:,} entries, SQLite against PostgreSQL"
            yield _at_least(words, file.per_second / server.per_second, 1)


def _by_cpu(one: Figures, other: Figures) -> str:
    return f"by CPU {one.cpu / max(other.cpu, 1e-9):.1f} ×"


def _at_least(words: str, ratio: float, wanted: float) -> Target:
    return Target(words, f"≥ {wanted:g} ×", f"{ratio:.1f} ×", ratio >= wanted)


def _at_most(words: str, ratio: float, wanted: float) -> Target:
    return Target(words, f"≤ {wanted:g} ×", f"{ratio:.1f} ×", ratio <= wanted)


def shares(results: Results) -> Sequence[str]:
    """Where the load client takes more than a quarter of what the server takes."""
    return [
        f"{size:,} {server} {cell.label}: {figures.client_share:.0%}"
        for (size, server, cell), figures in results.items()
        if figures.runs and figures.client_share > 0.25
    ]
