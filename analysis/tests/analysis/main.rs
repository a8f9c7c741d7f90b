//! Tests of the whole, in one program: each that links the query engine takes minutes to build.

mod calibrate;
mod common;
mod designs;
mod malformed;
mod outcome;
mod tutorial;
