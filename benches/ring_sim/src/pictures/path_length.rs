//! Path length against the number of members, and how it is distributed (SIGCOMM 2001, figure 10).

use plotters::prelude::*;

use super::{Area, COLOURS, Drawn, FAINT, INK, SIZE, picture, small, title};
use crate::experiments::Paths;
use crate::lab::Lab;
use crate::published::DISTRIBUTION;

pub fn draw(lab: &Lab, results: &[Paths]) {
    picture(lab, "path-length", SIZE, |area| length(area, results));
    picture(lab, "path-distribution", SIZE, |area| distribution(area, results));
}

fn length(area: &Area<'_>, results: &[Paths]) -> Drawn {
    let last = results.iter().map(|paths| paths.exponent).max().unwrap_or(3);
    let mut chart = ChartBuilder::on(area)
        .caption("Forwards of a look-up in an ideal ring: mean, and 1st to 99th percentile", title())
        .margin(14)
        .x_label_area_size(42)
        .y_label_area_size(46)
        .build_cartesian_2d(2.5..f64::from(last) + 0.6, 0.0..f64::from(last) - 2.0)?;
    chart
        .configure_mesh()
        .light_line_style(FAINT.mix(0.0))
        .bold_line_style(FAINT)
        .axis_style(INK)
        .label_style(small())
        .x_desc("members, as a power of two")
        .y_desc("forwards")
        .x_labels(last as usize)
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.0}"))
        .draw()?;
    let half = LineSeries::new((3..=last).map(|k| (f64::from(k), f64::from(k) / 2.0)), INK.stroke_width(1));
    chart
        .draw_series(half)?
        .label("half the logarithm of N")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], INK));
    for (list, colour, shift, label) in
        [(1, COLOURS[0], -0.08, "fingers only (r = 1)"), (20, COLOURS[1], 0.08, "with lists of r = 20")]
    {
        let rows: Vec<&Paths> = results.iter().filter(|paths| paths.list == list).collect();
        let at = |paths: &Paths| f64::from(paths.exponent) + shift;
        chart.draw_series(rows.iter().map(|paths| {
            let forwards = &paths.forwards;
            let (low, high) = (forwards.quantile(0.01) as f64, forwards.quantile(0.99) as f64);
            ErrorBar::new_vertical(at(paths), low, forwards.mean(), high, colour.mix(0.6), 6)
        }))?;
        let line = rows.iter().map(|paths| (at(paths), paths.forwards.mean()));
        chart
            .draw_series(LineSeries::new(line, colour.stroke_width(2)))?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        chart.draw_series(
            rows.iter().map(|paths| Circle::new((at(paths), paths.forwards.mean()), 3, colour.filled())),
        )?;
    }
    super::legend(&mut chart, SeriesLabelPosition::UpperLeft)
}

fn distribution(area: &Area<'_>, results: &[Paths]) -> Drawn {
    let mut chart = ChartBuilder::on(area)
        .caption("How many forwards a look-up takes among 4096 members", title())
        .margin(14)
        .x_label_area_size(42)
        .y_label_area_size(56)
        .build_cartesian_2d(-0.6..12.6_f64, 0.0..0.30)?;
    chart
        .configure_mesh()
        .light_line_style(FAINT.mix(0.0))
        .bold_line_style(FAINT)
        .axis_style(INK)
        .label_style(small())
        .x_desc("forwards")
        .y_desc("part of the look-ups")
        .x_labels(14)
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{:.0} %", 100.0 * y))
        .draw()?;
    for (number, (list, colour, label)) in
        [(1, COLOURS[0], "fingers only (r = 1)"), (20, COLOURS[1], "with lists of r = 20")]
            .into_iter()
            .enumerate()
    {
        let Some(paths) = results.iter().find(|paths| paths.list == list && paths.exponent == 12) else {
            continue;
        };
        let left = if number == 0 { -0.36 } else { 0.02 };
        chart
            .draw_series((0..=12).map(|forwards| {
                let at = forwards as f64 + left;
                Rectangle::new(
                    [(at, 0.0), (at + 0.34, paths.forwards.part(forwards))],
                    colour.mix(0.75).filled(),
                )
            }))?
            .label(label)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 18, y + 5)], colour.mix(0.75).filled()));
        let published = DISTRIBUTION[number].iter().zip(0..);
        let ticks = published.map(|(&part, forwards)| {
            let at = f64::from(forwards) + left;
            PathElement::new([(at - 0.03, part), (at + 0.37, part)], INK.stroke_width(2))
        });
        let series = chart.draw_series(ticks)?;
        if number == 1 {
            series
                .label("an independent re-run")
                .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], INK.stroke_width(2)));
        }
    }
    super::legend(&mut chart, SeriesLabelPosition::UpperRight)
}
