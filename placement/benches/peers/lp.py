"""The linear program of a problem, for HiGHS.

One block of variables stands for one group of datasets that differ in nothing but their size: of a common shape, and of
costs that grow with their bytes in one proportion. Such datasets share one optimal solution, so the program over groups
has the optimum of the program over datasets, exactly. `x[g, b]` is the share of the group that has a copy on b.

    min   sum cost[g, b] x[g, b]
          sum over accepted b of x[g, b] >= copies                      each requirement
          z[g, s, k] <= sum over b in group k of x[g, b]                each spread s with groups k
          sum over k of z[g, s, k] >= groups                            each spread
          sum bytes[g] x[g, b] + bytes that stay <= room[b]             each backend
          sum spent[g, b] x[g, b] + spent that stays <= limit           each budget
          0 <= x, z <= 1;  x = 1 where the origin is kept

Columns may come by need: first the likely ones, then those with negative reduced cost, until there is none. The bound that
is reported is that of the dual solution over all columns, whatever the solver stopped at, so it is a bound of the whole
program; the optimum lies between it and the objective.
"""
import math

import numpy as np

from problem import GIB

# What a byte too much costs, as a multiple of the dearest copy of its kind; only so that a program always has a solution.
PENALTY = 20.0
NEW_COLUMNS = 4
# Groups of the program that gives the first prices.
COARSE = 1000


class Block:
    """A group of datasets: what its share of each backend costs and takes."""

    __slots__ = ("shape", "members", "costs", "gib", "spends")

    def __init__(self, shape, members, costs, gib, spends):
        self.shape, self.members, self.costs, self.gib, self.spends = shape, members, costs, gib, spends


