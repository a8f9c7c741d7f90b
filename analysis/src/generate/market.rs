//! The market of a day, second by second.

use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64;

/// Symbols traded.
pub const SYMBOLS: usize = 6;
/// Seconds of a made-up session.
pub const SESSION_S: usize = 600;

/// Volatility, toxicity and common noise of a day.
pub struct Day {
    /// Standardised log volatility of the whole market.
    common: Vec<f64>,
    /// bps per square root of a second, for each symbol.
    volatility: Vec<Vec<f64>>,
    /// Somebody knows more than the quotes say. Nothing records it.
    toxic: Vec<bool>,
    /// Noise of outcomes that orders of the same symbol share, bps.
    noise: Vec<Vec<f64>>,
}

impl Day {
    /// Draws one.
    pub fn new(random: &mut Pcg64) -> Self {
        let common = autoregression(random, 60.0, SESSION_S);
        let volatility = (0..SYMBOLS)
            .map(|symbol| {
                let own = autoregression(random, 30.0, SESSION_S);
                let base = 1.2 + 0.25 * symbol as f64;
                let at = |(common, own): (&f64, f64)| base * (0.45 * common + 0.3 * own).exp();
                common.iter().zip(own).map(at).collect()
            })
            .collect();
        let mut state = random.random_bool(0.25);
        let toxic = (0..SESSION_S)
            .map(|_| {
                // A quarter of the time, 20 s at a time.
                state = if state {
                    !random.random_bool(1.0 / 20.0)
                } else {
                    random.random_bool(1.0 / 60.0)
                };
                state
            })
            .collect();
        let noise = (0..SYMBOLS).map(|_| autoregression(random, 10.0, SESSION_S)).collect();
        Self { common, volatility, toxic, noise }
    }

    /// bps per square root of a second.
    pub fn volatility(&self, symbol: usize, second: usize) -> f64 {
        self.volatility[symbol][second.min(SESSION_S - 1)]
    }

    /// 1 where somebody knows more, otherwise 0.
    pub fn toxic(&self, second: usize) -> f64 {
        f64::from(self.toxic[second.min(SESSION_S - 1)])
    }

    /// Standardised log volatility of the whole market.
    pub fn common(&self, second: usize) -> f64 {
        self.common[second.min(SESSION_S - 1)]
    }

    /// bps.
    pub fn noise(&self, symbol: usize, second: usize) -> f64 {
        self.noise[symbol][second.min(SESSION_S - 1)]
    }
}

/// An autoregression of unit variance that forgets in `memory_s` seconds.
pub fn autoregression(random: &mut Pcg64, memory_s: f64, seconds: usize) -> Vec<f64> {
    let keep = (-1.0 / memory_s).exp();
    let mut value: f64 = StandardNormal.sample(random);
    (0..seconds)
        .map(|_| {
            let news: f64 = StandardNormal.sample(random);
            value = keep * value + (1.0 - keep * keep).sqrt() * news;
            value
        })
        .collect()
}
