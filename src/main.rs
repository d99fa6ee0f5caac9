//! The `sweepfs` program.

fn main() {}
