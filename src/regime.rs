//! `wirepace regime`.

use control::request::Request;

use crate::cli::{Regime, RegimeVerb};
use crate::human;
use crate::instance::ask;

/// Runs it.
pub fn main(args: &Regime) -> u8 {
    match &args.verb {
        None => ask(&args.target, &Request::RegimeGet {}, args.json, human::regime),
        Some(RegimeVerb::Pin { machine, scope, state, length, target, json }) => {
            let request = Request::RegimePin {
                machine: machine.clone(),
                scope: scope.clone(),
                state: state.clone(),
                length_ns: length.map(|span| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)),
            };
            ask(target, &request, *json, human::regime)
        }
        Some(RegimeVerb::Release { machine, scope, target, json }) => {
            let (machine, scope) = (machine.clone(), scope.clone());
            ask(target, &Request::RegimeRelease { machine, scope }, *json, human::regime)
        }
        Some(RegimeVerb::Freeze { target, json }) => {
            ask(target, &Request::RegimeFreeze {}, *json, human::regime)
        }
    }
}
