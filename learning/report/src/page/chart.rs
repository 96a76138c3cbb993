// SPDX-License-Identifier: Apache-2.0
//! Line charts as SVG: a title, a description, lines that differ by dashes and markers as well as by colour.

use super::markup::{Markup, text};

/// A chart; points are in units of the axes.
#[derive(Debug)]
pub(super) struct Chart {
    /// Of the element: letters and dashes, once on a page.
    pub(super) id: String,
    /// Stands above it.
    pub(super) title: String,
    /// What it shows, for those who do not see it.
    pub(super) description: String,
    /// Across.
    pub(super) across: Axis,
    /// Up.
    pub(super) up: Axis,
    /// A thin line to compare with.
    pub(super) reference: Vec<Point>,
    /// At most [`SERIES_MAX`].
    pub(super) series: Vec<Series>,
}

/// As many as there are dashes, markers and colours.
pub(super) const SERIES_MAX: usize = 4;

/// Across and up.
pub(super) type Point = (f64, f64);

/// One line.
#[derive(Debug)]
pub(super) struct Series {
    /// Of the legend.
    pub(super) name: String,
    /// Of rising x.
    pub(super) points: Vec<Point>,
    /// How points are joined.
    pub(super) join: Join,
    /// Points that are marked.
    pub(super) marks: Vec<Point>,
}

/// How a line goes from a point to the next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Join {
    /// Straight.
    Straight,
    /// Across, then up.
    AcrossFirst,
    /// Up or down, then across.
    UpFirst,
}

/// A direction of a chart.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    /// What is measured.
    pub(super) label: &'static str,
    /// From where to where.
    pub(super) scale: Scale,
    /// Values and their names.
    pub(super) ticks: Vec<(f64, String)>,
}

/// How values lie on an axis.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scale {
    /// From the value to 1; what is lower stands at the edge.
    Share(f64),
    /// From the value to 1, by powers of ten; what is lower stands at the edge.
    LogShare(f64),
}

impl Scale {
    /// Within `0.0..=1.0`.
    fn place(self, value: f64) -> f64 {
        match self {
            Self::Share(low) => (value.clamp(low, 1.0) - low) / (1.0 - low),
            Self::LogShare(low) => 1.0 - value.clamp(low, 1.0).log10() / low.log10(),
        }
    }
}

impl Chart {
    /// The figure: SVG, then the legend.
    pub(super) fn html(&self) -> Markup {
        let Self { id, .. } = self;
        let (title, description) = (text(&self.title), text(&self.description));
        let lines: Markup =
            self.series.iter().enumerate().map(|(index, series)| self.line(index, series)).collect();
        let (frame, reference, legend) = (self.frame(), self.reference(), self.legend());
        Markup(format!(
            "<figure><figcaption>{title}</figcaption>\n\
             <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"{id}-title {id}-description\">\
             <title id=\"{id}-title\">{title}</title><desc id=\"{id}-description\">{description}</desc>\n\
             {frame}{reference}{lines}</svg>\n{legend}</figure>\n"
        ))
    }

    fn pixel(&self, (x, y): Point) -> Point {
        let (across, up) = (self.across.scale.place(x), self.up.scale.place(y));
        (LEFT + across * PLOT_WIDTH, TOP + (1.0 - up) * PLOT_HEIGHT)
    }

    fn frame(&self) -> Markup {
        let columns = self.across.ticks.iter().map(|(value, name)| column(self.pixel((*value, 1.0)).0, name));
        let rows = self.up.ticks.iter().map(|(value, name)| level(self.pixel((1.0, *value)).1, name));
        let grid: Markup = columns.chain(rows).collect();
        let (middle, bottom) = (LEFT + PLOT_WIDTH / 2.0, HEIGHT - 6.0);
        let (across, up, height) = (text(self.across.label), text(self.up.label), TOP + PLOT_HEIGHT / 2.0);
        Markup(format!(
            "{grid}<text class=\"axis\" x=\"{middle}\" y=\"{bottom}\">{across}</text>\
             <text class=\"axis\" transform=\"translate(14 {height}) rotate(-90)\">{up}</text>\n"
        ))
    }

