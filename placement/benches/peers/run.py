"""Solves a problem file by one method and prints what came of it as a line of JSON.

    run.py METHOD FILE [--time-limit SECONDS] [--workers N]

Methods:
    highs-lp         HiGHS, the linear program over groups of proportional datasets, all columns at once
    highs-lp-need    the same program, columns by need: the same optimum, in less time and memory
    highs-lp-full    the linear program over single datasets, all columns at once
    highs-mip        HiGHS, whole numbers, one choice for each dataset, gap 1e-4
    cp-sat           OR-Tools CP-SAT, one choice for each dataset, gap 1e-4
    greedy           each dataset in turn takes the cheapest backends that fit

`bound` is what the method proves, `objective` what it found: of a linear program that is its optimum, which no plan need
reach. CPU seconds are user and system time of this process; making the model is not in `cpuSeconds` but in `modelSeconds`.
"""
import argparse
import json
import os
import resource
import sys
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np

import lp
from problem import Problem, Unsupported, objective, violations

GAP = 1e-4
# More columns than this are not even tried: HiGHS then needs more memory than the machines at hand have.
MOST_COLUMNS = 6_000_000
ROUNDS = 60
# GiB or money too much that rounding may leave.
SHORT = 1e-6
# What these methods say where some dataset must stay unsatisfied: which one is beyond them.
NOT_EVERYTHING = "not everything fits"


