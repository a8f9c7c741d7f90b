//! The probability of a compressed drain in the windows to come.

use super::term::Input;

/// `p = 1 / (1 + exp(-(intercept + sum of coefficient x feature)))`: features of what has been,
/// coefficients from a calibration against what came then.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Logistic {
    /// The intercept.
    pub intercept: f64,
    /// Coefficients, each in 1 / unit of its input.
    pub features: Vec<(Input, f64)>,
}

impl Logistic {
    /// The probability, 0 to 1, and the fewest observations behind a feature; `None` when `read` has
    /// no value for one of them.
    pub fn probability(
        &self,
        mut read: impl FnMut(&Input) -> Option<(f64, u64)>,
    ) -> Option<(f64, u64)> {
        let (mut log_odds, mut n) = (self.intercept, u64::MAX);
        for (input, coefficient) in &self.features {
            let (value, observations) = read(input)?;
            log_odds += coefficient * value;
            n = n.min(observations);
        }
        Some((1.0 / (1.0 + (-log_odds).exp()), n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_formula() {
        let input = |text: &str| text.parse::<Input>().expect("an input");
        let features = vec![
            (input("not_sent_bytes.p95"), 0.001),
            (input("flush_compression_index.index"), 0.5),
        ];
        let model = Logistic { intercept: -4.0, features };
        // -4 + 0.001 x 2000 + 0.5 x 4 = 0.
        let (p, n) = model
            .probability(|input| match &*input.value {
                "p95" => Some((2_000.0, 300)),
                _ => Some((4.0, 40)),
            })
            .expect("both are there");
        assert_eq!((p, n), (0.5, 40));
        // -4 + 2 + 0.5 x 8 = 2: 1 / (1 + e^-2) = 0.8808.
        let more = model.probability(|input| match &*input.value {
            "p95" => Some((2_000.0, 300)),
            _ => Some((8.0, 40)),
        });
        assert!((more.expect("there").0 - 0.880_797).abs() < 1e-6);
        assert_eq!(model.probability(|input| (input.value == "p95").then_some((1.0, 1))), None);
    }
}
