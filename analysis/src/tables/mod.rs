//! The tables that come in: what columns they have, and what a row must hold.
//!
//! [`schema`] says which tables there are; [`Source::open`] finds and registers them, of Parquet or, by way of
//! [`csv`], of CSV, for the queries of [`engine`]; [`rules`] counts and lists the rows that cannot be used,
//! and leaves them out.

mod csv;
mod engine;
mod rules;
mod schema;
mod source;
mod write;

pub use engine::Limits;
pub use rules::{BadRow, BadRows};
pub use schema::{
    CHILDREN, Column, FEATURES, FILLS, Kind, PACKETS, PARENTS, QUOTES, REGIME_LOG, Rule, Table,
};
pub use source::Source;
pub use write::write_parquet;