def one_thread():
    """numpy's linear algebra must not use the cores that the others are measured on."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return None
    return max((pool["num_threads"] for pool in threadpool_info()), default=1)


def all_columns(program):
    count = sum(int(free.sum()) for free in program.free)
    if count > MOST_COLUMNS:
        raise Unsupported(f"{count} columns, more than are tried")
    return program.free


def highs_lp(problem, limit, each_dataset=False):
    begun = time.process_time()
    program = lp.Program(problem, lp.blocks(problem, each_dataset))
    columns = all_columns(program)
    made = time.process_time()
    status = program.solve(columns, limit)
    solved = time.process_time()
    answer = {"status": status, "rows": program.size[0], "columns": program.size[1], "groups": len(program.blocks)}
    answer |= {"modelSeconds": made - begun, "cpuSeconds": solved - made}
    if status == "Optimal" and program.short <= SHORT:
        program.price()
        answer |= {"objective": program.value, "bound": program.bound}
    elif status == "Optimal":
        answer["status"] = NOT_EVERYTHING
    return answer | {"short": program.short}


def highs_lp_need(problem, limit):
    begun = time.process_time()
    program = lp.Program(problem, lp.blocks(problem))
    made = time.process_time()
    columns = program.likely()
    best, rounds = -np.inf, 0
    for rounds in range(1, ROUNDS + 1):
        left = limit - (time.process_time() - made)
        status = program.solve(columns, max(left, 1.0)) if left > 0 else "Time limit reached"
        if status != "Optimal":
            break
        reduced = program.price()
        best = max(best, program.bound)
        spent = time.process_time() - made
        print(f"round {rounds}: {program.value!r} over {program.size[1]} columns, bound {program.bound!r}, {spent:.1f} s", file=sys.stderr)
        added, columns = program.wanted(reduced)
        if added == 0:
            break
    answer = {"status": status, "rows": program.size[0], "columns": program.size[1], "groups": len(program.blocks)}
    answer |= {"rounds": rounds, "modelSeconds": made - begun, "cpuSeconds": time.process_time() - made}
    if status == "Optimal" and program.short > SHORT:
        return answer | {"status": NOT_EVERYTHING, "short": program.short}
    objective = program.value if status == "Optimal" else None
    return answer | {"objective": objective, "bound": float(best), "short": program.short}


def sets_of(problem, chosen):
    """The sets of all datasets: what was chosen, the kept origins, and what stays."""
    sets = [set() for _ in problem.size]
    for shape in problem.shapes:
        kept = set(np.flatnonzero(shape.forced).tolist()) if shape.chooses else shape.stay
        for dataset in shape.members:
            sets[dataset] |= kept
    for dataset, backend in chosen:
        sets[dataset].add(int(backend))
    return sets


def judged(problem, sets, bound, answer):
    """The objective recomputed by the formulas, and what is wrong with the sets."""
    wrong = violations(problem, sets)
    unsatisfied = wrong["datasets"] + sum(len(shape.members) for shape in problem.shapes if not shape.is_whole)
    return answer | {"objective": objective(problem, sets), "bound": bound, "violations": wrong, "unsatisfied": unsatisfied}


def highs_mip(problem, limit):
    begun = time.process_time()
    program = lp.Program(problem, lp.blocks(problem, each_dataset=True))
    columns = all_columns(program)
    made = time.process_time()
    status = program.solve(columns, limit, integral=True, gap=GAP)
    solved = time.process_time()
    answer = {"status": status, "rows": program.size[0], "columns": program.size[1]}
    answer |= {"modelSeconds": made - begun, "cpuSeconds": solved - made, "short": program.short}
    if program.short > SHORT:
        return answer | {"status": NOT_EVERYTHING}
    bound = program.mip_bound if np.isfinite(program.mip_bound) else None
    if not len(program.values) or not np.isfinite(program.value):
        return answer | {"bound": bound}
    chosen = [
        (program.blocks[at].members[0], backend)
        for column, (at, backend) in program.place.items()
        if program.values[column] > 0.5
    ]
    return judged(problem, sets_of(problem, chosen), bound, answer)


def cp_sat(problem, limit, workers=1):
    from ortools.sat.python import cp_model

    begun = time.process_time()
    program = lp.Program(problem, lp.blocks(problem, each_dataset=True))
    all_columns(program)
    model, x = cp_model.CpModel(), {}
    # CP-SAT counts in whole numbers: costs in steps of which the largest has a million, bytes rounded up and room down.
    dearest = max((float(block.costs[free].max()) for block, free in zip(program.blocks, program.free) if free.any()), default=1.0)
    step = max(dearest, 1e-12) / 1e7
    unit = max(int(sum(problem.size)).bit_length() - 50, 0)
    load, spend, goal = [[] for _ in problem.backends], [[] for _ in problem.budgets], []
    for at, (block, free) in enumerate(zip(program.blocks, program.free)):
        own = {int(b): model.new_bool_var("") for b in np.flatnonzero(free)}
        x[at] = own
        size = -(-problem.size[int(block.members[0])] >> unit) if unit == 0 else (problem.size[int(block.members[0])] >> unit) + 1
        for backend, variable in own.items():
            goal.append((variable, round(block.costs[backend] / step)))
            if backend not in block.shape.stays_anyway:
                load[backend].append((variable, size))
            for budget, amounts in enumerate(block.spends):
                spend[budget].append((variable, int(np.ceil(amounts[backend] / step))))
        cp_needs(model, block, own)
    for backend, terms in enumerate(load):
        room = int(program.room[backend] * lp.GIB) >> unit
        model.add(sum(variable * size for variable, size in terms) <= room) if terms else None
    for budget, terms in enumerate(spend):
        if terms:
            model.add(sum(v * amount for v, amount in terms) <= int(program.limit[budget] / step))
    model.minimize(sum(variable * amount for variable, amount in goal))
    made = time.process_time()
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = workers
    solver.parameters.max_time_in_seconds = limit
    solver.parameters.relative_gap_limit = GAP
    status = solver.solve(model)
    solved = time.process_time()
    answer = {"status": solver.status_name(status), "columns": len(goal), "modelSeconds": made - begun, "cpuSeconds": solved - made}
    # Each rounded cost is off by half a step at most.
    bound = program.base + solver.best_objective_bound * step - len(program.blocks) * len(problem.backends) * step / 2
    if status == cp_model.INFEASIBLE:
        return answer | {"status": NOT_EVERYTHING}
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return answer | {"bound": bound}
    chosen = [
        (program.blocks[at].members[0], backend)
        for at, own in x.items()
        for backend, variable in own.items()
        if solver.value(variable)
    ]
    return judged(problem, sets_of(problem, chosen), bound, answer)


def cp_needs(model, block, own):
    forced = block.shape.forced
    for need in block.shape.needs:
        counted = [variable for backend, variable in own.items() if need.counts[backend]]
        missing = need.copies - int((forced & need.counts).sum())
        if missing > 0:
            model.add(sum(counted) >= missing)
        for wanted, group in need.spreads:
            covered = {group[b] for b in np.flatnonzero(forced & need.counts) if group[b] >= 0}
            if wanted <= len(covered):
                continue
            members = {}
            for backend, variable in own.items():
                if group[backend] >= 0 and group[backend] not in covered:
                    members.setdefault(int(group[backend]), []).append(variable)
            reached = []
            for variables in members.values():
                z = model.new_bool_var("")
                model.add(z <= sum(variables))
                reached.append(z)
            model.add(sum(reached) >= wanted - len(covered))


def greedy(problem, _):
    begun = time.process_time()
    _, used, _ = lp.fixed(problem)
    room = np.array([limit - use for limit, use in zip(problem.room, used)], dtype=object)
    program = lp.Program(problem, [])
    left = program.limit.copy()
    shape_rows = {}
    for at, shape in enumerate(problem.shapes):
        if shape.chooses:
            spends = [shape.spends(policy, field) for policy, field, _ in problem.budgets]
            shape_rows[at] = (shape.costs(), spends)
            for backend in np.flatnonzero(shape.forced):
                if backend not in shape.stays_anyway:
                    room[backend] -= sum(problem.size[d] for d in shape.members)
                for budget, amounts in enumerate(spends):
                    left[budget] -= float(amounts[:, backend].sum())
    made = time.process_time()
    row_of = np.zeros(len(problem.size), dtype=np.int64)
    for shape in problem.shapes:
        row_of[shape.members] = np.arange(len(shape.members))
    chosen = []
    for dataset in range(len(problem.size)):
        at = int(problem.shape_of[dataset])
        if at not in shape_rows:
            continue
        costs, spends = shape_rows[at]
        row = row_of[dataset]
        taken = greedy_one(problem, problem.shapes[at], costs[row], [s[row] for s in spends], problem.size[dataset], room, left)
        chosen += [(dataset, backend) for backend in taken]
    solved = time.process_time()
    answer = {"status": "Done", "modelSeconds": made - begun, "cpuSeconds": solved - made}
    return judged(problem, sets_of(problem, chosen), None, answer)


def greedy_one(problem, shape, costs, spends, size, room, left):
    """The cheapest backends that fit, one after another, as long as a need is not met."""
    chosen, taken = shape.forced.copy(), []
    order = np.argsort(costs, kind="stable")
    while True:
        open_needs = [need for need in shape.needs if not need.is_met(chosen)]
        if not open_needs:
            return taken
        backend = next((int(b) for b in order if helps(shape, open_needs, chosen, b) and fits(shape, b, size, room, spends, left)), None)
        if backend is None:
            return taken
        chosen[backend] = True
        taken.append(backend)
        if backend not in shape.stays_anyway:
            room[backend] -= size
        for budget, amounts in enumerate(spends):
            left[budget] -= float(amounts[backend])


def helps(shape, needs, chosen, backend):
    if chosen[backend] or not shape.candidates[backend]:
        return False
    for need in needs:
        if not need.counts[backend]:
            continue
        counting = chosen & need.counts
        missing = need.copies - int(counting.sum())
        new, tight = False, False
        for wanted, group in need.spreads:
            groups = set(group[counting & (group >= 0)].tolist())
            is_new = group[backend] >= 0 and group[backend] not in groups and len(groups) < wanted
            new |= is_new
            # So many groups are missing that every further copy must bring one.
            tight |= wanted - len(groups) >= missing > 0 and not is_new and len(groups) < wanted
        if new or (missing > 0 and not tight):
            return True
    return False


def fits(shape, backend, size, room, spends, left):
    if backend not in shape.stays_anyway and room[backend] < size:
        return False
    return all(amounts[backend] <= rest for amounts, rest in zip(spends, left))


METHODS = {
    "highs-lp": highs_lp,
    "highs-lp-need": highs_lp_need,
    "highs-lp-full": lambda problem, limit: highs_lp(problem, limit, each_dataset=True),
    "highs-mip": highs_mip,
    "cp-sat": cp_sat,
    "greedy": greedy,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("file")
    parser.add_argument("--time-limit", type=float, default=300.0)
    parser.add_argument("--workers", type=int, default=1, help="threads of cp-sat; the others have one")
    asked = parser.parse_args()
    answer = {"file": os.path.basename(asked.file), "method": asked.method}
    try:
        begun = time.process_time()
        problem = Problem(asked.file)
        answer |= {"datasets": len(problem.size), "backends": len(problem.backends), "shapes": len(problem.shapes)}
        answer["readSeconds"] = time.process_time() - begun
        options = {"workers": asked.workers} if asked.method == "cp-sat" else {}
        answer |= METHODS[asked.method](problem, asked.time_limit, **options)
        answer["blasThreads"] = one_thread()
    except Unsupported as reason:
        answer["status"] = f"not tried: {reason}"
    except MemoryError:
        answer["status"] = "out of memory"
    answer["peakMiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
