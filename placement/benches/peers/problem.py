"""A problem file as arrays, and the formulas of cost (DESIGN.md section 3) said once more, in Python.

What a dataset may do depends on what the policies say of it (its profile), on where it lies and on nothing else, so
datasets are grouped into shapes; the numbers of one shape are computed together.
"""
import gzip
import json
import sys

import numpy as np

GIB = float(1 << 30)
HOURS_PER_MONTH = 730.5
TRANSFER_KWH_PER_GB = 0.001
API_VERSION = "domicile.dev/placement/v1"


class Unsupported(Exception):
    """The problem says something that these peers do not model."""


def rows_of(path):
    opened = gzip.open(path, "rt", encoding="utf-8") if path.endswith(".gz") else open(path, encoding="utf-8")
    with opened as lines:
        for line in lines:
            yield json.loads(line)


class Problem:
    def __init__(self, path):
        rows = rows_of(path)
        head = next(rows)
        if (head["apiVersion"], head["kind"]) != (API_VERSION, "Problem"):
            raise Unsupported(f"{path} is {head['apiVersion']} {head['kind']}")
        take = lambda kind: [next(rows) for _ in range(head["rows"][kind])]
        self.backends = take("backends")
        self.policies = take("policies")
        self.reasons = take("reasons")
        self.requirements = take("requirements")
        self.links = take("links")
        self.profiles = take("profiles")
        self.refuse_what_is_not_modelled()
        self.read_backends()
        self.read_datasets(rows, head["rows"]["datasets"])
        self.take_stock()

    def refuse_what_is_not_modelled(self):
        if self.links:
            raise Unsupported("links")
        if any(requirement["durability"] for requirement in self.requirements):
            raise Unsupported("durability")
        if any(profile["goals"] for profile in self.profiles):
            raise Unsupported("goals")
        if any(value is not None for policy in self.policies for value in policy["movement"].values()):
            raise Unsupported("movement")

    def read_backends(self):
        places = self.backends
        price = lambda name: np.array([float(place["price"][name]) for place in places])
        energy = lambda name: np.array([float(place["energy"][name]) for place in places])
        self.storage, self.ingress = price("storagePerGiBMonth"), price("ingressPerGiB")
        self.put, self.get = price("putPer1000"), price("getPer1000")
        self.grid = energy("gridGramsPerKWh")
        watt_hours = HOURS_PER_MONTH * energy("wattHoursPerTBHour") * energy("physicalCopies") * energy("pue")
        # kg CO2e per byte and month.
        self.carbon = watt_hours / 1000.0 * self.grid / 1000.0 / 1e12
        self.capacity = [place["capacity"] for place in places]
        self.minimum = [place["price"]["minObjectSize"] for place in places]
        self.reachable = np.array([place["reachable"] for place in places], dtype=bool)
        same = lambda key: np.array(
            [[a[key] is not None and a[key] == b[key] for b in places] for a in places], dtype=bool
        ).reshape(len(places), len(places))
        provider, region = same("provider"), same("region")
        column = lambda name: price(name)[:, None]
        self.egress = np.where(
            provider,
            np.where(region, column("egressWithinRegionPerGiB"), column("egressWithinProviderPerGiB")),
            column("egressPerGiB"),
        )

    def read_datasets(self, rows, count):
        self.size, self.objects = [0] * count, np.zeros(count)
        self.minimums = sorted(set(self.minimum))
        column_of = {minimum: column for column, minimum in enumerate(self.minimums)}
        self.billable = np.zeros((count, len(self.minimums)))
        shapes, self.shape_of = {}, np.zeros(count, dtype=np.int64)
        for at, (_, size, objects, profile, keep_origin, copies, billable) in enumerate(rows):
            self.size[at], self.objects[at] = size, objects
            known = dict(billable) if billable is not None else {0: size}
            for minimum, column in column_of.items():
                self.billable[at, column] = known.get(minimum, max(size, objects * minimum))
            key = (profile, keep_origin, tuple(map(tuple, copies)))
            self.shape_of[at] = shapes.setdefault(key, len(shapes))
        if at_end(rows):
            raise Unsupported("rows after the last dataset")
        self.bytes = np.array(self.size, dtype=np.float64)
        # A stable sort: the datasets of a shape stay in their order.
        order = np.argsort(self.shape_of, kind="stable")
        bounds = np.searchsorted(self.shape_of[order], np.arange(len(shapes) + 1))
        self.minimum_column = np.array([column_of[minimum] for minimum in self.minimum], dtype=np.int64)
        self.shape_keys = list(shapes)
        self.members = [order[bounds[at] : bounds[at + 1]] for at in range(len(shapes))]

    def take_stock(self):
        """What is used and spent now, what may be used and spent, and the shapes."""
        count = len(self.backends)
        self.used = [0] * count
        for (_, _, copies), members in zip(self.shape_keys, self.members):
            size = sum(self.size[dataset] for dataset in members)
            for copy in copies:
                self.used[copy[0]] += size
        self.room = [max(capacity, used) for capacity, used in zip(self.capacity, self.used)]
        self.overfull = [used > capacity for used, capacity in zip(self.used, self.capacity)]
        self.shapes = [Shape(self, *key, members) for key, members in zip(self.shape_keys, self.members)]
        self.budgets = []
        for policy, terms in enumerate(self.policies):
            for field in ("costPerMonth", "carbonKgPerMonth"):
                if terms["enforced"] and terms[field] is not None:
                    spent = sum(
                        float(shape.spends(policy, field)[:, sorted(shape.now)].sum())
                        for shape in self.shapes
                        if shape.now and policy in shape.policies
                    )
                    limit = max(terms[field], spent)
                    self.budgets.append((policy, field, limit))


