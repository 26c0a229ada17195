//! Plots as inline SVG: what was measured, point by point, between labelled axes.
//!
//! In:       curves in their own units, and axes.
//! Out:      an `svg` element that takes its colours from the page's style sheet.
//! Bounds:   a point that would lie within [`APART`] of the one before it is left out: a curve has
//!           no more points than can be told apart, however many were measured.
//! Not here: which curves there are (`page`). Nothing is smoothed, fitted or interpolated; points
//! are joined by straight lines where the page says so.

use std::fmt::Write as _;

use super::figures::{digits, duration};
use super::markup::Markup;

/// The drawing, in units of its own: it is scaled to the width it gets.
const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 270.0;

/// The area between the axes: left, top, right, bottom.
const AREA: [f64; 4] = [62.0, 14.0, WIDTH - 14.0, HEIGHT - 42.0];

/// Points nearer to one another than this, in units of the drawing, are one.
const APART: f64 = 0.4;

/// How values lie on an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scale {
    Linear,
    Log,
}

/// An axis: from where to where, how, and what is written at it.
#[derive(Clone, Debug)]
pub struct Axis {
    label: String,
    scale: Scale,
    from: f64,
    to: f64,
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// Latencies in nanoseconds, on a logarithmic scale that holds all `values`.
    pub fn latency(label: &str, values: impl Iterator<Item = f64>) -> Axis {
        let (mut least, mut most) = (f64::MAX, 0.0f64);
        for value in values.filter(|value| value.is_finite()) {
            least = least.min(value.max(1e3));
            most = most.max(value);
        }
        if least > most {
            (least, most) = (1e5, 1e6);
        }
        let from = round_down(least);
        let to = round_up(most.max(from * 1.01));
        let every = if (to / from).log10() > 4.4 { &[1.0][..] } else { &[1.0, 2.0, 5.0] };
        let ticks = decades(from, to)
            .flat_map(|decade| every.iter().map(move |step| decade * step))
            .filter(|&tick| tick >= from * 0.999 && tick <= to * 1.001)
            .map(|tick| (tick, plain(&duration(tick))))
            .collect();
        Axis { label: label.to_owned(), scale: Scale::Log, from, to, ticks }
    }

    /// Percentiles on the scale 1/(1-p), up to the last of `pieces`.
    pub fn percentiles(pieces: u64) -> Axis {
        let to = 10f64.powf((pieces.max(10) as f64).log10().ceil().min(12.0));
        let name = |decade: f64| match decade {
            1.0 => "0 %".to_owned(),
            10.0 => "90 %".to_owned(),
            _ => {
                let nines = decade.log10().round() as usize - 2;
                format!("99{}{} %", if nines > 0 { "." } else { "" }, "9".repeat(nines))
            }
        };
        let ticks = decades(1.0, to).map(|decade| (decade, name(decade))).collect();
        let label = "share of pieces that were no later, scale 1/(1\u{2212}p)".to_owned();
        Axis { label, scale: Scale::Log, from: 1.0, to, ticks }
    }

    /// Seconds of a run.
    pub fn seconds(to: f64) -> Axis {
        Axis::amount("seconds from the start of the first call", to)
    }

    /// An amount from 0 on.
    pub fn amount(label: &str, most: f64) -> Axis {
        let most = if most.is_finite() && most > 0.0 { most } else { 1.0 };
        let raw = most / 5.0;
        let decade = 10f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|step| step * decade);
        let step = step.into_iter().find(|&step| step >= raw * 0.999).unwrap_or(10.0 * decade);
        let count = (most / step * 0.999).ceil() as usize;
        let places = (-step.log10().floor()).max(0.0) as usize;
        let ticks = (0..=count).map(|n| (n as f64 * step, format!("{:.places$}", n as f64 * step)));
        Axis {
            label: label.to_owned(),
            scale: Scale::Linear,
            from: 0.0,
            to: count as f64 * step,
            ticks: ticks.collect(),
        }
    }

    /// Where a value lies, from 0 to 1; what is beyond the axis lies at its end.
    fn place(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => (value - self.from) / (self.to - self.from),
            Scale::Log => {
                (value.max(f64::MIN_POSITIVE) / self.from).log10() / (self.to / self.from).log10()
            }
        };
        share.clamp(0.0, 1.0)
    }
}

/// A label without the digits behind the point that say nothing.
fn plain(label: &str) -> String {
    match label.split_once(' ') {
        Some((number, unit)) if number.contains('.') => {
            let number = number.trim_end_matches('0').trim_end_matches('.');
            format!("{number} {unit}")
        }
        _ => label.to_owned(),
    }
}

