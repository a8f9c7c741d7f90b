//! `wirepace generate`.

use model::time::Nanos;
use rig::generate::{Kind, MarketDataShape, Parameters, generate};

use crate::cli::{Generate, TrafficKind};

/// Longest capture, seconds.
const SECONDS_MAX: f64 = 3_600.0;

/// Runs it.
pub fn main(args: &Generate) -> u8 {
    if !(args.seconds > 0.0 && args.seconds <= SECONDS_MAX) {
        return crate::refused(format_args!("--seconds: above 0, at most {SECONDS_MAX}"));
    }
    let kind = match args.kind {
        TrafficKind::Orders => Kind::Orders,
        TrafficKind::MarketData => Kind::MarketData,
        TrafficKind::Mixed => Kind::Mixed,
    };
    let mut parameters = Parameters::new(args.seed, Nanos((args.seconds * 1e9) as u64));
    if let Some(frames_per_s) = args.feed_rate {
        parameters.market_data = MarketDataShape::at_rate(frames_per_s);
    }
    let generated = match generate(kind, &parameters, &args.out) {
        Ok(generated) => generated,
        Err(error) => return crate::failed(error),
    };
    if args.json {
        crate::print_json(&serde_json::json!({
            "frames": generated.frames,
            "bytes": generated.bytes,
            "seed": args.seed,
            "out": args.out.display().to_string(),
        }));
    } else {
        out!("{}: {} frames, {} bytes", args.out.display(), generated.frames, generated.bytes);
    }
    crate::EXIT_DONE
}