def at_end(rows):
    return next(rows, None) is not None


class Need:
    """A requirement for one shape, made as small as can be met: where it is met by fewer, nobody can do better."""

    def __init__(self, counts, copies, spreads):
        self.counts = counts
        self.copies = min(copies, int(counts.sum()))
        self.spreads = []
        for wanted, group_of in spreads:
            present = {group_of[b] for b in np.flatnonzero(counts) if group_of[b] is not None}
            group = np.array([-1 if g is None or not counts[b] else g for b, g in enumerate(group_of)], dtype=np.int64)
            self.spreads.append((min(wanted, len(present)), group))
        self.is_whole = self.copies == copies and all(
            got == wanted for (got, _), (wanted, _) in zip(self.spreads, spreads)
        )

    def is_met(self, chosen):
        counting = chosen & self.counts
        if counting.sum() < self.copies:
            return False
        return all(len(set(group[counting & (group >= 0)])) >= wanted for wanted, group in self.spreads)


class Shape:
    """Datasets of one profile that lie in the same places."""

    def __init__(self, problem, profile, keep_origin, copies, members):
        self.problem, self.members = problem, members
        profile = problem.profiles[profile]
        self.priority, self.policies = profile["priority"], profile["policies"]
        self.price_per_kg = profile["carbonPricePerTonne"] / 1000.0
        self.horizon = max(profile["horizonMonths"], 1)
        count = len(problem.backends)
        self.copies = {copy[0]: copy for copy in copies}
        current = lambda copy: copy[1] == "Verified" or (copy[1] == "Listed" and copy[2])
        self.current = {copy[0] for copy in copies if current(copy)}
        self.kept_origin = next((copy[0] for copy in copies if copy[2] and keep_origin), None)
        self.now = self.what_is_there()
        refused = {}
        for backend, reason in profile["refused"]:
            refused.setdefault(backend, []).append(problem.reasons[reason])
        self.confined = {b for b, why in refused.items() if any(r["kind"] == "Confinement" for r in why)}
        self.admissible = np.array([self.is_admissible(b, refused.get(b, [])) for b in range(count)], dtype=bool)
        self.reached = bool(profile["requirements"])
        self.candidates = self.admissible.copy()
        self.forced = np.zeros(count, dtype=bool)
        if self.kept_origin is not None:
            self.candidates[self.kept_origin] = self.forced[self.kept_origin] = True
        self.chooses = self.reached and bool(self.current) and bool(self.admissible.any())
        self.needs = []
        if self.chooses:
            self.needs = [self.need(problem.requirements[at]) for at in profile["requirements"]]
            if not any(need.copies for need in self.needs) and not self.forced.any():
                self.needs.append(Need(self.admissible, 1, []))
        self.stays_anyway = {b for b, copy in self.copies.items() if copy[1] == "Unknown" or self.is_read_only(b)}
        self.stay = None if self.chooses else self.what_stays()
        self.is_whole = all(need.is_whole for need in self.needs) if self.chooses else self.is_content(profile)

    def what_is_there(self):
        keeps = lambda b: not self.current or b in self.current or b == self.kept_origin
        return {b for b in self.copies if keeps(b)}

    def is_read_only(self, backend):
        reasons = self.problem.backends[backend]["reasons"]
        return any(self.problem.reasons[at]["kind"] == "ReadOnly" for at in reasons)

    def is_admissible(self, backend, refused):
        problem, copy, current = self.problem, self.copies.get(backend), backend in self.current
        reasons = refused + [problem.reasons[at] for at in problem.backends[backend]["reasons"]]
        if any(not current or reason["bars"] == "Every" for reason in reasons):
            return False
        if current:
            return True
        damaged_origin = copy is not None and copy[2]
        return bool(self.current) and not damaged_origin and not (copy is None and problem.overfull[backend])

    def need(self, requirement):
        accepts = np.zeros(len(self.problem.backends), dtype=bool)
        accepts[requirement["accepts"]] = True
        spreads = [(spread["groups"], spread["groupOf"]) for spread in requirement["spread"]]
        return Need(accepts & self.admissible, requirement["copies"], spreads)

    def is_content(self, profile):
        chosen = np.zeros(len(self.problem.backends), dtype=bool)
        chosen[sorted(self.stay)] = True
        needs = [self.need(self.problem.requirements[at]) for at in profile["requirements"]]
        return all(need.is_whole and need.is_met(chosen) for need in needs)

    def what_stays(self):
        """Of a dataset that no requirement reaches, or that cannot be read, or that may lie nowhere."""
        if not self.current:
            return set(self.now)
        if self.reached:
            kept = {b for b in self.now if b == self.kept_origin or self.admissible[b]}
            return kept if kept & self.current else set(self.now)
        kept = {b for b in self.now if b == self.kept_origin or b not in self.confined}
        if not kept & self.current:
            cost = self.storage_and_carbon()[0]
            kept.add(min(sorted(self.current), key=lambda b: cost[b]))
        return kept

    def storage_only(self):
        problem = self.problem
        billable = problem.billable[self.members][:, problem.minimum_column]
        return billable / GIB * problem.storage

    def carbon_kg(self):
        return self.problem.bytes[self.members][:, None] * self.problem.carbon

    def storage_and_carbon(self):
        return self.storage_only() + self.carbon_kg() * self.price_per_kg

    def spends(self, policy, field):
        """What a copy of each member on each backend spends of a budget."""
        if policy not in self.policies:
            return np.zeros((len(self.members), len(self.problem.backends)))
        return self.storage_and_carbon() if field == "costPerMonth" else self.carbon_kg()

    def transfer(self):
        """What making a copy costs once, priced carbon included, from the source from which it costs least."""
        problem, count = self.problem, len(self.problem.backends)
        size = np.repeat(problem.bytes[self.members][:, None], count, axis=1)
        objects = np.repeat(problem.objects[self.members][:, None], count, axis=1)
        for backend, copy in self.copies.items():
            size[:, backend] = np.minimum(size[:, backend], copy[3])
            objects[:, backend] = np.minimum(objects[:, backend], copy[4])
        best = np.full((len(self.members), count), np.inf)
        sources = sorted(self.current)
        # Who does not answer is read from only where nobody else is. What is asked is asked for each target: the target
        # itself is no source.
        for source in sources:
            others_reachable = np.array(
                [any(problem.reachable[a] for a in sources if a != target) for target in range(count)]
            )
            usable = problem.reachable[source] | ~others_reachable
            per_gib = problem.egress[source] + problem.ingress
            per_object = (problem.get[source] + problem.put) / 1000.0
            grid = (problem.grid[source] + problem.grid) / 2.0
            carbon = size / 1e9 * TRANSFER_KWH_PER_GB * grid / 1000.0
            money = size / GIB * per_gib + objects * per_object + carbon * self.price_per_kg
            usable[source] = False
            best = np.where(usable, np.minimum(best, money), best)
        return np.where(np.isinf(best), 0.0, best)

    def costs(self):
        """What a copy of each member on each backend adds to the objective per month."""
        made = np.array([b not in self.current and not self.copies.get(b, (0, "", False))[2] for b in range(len(self.problem.backends))])
        return self.storage_and_carbon() + np.where(made, self.transfer() / self.horizon, 0.0)