fn decades(from: f64, to: f64) -> impl Iterator<Item = f64> {
    let (from, to) = (from.log10() + 1e-9, to.log10() + 1e-9);
    (from.floor() as i32..=to.floor() as i32).map(|power| 10f64.powi(power))
}

/// The next of 1, 2, 5, 10 ... that is not above `value`.
fn round_down(value: f64) -> f64 {
    let decade = 10f64.powf(value.log10().floor());
    [5.0, 2.0].map(|it| it * decade).into_iter().find(|&it| it <= value).unwrap_or(decade)
}

/// The next of 1, 2, 5, 10 ... that is not below `value`.
fn round_up(value: f64) -> f64 {
    let decade = 10f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0].map(|it| it * decade);
    steps.into_iter().find(|&it| it >= value * 0.999_999).unwrap_or(10.0 * decade)
}

/// How a curve is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stroke {
    /// A line.
    Solid,
    /// A thin line.
    Thin,
    /// A line of dashes.
    Dashed,
    /// Points that are not joined.
    Dots,
}

impl Stroke {
    /// Its name in the style sheet.
    pub fn class(self) -> &'static str {
        match self {
            Stroke::Solid => "solid",
            Stroke::Thin => "thin",
            Stroke::Dashed => "dashed",
            Stroke::Dots => "dots",
        }
    }
}

/// Points of one kind.
#[derive(Clone, Debug)]
pub struct Curve {
    /// What they are, for who points at them.
    pub name: String,
    /// The run they are of, which gives the colour.
    pub run: usize,
    /// How they are drawn.
    pub stroke: Stroke,
    /// The points, left to right; one that is not a number or lies below the axis parts a line.
    pub points: Vec<(f64, f64)>,
}

/// One point that is told when it is pointed at.
#[derive(Clone, Debug)]
pub struct Mark {
    /// The run it is of.
    pub run: usize,
    /// Where.
    pub at: (f64, f64),
    /// What it is.
    pub name: String,
    /// It is of what counts against it, and drawn hollow.
    pub hollow: bool,
}

/// Where the names of thresholds stand: away from where curves meet them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// At the left end.
    Left,
    /// At the right end.
    Right,
}

/// A plot.
#[derive(Clone, Debug)]
pub struct Plot {
    /// What it shows.
    pub title: String,
    /// From left to right.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
    /// What was measured.
    pub curves: Vec<Curve>,
    /// Points of these that are told.
    pub marks: Vec<Mark>,
    /// Values upwards that are not to be passed, and their names.
    pub thresholds: Vec<(f64, String)>,
    /// Where these names stand.
    pub names_at: Side,
    /// Values from left to right that mean something, and their names.
    pub moments: Vec<(f64, String)>,
}

impl Plot {
    /// A plot with nothing in it yet.
    pub fn new(title: &str, x: Axis, y: Axis) -> Plot {
        Plot {
            title: title.to_owned(),
            x,
            y,
            curves: Vec::new(),
            marks: Vec::new(),
            thresholds: Vec::new(),
            names_at: Side::Right,
            moments: Vec::new(),
        }
    }

    /// Draws it as a figure with its title.
    pub fn draw(&self, page: &mut Markup) {
        page.open("figure", &[]).leaf("figcaption", &[], &self.title);
        let size = format!("0 0 {WIDTH} {HEIGHT}");
        page.open("svg", &[("viewBox", &size), ("role", "img"), ("aria-label", &self.title)]);
        self.draw_axes(page);
        self.draw_bounds(page);
        self.curves.iter().for_each(|curve| self.draw_curve(page, curve));
        for mark in &self.marks {
            let (x, y) = (number(self.right(mark.at.0)), number(self.up(mark.at.1)));
            let hollow = if mark.hollow { " hollow" } else { "" };
            let class = format!("mark r{}{hollow}", mark.run);
            page.open("circle", &[("class", &class), ("cx", &x), ("cy", &y), ("r", "3")]);
            page.leaf("title", &[], &mark.name).close();
        }
        page.close().close();
    }

