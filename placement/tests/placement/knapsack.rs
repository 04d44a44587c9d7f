//! What one backend would hold if it were paid for it: the most that fits.

/// One dataset as a backend sees it.
#[derive(Clone, Copy)]
pub struct Item {
    pub weight: f64,
    pub profit: f64,
    /// It is there whatever it pays.
    pub forced: bool,
    /// It is not there.
    pub barred: bool,
}

/// Sets that are looked at before the bound of a mix is taken instead.
const STEPS: u32 = 3_000;

struct Packing<'i> {
    items: &'i [Item],
    /// The items that pay, the best for their weight first.
    order: Vec<usize>,
    best: f64,
    taken: Vec<bool>,
    best_taken: Vec<bool>,
    steps: u32,
}

/// The most profit that a capacity gives, or something above it, and what gives it.
pub fn fullest(items: &[Item], capacity: f64) -> (f64, Vec<bool>) {
    let forced = || items.iter().filter(|item| item.forced);
    let free = capacity - forced().map(|item| item.weight).sum::<f64>();
    let sure: f64 = forced().map(|item| item.profit).sum();
    let pays = |index: &usize| {
        let item = &items[*index];
        !item.forced && !item.barred && item.profit > 0.0 && item.weight <= free
    };
    let mut order: Vec<usize> = (0..items.len()).filter(pays).collect();
    let rate = |index: usize| items[index].profit / items[index].weight.max(1e-300);
    order.sort_by(|a, b| rate(*b).total_cmp(&rate(*a)).then(a.cmp(b)));
    let taken: Vec<bool> = items.iter().map(|item| item.forced).collect();
    let mut packing = Packing {
        items,
        order,
        best: 0.0,
        best_taken: taken.clone(),
        taken,
        steps: 0,
    };
    let bound = packing.mixed(0, free);
    packing.pack(0, free, 0.0);
    let most = if packing.steps >= STEPS {
        bound
    } else {
        packing.best
    };
    (sure + most, packing.best_taken)
}

impl Packing<'_> {
    /// What the rest gives if items can be split.
    fn mixed(&self, from: usize, mut free: f64) -> f64 {
        let mut sum = 0.0;
        for index in &self.order[from..] {
            let item = &self.items[*index];
            if item.weight > free {
                return sum + item.profit * free / item.weight;
            }
            free -= item.weight;
            sum += item.profit;
        }
        sum
    }

    fn pack(&mut self, from: usize, free: f64, profit: f64) {
        self.steps += 1;
        if profit > self.best {
            self.best = profit;
            self.best_taken.clone_from(&self.taken);
        }
        if self.steps >= STEPS || from == self.order.len() || profit + self.mixed(from, free) <= self.best {
            return;
        }
        let index = self.order[from];
        let item = self.items[index];
        if item.weight <= free {
            self.taken[index] = true;
            self.pack(from + 1, free - item.weight, profit + item.profit);
            self.taken[index] = false;
        }
        self.pack(from + 1, free, profit);
    }
}
