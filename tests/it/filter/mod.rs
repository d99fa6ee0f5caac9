//! Filters, against what signac computed and against signac itself.

mod live;
mod properties;
mod random;
mod recorded;