    fn draw_axes(&self, page: &mut Markup) {
        let [left, top, right, bottom] = AREA;
        let [l, t, r, b] = AREA.map(number);
        let mut last = f64::MIN;
        for (value, label) in &self.x.ticks {
            let x = self.right(*value);
            line(page, "grid", [&number(x), &t, &number(x), &b]);
            // A label that would touch the one before it is left out; its line stays.
            let half = label.chars().count() as f64 * 3.7;
            let middle = x.min(WIDTH - half);
            if middle - half > last {
                let at = [
                    ("text-anchor", "middle"),
                    ("x", &*number(middle)),
                    ("y", &*number(bottom + 15.0)),
                ];
                page.leaf("text", &at, label);
                last = middle + half;
            }
        }
        for (value, label) in &self.y.ticks {
            let y = self.up(*value);
            line(page, "grid", [&l, &number(y), &r, &number(y)]);
            let at =
                [("text-anchor", "end"), ("x", &*number(left - 6.0)), ("y", &*number(y + 3.5))];
            page.leaf("text", &at, label);
        }
        line(page, "axis", [&l, &b, &r, &b]);
        line(page, "axis", [&l, &t, &l, &b]);
        let middle = number((left + right) / 2.0);
        let under = number(bottom + 33.0);
        let at = [("class", "label"), ("text-anchor", "middle"), ("x", &*middle), ("y", &*under)];
        page.leaf("text", &at, &self.x.label);
        let turned = format!("rotate(-90 12 {})", number((top + bottom) / 2.0));
        let at = [
            ("class", "label"),
            ("text-anchor", "middle"),
            ("x", "12"),
            ("y", &*number((top + bottom) / 2.0)),
            ("transform", &*turned),
        ];
        page.leaf("text", &at, &self.y.label);
    }

    /// The thresholds and moments that lie within the axes.
    fn draw_bounds(&self, page: &mut Markup) {
        let [left, top, right, bottom] = AREA.map(number);
        let within = |axis: &Axis, value: f64| value >= axis.from && value <= axis.to;
        for (value, name) in self.thresholds.iter().filter(|(value, _)| within(&self.y, *value)) {
            let y = number(self.up(*value));
            line(page, "threshold", [&left, &y, &right, &y]);
            let above = number(self.up(*value) - 4.0);
            let (anchor, beside) = match self.names_at {
                Side::Left => ("start", number(AREA[0] + 4.0)),
                Side::Right => ("end", right.clone()),
            };
            let at = [("text-anchor", anchor), ("x", &*beside), ("y", &*above)];
            page.leaf("text", &[&[("class", "threshold")], &at[..]].concat(), name);
        }
        for (value, name) in self.moments.iter().filter(|(value, _)| within(&self.x, *value)) {
            let x = number(self.right(*value));
            line(page, "threshold", [&x, &top, &x, &bottom]);
            // Along the line, where it meets no name of a threshold.
            let (beside, from) = (self.right(*value) - 4.0, AREA[3] - 6.0);
            let turned = format!("rotate(-90 {beside:.1} {from:.1})");
            let (beside, from) = (number(beside), number(from));
            let at =
                [("class", "threshold"), ("x", &*beside), ("y", &*from), ("transform", &*turned)];
            page.leaf("text", &at, name);
        }
    }

    fn draw_curve(&self, page: &mut Markup, curve: &Curve) {
        let class = format!("{} r{}", curve.stroke.class(), curve.run);
        let path = self.path(curve);
        if !path.is_empty() {
            page.open("path", &[("class", &class), ("d", &path)]);
            page.leaf("title", &[], &curve.name).close();
        }
    }

    fn path(&self, curve: &Curve) -> String {
        let mut path = String::new();
        let mut before: Option<(f64, f64)> = None;
        for &(x, y) in &curve.points {
            // What lies below the axis is not drawn on it: it would look like a value.
            if !y.is_finite() || y < self.y.from {
                before = None;
                continue;
            }
            let at = (self.right(x), self.up(y));
            if before.is_some_and(|(x, y)| (at.0 - x).abs() < APART && (at.1 - y).abs() < APART) {
                continue;
            }
            // A line of no length with round ends is a dot. Writing to a String cannot fail.
            let _ = match before {
                _ if curve.stroke == Stroke::Dots => write!(path, "M{:.1} {:.1}h0", at.0, at.1),
                None => write!(path, "M{:.1} {:.1}h0", at.0, at.1),
                Some(_) => write!(path, "L{:.1} {:.1}", at.0, at.1),
            };
            before = Some(at);
        }
        path
    }

    fn right(&self, value: f64) -> f64 {
        AREA[0] + self.x.place(value) * (AREA[2] - AREA[0])
    }

    fn up(&self, value: f64) -> f64 {
        AREA[3] - self.y.place(value) * (AREA[3] - AREA[1])
    }
}

fn line(page: &mut Markup, class: &str, [x1, y1, x2, y2]: [&str; 4]) {
    page.empty("line", &[("class", class), ("x1", x1), ("y1", y1), ("x2", x2), ("y2", y2)]);
}

fn number(value: f64) -> String {
    format!("{value:.1}")
}