    fn reference(&self) -> Markup {
        let points: Vec<Point> = self.reference.iter().map(|point| self.pixel(*point)).collect();
        Markup(format!("<path class=\"reference\" d=\"{}\"/>\n", path(&points)))
    }

    fn line(&self, index: usize, series: &Series) -> Markup {
        let points: Vec<Point> = series.points.iter().map(|point| self.pixel(*point)).collect();
        let points = thin(joined(&points, series.join));
        let marks: Markup = series.marks.iter().map(|point| mark(index, self.pixel(*point))).collect();
        Markup(format!(
            "<g class=\"series{index}\"><path class=\"line\" d=\"{}\"/>{marks}</g>\n",
            path(&points)
        ))
    }

    fn legend(&self) -> Markup {
        let entries: Markup =
            self.series.iter().enumerate().map(|(index, series)| entry(index, &series.name)).collect();
        Markup(format!("<ul class=\"legend\">{entries}</ul>\n"))
    }
}

/// The drawing, in its own units: small, so that letters are large on a phone.
const WIDTH: f64 = 446.0;
const HEIGHT: f64 = 312.0;
const LEFT: f64 = 66.0;
const TOP: f64 = 12.0;
const PLOT_WIDTH: f64 = 354.0;
const PLOT_HEIGHT: f64 = 254.0;

fn column(x: f64, name: &str) -> Markup {
    let (bottom, label) = (TOP + PLOT_HEIGHT, TOP + PLOT_HEIGHT + 18.0);
    Markup(format!(
        "<path class=\"grid\" d=\"M{x:.1} {TOP}V{bottom}\"/><text class=\"column\" x=\"{x:.1}\" y=\"{label}\">{}</text>\n",
        text(name)
    ))
}

fn level(y: f64, name: &str) -> Markup {
    let (right, label_x, label_y) = (LEFT + PLOT_WIDTH, LEFT - 6.0, y + 4.5);
    Markup(format!(
        "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/><text class=\"level\" x=\"{label_x}\" y=\"{label_y:.1}\">{}</text>\n",
        text(name)
    ))
}

/// Circle, square, triangle, diamond.
fn mark(index: usize, (x, y): Point) -> Markup {
    let shape = match index % SERIES_MAX {
        0 => "m-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0z",
        1 => "m-4.5-4.5h9v9h-9z",
        2 => "m0-6l5.5 10h-11z",
        _ => "m0-6l6 6l-6 6l-6-6z",
    };
    Markup(format!("<path class=\"mark\" d=\"M{x:.1} {y:.1}{shape}\"/>"))
}

fn entry(index: usize, name: &str) -> Markup {
    Markup(format!(
        "<li><svg class=\"series{index}\" viewBox=\"0 0 48 16\" aria-hidden=\"true\">\
         <path class=\"line\" d=\"M1 8H47\"/>{}</svg> {}</li>",
        mark(index, (24.0, 8.0)),
        text(name)
    ))
}

fn path(points: &[Point]) -> String {
    let letters = std::iter::once('M').chain(std::iter::repeat('L'));
    points.iter().zip(letters).map(|((x, y), letter)| format!("{letter}{x:.1} {y:.1}")).collect()
}

/// With the corners of steps as points of their own: thinning must not move them.
fn joined(points: &[Point], join: Join) -> Vec<Point> {
    let corner = |one: &Point, next: &Point| match join {
        Join::Straight => None,
        Join::AcrossFirst => Some((next.0, one.1)),
        Join::UpFirst => Some((one.0, next.1)),
    };
    let pairs = points.iter().zip(points.iter().skip(1));
    let rest = pairs.flat_map(|(one, next)| corner(one, next).into_iter().chain([*next]));
    points.first().copied().into_iter().chain(rest).collect()
}

/// Points that a line may have.
pub(super) const POINTS_MAX: usize = 400;

