//! From the figures of several runs to one.

/// What was measured in one run: ours and, beside it, the ceiling.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Pair {
    /// Our figure.
    pub ours: f64,
    /// The ceiling's, or the budget itself where that is an absolute one.
    pub ceiling: f64,
}

impl Pair {
    /// Our figure as a multiple of the ceiling's.
    #[must_use]
    pub fn ratio(self) -> f64 {
        self.ours / self.ceiling
    }
}

/// What several runs say together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// The median of our figures.
    pub ours: f64,
    /// The median of the ceilings.
    pub ceiling: f64,
    /// The median of the ratios: what else happened on the machine happened to both sides of a run, but not to all runs.
    pub ratio: f64,
    /// The smallest ratio.
    pub least: f64,
    /// The largest ratio.
    pub most: f64,
}

impl Summary {
    /// `None` when nothing was measured, or when a figure is no number.
    #[must_use]
    pub fn of(pairs: &[Pair]) -> Option<Self> {
        let ratios: Vec<f64> = pairs.iter().map(|pair| pair.ratio()).collect();
        if ratios.iter().any(|ratio| !ratio.is_finite()) {
            return None;
        }
        Some(Self {
            ours: median(pairs.iter().map(|pair| pair.ours))?,
            ceiling: median(pairs.iter().map(|pair| pair.ceiling))?,
            ratio: median(ratios.iter().copied())?,
            least: ratios.iter().copied().reduce(f64::min)?,
            most: ratios.iter().copied().reduce(f64::max)?,
        })
    }
}

/// The middle of the values; of an even number, the mean of the two in the middle.
#[must_use]
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *values.get(values.len() / 2 - 1)?;
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(ours: f64, ceiling: f64) -> Pair {
        Pair { ours, ceiling }
    }

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!(median([]), None);
        assert_eq!(median([3.0]), Some(3.0));
        assert_eq!(median([9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 3.0, 2.0]), Some(2.5));
    }

    #[test]
    fn the_ratio_is_the_median_of_ratios_and_not_the_ratio_of_medians() {
        // In the second run the machine was half as fast, for both sides.
        let summary = Summary::of(&[pair(80.0, 100.0), pair(45.0, 50.0), pair(90.0, 90.0)]).unwrap();
        assert_eq!(summary, Summary { ours: 80.0, ceiling: 90.0, ratio: 0.9, least: 0.8, most: 1.0 });
    }

    #[test]
    fn runs_without_figures_have_no_summary() {
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(Summary::of(&[pair(1.0, 0.0)]), None);
        assert_eq!(Summary::of(&[pair(1.0, 2.0), pair(0.0, 0.0)]), None);
    }
}
