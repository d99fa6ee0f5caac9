//! The values at one key, job by job.

use crate::pyjson::Value;

/// The rank of a row that has no value: greater than any other.
const MISSING: u32 = u32::MAX;

/// A value, or none, for each of some rows: a sorted dictionary, and a place in it for each row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Column {
    values: Vec<Value>,
    ranks: Vec<u32>,
}

impl Column {
    /// Makes a column of a sorted dictionary and of pairs of a row and the place of its value.
    pub(super) fn new(
        values: Vec<Value>,
        n_rows: usize,
        places: impl IntoIterator<Item = (u32, u32)>,
    ) -> Self {
        let mut ranks = vec![MISSING; n_rows];
        for (row, place) in places {
            ranks[row as usize] = place;
        }
        Self { values, ranks }
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.ranks.len()
    }

    /// Tells whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.ranks.is_empty()
    }

    /// Returns the value of a row.
    pub fn get(&self, row: usize) -> Option<&Value> {
        self.values.get(self.ranks[row] as usize)
    }

    /// Returns the values that rows may have, sorted.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// Returns the place of a row's value among [`Column::values`], or a greater number: rows
    /// sorted by it are sorted by value, those without one last.
    pub fn rank(&self, row: usize) -> usize {
        self.ranks[row] as usize
    }

    /// Returns the ranks that occur, in the order of the rows.
    pub fn ranks(&self) -> impl Iterator<Item = usize> {
        self.ranks.iter().map(|&rank| rank as usize)
    }
}

impl FromIterator<Option<Value>> for Column {
    fn from_iter<I: IntoIterator<Item = Option<Value>>>(rows: I) -> Self {
        let rows: Vec<_> = rows.into_iter().collect();
        let mut values: Vec<_> = rows.iter().flatten().cloned().collect();
        values.sort();
        values.dedup();
        let place = |value: &Value| values.binary_search(value).expect("it was collected");
        let ranks = rows
            .iter()
            .map(|row| row.as_ref().map_or(MISSING, |v| place(v) as u32));
        Self {
            ranks: ranks.collect(),
            values,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_their_values() {
        let rows = [
            Some(Value::from(7)),
            None,
            Some(Value::from(3)),
            Some(Value::from(7)),
        ];
        let column: Column = rows.iter().cloned().collect();
        assert!((0..4).all(|row| column.get(row) == rows[row].as_ref()));
        assert_eq!(column.values(), [Value::from(3), Value::from(7)]);
        let mut order = [0, 1, 2, 3];
        order.sort_by_key(|&row| column.rank(row));
        assert_eq!(order, [2, 0, 3, 1]);
    }
}
