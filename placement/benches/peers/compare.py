"""Runs Domicile's bench and the peers one after another on problem files and prints one table.

    compare.py FILE... [--methods greedy,highs-lp-need,highs-mip,cp-sat] [--time-limit SECONDS] [--rounds 1] [--json OUT]

Run it with the Python of the environment that has the requirements installed. Domicile's bench is built first, by cargo.
Every run is a process of its own, one at a time; with --rounds N each is run N times in turn and the least CPU time counts.

The checks that are printed are those of the proof: our bound must not be above a plan that any method found, nor our
objective below the bound of any method. Past BRANCHED pairs of a dataset and a backend our bound comes from prices alone,
so that it must not be above the optimum of a linear program either. Up to so many pairs, branching may show that whole
plans cost more than that optimum: there the plans of the others are what our bound is held against. Where datasets stay
unsatisfied the methods solve different problems, and nothing is compared.
"""
import argparse
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
# Two sums of a million rounded numbers.
ROUNDING = 1e-9
# EXACT_PAIRS of placement/src/solve/mod.rs: up to so many pairs our bound may come from branching.
BRANCHED = 4_000
METHODS = "greedy,highs-lp-need,highs-mip,cp-sat"


def build():
    found = subprocess.run(
        ["cargo", "bench", "-p", "domicile-placement", "--bench", "solve", "--no-run", "--message-format", "json"],
        cwd=HERE, check=True, stdout=subprocess.PIPE, text=True,
    ).stdout.splitlines()
    built = [json.loads(line) for line in found]
    return next(b["executable"] for b in built if b.get("executable") and b["target"]["name"] == "solve")


def run(command, limit, blank):
    """The last line of a run as JSON; a run that ends badly is told by its status."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return blank | {"status": f"stopped after {limit:.0f} s"}
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        reason = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        return blank | {"status": f"failed: {reason}"}
    return json.loads(lines[-1])


def best_of(runs):
    return min(runs, key=lambda answer: answer.get("cpuSeconds") or float("inf"))


def number(value, form):
    return "-" if value is None or value in (float("inf"), float("-inf")) else format(value, form)


def row(answer, ours):
    objective, bound = answer.get("objective"), answer.get("bound")
    gap = answer.get("gap")
    if gap is None and objective and bound is not None and not answer["method"].startswith("highs-lp"):
        gap = (objective - bound) / objective
    cells = [
        answer["file"].split(".")[0], answer["method"], answer.get("status", "checked"), number(objective, ".12g"),
        number(bound, ".12g"), number(gap, ".1e"), number(answer.get("unsatisfied"), "d"),
        number(answer.get("modelSeconds"), ".2f"), number(answer.get("cpuSeconds"), ".3f"), number(answer.get("peakMiB"), ".0f"),
        check(answer, ours),
    ]
    return "| " + " | ".join(cells) + " |"


def check(answer, ours):
    """What the peer's figures say of our proof."""
    if answer is ours:
        return "-"
    if not ours or ours.get("bound") is None:
        return "ours is missing"
    if ours["unsatisfied"] or answer.get("unsatisfied"):
        return "not comparable"
    slack = ROUNDING * max(abs(ours["objective"]), 1e-300)
    said = []
    found, bound = answer.get("objective"), answer.get("bound")
    if found is not None and answer["method"].startswith("highs-lp"):
        may_branch = ours["datasets"] * ours["backends"] <= BRANCHED
        above = "is above (by branching)" if may_branch else "> (WRONG)"
        said.append(f"our bound {'<=' if ours['bound'] <= found + slack else above} its optimum")
    elif found is not None:
        fine = ours["bound"] <= found + slack
        said.append(f"our bound {'<=' if fine else '> (WRONG)'} its objective")
    if bound is not None and bound > float("-inf"):
        fine = bound <= ours["objective"] + slack
        said.append(f"its bound {'<=' if fine else '> (WRONG)'} our objective")
    return "; ".join(said) or "no figures"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--time-limit", type=float, default=300.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json")
    asked = parser.parse_args()
    bench, methods, everything, wrong = build(), asked.methods.split(","), [], False
    print("| problem | method | status | objective | bound | gap | unsatisfied | model s | CPU s | peak MiB | check |")
    print("|---|---|---|---|---|---|---|---|---|---|---|", flush=True)
    for file in map(os.path.abspath, asked.files):
        commands = {"domicile": [bench, "--json", file]}
        for method in methods:
            commands[method] = [sys.executable, os.path.join(HERE, "run.py"), method, file, "--time-limit", str(asked.time_limit)]
        runs = {name: [] for name in commands}
        for _ in range(asked.rounds):
            for name, command in commands.items():
                # Reading, making the model and judging come on top of the limit.
                blank = {"file": os.path.basename(file), "method": name}
                runs[name].append(run(command, 2 * asked.time_limit + 300, blank))
        ours = best_of(runs["domicile"])
        for answers in runs.values():
            line = row(best_of(answers), ours)
            wrong |= "WRONG" in line
            print(line, flush=True)
            everything.append(best_of(answers))
    if asked.json:
        with open(asked.json, "w") as out:
            out.writelines(json.dumps(answer) + "\n" for answer in everything)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
