//! `wirepace mode`.

use control::request::Request;
use model::regime::Mode;

use crate::cli::{ModeArgs, ModeName};
use crate::instance::ask;

/// Runs it.
pub fn main(args: &ModeArgs) -> u8 {
    let request = match args.mode {
        None => Request::ModeGet {},
        Some(mode) => Request::ModeSet { mode: named(mode), confirm: args.confirm },
    };
    ask(&args.target, &request, args.json, crate::human::mode)
}

const fn named(mode: ModeName) -> Mode {
    match mode {
        ModeName::Observe => Mode::Observe,
        ModeName::Shadow => Mode::Shadow,
        ModeName::Canary => Mode::Canary,
        ModeName::Switchback => Mode::Switchback,
        ModeName::Active => Mode::Active,
    }
}
