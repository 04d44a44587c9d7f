//! The working basis of the linear program: a square matrix with one column for each row that lots share, kept inverted.
//!
//! It is dense, since rows are few: backends, budgets and levels, never datasets.

/// Pivots after which the inverse is worked out anew.
const FRESH: u32 = 100;
/// Pivots smaller than this are not taken when the inverse is worked out.
const SINGULAR: f64 = 1e-13;

/// The inverse of the basis.
#[derive(Debug, Clone)]
pub(crate) struct Inverse {
    rows: usize,
    /// Column by column: entry `k` of the column of row `r` stands at `r * rows + k`.
    entries: Vec<f64>,
    pivots: u32,
}

/// A column: rows and what it has of them.
pub(crate) type Column = Vec<(usize, f64)>;

impl Inverse {
    /// The inverse of a diagonal of ones and minus ones.
    pub fn of_signs(signs: &[f64]) -> Self {
        let rows = signs.len();
        let mut entries = vec![0.0; rows * rows];
        for (row, sign) in signs.iter().enumerate() {
            entries[row * rows + row] = *sign;
        }
        Self {
            rows,
            entries,
            pivots: 0,
        }
    }

    /// Whether so much was changed that it should be worked out anew.
    pub fn is_worn(&self) -> bool {
        self.pivots >= FRESH
    }

    /// The inverse times a column.
    pub fn times(&self, column: &[(usize, f64)], product: &mut Vec<f64>) {
        product.clear();
        product.resize(self.rows, 0.0);
        for (row, amount) in column {
            let of_row = &self.entries[row * self.rows..(row + 1) * self.rows];
            product
                .iter_mut()
                .zip(of_row)
                .for_each(|(sum, entry)| *sum += amount * entry);
        }
    }

    /// Entry of the row of a position.
    pub fn entry(&self, position: usize, row: usize) -> f64 {
        self.entries[row * self.rows + position]
    }

    /// Replaces the column at a position by one whose product with the inverse is given.
    pub fn replace(&mut self, position: usize, product: &[f64]) {
        let pivot = product[position];
        for of_row in self.entries.chunks_exact_mut(self.rows) {
            let share = of_row[position] / pivot;
            if share != 0.0 {
                of_row
                    .iter_mut()
                    .zip(product)
                    .for_each(|(entry, amount)| *entry -= amount * share);
                of_row[position] = share;
            }
        }
        self.pivots += 1;
    }

    /// Another column of a group becomes its key: the row of its position turns into minus the sum over the group.
    pub fn rekey(&mut self, position: usize, group: &[usize]) {
        for of_row in self.entries.chunks_exact_mut(self.rows) {
            let sum: f64 = group.iter().map(|member| of_row[*member]).sum();
            of_row[position] = -sum;
        }
    }

    /// Works the inverse out anew; `false` if the columns depend on each other.
    pub fn renew(&mut self, columns: &[Column]) -> bool {
        let rows = self.rows;
        // Gauss and Jordan on the matrix beside the identity, both row by row.
        let mut matrix = vec![0.0; rows * rows];
        let mut inverse = vec![0.0; rows * rows];
        for (position, column) in columns.iter().enumerate() {
            column
                .iter()
                .for_each(|(row, amount)| matrix[row * rows + position] += amount);
        }
        (0..rows).for_each(|row| inverse[row * rows + row] = 1.0);
        for at in 0..rows {
            let largest = (at..rows).max_by(|a, b| {
                let size = |row: usize| matrix[row * rows + at].abs();
                size(*a).total_cmp(&size(*b))
            });
            let largest = largest.unwrap_or(at);
            if matrix[largest * rows + at].abs() < SINGULAR {
                return false;
            }
            for column in 0..rows {
                matrix.swap(largest * rows + column, at * rows + column);
                inverse.swap(largest * rows + column, at * rows + column);
            }
            let pivot = matrix[at * rows + at];
            let pivot_row: Vec<f64> = matrix[at * rows..(at + 1) * rows]
                .iter()
                .map(|entry| entry / pivot)
                .collect();
            let pivot_inverse: Vec<f64> = inverse[at * rows..(at + 1) * rows]
                .iter()
                .map(|entry| entry / pivot)
                .collect();
            for row in (0..rows).filter(|row| *row != at) {
                let factor = matrix[row * rows + at];
                if factor != 0.0 {
                    subtract(&mut matrix[row * rows..(row + 1) * rows], &pivot_row, factor);
                    subtract(&mut inverse[row * rows..(row + 1) * rows], &pivot_inverse, factor);
                }
            }
            matrix[at * rows..(at + 1) * rows].copy_from_slice(&pivot_row);
            inverse[at * rows..(at + 1) * rows].copy_from_slice(&pivot_inverse);
        }
        for row in 0..rows {
            for position in 0..rows {
                self.entries[row * rows + position] = inverse[position * rows + row];
            }
        }
        self.pivots = 0;
        true
    }
}

fn subtract(from: &mut [f64], what: &[f64], factor: f64) {
    from.iter_mut()
        .zip(what)
        .for_each(|(entry, amount)| *entry -= factor * amount);
}