def objective(problem, sets):
    """The objective of sets of backends, one for each dataset."""
    total = 0.0
    for shape in problem.shapes:
        costs = shape.costs()
        for row, dataset in enumerate(shape.members):
            total += sum(costs[row, backend] for backend in sets[dataset])
    return float(total)


def violations(problem, sets):
    """Backends that are too full, budgets that are overspent, and datasets that miss what they could have or hold what
    they may not."""
    used = [0] * len(problem.backends)
    spent = [0.0] * len(problem.budgets)
    wrong = 0
    for shape in problem.shapes:
        spends = [shape.spends(policy, field) for policy, field, _ in problem.budgets]
        for row, dataset in enumerate(shape.members):
            chosen = np.zeros(len(problem.backends), dtype=bool)
            chosen[list(sets[dataset])] = True
            wrong += not all(need.is_met(chosen) for need in shape.needs)
            wrong += bool(shape.chooses and (chosen & ~shape.candidates).any()) or bool((shape.forced & ~chosen).any())
            for backend in set(sets[dataset]) | shape.stays_anyway:
                used[backend] += problem.size[dataset]
            for at, amounts in enumerate(spends):
                spent[at] += float(amounts[row, chosen].sum())
    full = sum(used > room for used, room in zip(used, problem.room))
    over = sum(s > limit + 1e-9 * max(abs(limit), 1e-6) for s, (_, _, limit) in zip(spent, problem.budgets))
    return {"overCapacity": full, "overBudget": over, "datasets": wrong}


if __name__ == "__main__":
    read = Problem(sys.argv[1])
    print(f"{len(read.size)} datasets, {len(read.backends)} backends, {len(read.shapes)} shapes, {len(read.budgets)} budgets")