/// A bar as long as `share` of the room it has, from 0 to 1, in the colour of a run.
pub fn bar(page: &mut Markup, run: usize, share: f64) {
    let width = number(share.clamp(0.0, 1.0) * 100.0);
    let class = format!("r{run}");
    let of = [("class", "bar"), ("viewBox", "0 0 100 4"), ("preserveAspectRatio", "none")];
    page.open("svg", &[&of[..], &[("aria-hidden", "true")]].concat());
    page.empty("rect", &[("class", &class), ("width", &width), ("height", "4")]).close();
}

/// A ratio as a table has it.
pub fn ratio(value: f64) -> String {
    format!("\u{d7}{}", digits(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn an_axis_of_percentiles_has_a_nine_more_at_each_step() {
        let axis = Axis::percentiles(99_500);
        assert_eq!(labels(&axis), ["0 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %"]);
        assert_eq!(axis.place(1.0), 0.0);
        assert!((axis.place(1_000.0) - 0.6).abs() < 1e-9);
    }

    #[test]
    fn an_axis_of_latencies_holds_every_value_between_round_ends() {
        let axis = Axis::latency("latency", [130e3, 4.1e6, f64::NAN].into_iter());
        assert_eq!(
            labels(&axis),
            ["100 \u{b5}s", "200 \u{b5}s", "500 \u{b5}s", "1 ms", "2 ms", "5 ms"]
        );
        assert_eq!((axis.place(100e3), axis.place(5e6)), (0.0, 1.0));
        let empty = Axis::latency("latency", std::iter::empty());
        assert!(empty.from < empty.to);
        let same = Axis::latency("latency", [2e6].into_iter());
        assert!(same.from <= 2e6 && same.to > same.from);
    }

    #[test]
    fn an_axis_of_amounts_ends_on_a_round_number() {
        assert_eq!(labels(&Axis::amount("n", 0.43)), ["0.0", "0.1", "0.2", "0.3", "0.4", "0.5"]);
        assert_eq!(labels(&Axis::amount("n", 21.0)), ["0", "5", "10", "15", "20", "25"]);
        assert_eq!(Axis::amount("n", f64::NAN).to, 1.0);
        assert_eq!(Axis::amount("n", 0.0).from, 0.0);
    }

    fn plot(points: Vec<(f64, f64)>) -> Plot {
        Plot {
            curves: vec![Curve { name: "c".into(), run: 0, stroke: Stroke::Solid, points }],
            ..Plot::new("t", Axis::seconds(10.0), Axis::amount("n", 10.0))
        }
    }

    #[test]
    fn a_missing_value_parts_the_line() {
        let plot = plot(vec![(0.0, 1.0), (1.0, 2.0), (2.0, f64::NAN), (3.0, 4.0)]);
        let path = plot.path(&plot.curves[0]);
        assert_eq!((path.matches('M').count(), path.matches('L').count()), (2, 1), "{path}");
    }

    #[test]
    fn bounds_are_drawn_where_the_axes_reach_and_nowhere_else() {
        let mut plot = plot(vec![(0.0, 1.0)]);
        plot.thresholds = vec![(5.0, "within".into()), (11.0, "above".into())];
        plot.moments = vec![(9.0, "late".into()), (1.0, "soon".into()), (-1.0, "before".into())];
        let mut page = Markup::default();
        plot.draw(&mut page);
        let page = page.finish();
        for (name, is_there) in
            [("within", true), ("above", false), ("late", true), ("soon", true), ("before", false)]
        {
            assert_eq!(page.contains(&format!(">{name}<")), is_there, "{name}: {page}");
        }
        assert_eq!(page.matches("<line class=\"threshold\"").count(), 3);
    }

    #[test]
    fn a_bar_is_as_long_as_its_share_and_never_longer_than_its_room() {
        for (share, width) in [(0.0, "0.0"), (0.5, "50.0"), (7.0, "100.0"), (-1.0, "0.0")] {
            let mut page = Markup::default();
            bar(&mut page, 3, share);
            let page = page.finish();
            assert!(page.contains(&format!("class=\"r3\" width=\"{width}\"")), "{page}");
        }
    }

    #[test]
    fn no_curve_has_more_points_than_can_be_told_apart() {
        let plot = plot((0..1_000_000).map(|n| (n as f64 / 1e5, 5.0)).collect());
        let path = plot.path(&plot.curves[0]);
        assert!(path.len() < 15_000, "{}", path.len());
        let last = path.rsplit('L').next().unwrap();
        assert!(last.starts_with("445.") || last.starts_with("446."), "{last}");
    }
}
