//! Figures of several rounds.

use std::fmt;

/// One figure a round.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures(Vec<f64>);

impl Figures {
    /// The ratio of each round's figure to the other's figure in the same round.
    pub(crate) fn relative_to(&self, whole: &Self) -> Self {
        self.0.iter().zip(&whole.0).map(|(part, whole)| part / whole).collect()
    }

    /// The median: the middle figure, or the mean of the two middle ones.
    pub(crate) fn median(&self) -> f64 {
        let sorted = self.sorted();
        let upper = sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN);
        let lower = sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN);
        f64::midpoint(lower, upper)
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

impl FromIterator<f64> for Figures {
    fn from_iter<I: IntoIterator<Item = f64>>(figures: I) -> Self {
        Self(figures.into_iter().collect())
    }
}

/// The median and the spread, such as `0.52 (0.50 to 0.55)`; `{:.1}` chooses the digits.
impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        let sorted = self.sorted();
        let least = sorted.first().copied().unwrap_or(f64::NAN);
        let most = sorted.last().copied().unwrap_or(f64::NAN);
        write!(f, "{:.digits$} ({least:.digits$} to {most:.digits$})", self.median())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_independent_of_order_and_outliers() {
        assert_eq!(Figures::from_iter([3.0, 1.0, 900.0]).to_string(), "3.00 (1.00 to 900.00)");
        assert_eq!(format!("{:.0}", Figures::from_iter([4.0, 1.0, 2.0, 8.0])), "3 (1 to 8)");
    }

    #[test]
    fn a_fraction_is_taken_round_by_round() {
        let whole = Figures::from_iter([100.0, 200.0]);
        assert_eq!(
            Figures::from_iter([50.0, 50.0]).relative_to(&whole).to_string(),
            "0.38 (0.25 to 0.50)"
        );
    }
}
