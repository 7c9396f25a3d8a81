//! Ten years of money as a table and as a picture; the rules and the players are in [`cairn_ledger::emission::simulation`].

use std::collections::BTreeMap;

use cairn_ledger::emission::simulation::{
    EconomyOptions, EconomyRejection, EconomyRow, EconomySummary, Strategy, simulate,
};
use plotters::coord::Shift;
use plotters::prelude::*;

/// A run: a row for each strategy and span of days, and the totals.
#[derive(Debug, Clone)]
pub struct EconomyRun {
    /// Of all spans, in order.
    pub rows: Vec<EconomyRow>,
    /// Over the whole run.
    pub summary: EconomySummary,
}

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChartError {
    /// The drawing library gave up; trying again does not help.
    #[error("cannot draw the chart: {0}")]
    Drawing(String),
    /// The picture cannot be encoded; trying again does not help.
    #[error("cannot encode the chart: {0}")]
    Encoding(#[from] png::EncodingError),
}

/// Plays the economy.
///
/// # Errors
/// [`EconomyRejection`] if the options cannot be.
pub fn run(options: &EconomyOptions) -> Result<EconomyRun, EconomyRejection> {
    let mut rows = Vec::new();
    let summary = simulate(options, |row| rows.push(row.clone()))?;
    Ok(EconomyRun { rows, summary })
}

impl EconomyRun {
    /// All rows as CSV with a head; amounts in micro-units.
    pub fn csv(&self) -> String {
        let lines = [EconomyRow::CSV_HEADER.to_owned()].into_iter().chain(self.rows.iter().map(ToString::to_string));
        lines.map(|line| line + "\n").collect()
    }

    /// A PNG: what a member of each strategy has earned so far, and the reputation of providers.
    ///
    /// # Errors
    /// [`ChartError`] if the library cannot draw it.
    pub fn png(&self, title: &str) -> Result<Vec<u8>, ChartError> {
        let mut pixels = vec![0; (WIDTH * HEIGHT * 3) as usize];
        let drawing = |error: &dyn std::fmt::Display| ChartError::Drawing(error.to_string());
        plotters::style::register_font("sans-serif", FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT)
            .map_err(|_| ChartError::Drawing("the font cannot be read".to_owned()))?;
        {
            let root = BitMapBackend::with_buffer(&mut pixels, (WIDTH, HEIGHT)).into_drawing_area();
            root.fill(&WHITE).map_err(|error| drawing(&error))?;
            let root = root.titled(title, ("sans-serif", 26)).map_err(|error| drawing(&error))?;
            let (upper, lower) = root.split_vertically(HEIGHT * 5 / 8);
            self.draw(&upper, "profit of a member so far, in thousands of units", &Strategy::ALL, |sum, _| *sum)?;
            let providers: Vec<Strategy> =
                Strategy::ALL.into_iter().filter(|strategy| strategy.is_provider()).collect();
            let reputation = |_: &f64, row: &EconomyRow| row.reputation.to_f64();
            self.draw(&lower, "reputation of providers", &providers, reputation)?;
            root.present().map_err(|error| drawing(&error))?;
        }
        encoded(&pixels)
    }

    /// One panel: a line for each strategy, of a value made of its profit so far and its row.
    fn draw(
        &self,
        area: &DrawingArea<BitMapBackend<'_>, Shift>,
        caption: &str,
        strategies: &[Strategy],
        value: impl Fn(&f64, &EconomyRow) -> f64,
    ) -> Result<(), ChartError> {
        let mut lines: BTreeMap<Strategy, (f64, Vec<(f64, f64)>)> = BTreeMap::new();
        for row in self.rows.iter().filter(|row| strategies.contains(&row.strategy)) {
            let (sum, points) = lines.entry(row.strategy).or_insert((0.0, vec![]));
            *sum += row.profit() as f64 / f64::from(row.members.max(1)) / MICRO_PER_THOUSAND;
            points.push((f64::from(row.day) / 365.0, value(sum, row)));
        }
        let all = lines.values().flat_map(|(_, points)| points);
        let (mut years, mut low, mut high) = (0.0, 0.0, 0.0);
        for (x, y) in all {
            (years, low, high) = (f64::max(years, *x), f64::min(low, *y), f64::max(high, *y));
        }
        let drawing = |error: &dyn std::fmt::Display| ChartError::Drawing(error.to_string());
        let margin = (high - low).max(1e-6) * 0.04;
        let mut chart = ChartBuilder::on(area)
            .caption(caption, ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(72)
            .build_cartesian_2d(0.0..years * 1.25, low - margin..high + margin)
            .map_err(|error| drawing(&error))?;
        let labels = ("sans-serif", 16);
        let (year, amount) = (|x: &f64| format!("{x:.0}"), |y: &f64| number(*y));
        let mut mesh = chart.configure_mesh();
        mesh.x_desc("years").label_style(labels).light_line_style(WHITE);
        let mesh = mesh.x_label_formatter(&year).y_label_formatter(&amount).draw();
        mesh.map_err(|error| drawing(&error))?;
        for (strategy, (_, points)) in lines {
            let colour = colour(strategy);
            let last = points.last().map_or(0.0, |(_, y)| *y);
            let label = format!("{} {}", strategy.name(), number(last));
            let line = chart.draw_series(LineSeries::new(points, colour.stroke_width(2)));
            line.map_err(|error| drawing(&error))?
                .label(label)
                .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(3)));
        }
        let mut legend = chart.configure_series_labels();
        let legend = legend.position(SeriesLabelPosition::UpperRight).label_font(labels).background_style(WHITE);
        legend.draw().map_err(|error| drawing(&error))
    }
}

const WIDTH: u32 = 1_300;
const HEIGHT: u32 = 1_000;
const MICRO_PER_THOUSAND: f64 = 1e9;

/// Whole if it is large, with two decimals if not.
fn number(value: f64) -> String {
    if value.abs() < 10.0 { format!("{value:.2}") } else { format!("{value:.0}") }
}

/// Colours that people with any colour sight can tell apart (Okabe and Ito), and grey.
fn colour(strategy: Strategy) -> RGBColor {
    match strategy {
        Strategy::HonestProvider => RGBColor(0, 158, 115),
        Strategy::EmptySpace => RGBColor(213, 94, 0),
        Strategy::SlowServer => RGBColor(230, 159, 0),
        Strategy::SelfDealer => RGBColor(204, 121, 167),
        Strategy::CartelFriend => RGBColor(130, 130, 130),
        Strategy::HonestChecker => RGBColor(0, 114, 178),
        Strategy::Copier => RGBColor(86, 180, 233),
        Strategy::ReceiptForger => RGBColor(240, 90, 90),
        Strategy::CartelChecker => RGBColor(0, 0, 0),
        Strategy::SilentChecker => RGBColor(160, 140, 20),
    }
}

fn encoded(pixels: &[u8]) -> Result<Vec<u8>, ChartError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, WIDTH, HEIGHT);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(bytes)
}