/// Keeps the first, the lowest, the highest and the last point of each of a hundred strips: the eye sees no
/// difference. Linear.
fn thin(points: Vec<Point>) -> Vec<Point> {
    if points.len() <= POINTS_MAX {
        return points;
    }
    let strip = |point: &Point| ((point.0 - LEFT) / PLOT_WIDTH * STRIPS).floor().clamp(0.0, STRIPS - 1.0);
    points.chunk_by(|one, next| strip(one) == strip(next)).flat_map(extremes).collect()
}

const STRIPS: f64 = 100.0;

fn extremes(points: &[Point]) -> Vec<Point> {
    let numbered = || points.iter().copied().enumerate();
    let by_height = |one: &(usize, Point), other: &(usize, Point)| one.1.1.total_cmp(&other.1.1);
    // Of equal heights the last of the top and the first of the bottom: a fall at the end of a strip is not drawn
    // slanting.
    let (top, bottom) = (numbered().rev().min_by(by_height), numbered().rev().max_by(by_height));
    let mut kept: Vec<_> =
        [numbered().next(), top, bottom, numbered().next_back()].into_iter().flatten().collect();
    kept.sort_unstable_by_key(|(index, _)| *index);
    kept.dedup_by_key(|(index, _)| *index);
    kept.into_iter().map(|(_, point)| point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_lie_on_their_axes() {
        for (name, scale, value, want) in [
            ("share", Scale::Share(0.0), 0.25, 0.25),
            ("a part", Scale::Share(0.5), 0.75, 0.5),
            ("below", Scale::Share(0.5), 0.25, 0.0),
            ("beyond", Scale::Share(0.0), 7.0, 1.0),
            ("low", Scale::LogShare(1e-5), 1e-5, 0.0),
            ("nothing", Scale::LogShare(1e-5), 0.0, 0.0),
            ("a thousandth", Scale::LogShare(1e-5), 1e-3, 0.4),
            ("all", Scale::LogShare(1e-5), 1.0, 1.0),
        ] {
            assert!((scale.place(value) - want).abs() < 1e-12, "{name}: {}", scale.place(value));
        }
    }

    #[test]
    fn lines_are_joined_as_asked() {
        for (join, want) in [
            (Join::Straight, "M0.0 1.0L2.0 3.0"),
            (Join::AcrossFirst, "M0.0 1.0L2.0 1.0L2.0 3.0"),
            (Join::UpFirst, "M0.0 1.0L0.0 3.0L2.0 3.0"),
        ] {
            assert_eq!(path(&joined(&[(0.0, 1.0), (2.0, 3.0)], join)), want);
        }
        assert_eq!(path(&joined(&[], Join::UpFirst)), "");
    }

    #[test]
    fn a_fall_at_the_end_stays_at_the_end() {
        let level = (0..1000).map(|step| (LEFT + f64::from(step) / 999.0 * PLOT_WIDTH, TOP));
        let fall = (1..1000).map(|step| (LEFT + PLOT_WIDTH, TOP + f64::from(step) / 10.0));
        let points: Vec<Point> = level.chain(fall).collect();
        let kept = thin(joined(&points, Join::UpFirst));
        let last_on_top = kept.iter().rfind(|point| point.1 == TOP).expect("the level is drawn");
        assert!(last_on_top.0 > LEFT + PLOT_WIDTH - 1.0, "{last_on_top:?}");
    }

    proptest! {
        #[test]
        fn thinning_keeps_ends_and_extremes(heights in prop::collection::vec(0.0..300.0_f64, 1..3000)) {
            let step = PLOT_WIDTH / heights.len() as f64;
            let points: Vec<Point> = (0_u32..).zip(&heights).map(|(index, y)| (LEFT + f64::from(index) * step, *y)).collect();
            let kept = thin(points.clone());
            prop_assert!(kept.len() <= POINTS_MAX && kept.is_sorted_by(|one, next| one.0 < next.0));
            prop_assert_eq!((kept.first(), kept.last()), (points.first(), points.last()));
            let highest = |points: &[Point]| points.iter().map(|point| point.1).fold(0.0, f64::max);
            prop_assert_eq!(highest(&kept), highest(&points));
        }
    }
}
