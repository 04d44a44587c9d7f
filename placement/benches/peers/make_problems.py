"""Makes the small problem files of benches/problems, the worst cases among them, always the same ones.

    make_problems.py OUT_FOLDER
    make_problems.py OUT_FOLDER --large [DATASETS BACKENDS]

With --large the same worst cases with 20,000 datasets and 30 backends, or as many as stand there, and more of them.
"""
import gzip
import json
import os
import random
import sys

GIB = 1 << 30
PIB = 1 << 50
# Below what the two policies would spend without them, and enough to satisfy every dataset.
BUDGETS = (5.673, 0.37)


class Estate:
    """An estate with everything ordinary; what makes a case is changed after."""

    def __init__(self, name, backends, datasets, policies=6, sizes=(30, 36), seed=1, minimums=(0,), per_object=True):
        self.name, self.rng = name, random.Random(f"{name} {seed}")
        rng = self.rng
        self.policies = [
            {"name": f"p{i:04d}", "enforced": True, "costPerMonth": None, "carbonKgPerMonth": None,
             "movement": {"bytes": None, "cost": None, "paybackDays": None}}
            for i in range(policies)
        ]
        self.reasons = [
            {"rule": "soil", "kind": "Confinement", "bars": "Every", "message": "soil"},
            {"rule": "guests", "kind": "Admission", "bars": "Every", "message": "guests"},
            {"rule": "drain", "kind": "Cordoned", "bars": "Every", "message": "the backend is being emptied"},
            {"rule": "cordon", "kind": "Cordoned", "bars": "New", "message": "the backend is cordoned"},
            {"rule": "reachability", "kind": "Unreachable", "bars": "New", "message": "the backend does not answer"},
        ]
        self.backends = [self.backend(i, minimums, per_object) for i in range(backends)]
        self.groups = [i % max(2, backends // 3) for i in range(backends)]
        self.requirements = [self.requirement(i) for i in range(policies)]
        self.profiles, self.datasets = [], []
        for i in range(policies):
            self.profiles.append(self.profile([i]))
        for i in range(datasets):
            size = int(2 ** rng.uniform(*sizes))
            self.datasets.append([f"d{i:05d}", size, rng.choice([1, 1, 3, 40]), i % max(1, len(self.profiles)), True,
                                  self.copies(), None])

    def money(self, low, high):
        return round(self.rng.uniform(low, high), 6)

    def backend(self, i, minimums, per_object):
        rng = self.rng
        request = (lambda most: self.money(0, most)) if per_object else (lambda _: 0.0)
        return {
            "name": f"b{i:03d}", "provider": f"p{i % 4}", "region": f"r{i % 7}", "capacity": 0,
            "price": {"currency": "EUR", "storagePerGiBMonth": self.money(0.002, 0.03), "ingressPerGiB": 0.0,
                      "egressPerGiB": rng.choice([0.0, 0.01, 0.09]), "egressWithinProviderPerGiB": 0.005,
                      "egressWithinRegionPerGiB": 0.0, "putPer1000": request(0.01), "getPer1000": request(0.001),
                      "minObjectSize": rng.choice(minimums)},
            "energy": {"gridGramsPerKWh": rng.choice([20.0, 120.0, 380.0, 650.0]), "gridSource": "given",
                       "wattHoursPerTBHour": 0.65, "pue": 1.3, "physicalCopies": 3.0},
            "reachable": True, "relays": False, "reasons": [],
        }

    def requirement(self, policy):
        copies = self.rng.choice([1, 2, 2, 3])
        spread = []
        if copies > 1:
            spread = [{"across": "domain", "groups": self.rng.randint(2, copies), "groupOf": self.groups}]
        return {"policy": policy, "name": "copies", "copies": copies, "place": "",
                "accepts": list(range(len(self.backends))), "spread": spread, "durability": None}

    def profile(self, policies, refused=()):
        own = set(policies)
        wanted = [i for i, r in enumerate(self.requirements) if r["policy"] in own]
        return {"priority": max(policies, default=0) % 10, "carbonPricePerTonne": self.rng.choice([0.0, 50.0, 150.0]),
                "horizonMonths": self.rng.choice([6, 12, 24]), "goals": [], "policies": sorted(policies),
                "requirements": wanted, "refused": sorted(map(list, refused)), "audits": []}

    def copies(self, most=2):
        if not self.backends:
            return []
        there = sorted(self.rng.sample(range(len(self.backends)), self.rng.randint(1, min(most, len(self.backends)))))
        origin = self.rng.choice(there)
        return [[b, "Listed" if b == origin else "Verified", b == origin, 0, 0] for b in there]

    def give_room(self, share):
        """Room for so many times what is wanted, and at least for what is there."""
        wanted = sum(row[1] * (1 + max((self.requirements[r]["copies"] for r in self.profiles[row[3]]["requirements"]), default=0))
                     for row in self.datasets)
        weights = [self.rng.uniform(0.5, 1.5) for _ in self.backends]
        for place, weight in zip(self.backends, weights):
            place["capacity"] = int(wanted * share * weight / sum(weights))

    def billable(self):
        """What small objects are billed for: all objects of a dataset are equally large here."""
        minimums = sorted({0} | {place["price"]["minObjectSize"] for place in self.backends})
        if minimums == [0]:
            return
        for row in self.datasets:
            each = row[1] // row[2]
            sums = [[m, max(row[1], row[2] * max(each, m))] for m in minimums]
            sums[0][1] = row[1]
            row[6] = sums

    def write(self, folder):
        self.billable()
        kinds = [("backends", self.backends), ("policies", self.policies), ("reasons", self.reasons),
                 ("requirements", self.requirements), ("links", []), ("profiles", self.profiles), ("datasets", self.datasets)]
        head = {"apiVersion": "domicile.dev/placement/v1", "kind": "Problem", "currency": "EUR",
                "rows": {kind: len(rows) for kind, rows in kinds}}
        lines = [head] + [row for _, rows in kinds for row in rows]
        text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
        # Without a time and a name, so that the same problem is the same file.
        with open(os.path.join(folder, f"{self.name}.jsonl.gz"), "wb") as out:
            with gzip.GzipFile(filename="", fileobj=out, mode="wb", mtime=0) as packed:
                packed.write(text.encode())


def own_classes(datasets=150, backends=12):
    """Every dataset its own class: no two have the same profile, sizes, copies."""
    estate = Estate("own-classes", backends, datasets, minimums=(0, 65536, GIB))
    estate.profiles = []
    for at, row in enumerate(estate.datasets):
        refused = [(b, 0) for b in sorted(estate.rng.sample(range(backends), at % 4))]
        profile = estate.profile([at % 6], refused)
        profile["carbonPricePerTonne"] = at / 2.0
        estate.profiles.append(profile)
        row[3], row[5] = at, estate.copies(4)
    estate.give_room(0.9)
    return estate


def too_large(datasets=60, backends=8):
    """One dataset is larger than any backend; its origin lies on one that is too full with it."""
    estate = Estate("too-large", backends, datasets)
    estate.give_room(0.9)
    largest = max(place["capacity"] for place in estate.backends)
    estate.datasets[datasets // 2][1] = 3 * largest
    estate.datasets[datasets // 2][5] = [[4, "Listed", True, 0, 0]]
    return estate


def only_origins(estate):
    for row in estate.datasets:
        row[5] = [[b, "Listed", True, 0, 0] for b, _, origin, _, _ in row[5] if origin]


def half_room(datasets=120, backends=10):
    """Room for half of what is wanted, and priorities."""
    estate = Estate("half-room", backends, datasets)
    only_origins(estate)
    estate.give_room(0.5)
    return estate


def thousand_policies(datasets=200, backends=12):
    """A thousand policies; each dataset is selected by five."""
    estate = Estate("thousand-policies", backends, datasets, policies=1000)
    estate.profiles = []
    for at, row in enumerate(estate.datasets):
        estate.profiles.append(estate.profile(estate.rng.sample(range(1000), 5)))
        row[3] = at
    estate.give_room(1.1)
    return estate


def no_backends(datasets=20, backends=0):
    """Nowhere to go, and nothing anywhere."""
    return Estate("no-backends", 0, datasets)


def all_sizes(datasets=100, backends=10):
    """Sizes from nothing to 10 PiB."""
    estate = Estate("all-sizes", backends, datasets, sizes=(0, 53.3))
    for at in range(0, datasets, 20):
        estate.datasets[at][1] = 0
    estate.datasets[7][1] = 10 * PIB
    estate.give_room(0.7)
    return estate


def equal_prices(datasets=200, backends=12):
    """Every backend costs the same: only where things lie tells plans apart."""
    estate = Estate("equal-prices", backends, datasets)
    for place in estate.backends:
        place["price"], place["energy"] = estate.backends[0]["price"], estate.backends[0]["energy"]
    estate.give_room(0.7)
    return estate


def budgets():
    """The two policies that want most may spend less than they would, in money and in carbon."""
    estate = Estate("budgets", 8, 100, per_object=False)
    only_origins(estate)
    estate.give_room(1.5)
    first, second = sorted(range(6), key=lambda policy: -estate.requirements[policy]["copies"])[:2]
    estate.policies[first]["costPerMonth"] = BUDGETS[0]
    estate.policies[second]["carbonKgPerMonth"] = BUDGETS[1]
    return estate


def mixed():
    """Several requirements for one dataset, released origins, backends that are drained, cordoned or out of reach, and
    copies of which little is known."""
    estate = Estate("mixed", 14, 150, policies=8, minimums=(0, 65536))
    half = {"policy": 0, "name": "near", "copies": 1, "place": "near", "accepts": list(range(0, 14, 2)), "spread": [], "durability": None}
    estate.requirements += [half | {"policy": policy} for policy in range(0, 8, 2)]
    estate.backends[3]["reasons"], estate.backends[5]["reasons"] = [2], [3]
    estate.backends[8]["reasons"], estate.backends[8]["reachable"] = [4], False
    estate.profiles = [estate.profile(sorted(estate.rng.sample(range(8), 2)), [(b, 0) for b in range(12, 14)]) for _ in range(20)]
    for at, row in enumerate(estate.datasets):
        row[3], row[4] = at % 20, at % 3 != 0
        if at % 11 == 0:
            row[5] = [[0, "Listed", True, 0, 0], [1, "Incomplete", False, row[1] // 2, 1], [6, "Unknown", False, row[1], row[2]]]
    estate.give_room(0.9)
    return estate


def tariffs():
    """Discounts for much, included storage, base fees, and tiers that get dearer."""
    estate = Estate("tariffs", 10, 100, policies=4, minimums=(0, 65536))
    estate.give_room(1.5)
    for at, backend in enumerate(estate.backends):
        price, share = backend["price"], backend["capacity"] // 8
        storage = price["storagePerGiBMonth"]
        if at % 4 == 0:
            price["tiers"] = [[share, round(storage * 0.8, 6)], [3 * share, round(storage * 0.5, 6)]]
        elif at % 4 == 1:
            price["includedStorage"] = share
            price["baseFeePerMonth"] = round(share / 2**30 * storage, 6)
        elif at % 4 == 2:
            price["includedStorage"] = 2 * share
        else:
            price["tiers"] = [[2 * share, round(storage * 1.5, 6)]]
            price["baseFeePerMonth"] = round(share / 2**30 * storage / 4, 6)
    return estate


def no_datasets(backends):
    """Nothing to place."""
    return Estate("no-datasets", backends, 0)


def one_backend(datasets):
    """A single place, with room for what lies there."""
    estate = Estate("one-backend", 1, datasets)
    estate.give_room(1.0)
    return estate


def all_draining(datasets, backends):
    """Every backend is to be emptied, and there is nowhere else."""
    estate = Estate("all-draining", backends, datasets)
    for place in estate.backends:
        place["reasons"] = [2]
    estate.give_room(0.9)
    return estate


def no_capacity(datasets, backends):
    """Backends that may hold nothing, and do."""
    return Estate("no-capacity", backends, datasets)


def huge_sizes(datasets, backends):
    """Sizes as large as numbers allow, on backends as large: sums are beyond 64 bits."""
    estate = Estate("huge-sizes", backends, datasets, sizes=(62.5, 63.9))
    for at in range(0, datasets, 7):
        estate.datasets[at][1] = (1 << 64) - 1 - at
    for place in estate.backends:
        place["capacity"] = (1 << 64) - 1
    return estate


def large(datasets, backends):
    """The worst cases at this size."""
    of_both = (own_classes, too_large, half_room, thousand_policies, all_sizes, equal_prices, all_draining, no_capacity, huge_sizes)
    return [make(datasets, backends) for make in of_both] + [no_backends(datasets), no_datasets(backends), one_backend(datasets)]


def main():
    if "--large" in sys.argv:
        sizes = [int(size) for size in sys.argv[sys.argv.index("--large") + 1:]] or [20_000, 30]
        estates = large(*sizes)
    else:
        makes = (own_classes, too_large, half_room, thousand_policies, no_backends, all_sizes, equal_prices, budgets, mixed, tariffs)
        estates = [make() for make in makes]
    for estate in estates:
        estate.write(sys.argv[1])


if __name__ == "__main__":
    main()