def proportions(problem, shape):
    """Datasets of a shape by what their costs are proportional to."""
    features = [problem.bytes[shape.members]]
    if (problem.put.any() or problem.get.any()):
        features.append(problem.objects[shape.members])
    if any(problem.minimums):
        features += list(problem.billable[shape.members].T)
    for copy in shape.copies.values():
        # What is missing of a copy that was begun is its own, and grows with nothing.
        if copy[3] or copy[4]:
            return [[row] for row in range(len(shape.members))]
    if len(features) == 1:
        return [list(range(len(shape.members)))]
    groups = {}
    for row, values in enumerate(zip(*features)):
        whole = [int(value) for value in values]
        divisor = math.gcd(*whole) or 1
        groups.setdefault(tuple(value // divisor for value in whole), []).append(row)
    return list(groups.values())


def blocks(problem, each_dataset=False):
    found = []
    for shape in problem.shapes:
        if not shape.chooses:
            continue
        costs = shape.costs()
        spends = [shape.spends(policy, field) for policy, field, _ in problem.budgets]
        gib = problem.bytes[shape.members] / GIB
        rows_of = [[row] for row in range(len(shape.members))] if each_dataset else proportions(problem, shape)
        for rows in rows_of:
            total = [amounts[rows].sum(axis=0) for amounts in spends]
            found.append(Block(shape, shape.members[rows], costs[rows].sum(axis=0), gib[rows].sum(), total))
    return found


def fixed(problem):
    """Cost, bytes and spending of what is not chosen."""
    cost, used = 0.0, [0] * len(problem.backends)
    spent = np.zeros(len(problem.budgets))
    for shape in problem.shapes:
        size = sum(problem.size[dataset] for dataset in shape.members)
        stay = shape.stay or set()
        if stay:
            cost += float(shape.costs()[:, sorted(stay)].sum())
            for at, (policy, field, _) in enumerate(problem.budgets):
                spent[at] += float(shape.spends(policy, field)[:, sorted(stay)].sum())
        if not shape.chooses and not shape.current:
            stay = stay | set(shape.copies)
        elif not shape.chooses and not shape.reached:
            stay = stay | {b for b, copy in shape.copies.items() if copy[1] in ("Incomplete", "Damaged")}
        for backend in stay | shape.stays_anyway:
            used[backend] += size
    return cost, used, spent


class Program:
    """The rows of a program over some of its columns."""

    def __init__(self, problem, found):
        self.problem, self.blocks = problem, found
        self.count = len(problem.backends)
        base, used, spent = fixed(problem)
        self.base = base
        self.room = np.array([(room - use) / GIB for room, use in zip(problem.room, used)])
        self.limit = np.array([limit for _, _, limit in problem.budgets]) - spent
        for block in found:
            # The forced are constants: of what they cost, take and spend.
            forced = block.shape.forced
            self.base += float(block.costs[forced].sum())
            taken = forced & ~self.stays(block)
            self.room[taken] -= block.gib
            for at, amounts in enumerate(block.spends):
                self.limit[at] -= float(amounts[forced].sum())
        self.free = [block.shape.candidates & ~block.shape.forced for block in found]
        self.scale = np.maximum(np.abs(self.room), 1.0)
        self.budget_scale = np.maximum(np.abs(self.limit), 1.0)
        dearest = max((float((b.costs[f] / max(b.gib, 1e-9)).max()) for b, f in zip(found, self.free) if f.any()), default=1.0)
        self.penalty = PENALTY * max(dearest, 1e-6)

    @staticmethod
    def stays(block):
        mask = np.zeros(len(block.shape.candidates), dtype=bool)
        mask[sorted(block.shape.stays_anyway)] = True
        return mask

    def likely(self):
        """Columns to begin with: for each need the cheapest at the prices of room, also of each group."""
        chosen, prices = [], self.coarse_prices()
        for block, free in zip(self.blocks, self.free):
            mask = np.zeros(self.count, dtype=bool)
            costs = block.costs + prices * block.gib
            for need in block.shape.needs:
                order = [b for b in np.argsort(costs, kind="stable") if need.counts[b] and free[b]]
                mask[order[: need.copies + 1]] = True
                for groups, group in need.spreads:
                    seen = set()
                    for backend in order:
                        if group[backend] >= 0 and group[backend] not in seen and len(seen) < groups + 1:
                            seen.add(group[backend])
                            mask[backend] = True
            chosen.append(mask & free)
        return chosen

    def coarse_prices(self):
        """The prices of room of a program over the largest groups, which take a like share of all room."""
        if len(self.blocks) <= 2 * COARSE:
            return np.zeros(self.count)
        largest = sorted(self.blocks, key=lambda block: -block.gib)[:COARSE]
        coarse = Program(self.problem, largest)
        share = sum(block.gib for block in largest) / sum(block.gib for block in self.blocks)
        coarse.room, coarse.limit = self.room * share, self.limit * share
        coarse.solve(coarse.free, 1e9)
        return np.clip(-coarse.duals[coarse.rows[0]] / coarse.scale, 0.0, coarse.penalty)

    def solve(self, columns, time_limit, integral=False, gap=0.0):
        import highspy

        matrix = Matrix()
        lower, upper, cost, is_x = [], [], [], []
        place = {}
        rows = self.linking_rows(matrix)
        self.layout = []
        for at, (block, mask) in enumerate(zip(self.blocks, columns)):
            x = {}
            for backend in np.flatnonzero(mask):
                x[backend] = len(cost)
                entries = [] if block.shape.problem is None else self.linking(block, backend, rows)
                matrix.column(entries)
                lower.append(0.0), upper.append(1.0), cost.append(block.costs[backend]), is_x.append(True)
                place[len(cost) - 1] = (at, backend)
            self.layout.append((x, self.need_rows(matrix, block, x, lower, upper, cost, is_x)))
        for backend in range(self.count):
            matrix.column([(rows[0][backend], -1.0 / self.scale[backend])])
            lower.append(0.0), upper.append(np.inf), cost.append(self.penalty), is_x.append(False)
        for at in range(len(self.limit)):
            matrix.column([(rows[1][at], -1.0 / self.budget_scale[at])])
            lower.append(0.0), upper.append(np.inf), cost.append(PENALTY * 10.0), is_x.append(False)
        solver = highspy.Highs()
        solver.setOptionValue("output_flag", False)
        solver.setOptionValue("threads", 1)
        solver.setOptionValue("parallel", "off")
        solver.setOptionValue("time_limit", float(time_limit))
        if integral:
            solver.setOptionValue("mip_rel_gap", gap)
        else:
            # A bound is a sum over all columns, and so are the tolerances in it.
            solver.setOptionValue("dual_feasibility_tolerance", 1e-9)
            solver.setOptionValue("primal_feasibility_tolerance", 1e-9)
        solver.passModel(matrix.model(highspy, lower, upper, cost, is_x if integral else None))
        solver.run()
        self.solver, self.place, self.rows = solver, place, rows
        solution, info = solver.getSolution(), solver.getInfo()
        self.values = np.array(solution.col_value)
        self.duals = np.array(solution.row_dual)
        self.status = solver.modelStatusToString(solver.getModelStatus())
        self.columns = columns
        self.size = (matrix.rows, len(cost))
        slack = self.values[len(cost) - self.count - len(self.limit) :] if len(self.values) else np.array([np.inf])
        self.short = float(slack.sum())
        self.value = self.base + info.objective_function_value
        self.mip_bound = self.base + info.mip_dual_bound if integral else None
        return self.status

    def linking_rows(self, matrix):
        rooms = [matrix.row(-np.inf, self.room[b] / self.scale[b]) for b in range(self.count)]
        limits = [matrix.row(-np.inf, self.limit[at] / self.budget_scale[at]) for at in range(len(self.limit))]
        return rooms, limits

    def linking(self, block, backend, rows):
        entries = []
        if backend not in block.shape.stays_anyway and block.gib > 0:
            entries.append((rows[0][backend], block.gib / self.scale[backend]))
        for at, amounts in enumerate(block.spends):
            if amounts[backend]:
                entries.append((rows[1][at], amounts[backend] / self.budget_scale[at]))
        return entries

    def need_rows(self, matrix, block, x, lower, upper, cost, is_x):
        """Rows of the needs; a group of which one column is there needs no variable of its own."""
        layout, forced = [], block.shape.forced
        for need in block.shape.needs:
            missing = need.copies - int((forced & need.counts).sum())
            row = None
            if missing > 0:
                row = matrix.row(float(missing), np.inf)
                for backend, column in x.items():
                    if need.counts[backend]:
                        matrix.add(column, row, 1.0)
            spreads = []
            for wanted, group in need.spreads:
                covered = {group[b] for b in np.flatnonzero(forced & need.counts) if group[b] >= 0}
                if wanted - len(covered) <= 0:
                    spreads.append(None)
                    continue
                total = matrix.row(float(wanted - len(covered)), np.inf)
                members = {}
                for backend, column in x.items():
                    if group[backend] >= 0 and group[backend] not in covered:
                        members.setdefault(group[backend], []).append(column)
                links = {}
                for number, columns in members.items():
                    if len(columns) == 1:
                        matrix.add(columns[0], total, 1.0)
                        continue
                    link = matrix.row(0.0, np.inf)
                    for column in columns:
                        matrix.add(column, link, 1.0)
                    matrix.column([(total, 1.0), (link, -1.0)])
                    lower.append(0.0), upper.append(1.0), cost.append(0.0), is_x.append(False)
                    links[number] = link
                spreads.append((total, covered, links))
            layout.append((row, spreads))
        return layout

    def price(self):
        """Reduced costs of all columns, present or not, and the bound that the duals prove."""
        rooms = np.maximum(-self.duals[self.rows[0]] / self.scale, 0.0)
        limits = np.maximum(-self.duals[self.rows[1]] / self.budget_scale, 0.0) if len(self.limit) else np.zeros(0)
        rooms = np.minimum(rooms, self.penalty)
        bound = self.base - float(rooms @ self.room) - float(limits @ self.limit)
        reduced = []
        for block, free, (_, layout) in zip(self.blocks, self.free, self.layout):
            stays = self.stays(block)
            costs = block.costs + np.where(stays, 0.0, rooms * block.gib)
            for price, amounts in zip(limits, block.spends):
                costs = costs + price * amounts
            for need, (row, spreads) in zip(block.shape.needs, layout):
                if row is not None:
                    dual = max(self.duals[row], 0.0)
                    bound += dual * (need.copies - int((block.shape.forced & need.counts).sum()))
                    costs = costs - dual * need.counts
                for (wanted, group), spread in zip(need.spreads, spreads):
                    if spread is not None:
                        bound += self.price_spread(wanted, group, spread, costs)
            bound += float(np.minimum(costs[free], 0.0).sum())
            reduced.append(costs)
        self.bound = bound
        return reduced

    def price_spread(self, wanted, group, spread, costs):
        total, covered, links = spread
        dual = max(self.duals[total], 0.0)
        bound = dual * (wanted - len(covered))
        for number in set(group[group >= 0].tolist()) - covered:
            # A group without a row of its own: any price from 0 to that of the spread keeps the duals feasible.
            own = min(max(self.duals[links[number]], 0.0), np.inf) if number in links else dual
            bound += min(0.0, own - dual)
            costs[group == number] -= own
        return bound

    def wanted(self, reduced, tolerance=1e-9):
        """The columns that the duals ask for, added to those that are there."""
        added, columns = 0, []
        for block, free, mask, costs in zip(self.blocks, self.free, self.columns, reduced):
            worst = tolerance * max(float(block.costs.max()), 1e-12)
            absent = np.flatnonzero(free & ~mask & (costs < -worst))
            if len(absent):
                mask = mask.copy()
                best = absent[np.argsort(costs[absent], kind="stable")[:NEW_COLUMNS]]
                mask[best] = True
                added += len(best)
            columns.append(mask)
        return added, columns


class Matrix:
    """A sparse matrix while it is put together."""

    def __init__(self):
        self.rows, self.columns = 0, 0
        self.at_row, self.at_column, self.number = [], [], []
        self.row_lower, self.row_upper = [], []

    def row(self, lower, upper):
        self.row_lower.append(lower), self.row_upper.append(upper)
        self.rows += 1
        return self.rows - 1

    def column(self, entries):
        for row, number in entries:
            self.add(self.columns, row, number)
        self.columns += 1

    def add(self, column, row, number):
        self.at_row.append(row), self.at_column.append(column), self.number.append(number)

    def model(self, highspy, lower, upper, cost, integral):
        from scipy.sparse import coo_matrix

        matrix = coo_matrix((self.number, (self.at_row, self.at_column)), shape=(self.rows, self.columns)).tocsc()
        model = highspy.HighsLp()
        model.num_col_, model.num_row_ = self.columns, self.rows
        model.col_cost_, model.col_lower_, model.col_upper_ = np.array(cost), np.array(lower), np.array(upper)
        model.row_lower_, model.row_upper_ = np.array(self.row_lower), np.array(self.row_upper)
        model.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        model.a_matrix_.start_, model.a_matrix_.index_ = matrix.indptr, matrix.indices
        model.a_matrix_.value_ = matrix.data
        if integral is not None:
            kinds = [highspy.HighsVarType.kContinuous, highspy.HighsVarType.kInteger]
            model.integrality_ = [kinds[whole] for whole in integral]
        return model
