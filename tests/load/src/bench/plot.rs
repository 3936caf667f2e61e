//! `docs/benchmarks.svg`: for each row, how many times better than its budget it is.

use std::fmt::Write;

use super::{Results, Row, Summary, figures::shown};

const WIDTH: f64 = 1_000.0;
const LEFT: f64 = 170.0;
const RIGHT: f64 = 660.0;
/// Where the two columns at the right begin.
const FIGURES: f64 = RIGHT + 22.0;
const RATIOS: f64 = RIGHT + 172.0;
const TOP: f64 = 86.0;
const LANE: f64 = 34.0;
const BAR: f64 = 14.0;

/// Colours for light and dark pages; the background is the page's.
const STYLE: &str = "
    text { font: 13px system-ui, 'Segoe UI', Helvetica, Arial, sans-serif; fill: #24292f }
    .title { font-size: 17px; font-weight: 600 }
    .quiet { font-size: 12px; fill: #6a737d }
    .name { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; text-anchor: end }
    .figure { font-variant-numeric: tabular-nums }
    .tick { text-anchor: middle }
    .grid { stroke: #d8dee4; stroke-width: 1 }
    .budget { stroke: #57606a; stroke-width: 1.5; stroke-dasharray: 4 3 }
    .met { fill: #2da06b }
    .missed { fill: #d1513f }
    .spread { stroke: #24292f; stroke-width: 1.5; stroke-linecap: round }
    @media (prefers-color-scheme: dark) {
        text { fill: #e6edf3 }
        .quiet { fill: #9198a1 }
        .grid { stroke: #30363d }
        .budget { stroke: #9198a1 }
        .met { fill: #3fb27f }
        .missed { fill: #e5705f }
        .spread { stroke: #e6edf3 }
    }
";

/// Powers of two from left to right.
struct Scale {
    least: f64,
    most: f64,
}

impl Scale {
    /// Room for every margin, and for half and twice the budget.
    fn around(margins: impl Iterator<Item = f64>) -> Self {
        let (least, most) = margins
            .filter(|margin| margin.is_finite() && *margin > 0.0)
            .fold((0.5_f64, 2.0_f64), |(least, most), margin| (least.min(margin), most.max(margin)));
        Self { least: least.log2().floor(), most: most.log2().ceil() }
    }

    fn x(&self, margin: f64) -> f64 {
        let position = (margin.log2() - self.least) / (self.most - self.least);
        LEFT + position.clamp(0.0, 1.0) * (RIGHT - LEFT)
    }

    /// Not more than nine, the budget among them.
    fn ticks(&self) -> Vec<f64> {
        let step = ((self.most - self.least) / 8.0).ceil().max(1.0);
        let first = (self.least / step).ceil();
        let count = std::iter::successors(Some(first), |number| Some(number + 1.0));
        count.map(|number| number * step).take_while(|power| *power <= self.most).map(f64::exp2).collect()
    }
}

/// The picture.
#[must_use]
pub fn svg(results: &Results) -> String {
    let rows: Vec<(Row, Summary)> = results.summaries().map(|(row, summary, _)| (row, summary)).collect();
    let scale = Scale::around(rows.iter().flat_map(|(row, summary)| {
        let demand = row.budget().demand;
        [summary.least, summary.ratio, summary.most].map(|ratio| demand.margin(ratio))
    }));
    let bottom = rows.iter().fold(TOP, |bottom, _| bottom + LANE);
    let height = bottom + 40.0;
    let mut body = String::new();
    // Writing to a string does not fail.
    for tick in scale.ticks() {
        let x = scale.x(tick);
        let class = if (tick - 1.0).abs() < 1e-9 { "budget" } else { "grid" };
        let label = if class == "budget" { "budget".to_owned() } else { multiple(tick) };
        let _ =
            writeln!(body, r#"  <line class="{class}" x1="{x:.1}" y1="{TOP}" x2="{x:.1}" y2="{bottom}"/>"#);
        let _ =
            writeln!(body, r#"  <text class="quiet tick" x="{x:.1}" y="{:.1}">{label}</text>"#, TOP - 8.0);
    }
    let middles = std::iter::successors(Some(TOP + LANE / 2.0), |middle| Some(middle + LANE));
    for ((row, summary), middle) in rows.iter().zip(middles) {
        body.push_str(&lane(*row, *summary, &scale, middle));
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n  \
           <title>How many times better than its budget each figure is</title>\n  \
           <style>{STYLE}  </style>\n  \
           <text class=\"title\" x=\"20\" y=\"28\">How many times better than its budget</text>\n  \
           <text class=\"quiet\" x=\"20\" y=\"48\">To the right of the dashed line a budget is met. Bars are medians; lines reach from the worst run to the best.</text>\n\
         {body}  \
           <text class=\"quiet\" x=\"20\" y=\"{:.1}\">Logarithmic scale. Right: our figure, and how it relates to the ceiling or budget.</text>\n\
         </svg>\n",
        bottom + 26.0,
    )
}

/// Four times as good is 4×, a fourth as good is 1/4×.
fn multiple(margin: f64) -> String {
    if margin < 1.0 { format!("1/{}×", shown(1.0 / margin)) } else { format!("{}×", shown(margin)) }
}

fn lane(row: Row, summary: Summary, scale: &Scale, middle: f64) -> String {
    let budget = row.budget();
    let margin = |ratio| scale.x(budget.demand.margin(ratio));
    let (one, end) = (scale.x(1.0), margin(summary.ratio));
    let (left, width) = (one.min(end), (one - end).abs().max(2.0));
    let class = if budget.demand.is_met(summary.ratio) { "met" } else { "missed" };
    let baseline = middle + 4.5;
    let mut lane = format!(
        "  <text class=\"name\" x=\"{:.1}\" y=\"{baseline:.1}\">{}</text>\n  \
           <rect class=\"{class}\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{BAR}\" rx=\"2\"/>\n",
        LEFT - 14.0,
        row.name(),
        middle - BAR / 2.0,
    );
    if summary.least < summary.most {
        let (from, to) = (margin(summary.least), margin(summary.most));
        let _ = writeln!(
            lane,
            r#"  <line class="spread" x1="{:.1}" y1="{middle:.1}" x2="{:.1}" y2="{middle:.1}"/>"#,
            from.min(to),
            from.max(to)
        );
    }
    let _ = writeln!(
        lane,
        r#"  <text class="figure" x="{FIGURES:.1}" y="{baseline:.1}">{} {}</text><text class="quiet" x="{RATIOS:.1}" y="{baseline:.1}">{} of it, wanted {}</text>"#,
        shown(summary.ours),
        budget.unit,
        shown(summary.ratio),
        budget.demand,
    );
    lane
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::bench::{Measured, Pair};

    fn results(figures: &[(Row, &[f64])]) -> Results {
        let measured = |ratios: &[f64]| Measured {
            pairs: ratios.iter().map(|ours| Pair { ours: *ours, ceiling: 1.0 }).collect(),
            notes: vec![],
            commit: String::new(),
        };
        Results(figures.iter().map(|(row, ratios)| (*row, measured(ratios))).collect::<BTreeMap<_, _>>())
    }

    #[test]
    fn the_picture_is_well_formed_and_has_a_lane_for_each_row() {
        let picture = svg(&results(&[
            (Row::VerifierSeen, &[0.002, 0.003]),
            (Row::Me, &[0.7, 0.85, 0.9]),
            (Row::MailStartP95, &[0.1]),
            (Row::BinarySize, &[1.4]),
        ]));
        let document = roxmltree::Document::parse(&picture).unwrap();
        let with_class =
            |class| document.descendants().filter(move |node| node.attribute("class") == Some(class));
        let names: Vec<_> = with_class("name").filter_map(|node| node.text()).collect();
        assert_eq!(names, ["verifier_seen", "me", "mail_start_p95", "binary_size"]);
        assert_eq!((with_class("met").count(), with_class("missed").count()), (3, 1));
        assert_eq!(with_class("spread").count(), 2);
        for node in document.descendants() {
            for attribute in
                node.attributes().filter(|it| ["x", "x1", "x2", "y", "width"].contains(&it.name()))
            {
                let value: f64 = attribute.value().parse().unwrap();
                assert!((0.0..=1000.0).contains(&value), "{attribute:?}");
            }
        }
    }

    #[test]
    fn a_picture_of_nothing_is_well_formed_too() {
        roxmltree::Document::parse(&svg(&Results::default())).unwrap();
    }

    #[test]
    fn the_scale_has_few_ticks_and_the_budget_is_one() {
        for margins in [vec![], vec![1.1], vec![0.01, 500.0], vec![f64::INFINITY, 3.0]] {
            let ticks = Scale::around(margins.iter().copied()).ticks();
            assert!((2..=9).contains(&ticks.len()), "{ticks:?}");
            assert!(ticks.contains(&1.0), "{ticks:?}");
        }
    }
}
