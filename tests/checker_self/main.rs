//! The conformance checker, checked: what it must accept and, above all, what it must refuse.

#[path = "../checker/mod.rs"]
mod checker;
#[path = "../support/mod.rs"]
mod support;

mod envelope;
mod judge;
mod limits;
mod readers;
